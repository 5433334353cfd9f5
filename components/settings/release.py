"""Releases: what becomes of a fine-tune after it was trained and evaluated, and who decides."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from components.settings.base import Section
from components.settings.hosted_models import ModelName
from components.settings.platform.backups import Cron

_ALIAS: Final = r"^[A-Za-z][A-Za-z0-9_-]{0,49}$"

Quantization = Literal["none", "fp8", "int8-weights", "int4-awq"]
"""How an engine keeps its weights: as they were trained, or smaller."""


class EngineSettings(Section):
    """The TensorRT-LLM engine, for a model that Triton serves. It fits one GPU model and one version, and no other.

    Attributes:
        gpu_model: Lower-case model of the GPU that will serve it, such as ``a10g``: it is built on that.
        tensor_parallel: GPUs over which each layer is spread.
        pipeline_parallel: GPUs over which layers are shared out.
        max_batch_size: Requests that run together at most.
        max_input_tokens: Tokens of a question at most.
        max_sequence_tokens: Tokens of question and answer together at most.
        max_num_tokens: Tokens of one step at most; more makes long questions faster and takes memory.
        quantization: How weights are kept. ``fp8`` needs Ada or Hopper GPUs, and is calibrated.
        kv_cache: How the KV cache is kept; ``fp8`` halves it, and needs the same GPUs.
        calibration: File of JSON lines with ``text`` in the bucket ``data``, such as ``raw/calibration.jsonl``; texts
            like those that will be asked. For ``fp8`` and ``int4-awq``, which find their scales with it.
        build_hours: When a build that has not ended is stopped.
        memory_gib: Memory of the pods that convert and build; the weights with half as much again, at the least.
        disk_gib: Disk of the pod that builds; about three times the weights: source, checkpoint, engine.
    """

    gpu_model: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    tensor_parallel: Annotated[int, Field(ge=1, le=16)] = 1
    pipeline_parallel: Annotated[int, Field(ge=1, le=16)] = 1
    max_batch_size: Annotated[int, Field(ge=1, le=4096)] = 64
    max_input_tokens: Annotated[int, Field(ge=16, le=1_000_000)] = 4096
    max_sequence_tokens: Annotated[int, Field(ge=32, le=1_000_000)] = 8192
    max_num_tokens: Annotated[int, Field(ge=16, le=1_000_000)] = 8192
    quantization: Quantization = "none"
    kv_cache: Literal["auto", "fp8"] = "auto"
    calibration: Annotated[str, Field(pattern=r"^(raw/[\w./=+-]+\.jsonl)?$")] = ""
    build_hours: Annotated[int, Field(ge=1, le=24)] = 4
    memory_gib: Annotated[int, Field(ge=4, le=2000)] = 24
    disk_gib: Annotated[int, Field(ge=10, le=2000)] = 100

    @model_validator(mode="after")
    def _lengths_are_ordered(self) -> Self:
        if self.max_input_tokens >= self.max_sequence_tokens:
            raise ValueError(
                f"maxInputTokens {self.max_input_tokens} leaves no room for an answer within maxSequenceTokens "
                f"{self.max_sequence_tokens}; lower the first or raise the second"
            )
        return self

    @model_validator(mode="after")
    def _quantizations_go_together(self) -> Self:
        calibrated = self.quantization in ("fp8", "int4-awq") or self.kv_cache == "fp8"
        if calibrated and not self.calibration:
            raise ValueError(
                f"calibration must name a file such as raw/calibration.jsonl: quantization {self.quantization} with "
                f"kvCache {self.kv_cache} finds its scales with texts"
            )
        if self.quantization == "int8-weights" and self.kv_cache == "fp8":
            raise ValueError("kvCache: fp8 does not go with quantization int8-weights; take fp8, or kvCache: auto")
        return self

    @property
    def gpus(self) -> int:
        """GPUs of one server, and of the pod that builds."""
        return self.tensor_parallel * self.pipeline_parallel


class ReleaseSettings(Section):
    """How a fine-tune is released. Without an engine a release ends when the version has its alias: vLLM reads it so.

    Attributes:
        schedule: When the whole flow runs by itself, in UTC; unset for never. What has not changed is not done again.
        watch_alias: Alias of the registered model that asks for a release: the version that has it goes through the
            flow from its evaluation on. Empty for none.
        watch_minutes: How often that alias is looked at.
        candidate_alias: What a version is given by the flow itself when it has passed its evaluation.
        production_alias: What a version is given at the end.
        promote: Who gives the second alias: ``by-hand`` is a person with ``ops models promote``; ``automatic`` is the
            flow, when the smoke test has passed.
        model: Name of the model behind the gateway (``models``) that serves this fine-tune; its smoke test's question
            is asked. Empty where none does yet.
        engine: The engine to build; unset for a model that vLLM serves.
        judge_monthly_usd: What the judges of its evaluation may cost in 30 days, at the model gateway.
        late_hours: After so many hours without a successful run of the schedule an alert fires.
    """

    schedule: Cron | None = None
    watch_alias: Annotated[str, Field(pattern=rf"{_ALIAS}|^$")] = ""
    watch_minutes: Annotated[int, Field(ge=5, le=59)] = 15
    candidate_alias: Annotated[str, Field(pattern=_ALIAS)] = "candidate"
    production_alias: Annotated[str, Field(pattern=_ALIAS)] = "production"
    promote: Literal["by-hand", "automatic"] = "by-hand"
    model: ModelName | Literal[""] = ""
    engine: EngineSettings | None = None
    judge_monthly_usd: Annotated[int, Field(ge=1, le=100_000)] = 50
    late_hours: Annotated[int, Field(ge=1, le=24 * 31)] = 48

    @model_validator(mode="after")
    def _aliases_are_apart(self) -> Self:
        if self.candidate_alias == self.production_alias:
            raise ValueError(
                f"candidateAlias and productionAlias are both {self.candidate_alias}; the first is given by the flow "
                "and the second means that the version serves"
            )
        if self.watch_alias and self.watch_alias in (self.candidate_alias, self.production_alias):
            raise ValueError(
                f"watchAlias must not be {self.watch_alias}, which the flow gives itself: it would never end"
            )
        return self
