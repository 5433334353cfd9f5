"""What cannot work of releases, found when the settings are read. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from workloads.images import NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.settings.fine_tunes import FineTuneSettings
    from components.settings.release import EngineSettings
    from components.settings.root import Settings  # its rules import this module

Finding = tuple[str, str]
"""Path, and what is wrong with what to do."""


def problems(settings: Settings, fine_tunes: Sequence[FineTuneSettings]) -> Iterator[Finding]:
    """Paths and messages: everything that cannot work of the stack's releases."""
    released = [(index, one) for index, one in enumerate(fine_tunes) if one.release is not None]
    if not released:
        return
    platform = settings.platform
    if not platform.workflows.enabled:
        yield "fineTunes", "releases need platform.workflows.enabled, which runs them"
    if missing := [name for name in _images(one for _, one in released) if name not in settings.registry.repositories]:
        yield "registry.repositories", f"must hold {', '.join(missing)}, whose images releases run with"
    for index, one in released:
        release = one.release
        assert release is not None
        path = f"fineTunes[{index}].release"
        yield from _served(settings, path, one)
        if release.engine:
            yield from _buildable(settings, f"{path}.engine", release.engine)
        if release.promote == "automatic" and one.evaluation is None:
            yield (
                f"{path}.promote",
                "automatic needs an evaluation, or whatever was trained last would serve; declare evaluation, or take "
                "by-hand",
            )
        yield from _judged(settings, index, one)


def _images(released: Iterator[FineTuneSettings]) -> list[str]:
    wanted = {"release", "training"}
    for one in released:
        wanted |= {"preprocess"} if one.dataset else set()
        wanted |= {"evaluation"} if one.evaluation else set()
        wanted |= {"engine"} if one.release and one.release.engine else set()
    return [name for name in NAMES if name in wanted]


def _served(settings: Settings, path: str, one: FineTuneSettings) -> Iterator[Finding]:
    release = one.release
    assert release is not None
    if not release.model:
        return
    model = next((each for each in settings.models if each.name == release.model), None)
    if model is None:
        known = ", ".join(each.name for each in settings.models) or "none is declared"
        yield f"{path}.model", f"must be one of the stack's models ({known}); got {release.model}"
        return
    if release.engine is None:
        return
    if model.backend != "triton":
        yield f"{path}.engine", f"{model.name} is served by {model.backend}, which reads no engine; leave engine out"
    elif model.gpu is not None and model.gpu.type != release.engine.gpu_model:
        yield (
            f"{path}.engine.gpuModel",
            f"{model.name} is served on {model.gpu.type}, and an engine runs only where it was built; set "
            f"{model.gpu.type}; got {release.engine.gpu_model}",
        )


def _buildable(settings: Settings, path: str, engine: EngineSettings) -> Iterator[Finding]:
    """There must be a node that the pod that builds fits on, with the GPUs that will serve."""
    shapes = [
        (group.name, shape)
        for group in settings.node_groups
        if group.role == "gpu-inference"
        for shape in settings.shapes(group)
    ]
    fitting = [(name, shape) for name, shape in shapes if shape.gpu_model == engine.gpu_model]
    if not fitting:
        known = ", ".join(sorted({shape.gpu_model for _, shape in shapes})) or "none"
        yield f"{path}.gpuModel", f"no group of gpu-inference has {engine.gpu_model}; there is {known}"
        return
    if engine.gpus > (most := max(shape.gpus for _, shape in fitting)):
        yield f"{path}.tensorParallel", f"needs {engine.gpus} GPUs in one node; the most is {most}"
        return
    memory = max(shape.memory_mib for _, shape in fitting if shape.gpus >= engine.gpus) // 1024
    if engine.memory_gib > memory:
        yield f"{path}.memoryGib", f"a node gives {memory} GiB to pods at most; lower it; got {engine.memory_gib}"
    disk = max(shape.ephemeral_storage_gib for _, shape in fitting if shape.gpus >= engine.gpus)
    if engine.disk_gib > disk:
        yield (
            f"{path}.diskGib",
            f"a node gives {disk} GiB to pods at most; lower it, or raise the group's rootVolumeGib; got "
            f"{engine.disk_gib}",
        )


def _judged(settings: Settings, index: int, one: FineTuneSettings) -> Iterator[Finding]:
    """Judges are models behind the gateway."""
    judge = one.evaluation.judge if one.evaluation else None
    if judge is None:
        return
    if not settings.platform.model_gateway.enabled:
        yield f"fineTunes[{index}].evaluation.judge", "needs platform.modelGateway.enabled, where judges are asked"
        return
    known = {*(each.name for each in settings.models), *(each.name for each in settings.hosted_models)}
    for field, name in (("model", judge.model), ("embeddings", judge.embeddings)):
        if name and name not in known:
            yield (
                f"fineTunes[{index}].evaluation.judge.{field}",
                f"must be a model of the stack ({', '.join(sorted(known)) or 'none is declared'}); got {name}",
            )
