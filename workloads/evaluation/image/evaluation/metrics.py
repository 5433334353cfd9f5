"""What each metric needs of a case; nothing here imports the libraries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from workloads.artifacts.configuration import ConfigError
from workloads.evaluation.cases import Case

from .config import Suite

Need = Literal["reference", "contexts"]

NEEDS: Final[Mapping[str, Mapping[str, frozenset[Need]]]] = {
    "ragas": {
        "faithfulness": frozenset({"contexts"}),
        "answerRelevancy": frozenset(),
        "answerAccuracy": frozenset({"reference"}),
        "contextPrecision": frozenset({"reference", "contexts"}),
        "contextRecall": frozenset({"reference", "contexts"}),
        "contextRelevance": frozenset({"contexts"}),
        "factualCorrectness": frozenset({"reference"}),
        "responseGroundedness": frozenset({"contexts"}),
        "semanticSimilarity": frozenset({"reference"}),
        "exactMatch": frozenset({"reference"}),
    },
    "deepeval": {
        "answerRelevancy": frozenset(),
        "faithfulness": frozenset({"contexts"}),
        "contextualPrecision": frozenset({"reference", "contexts"}),
        "contextualRecall": frozenset({"reference", "contexts"}),
        "contextualRelevancy": frozenset({"contexts"}),
        "hallucination": frozenset({"contexts"}),
        "bias": frozenset(),
        "toxicity": frozenset(),
        "exactMatch": frozenset({"reference"}),
    },
}


def check(suite: Suite, cases: Sequence[Case], *, finds_contexts: bool) -> None:
    """Refuse metrics that cases have no matter for: left out, they would make the measure of fewer cases.

    Args:
        suite: The suite.
        cases: Its cases.
        finds_contexts: The model cites what it found itself.

    Raises:
        ConfigError: A metric is unknown, or a case lacks what it needs.
    """
    problems: list[str] = []
    for metric in suite.metrics:
        needs = NEEDS[suite.kind].get(metric)
        if needs is None:
            problems.append(f"metrics of {suite.kind} are {', '.join(NEEDS[suite.kind])}; got {metric}")
            continue
        for need in sorted(needs - ({"contexts"} if finds_contexts else set())):
            lacking = [case.id for case in cases if not getattr(case, need)]
            if lacking:
                shown = ", ".join(lacking[:5])
                problems.append(f"{metric} needs {need}; {len(lacking)} cases have none: {shown}")
    if problems:
        raise ConfigError("\n".join(f"suites.{suite.name}: {one}" for one in problems))
