"""``config.pbtxt``: what Triton is told of one model, typed, and written as protobuf's text format. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

DataType = Literal[
    "TYPE_BOOL",
    "TYPE_UINT8",
    "TYPE_INT32",
    "TYPE_INT64",
    "TYPE_UINT64",
    "TYPE_FP16",
    "TYPE_FP32",
    "TYPE_BF16",
    "TYPE_STRING",
]


class Word(str):
    """A name of an enumeration: written without quotes."""

    __slots__ = ()


Value = str | int | float | bool | Word | Mapping[str, "Value | Sequence[Value] | None"]
"""One value of a message; a sequence of them is a repeated field, and none is a field that is not set."""

Fields = Mapping[str, Value | Sequence[Value] | None]


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An input or an output.

    Attributes:
        name: Its name.
        type: Its type.
        dims: Its shape without the batch; -1 where it varies.
        scalar: The backend takes the one value of a request without its last dimension.
        optional: Requests may leave it out; for inputs.
        ragged: Requests of one batch may have different shapes; for inputs.
    """

    name: str
    type: DataType
    dims: tuple[int, ...] = (1,)
    scalar: bool = False
    optional: bool = False
    ragged: bool = False

    def fields(self) -> Fields:
        """As a message ``ModelInput`` or ``ModelOutput``."""
        return {
            "name": self.name,
            "data_type": Word(self.type),
            "dims": self.dims,
            "reshape": {} if self.scalar else None,
            "optional": self.optional or None,
            "allow_ragged_batch": self.ragged or None,
        }


@dataclass(frozen=True, kw_only=True)
class DynamicBatching:
    """Requests are put together before they are run.

    Attributes:
        max_queue_delay_microseconds: How long a request waits for others.
        max_queue_size: Waiting requests above which one is refused; 0 for no limit.
        preferred_batch_sizes: Sizes at which a batch is run without waiting.
    """

    max_queue_delay_microseconds: int = 0
    max_queue_size: int = 0
    preferred_batch_sizes: tuple[int, ...] = ()

    def fields(self) -> Fields:
        """As a message ``ModelDynamicBatching``."""
        return {
            "preferred_batch_size": self.preferred_batch_sizes,
            "max_queue_delay_microseconds": self.max_queue_delay_microseconds or None,
            "default_queue_policy": {"max_queue_size": self.max_queue_size} if self.max_queue_size else None,
        }


@dataclass(frozen=True, kw_only=True)
class InstanceGroup:
    """How often a model is there.

    Attributes:
        count: Instances of it; for each GPU, where ``kind`` is one of GPUs.
        kind: What they run on. ``KIND_CPU`` for the TensorRT-LLM backend too, which manages its GPUs by itself.
        gpus: Which GPUs; for ``KIND_GPU``.
    """

    count: int = 1
    kind: Literal["KIND_AUTO", "KIND_CPU", "KIND_GPU", "KIND_MODEL"] = "KIND_CPU"
    gpus: tuple[int, ...] = ()

    def fields(self) -> Fields:
        """As a message ``ModelInstanceGroup``."""
        return {"count": self.count, "kind": Word(self.kind), "gpus": self.gpus}


@dataclass(frozen=True, kw_only=True)
class VersionPolicy:
    """Which versions in a model's folder are served.

    Attributes:
        latest: The newest so many; 0 where ``specific`` says it.
        specific: These and no others.
    """

    latest: int = 1
    specific: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.latest) == bool(self.specific):
            raise ValueError("version policy: say latest, or specific with latest=0")

    def fields(self) -> Fields:
        """As a message ``ModelVersionPolicy``."""
        if self.specific:
            return {"specific": {"versions": self.specific}}
        return {"latest": {"num_versions": self.latest}}


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """A request that is run while the model loads, before it counts as loaded.

    Attributes:
        name: For the log.
        inputs: Inputs, which are sent with zeros; strings are empty.
        batch_size: Requests in the batch.
    """

    name: str
    inputs: tuple[Tensor, ...]
    batch_size: int = 1

    def fields(self) -> Fields:
        """As a message ``ModelWarmup``."""
        return {
            "name": self.name,
            "batch_size": self.batch_size,
            "inputs": [
                {
                    "key": one.name,
                    "value": {
                        "data_type": Word(one.type),
                        "dims": tuple(max(1, size) for size in one.dims),
                        "zero_data": True,
                    },
                }
                for one in self.inputs
            ],
        }


