"""What one evaluation is told: the ``--config`` of the pod."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from workloads.artifacts.configuration import Part, Url, parsed

Endpoint = Annotated[str, Field(pattern=r"^https?://\S+$")]


class Version(Part):
    """A version of a registered model.

    Attributes:
        name: The registered model.
        version: Its number.
    """

    name: Annotated[str, Field(min_length=1)]
    version: Annotated[str, Field(pattern=r"^[1-9]\d*$")]


class Served(Part):
    """A model that answers at an OpenAI-style API: behind the gateway, or a server of its own.

    Attributes:
        url: The API, with ``/v1``.
        model: Its name there.
        key: Variable of the environment with the key; an empty or missing one sends none.
        concurrency: Questions under way at once.
        timeout_seconds: For one answer.
        patience_seconds: How long a question is put again that nobody answers: a cold start, a rate limit.
    """

    url: Endpoint
    model: Annotated[str, Field(min_length=1)]
    key: str = "GATEWAY_KEY"
    concurrency: Annotated[int, Field(ge=1)] = 8
    timeout_seconds: Annotated[float, Field(gt=0)] = 300
    patience_seconds: Annotated[float, Field(ge=0)] = 900


class Judge(Served):
    """Who judges.

    Attributes:
        embeddings: Embedding model at the same API; empty for none.
        attempts: How often a question is put whose answer cannot be read.
        structured: Ask for answers by JSON schema.
        max_unjudged_percent: Share of unreadable judgements above which a measure is not judged.
    """

    timeout_seconds: Annotated[float, Field(gt=0)] = 120
    embeddings: str = ""
    attempts: Annotated[int, Field(ge=1)] = 3
    structured: bool = True
    max_unjudged_percent: Annotated[float, Field(ge=0, lt=100)] = 5


class Criterion(Part):
    """A criterion in words.

    Attributes:
        name: Name of the measure.
        text: What a good answer does.
    """

    name: str
    text: str


class Suite(Part):
    """Questions, and by what their answers are judged.

    Attributes:
        name: First part of its measures' names.
        kind: The library that judges.
        data: File of cases.
        sha256: Of the file; empty takes what is there.
        metrics: By which answers are judged.
        criteria: More, in words.
        give_contexts: Put the contexts of a case into the question.
        max_cases: Cases that are taken; 0 for all.
        max_tokens: Tokens of one answer at most.
    """

    name: str
    kind: Literal["ragas", "deepeval"]
    data: Url
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    metrics: tuple[str, ...] = ()
    criteria: tuple[Criterion, ...] = ()
    give_contexts: bool = True
    max_cases: Annotated[int, Field(ge=0)] = 0
    max_tokens: Annotated[int, Field(ge=1)] = 512


class ThresholdPart(Part):
    """What a measure must reach; see ``workloads.evaluation.gate.Threshold``.

    Attributes:
        min: At least so much.
        max: At most so much.
        max_decrease: At most so much less than the other version.
        max_increase: At most so much more.
        over: The alias of the other version.
        hold: What is held against the bounds.
    """

    min: float | None = None
    max: float | None = None
    max_decrease: float | None = None
    max_increase: float | None = None
    over: str = "production"
    hold: Literal["interval", "value"] = "interval"


class Config(Part):
    """One evaluation.

    Attributes:
        task: ``evaluate`` asks, records and, where ``alias`` is set, promotes; ``promote`` only promotes what has
            passed.
        model: The version that is evaluated.
        subject: Where it answers; unset where ``answers`` holds its answers.
        answers: Folder of an artifact with its answers and its losses on held-out data, made where the weights are.
        judge: Who judges.
        suites: Questions with their metrics.
        held_out: The artifact's losses are a measure.
        thresholds: By measure.
        confidence: Share of the confidence intervals.
        resamples: Samples of the bootstrap.
        min_cases: Cases below which a measure is not judged.
        seed: Of the bootstrap.
        alias: Alias of the registry that the version gets if it passes; empty for none.
        by: Who asks for it, such as the name of a workflow; for people.
        message_file: Where the reason is left for Kubernetes; nothing is written where it cannot be.
        results: Folder for what later steps read: ``verdict``, ``reasons``, ``version``.
    """

    task: Literal["evaluate", "promote"] = "evaluate"
    model: Version
    subject: Served | None = None
    answers: Annotated[str, Field(pattern=r"^((s3|gs|file)://\S+)?$")] = ""
    judge: Judge | None = None
    suites: tuple[Suite, ...] = ()
    held_out: bool = False
    thresholds: dict[str, ThresholdPart] = Field(default_factory=dict[str, ThresholdPart])
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    resamples: Annotated[int, Field(ge=100)] = 2000
    min_cases: Annotated[int, Field(ge=1)] = 20
    seed: int = 0
    alias: str = ""
    by: str = ""
    message_file: str = "/dev/termination-log"
    results: str = "/tmp/results"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.task == "promote":
            if not self.alias:
                raise ValueError("alias must be set for task promote")
            return self
        if not self.suites and not self.held_out:
            raise ValueError("name suites or heldOut; else there is nothing to evaluate")
        if self.suites and self.subject is None and not self.answers:
            raise ValueError("name subject or answers; else nobody answers the suites")
        if self.held_out and not self.answers:
            raise ValueError("heldOut needs answers: losses are computed where the weights are")
        return self


def parse(text: str) -> Config:
    """Read ``--config``.

    Raises:
        ConfigError: It cannot be used.
    """
    return parsed(Config.model_validate_json, text)
