"""Where a fine-tune runs, and whether it fits there. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from components.capacity import NodeShape, Request, for_workloads, shortfalls
from components.settings.fine_tunes import FineTuneSettings, ZeroSettings
from workloads.models.plan import Finding, Group
from workloads.sizing import (
    GPUS,
    Architecture,
    ConfigError,
    UnknownModelError,
    architecture_of,
    from_config,
)
from workloads.training.memory import Footprint, Host, Training, footprint, host

_WORLDS: Final = (2, 4, 8, 16, 32)
"""Numbers of GPUs that are proposed."""

_LENGTHS: Final = (32768, 16384, 8192, 4096, 2048, 1024)
"""Lengths of a sequence that are proposed."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A fine-tune that fits.

    Attributes:
        training: What decides its memory.
        footprint: Memory of each GPU.
        host: What each node's pod asks for.
        gpu_model: Model of its GPUs.
        group: The group of nodes that it is planned for.
        instance_type: The smallest type of that group that it fits.
    """

    training: Training
    footprint: Footprint
    host: Host
    gpu_model: str
    group: str
    instance_type: str

    @property
    def request(self) -> Request:
        """What one node's pod asks for."""
        return request(self.host, self.training.gpus, self.gpu_model)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why it cannot run.

    Attributes:
        findings: Paths below the fine-tune, and what is wrong with what to do.
    """

    findings: tuple[Finding, ...]


def request(needs: Host, gpus: int, gpu_model: str) -> Request:
    """The pod of one node, as the scheduler sees it."""
    return Request(
        cpu_millicores=needs.cpu_millicores,
        memory_mib=needs.memory_mib,
        ephemeral_storage_gib=needs.disk_gib,
        gpus=gpus,
        gpu_model=gpu_model,
    )


def plan(settings: FineTuneSettings, groups: Sequence[Group], *, shared_memory_gib: int) -> Plan | Refusal:
    """Plan a fine-tune.

    Args:
        settings: The fine-tune.
        groups: Node groups of role ``gpu-training``.
        shared_memory_gib: Shared memory of a training pod.
    """
    model = architecture(settings)
    if isinstance(model, Refusal):
        return model
    if (kind := settings.gpu.type) not in GPUS:
        return _refused("gpu.type", f"must be one of {', '.join(GPUS)}; got {kind}")
    if settings.learning.sequence_length > model.max_position:
        length = settings.learning.sequence_length
        return _refused(
            "learning.sequenceLength", f"{model.name} was made for {model.max_position} tokens; lower it; got {length}"
        )
    if settings.learning.precision == "bfloat16" and not GPUS[kind].bfloat16:
        return _refused("learning.precision", f"{kind} does not compute in bfloat16; take auto, or another GPU")
    training = training_of(settings, model)
    needed = footprint(training)
    if needed.total > GPUS[kind].memory_gib:
        return _refused("gpu", _too_large(training, needed, kind))
    needs = host(training, shared_memory_gib=shared_memory_gib)
    found = place(settings, request(needs, training.gpus, kind), groups)
    if isinstance(found, Refusal):
        return found
    group, shape = found
    return Plan(
        training=training,
        footprint=needed,
        host=needs,
        gpu_model=kind,
        group=group.name,
        instance_type=shape.instance_type,
    )


def architecture(settings: FineTuneSettings) -> Architecture | Refusal:
    """The base model's numbers: the table's, or those of ``config``."""
    base = settings.base
    try:
        if base.config:
            return from_config(base.config, name=settings.name, source="config")
        named = base.source.removeprefix("hf://").partition("@")[0] if base.source.startswith("hf:") else ""
        return architecture_of(base.architecture or named)
    except ConfigError as error:
        return _refused("base.config", str(error))
    except UnknownModelError as error:
        if not base.architecture:
            return _refused(
                "base.architecture",
                "must be set, or base.config: the source does not say what the model is (docs/sizing.md lists names)",
            )
        return _refused("base.architecture", f"{error}; or set base.config, from the model's config.json")


def training_of(settings: FineTuneSettings, model: Architecture) -> Training:
    """What decides its memory."""
    return Training(
        architecture=model,
        method=settings.method,
        lora=settings.lora,
        zero=settings.zero,
        learning=settings.learning,
        gpus=settings.gpus,
        nodes=settings.nodes,
        merge=settings.merge,
    )


def place(settings: FineTuneSettings, needed: Request, groups: Sequence[Group]) -> tuple[Group, NodeShape] | Refusal:
    """The group of nodes that all of its nodes fit in."""
    fitting = [group for group in groups if group.gpu_model == needed.gpu_model]
    if not fitting:
        there = ", ".join(sorted({group.gpu_model for group in groups})) or "none"
        return _refused(
            "gpu.type",
            f"no node group of role gpu-training has {needed.gpu_model}; they have {there}; add a group to nodeGroups",
        )
    short: list[str] = []
    for group in fitting:
        for shape in group.shapes:
            lacks = shortfalls(needed, for_workloads(shape))
            if lacks:
                short.append(f"{shape.instance_type} of {group.name} has {', '.join(lacks)}")
            elif settings.nodes > group.max_size:
                short.append(f"{group.name} has {group.max_size} nodes at most")
                break
            else:
                return group, shape
    path = "nodes" if any("nodes at most" in one for one in short) else "gpu"
    return _refused(path, f"a node must give {needed}, and {settings.nodes} of them be there: {'; '.join(short)}")


def _too_large(training: Training, needed: Footprint, kind: str) -> str:
    remedies = list(_remedies(training, GPUS[kind].memory_gib))
    what = (
        f"; it would fit with {', or with '.join(remedies)}" if remedies else "; take larger GPUs, or a smaller model"
    )
    return f"each {kind} has {GPUS[kind].memory_gib:g} GiB and {needed.total:.1f} are needed ({needed}){what}"


def _remedies(training: Training, there: float) -> Iterator[str]:
    """What would fit, the least change first; three at most."""
    found = 0
    for words, changed in _changes(training, there):
        if found < 3 and footprint(changed).total <= there:
            found += 1
            yield words


def _changes(training: Training, there: float) -> Iterator[tuple[str, Training]]:
    learning = training.learning
    if not learning.recompute:
        again = learning.model_copy(update={"recompute": True})
        yield "learning.recompute: true", replace(training, learning=again)
    if learning.batch_size > 1:
        single = learning.model_copy(update={"batch_size": 1, "recompute": True})
        yield "learning.batchSize: 1 (and more accumulation)", replace(training, learning=single)
    for length in (one for one in _LENGTHS if one < learning.sequence_length):
        short = learning.model_copy(update={"batch_size": 1, "recompute": True, "sequence_length": length})
        shorter = replace(training, learning=short)
        if footprint(shorter).total <= there:
            yield f"learning.sequenceLength: {length}", shorter
            break
    if training.method == "full":
        yield "method: lora", replace(training, method="lora", zero=None)
    if training.method != "qlora":
        yield "method: qlora", replace(training, method="qlora", zero=None)
    if training.method != "qlora":
        for world in _WORLDS:
            shared = replace(training, zero=ZeroSettings(stage=3), gpus=world, nodes=1)
            if footprint(shared).total <= there:
                yield f"zero: {{stage: 3}} over {world} GPUs", shared
                break
        for offload in ("optimizer", "all"):
            yield (
                f"zero: {{stage: 3, offload: {offload}}}",
                replace(training, zero=ZeroSettings(stage=3, offload=offload)),
            )


def _refused(path: str, message: str) -> Refusal:
    return Refusal(findings=((path, message),))
