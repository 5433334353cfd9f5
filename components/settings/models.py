"""Models of one's own: one declaration, whichever backend serves it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from components.settings.base import Name, Section
from components.settings.hosted_models import ModelName
from components.settings.model_backends import ManagedSettings, TritonSettings
from components.settings.platform.serving import Stage

BackendName = Literal["vllm", "triton", "sagemaker", "vertex", "hosted"]

Quantization = Literal["none", "fp8", "int8", "awq", "gptq", "mxfp4"]

# Longest name of a model: with the longest name of a variant KServe's 40 characters hold both.
_NAME_LENGTH: Final = 30
_VARIANT_LENGTH: Final = 9

_SOURCES: Final = {
    "hf": re.compile(r"hf://[\w.-]+/[\w.-]+(@[\w./-]+)?"),
    "s3": re.compile(r"s3://[a-z0-9][a-z0-9.-]*(/[^\s/]+)+/?"),
    "gs": re.compile(r"gs://[a-z0-9][a-z0-9._-]*(/[^\s/]+)+/?"),
    "file": re.compile(r"file:///?[^\s/]+(/[^\s/]+)*/?"),
    "models": re.compile(r"models:/[^\s/@]+(/\d+|@[^\s/@]+)"),
    "hosted": re.compile(r"hosted://[a-z]+/[A-Za-z0-9][A-Za-z0-9.:_-]*"),
}
_FORMS: Final = (
    "hf://org/name[@revision], s3://bucket/path, gs://bucket/path, file:///volume/path, models:/name@alias, "
    "models:/name/version, hosted://provider/model"
)


def _source(value: str) -> str:
    if not any(form.fullmatch(value) for form in _SOURCES.values()):
        raise ValueError(f"must be one of {_FORMS}; got {value}")
    return value


Source = Annotated[str, AfterValidator(_source)]
"""Where weights come from."""


class GpuSettings(Section):
    """GPUs of one server.

    Attributes:
        type: Lower-case model such as ``a10g``.
        count: How many; unset for the fewest that hold the model.
    """

    type: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    count: Annotated[int, Field(ge=1, le=16)] | None = None


class ReplicaSettings(Section):
    """Servers of a model.

    Attributes:
        min: Servers at least; 0 for none while nobody calls.
        max: Servers at most.
    """

    min: Annotated[int, Field(ge=0, le=100)] = 0
    max: Annotated[int, Field(ge=1, le=100)] = 1

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}; raise max or lower min")
        return self


class ObjectiveSettings(Section):
    """What a model promises; alerts and the smoke test hold it to that.

    Attributes:
        p99_seconds: 99 of 100 answers are whole within so many seconds, at a running server.
        error_percent: Share of requests that may fail.
    """

    p99_seconds: Annotated[float, Field(gt=0, le=3600)] = 2
    error_percent: Annotated[float, Field(gt=0, lt=100)] = 1


class ThroughputSettings(Section):
    """What a model is counted on for.

    Attributes:
        tokens_per_second: Tokens of answers a second, from all of its servers. The price of a million tokens is
            computed with it; unset, with the estimate for one busy server.
    """

    tokens_per_second: Annotated[float, Field(gt=0)] | None = None


class BaselineSettings(Section):
    """How much worse than the model itself a canary may be before it must go.

    Attributes:
        error_points: Failed requests above the model's own share, in percentage points.
        latency_factor: Its P99 over the model's own.
        minutes: How long it must have been worse.
        requests: Requests in that time below which nothing is concluded.
    """

    error_points: Annotated[float, Field(gt=0, le=100)] = 1
    latency_factor: Annotated[float, Field(gt=1, le=10)] = 1.5
    minutes: Annotated[int, Field(ge=1, le=1440)] = 10
    requests: Annotated[int, Field(ge=10)] = 50


class CanarySettings(Section):
    """A new version that answers a share of the requests.

    Attributes:
        source: Where its weights come from; everything else is the model's.
        percent: Share of the requests that it answers.
        state: ``running``: it answers its share. ``promoted``: the model's own servers are rolled to its weights, and
            it answers its share until it is taken out of the settings. ``rolled-back``: it answers nothing and has no
            server.
        baseline: What it is held against; the alert that says to roll it back compares with this.
    """

    source: Source
    percent: Annotated[int, Field(ge=1, le=50)] = 10
    state: Literal["running", "promoted", "rolled-back"] = "running"
    baseline: BaselineSettings | None = None


class VariantSettings(Section):
    """One more version of a model in an A/B test.

    Attributes:
        name: Unique in the model; its servers are ``<model>-<name>``.
        source: Where its weights come from; everything else is the model's.
        weight: Its share of the requests, beside the weights of the others.
    """

    name: Annotated[Name, Field(max_length=_VARIANT_LENGTH)]
    source: Source
    weight: Annotated[int, Field(ge=1, le=1000)] = 1


class AbSettings(Section):
    """An A/B test: several versions answer side by side.

    Attributes:
        weight: The model's own share, beside the weights of the variants.
        variants: The others; none for no test.
        sticky: Whoever sends a session in the header ``x-litellm-session-id`` stays with the version that answered
            first, for an hour.
    """

    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    variants: tuple[VariantSettings, ...] = ()
    sticky: bool = True

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [one.name for one in self.variants]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"variants must have different names; twice: {', '.join(twice)}")
        if taken := sorted({"stable", "canary"} & set(names)):
            raise ValueError(f"variants must not be named {', '.join(taken)}: the model itself and its canary are")
        return self


class ModelBudgetSettings(Section):
    """What a model may cost.

    Attributes:
        monthly_usd: Its servers at their maximum for a month, in US dollars; unset for no limit of its own.
    """

    monthly_usd: Annotated[float, Field(gt=0)] | None = None


class ModelColdStartSettings(Section):
    """Stages of a cold start in seconds, where they are not those of ``platform.serving.coldStart`` or the estimate.

    Attributes:
        node_seconds: A new node.
        image_seconds: Pulling the image.
        weights_seconds: Fetching the weights.
        compile_seconds: Compilation.
        warm_up_seconds: Warm-up.
    """

    node_seconds: Stage | None = None
    image_seconds: Stage | None = None
    weights_seconds: Stage | None = None
    compile_seconds: Stage | None = None
    warm_up_seconds: Stage | None = None


class SmokeSettings(Section):
    """The request that every ``up`` sends to a new or changed model, through the gateway and to its servers.

    Attributes:
        enabled: Send it; ``up`` fails where the answer is wrong or late.
        wakes: Send it to a model that may have no server too: that wakes it, and waits for its cold start.
        prompt: What is asked.
        expected: Regular expression that the answer must match; upper and lower case are the same.
    """

    enabled: bool = True
    wakes: bool = True
    prompt: Annotated[str, Field(min_length=1, max_length=2000)] = "What is the capital of France? One word."
    expected: Annotated[str, Field(min_length=1)] = "paris"

    @model_validator(mode="after")
    def _is_an_expression(self) -> Self:
        try:
            re.compile(self.expected)
        except re.error as error:
            raise ValueError(f"expected must be a regular expression: {error}; got {self.expected}") from None
        return self


class ModelSettings(Section):
    """One model, ten lines: what it is, what it runs on, what it promises.

    Attributes:
        name: What clients put into ``model``; unique among all models of the stack.
        source: Where its weights come from: ``hf://org/name[@revision]``; ``s3://models/path`` or
            ``gs://models/path``, a path in the stack's bucket ``models``, ``mlflow`` or ``data``;
            ``file:///volume/path``, a path on one of the stack's shared file systems; ``models:/name@alias`` or
            ``models:/name/version`` of the model registry; ``hosted://bedrock/model``, for backend ``hosted``.
        refresh: Any text. An alias of the registry is looked up once and stays with the version that it then named;
            another text here looks it up again.
        architecture: Name in the catalogue of architectures (docs/sizing.md), such as
            ``meta-llama/Llama-3.1-8B-Instruct``; not needed where the source is ``hf://`` and in the catalogue itself.
        config: Entries of the model's ``config.json``, instead of ``architecture``, for one that is not in the
            catalogue.
        quantization: How weights are stored. ``none`` is 16 bit.
        quantize_on_load: The source has 16 bit, and the server quantizes while it loads; only with ``fp8``.
        kv_dtype: How the KV cache is stored: 16 bit, or ``fp8``.
        context: Tokens of one request at most, with its answer.
        concurrency: Requests under way in one server, each at its full context.
        gpu: GPUs of one server; not for backend ``hosted``.
        replicas: Servers.
        objective: What it promises.
        throughput: What it is counted on for.
        backend: Who serves it: vLLM or Triton on the cluster, an endpoint that the cloud manages, or a model that the
            cloud hosts.
        canary: A new version that answers a share of the requests.
        ab: An A/B test.
        fallbacks: Models that are asked, in this order, when no version of this one answered.
        team: Whose it is; its servers run in the team's namespace, against its quota. Empty: the platform's.
        budget: What it may cost.
        cold_start: What differs in its cold start.
        arguments: More arguments of vLLM, such as ``--seed=7``; only those that change neither what fits nor how it is
            reached.
        smoke: The request that every ``up`` sends.
        triton: Only for backend ``triton``.
        managed: Only for the backends ``sagemaker`` and ``vertex``.
    """

    name: Annotated[Name, Field(max_length=_NAME_LENGTH)]
    source: Source
    refresh: str = ""
    architecture: str = ""
    config: dict[str, Any] = Field(default_factory=dict[str, Any])
    quantization: Quantization = "none"
    quantize_on_load: bool = False
    kv_dtype: Literal["auto", "fp8"] = "auto"
    context: Annotated[int, Field(ge=128, le=10_000_000)] = 8192
    concurrency: Annotated[int, Field(ge=1, le=1024)] = 8
    gpu: GpuSettings | None = None
    replicas: ReplicaSettings = ReplicaSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    throughput: ThroughputSettings = ThroughputSettings()
    backend: BackendName = "vllm"
    canary: CanarySettings | None = None
    ab: AbSettings = AbSettings()
    fallbacks: tuple[ModelName, ...] = ()
    team: Annotated[str, Field(max_length=30)] = ""
    budget: ModelBudgetSettings = ModelBudgetSettings()
    cold_start: ModelColdStartSettings = ModelColdStartSettings()
    arguments: tuple[str, ...] = ()
    smoke: SmokeSettings = SmokeSettings()
    triton: TritonSettings | None = None
    managed: ManagedSettings | None = None
