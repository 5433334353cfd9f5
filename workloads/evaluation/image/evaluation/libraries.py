"""The libraries that judge, each imported only where a suite needs it: that takes seconds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from workloads.evaluation.cases import Case

from .answer import Answer
from .config import Suite
from .judge import Judge

Scorer = Callable[[Case, Answer], Awaitable[float]]
"""Judges one answer."""


def scorers(suite: Suite, judge: Judge | None) -> dict[str, Scorer]:
    """What a suite measures, by name."""
    if suite.kind == "ragas":
        from . import with_ragas  # noqa: PLC0415 - see above

        return {metric: with_ragas.scorer(metric, judge) for metric in suite.metrics}
    from . import with_deepeval  # noqa: PLC0415

    found = {metric: with_deepeval.scorer(metric, judge) for metric in suite.metrics}
    return found | {one.name: with_deepeval.criterion(one.name, one.text, judge) for one in suite.criteria}