@dataclass(frozen=True, kw_only=True)
class Step:
    """One model of an ensemble.

    Attributes:
        model: Its name.
        inputs: Its inputs, and the tensors of the ensemble that they get.
        outputs: Its outputs, and what the ensemble calls them.
        version: Which version of it; -1 for what its version policy says.
    """

    model: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    version: int = -1

    def fields(self) -> Fields:
        """As a message ``ModelEnsembling.Step``."""
        return {
            "model_name": self.model,
            "model_version": self.version,
            "input_map": _entries(self.inputs),
            "output_map": _entries(self.outputs),
        }


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """One model of a repository.

    Attributes:
        name: Its name, which is also that of its folder.
        backend: Who runs it; empty for an ensemble.
        max_batch_size: Requests in a batch at most.
        inputs: What it takes.
        outputs: What it gives.
        batching: How requests are put together; none for one by one.
        instances: How often it is there; an ensemble is nowhere.
        steps: The models of an ensemble, in order.
        decoupled: It may give any number of responses to a request: that is how tokens are streamed. An ensemble has
            this from its steps.
        parameters: What its backend reads.
        versions: Which of its versions are served.
        warm_ups: Requests that it answers before it counts as loaded.
        response_cache: The same request gets the same answer again.
    """

    name: str
    max_batch_size: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    backend: str = ""
    batching: DynamicBatching | None = None
    instances: tuple[InstanceGroup, ...] = ()
    steps: tuple[Step, ...] = ()
    decoupled: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    versions: VersionPolicy = VersionPolicy()
    warm_ups: tuple[WarmUp, ...] = ()
    response_cache: bool = False

    def __post_init__(self) -> None:
        if bool(self.backend) == bool(self.steps):
            raise ValueError(f"{self.name}: a model has a backend, or the steps of an ensemble")
        if self.steps and (self.batching or self.instances or self.decoupled):
            raise ValueError(f"{self.name}: batching, instances and decoupling are those of an ensemble's steps")
        if self.response_cache and self.decoupled:
            raise ValueError(f"{self.name}: answers that are streamed cannot be cached")
        for kind, tensors in (("input", self.inputs), ("output", self.outputs)):
            names = [one.name for one in tensors]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{self.name}: {kind} declared twice: {', '.join(twice)}")
        if self.steps:
            self._check_flow()

    def _check_flow(self) -> None:
        """Every tensor that a step takes was there before, and every output of the ensemble is made."""
        known = {one.name for one in self.inputs}
        for step in self.steps:
            if missing := sorted(set(step.inputs.values()) - known):
                raise ValueError(f"{self.name}: step {step.model} takes {', '.join(missing)}, which nobody gives")
            known |= set(step.outputs.values())
        if missing := sorted({one.name for one in self.outputs} - known):
            raise ValueError(f"{self.name}: no step gives {', '.join(missing)}")

    def fields(self) -> Fields:
        """As a message ``ModelConfig``."""
        return {
            "name": self.name,
            "backend": self.backend or None,
            "platform": "ensemble" if self.steps else None,
            "max_batch_size": self.max_batch_size,
            "version_policy": self.versions.fields(),
            "input": [one.fields() for one in self.inputs],
            "output": [one.fields() for one in self.outputs],
            "model_transaction_policy": {"decoupled": True} if self.decoupled else None,
            "dynamic_batching": self.batching.fields() if self.batching else None,
            "instance_group": [one.fields() for one in self.instances],
            "ensemble_scheduling": {"step": [one.fields() for one in self.steps]} if self.steps else None,
            "parameters": [
                {"key": key, "value": {"string_value": value}} for key, value in sorted(self.parameters.items())
            ],
            "model_warmup": [one.fields() for one in self.warm_ups],
            "response_cache": {"enable": True} if self.response_cache else None,
        }


def pbtxt(config: ModelConfig) -> str:
    """The file ``config.pbtxt``."""
    return "\n".join(_lines(config.fields(), "")) + "\n"


def _entries(mapping: Mapping[str, str]) -> list[Value]:
    return [{"key": key, "value": value} for key, value in mapping.items()]


def _lines(fields: Fields, indent: str) -> Iterator[str]:
    for name, value in fields.items():
        if value is None:
            continue
        several = [value] if isinstance(value, (str, int, float, Mapping)) else value
        for one in several:
            if isinstance(one, Mapping):
                yield f"{indent}{name} {{"
                yield from _lines(one, indent + "  ")
                yield f"{indent}}}"
            else:
                yield f"{indent}{name}: {_scalar(one)}"


def _scalar(value: str | float | Word) -> str:
    match value:
        case Word():
            return str(value)
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False)  # its escapes are those of the text format
        case _:
            return repr(value)
