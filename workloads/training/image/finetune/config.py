"""What one fine-tune does; the only argument of the program. Needs neither torch nor Transformers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from workloads.artifacts import JSON, key_of

Method = Literal["full", "lora", "qlora"]
Offload = Literal["none", "optimizer", "all"]
Scheduler = Literal["cosine", "linear", "constant_with_warmup"]
Precision = Literal["auto", "bfloat16", "float16", "float32"]

_BASE: Final = re.compile(
    r"hf://[\w.-]+/[\w.-]+@[\w./-]+|(s3|gs|file)://[^\s]*[^\s/]/?|models:/[^\s/@]+(/\d+|@[^\s/@]+)"
)
_URL: Final = re.compile(r"(s3|gs|file)://[^\s]*[^\s/]/?")


def _base(value: str) -> str:
    if not _BASE.fullmatch(value):
        raise ValueError(
            "must be hf://org/name@revision, s3://…, gs://…, file:///…, models:/name/version or models:/name@alias; "
            f"got {value}"
        )
    return value


def _url(value: str) -> str:
    if not _URL.fullmatch(value):
        raise ValueError(f"must be s3://…, gs://… or file:///…; got {value}")
    return value.rstrip("/")


Url = Annotated[str, AfterValidator(_url)]


class Part(BaseModel):
    """Base of all parts: camelCase or snake_case, no unknown keys, immutable."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class Data(Part):
    """What is learned from.

    Attributes:
        url: A prepared dataset, with its manifest; a folder of datasets, for the one that is current there; or one file
            of JSON lines for a try.
        training: Folder of the dataset that is learned from.
        validation: Folder that the loss is measured on; where the dataset has none, none is measured.
    """

    url: Url
    training: str = "train"
    validation: str = "evaluation"


