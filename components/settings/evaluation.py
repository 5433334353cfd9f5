"""Evaluation of a model: what it is asked, who judges the answers, and what it must reach."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from components.settings.base import Name, Section
from components.settings.hosted_models import ModelName

SuiteKind = Literal["ragas", "deepeval"]

METRICS: Final[Mapping[SuiteKind, tuple[str, ...]]] = {
    "ragas": (
        "faithfulness",
        "answerRelevancy",
        "answerAccuracy",
        "contextPrecision",
        "contextRecall",
        "contextRelevance",
        "factualCorrectness",
        "responseGroundedness",
        "semanticSimilarity",
        "exactMatch",
    ),
    "deepeval": (
        "answerRelevancy",
        "faithfulness",
        "contextualPrecision",
        "contextualRecall",
        "contextualRelevancy",
        "hallucination",
        "bias",
        "toxicity",
        "exactMatch",
    ),
}
"""Metrics of each library that one answer can be judged by. All are between 0 and 1, and 1 is best: in DeepEval 4 that
is so for ``bias``, ``toxicity`` and ``hallucination`` too."""

EMBEDDING_METRICS: Final[Mapping[SuiteKind, frozenset[str]]] = {
    "ragas": frozenset({"answerRelevancy", "semanticSimilarity"}),
    "deepeval": frozenset(),
}
"""Metrics that compare embeddings, and need an embedding model beside the judge."""

UNJUDGED_METRICS: Final = frozenset({"exactMatch"})
"""Metrics that are computed; every other one asks the judge, but for those that compare embeddings alone."""

HELD_OUT: Final = "heldOut"
"""Suite of the loss on held-out data, in the names of measures."""

HELD_OUT_METRICS: Final = ("loss", "perplexity")

_DATA = re.compile(r"(s3|gs|file)://[^\s/]*(/[^\s/]+)+")
_REGISTRY_ALIAS = r"^[A-Za-z][A-Za-z0-9_-]{0,49}$"


def _data(value: str) -> str:
    if not _DATA.fullmatch(value):
        raise ValueError(f"must be a URL such as s3://data/evaluation/questions.jsonl; got {value}")
    return value


DataUrl = Annotated[str, AfterValidator(_data)]
"""Where a file lies; ``s3://data/path`` is a path in the stack's bucket ``data``."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

Alias = Annotated[str, Field(pattern=_REGISTRY_ALIAS)]
"""An alias of the model registry; never one that looks like a version, such as ``v1``, which MLflow refuses."""


class JudgeSettings(Section):
    """Who judges answers: another model behind the model gateway.

    Attributes:
        model: Name at the gateway; never the model that is judged.
        embeddings: Embedding model at the gateway, for metrics that compare embeddings; empty for none.
        concurrency: Questions to the judge under way at once.
        timeout_seconds: For one answer of the judge.
        attempts: How often one question is put before its answer counts as unparsable or missing.
        structured: Ask for answers by JSON schema (``response_format``), which vLLM and most providers hold the model
            to; without, the schema is in the prompt alone.
        max_unjudged_percent: Share of the judgements of one metric that may be missing, because the judge's answer
            could not be read. Above it the metric counts as not reached.
    """

    model: ModelName
    embeddings: ModelName | Literal[""] = ""
    concurrency: Annotated[int, Field(ge=1, le=128)] = 8
    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 120
    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    structured: bool = True
    max_unjudged_percent: Annotated[float, Field(ge=0, lt=100)] = 5


class CriterionSettings(Section):
    """A criterion in words, judged by DeepEval's G-Eval.

    Attributes:
        name: Name of the measure, unique in its suite.
        text: What a good answer does, in one or a few sentences.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][A-Za-z0-9]{0,39}$")]
    text: Annotated[str, Field(min_length=10, max_length=4000)]


class SuiteSettings(Section):
    """Questions, and by what their answers are judged.

    Attributes:
        name: Unique; the first part of the names of its measures: ``<name>.<metric>``.
        kind: The library that judges.
        data: File of cases, JSON Lines: ``input``, and as the metrics need them ``reference`` (the right answer),
            ``contexts`` (list of texts that the answer should rest on), ``messages`` (instead of ``input``), ``id``.
        sha256: Of the file; the evaluation refuses another one. Empty takes what is there and records its hash.
        metrics: By which answers are judged; docs/evaluation.md lists them.
        criteria: More, in words; only of ``deepeval``.
        give_contexts: Put the contexts of a case into the question. Without, the model is asked the question alone, and
            what it cites is its context: for a retrieval, which finds its own.
        max_cases: Cases that are taken, the same ones each time; 0 for all.
        max_tokens: Tokens of one answer at most.
    """

    name: Name
    kind: SuiteKind
    data: DataUrl
    sha256: Sha256 | Literal[""] = ""
    metrics: tuple[str, ...] = ()
    criteria: tuple[CriterionSettings, ...] = ()
    give_contexts: bool = True
    max_cases: Annotated[int, Field(ge=0)] = 0
    max_tokens: Annotated[int, Field(ge=1, le=65536)] = 512

    @model_validator(mode="after")
    def _metrics_are_known(self) -> Self:
        known = METRICS[self.kind]
        if unknown := sorted(set(self.metrics) - set(known)):
            raise ValueError(f"metrics of {self.kind} are {', '.join(known)}; got {', '.join(unknown)}")
        if self.criteria and self.kind != "deepeval":
            raise ValueError("criteria are judged by deepeval; move them to a suite with kind: deepeval")
        measures = self.measures
        if not measures:
            raise ValueError("name one of metrics or criteria at least")
        if twice := sorted({one for one in measures if measures.count(one) > 1}):
            raise ValueError(f"metrics and criteria must have different names; twice: {', '.join(twice)}")
        return self

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of what it measures, without its own."""
        return (*self.metrics, *(one.name for one in self.criteria))

    @property
    def asks_judge(self) -> bool:
        """Whether a judge is needed."""
        return bool(self.criteria) or any(one not in UNJUDGED_METRICS for one in self.metrics)

    @property
    def compares_embeddings(self) -> bool:
        """Whether an embedding model is needed."""
        return bool(EMBEDDING_METRICS[self.kind] & set(self.metrics))


