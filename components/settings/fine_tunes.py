"""Fine-tunes: models of one's own, made from others with one's own data."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from components.settings.base import Name, Section
from components.settings.evaluation import EvaluationSettings
from components.settings.hosted_models import ModelName
from components.settings.models import GpuSettings, Source
from components.settings.release import ReleaseSettings

Method = Literal["full", "lora", "qlora"]

_DATA: Final = re.compile(r"(s3|gs)://[a-z0-9][a-z0-9._-]*(/[^\s/]+)+")
_PINNED: Final = re.compile(r"hf://[\w.-]+/[\w.-]+@[0-9a-f]{40}")

FineTuneName = Annotated[Name, Field(max_length=30)]
"""At most 30 characters: with ``fine-tune-`` and what a run adds the names of jobs hold it."""


def _data(value: str) -> str:
    if value and not _DATA.fullmatch(value):
        raise ValueError(f"must be s3://bucket/path or gs://bucket/path; got {value}")
    return value


class BaseModelSettings(Section):
    """The model that is tuned.

    Attributes:
        source: Where its weights come from: ``hf://org/name@<commit>``, ``s3://models/path``, ``models:/name/version``.
        architecture: Its name in the table of docs/sizing.md; unset where the source says it.
        config: Its ``config.json``, where it is not in that table.
    """

    source: Source
    architecture: str = ""
    config: dict[str, Any] | None = None

    @field_validator("source")
    @classmethod
    def _source_is_pinned(cls, value: str) -> str:
        if value.startswith("hosted:"):
            raise ValueError(f"must be weights of one's own; a hosted model cannot be tuned; got {value}")
        if value.startswith("file:"):
            raise ValueError(f"must be in the object store, the hub or the registry; pods mount no files; got {value}")
        if value.startswith("hf:") and not _PINNED.fullmatch(value):
            raise ValueError(f"must name the commit, hf://org/name@<40 hexadecimal digits>; got {value}")
        return value


class LoraSettings(Section):
    """Low-rank adapters, for methods ``lora`` and ``qlora``.

    Attributes:
        rank: Rank; more learns more, and takes memory.
        alpha: What the adapters add is multiplied by alpha / rank.
        dropout: Share of inputs that is left out while learning.
        targets: Names of the modules that get adapters; empty for every linear layer but the head, which the QLoRA
            paper found to matter most (arXiv:2305.14314, section 4).
    """

    rank: Annotated[int, Field(ge=1, le=512)] = 16
    alpha: Annotated[int, Field(ge=1, le=4096)] = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    targets: tuple[Annotated[str, Field(pattern=r"^[a-z0-9_.]+$")], ...] = ()


class ZeroSettings(Section):
    """DeepSpeed's ZeRO: the GPUs of all nodes share what each would hold by itself.

    Attributes:
        stage: 2 shares out gradients and optimizer state, 3 the parameters too.
        offload: What the hosts' memory holds: the optimizer's state, or the parameters too (stage 3).
    """

    stage: Literal[2, 3] = 3
    offload: Literal["none", "optimizer", "all"] = "none"

    @model_validator(mode="after")
    def _parameters_are_shared_out(self) -> Self:
        if self.offload == "all" and self.stage == 2:
            raise ValueError("offload: all needs stage 3; in stage 2 every GPU holds all parameters")
        return self


class LearningSettings(Section):
    """How it is learned.

    Attributes:
        epochs: Times that all data is seen.
        max_steps: Steps of the optimizer at most; 0 for as many as the epochs have.
        learning_rate: Highest learning rate; adapters take about ten times that of all weights.
        scheduler: How it falls after the warm-up.
        warmup_share: Share of all steps in which it rises.
        weight_decay: Of AdamW.
        max_gradient_norm: Gradients are clipped to it.
        batch_size: Sequences of one GPU in one pass.
        accumulation: Passes before the optimizer makes a step: the batch is this times batchSize times all GPUs.
        sequence_length: Tokens of a sequence at most; longer ones are cut, and counted.
        recompute: Activations are computed again on the way back, and not kept: a third more time, far less memory.
        precision: Of arithmetic; ``auto`` is bfloat16 where the GPU has it.
        seed: Of every random number.
    """

    epochs: Annotated[float, Field(gt=0, le=100)] = 3
    max_steps: Annotated[int, Field(ge=0)] = 0
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 2e-4
    scheduler: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = 0.03
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    max_gradient_norm: Annotated[float, Field(gt=0)] = 1.0
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 1
    accumulation: Annotated[int, Field(ge=1, le=4096)] = 16
    sequence_length: Annotated[int, Field(ge=16, le=1_000_000)] = 2048
    recompute: bool = True
    precision: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 17


class CheckpointSettings(Section):
    """When the state is saved, so that a run goes on after an interruption; and always on a spot node's notice.

    Attributes:
        every_minutes: Work that an interruption without notice may cost.
        keep: How many are kept while the run lasts; they go when the model is finished.
    """

    every_minutes: Annotated[float, Field(gt=0, le=1440)] = 30
    keep: Annotated[int, Field(ge=1, le=20)] = 2


class FineTuneSettings(Section):
    """One fine-tune: a training with its evaluation and release. Nothing runs until a pipeline or a person starts it.

    Attributes:
        name: Unique.
        base: The model that is tuned.
        dataset: Name of a dataset of this stack; its current state is learned from.
        data: Instead of that: address of a prepared dataset, such as ``s3://data/processed/manual``.
        team: Whose it is: it runs in the team's namespace, within its quota. Empty for the platform's own.
        method: ``full`` learns all weights; ``lora`` adapters beside them; ``qlora`` the same on weights of 4 bit.
        lora: The adapters.
        zero: Sharing out over GPUs; unset where every GPU holds everything.
        learning: How it is learned.
        gpu: Model and number of the GPUs of each node.
        nodes: Nodes, which start together or not at all.
        job: ``pytorch-job`` is the Training Operator's, and is told how often it starts again; ``train-job`` is
            Kubeflow Trainer's, whose runtimes start again three times: few for spot nodes.
        priority: ``training-preemptible`` leaves when others need room, and goes on from its checkpoint.
        checkpoints: When the state is saved.
        deadline_hours: When a run is stopped at the latest, waiting included.
        restarts: How often a ``pytorch-job`` starts again by itself.
        registered_model: Name in the model registry; unset for the fine-tune's own.
        merge: Adapters are merged into the weights, so that every server loads the model; else they are kept apart.
        evaluation: What the model must be able to do; unset for none.
        release: What becomes of it; unset where it is only trained.
    """

    name: FineTuneName
    base: BaseModelSettings
    dataset: str = ""
    data: Annotated[str, AfterValidator(_data)] = ""
    team: str = ""
    method: Method = "lora"
    lora: LoraSettings = LoraSettings()
    zero: ZeroSettings | None = None
    learning: LearningSettings = LearningSettings()
    gpu: GpuSettings
    nodes: Annotated[int, Field(ge=1, le=64)] = 1
    job: Literal["pytorch-job", "train-job"] = "pytorch-job"
    priority: Literal["training", "training-preemptible"] = "training-preemptible"
    checkpoints: CheckpointSettings = CheckpointSettings()
    deadline_hours: Annotated[int, Field(ge=1, le=720)] = 48
    restarts: Annotated[int, Field(ge=0, le=100)] = 10
    registered_model: ModelName | None = None
    merge: bool = True
    evaluation: EvaluationSettings | None = None
    release: ReleaseSettings | None = None

    @model_validator(mode="after")
    def _something_is_learned_from(self) -> Self:
        if bool(self.dataset) == bool(self.data):
            raise ValueError("either dataset or data must be set: what is learned from")
        return self

    @model_validator(mode="after")
    def _four_bit_weights_are_not_shared_out(self) -> Self:
        if self.method == "qlora" and self.zero is not None:
            raise ValueError("zero does not go with method qlora: weights of 4 bit are not shared out; take lora")
        return self

    @model_validator(mode="after")
    def _a_release_is_of_whole_weights(self) -> Self:
        if self.release is not None and not self.merge and self.method != "full":
            raise ValueError("release needs merge: true: servers of this platform load whole models")
        return self

    @property
    def gpus(self) -> int:
        """GPUs of one node."""
        return self.gpu.count or 1

    @property
    def registered(self) -> str:
        """Name in the model registry."""
        return self.registered_model or self.name


def repeated_names(fine_tunes: Sequence[FineTuneSettings]) -> Iterator[tuple[int, str]]:
    """Fine-tunes whose name another one has, or whose registered model: their place, and what to say."""
    names = Counter(one.name for one in fine_tunes)
    models: Mapping[str, int] = Counter(one.registered for one in fine_tunes)
    for index, one in enumerate(fine_tunes):
        if names[one.name] > 1:
            yield index, f"name must be unique; {names[one.name]} fine-tunes are named {one.name}"
        elif models[one.registered] > 1:
            yield (
                index,
                f"registeredModel must be unique; {models[one.registered]} fine-tunes register {one.registered}",
            )