class Lora(Part):
    """Low-rank adapters.

    Attributes:
        rank: Rank of the two matrices.
        alpha: Scale: what the adapters add is multiplied by alpha / rank.
        dropout: Share of inputs that is left out while learning.
        targets: Names of the modules that get adapters; ``all-linear`` for every linear layer but the head.
    """

    rank: Annotated[int, Field(ge=1, le=512)] = 16
    alpha: Annotated[int, Field(ge=1)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    targets: tuple[str, ...] | Literal["all-linear"] = "all-linear"


class Zero(Part):
    """DeepSpeed's ZeRO: parameters, gradients and optimizer state are shared out over all GPUs.

    Attributes:
        stage: 2 shares out gradients and optimizer state, 3 the parameters too.
        offload: What is kept in the host's memory: the optimizer's state, or the parameters too (stage 3).
    """

    stage: Literal[2, 3] = 3
    offload: Offload = "none"

    @model_validator(mode="after")
    def _parameters_are_shared_out(self) -> Self:
        if self.offload == "all" and self.stage == 2:
            raise ValueError("offload: all needs stage 3: in stage 2 every GPU holds all parameters")
        return self


class Optimization(Part):
    """How it is learned.

    Attributes:
        epochs: Times that all data is seen.
        max_steps: Steps of the optimizer at most; 0 for as many as the epochs have.
        learning_rate: Highest learning rate.
        scheduler: How the learning rate falls after the warm-up.
        warmup_share: Share of all steps in which it rises.
        weight_decay: Of AdamW.
        max_gradient_norm: Gradients are clipped to it.
        batch_size: Sequences of one GPU in one pass.
        accumulation: Passes before the optimizer makes a step.
        sequence_length: Tokens of a sequence at most; longer ones are cut, and counted.
        recompute: Activations are computed again on the way back, and not kept (gradient checkpointing).
        precision: Of arithmetic; ``auto`` is bfloat16 where the GPU has it, float16 where not, float32 on a CPU.
        seed: Of every random number.
    """

    epochs: Annotated[float, Field(gt=0)] = 3
    max_steps: Annotated[int, Field(ge=0)] = 0
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-4
    scheduler: Scheduler = "cosine"
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = 0.03
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_gradient_norm: Annotated[float, Field(gt=0)] = 1.0
    batch_size: Annotated[int, Field(ge=1)] = 1
    accumulation: Annotated[int, Field(ge=1)] = 16
    sequence_length: Annotated[int, Field(ge=8)] = 2048
    recompute: bool = True
    precision: Precision = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 17


class Checkpoints(Part):
    """When the state is saved, so that a run can go on after an interruption.

    Attributes:
        every_minutes: Time between two checkpoints; 0 for none by time.
        every_steps: Steps between two checkpoints; 0 for none by steps.
        keep: How many are kept; the last one is never removed before the next one is whole.
    """

    every_minutes: Annotated[float, Field(ge=0)] = 30
    every_steps: Annotated[int, Field(ge=0)] = 0
    keep: Annotated[int, Field(ge=1)] = 2


class Output(Part):
    """Where things go.

    Attributes:
        models: Folder of finished models; each has a folder of its own in it, named by its key.
        checkpoints: Folder of checkpoints; they are removed when the model is finished.
        merge: Adapters are merged into the weights, so that every server can load the model; else they are kept apart.
        registered_model: Name in the model registry; empty for none.
        experiment: Experiment that the run is logged in.
    """

    models: Url
    checkpoints: Url
    merge: bool = True
    registered_model: str = ""
    experiment: str = "fine-tuning"


class FineTuneConfig(Part):
    """One fine-tune.

    Attributes:
        name: Of the fine-tune; lower-case letters, digits and hyphens.
        base: The model that is tuned: a folder, ``hf://org/name@revision``, or a registered model.
        method: All weights, low-rank adapters, or the same on weights of 4 bit.
        image: Tag of the image, for the lineage; another image makes another model.
        data: What is learned from.
        lora: Adapters; not for method ``full``.
        zero: Sharing out over GPUs; none for plain data parallelism.
        optimization: How it is learned.
        checkpoints: When the state is saved.
        output: Where things go.
        log_every_steps: Steps between two lines of metrics.
        metrics_port: Port of ``/metrics``; 0 for none.
    """

    name: Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$")]
    base: Annotated[str, AfterValidator(_base)]
    method: Method = "lora"
    image: str = ""
    data: Data
    lora: Lora = Lora()
    zero: Zero | None = None
    optimization: Optimization = Optimization()
    checkpoints: Checkpoints = Checkpoints()
    output: Output
    log_every_steps: Annotated[int, Field(ge=1)] = 10
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 9100

    @model_validator(mode="after")
    def _four_bit_weights_stay_on_the_gpu(self) -> Self:
        if self.method == "qlora" and self.zero is not None:
            raise ValueError(
                "zero does not go with method qlora: weights of 4 bit are not shared out; take lora, or leave zero out"
            )
        return self

    @property
    def adapters(self) -> bool:
        """Whether only adapters are learned."""
        return self.method != "full"


def inputs_of(config: FineTuneConfig, *, data_key: str, processes: int) -> Mapping[str, JSON]:
    """Everything that decides what comes out; what only says where and how often is left out.

    Args:
        config: The fine-tune.
        data_key: Key of the dataset, or hash of the file.
        processes: GPUs together: the batch is so many times as large.
    """
    decisive: dict[str, Any] = config.model_dump(
        mode="json", include={"name", "base", "method", "image", "zero", "optimization"}
    )
    return {
        "program": "finetune/1",
        **decisive,
        "lora": config.lora.model_dump(mode="json") if config.adapters else None,
        "merge": config.adapters and config.output.merge,
        "data": {"key": data_key, "training": config.data.training},
        "processes": processes,
    }


def model_key(config: FineTuneConfig, *, data_key: str, processes: int) -> str:
    """Key of the model that comes out: known before anything has run."""
    return key_of(inputs_of(config, data_key=data_key, processes=processes))