class HeldOutSettings(Section):
    """Loss and perplexity on data that was not learned from, computed where the weights are: in the training image.

    Attributes:
        split: Split of the dataset: ``evaluation`` is what training looked at too, ``test`` what nobody has seen.
        data: Another prepared dataset instead, the URL of its manifest's folder; empty for the fine-tune's own.
        max_sequences: Sequences that are taken, the same ones each time; 0 for all.
    """

    split: Literal["evaluation", "test"] = "evaluation"
    data: DataUrl | Literal[""] = ""
    max_sequences: Annotated[int, Field(ge=0)] = 2000


class ThresholdSettings(Section):
    """What a measure must reach. Every bound that is named must hold.

    Attributes:
        min: At least so much.
        max: At most so much.
        max_decrease: At most so much less than what the version has that bears the alias ``over``.
        max_increase: At most so much more than that.
        over: The alias that ``max_decrease`` and ``max_increase`` compare with. While no version bears it, there is
            nothing to be worse than.
        hold: What is held against the bounds: ``interval`` is the worse end of the confidence interval, so that no
            threshold is passed by luck; ``value`` the measured value itself.
    """

    min: float | None = None
    max: float | None = None
    max_decrease: Annotated[float, Field(ge=0)] | None = None
    max_increase: Annotated[float, Field(ge=0)] | None = None
    over: Alias = "production"
    hold: Literal["interval", "value"] = "interval"

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        bounds = (self.min, self.max, self.max_decrease, self.max_increase)
        if all(one is None for one in bounds):
            raise ValueError("set one of min, max, maxDecrease, maxIncrease")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}; no value would pass")
        return self


class EvaluationSettings(Section):
    """What a model is asked, who judges it, and what it must reach before it gets an alias of the registry.

    Attributes:
        judge: Who judges; unset where no metric asks a judge.
        suites: Questions with their metrics.
        held_out: The loss on held-out data; unset for none.
        thresholds: By measure, ``<suite>.<metric>`` or ``heldOut.loss``, ``heldOut.perplexity``. What has no threshold
            is recorded and decides nothing.
        confidence: Share of the confidence intervals.
        resamples: Samples of the bootstrap that makes them.
        min_cases: Cases below which a measure is not judged at all: it counts as not reached.
        seed: Of the bootstrap.
    """

    judge: JudgeSettings | None = None
    suites: tuple[SuiteSettings, ...] = ()
    held_out: HeldOutSettings | None = None
    thresholds: dict[str, ThresholdSettings] = Field(default_factory=dict[str, ThresholdSettings])
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    resamples: Annotated[int, Field(ge=100, le=100_000)] = 2000
    min_cases: Annotated[int, Field(ge=1)] = 20
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.suites and self.held_out is None:
            raise ValueError("name suites or heldOut; else there is nothing to evaluate")
        names = [one.name for one in self.suites]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"suites must have different names; twice: {', '.join(twice)}")
        if asking := [one.name for one in self.suites if one.asks_judge and self.judge is None]:
            raise ValueError(f"judge must be set: {', '.join(asking)} asks one")
        embedding = [one.name for one in self.suites if one.compares_embeddings]
        if embedding and self.judge is not None and not self.judge.embeddings:
            raise ValueError(f"judge.embeddings must be set: {', '.join(embedding)} compares embeddings")
        perplexity = self.thresholds.get(f"{HELD_OUT}.perplexity")
        if perplexity and not (perplexity.max_decrease is None and perplexity.max_increase is None):
            raise ValueError(
                "thresholds: compare heldOut.loss with another version; heldOut.perplexity follows from it"
            )
        known = self.measures
        if unknown := sorted(set(self.thresholds) - set(known)):
            raise ValueError(f"thresholds are of {', '.join(known)}; got {', '.join(unknown)}")
        return self

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of everything that is measured."""
        suites = tuple(f"{suite.name}.{metric}" for suite in self.suites for metric in suite.measures)
        held_out = tuple(f"{HELD_OUT}.{metric}" for metric in HELD_OUT_METRICS) if self.held_out else ()
        return (*suites, *held_out)
