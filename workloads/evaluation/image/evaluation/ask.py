"""Ask a model every question of a suite, and have every answer judged."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from workloads.evaluation.cases import Case, prompt

from .answer import Answer
from .config import Suite
from .endpoint import Endpoint
from .judge import TALLY, Judge, Tally
from .libraries import Scorer, scorers

log = logging.getLogger("evaluation")

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One judgement.

    Attributes:
        measure: ``<suite>.<metric>``.
        case: Id of the case.
        score: The judgement; none where the judge's answer could not be read.
        weight: How much it counts.
        problem: Why there is none, or why it is 0 without one.
        input: The question.
        answer: The answer.
        reference: The right one.
    """

    measure: str
    case: str
    score: float | None
    weight: float = 1
    problem: str = ""
    input: str = field(default="", repr=False)
    answer: str = field(default="", repr=False)
    reference: str = field(default="", repr=False)


async def answers(suite: Suite, cases: Sequence[Case], endpoint: Endpoint) -> dict[str, Answer]:
    """The model's answers, by case; all or none.

    Raises:
        EndpointError: The model cannot be reached.
    """
    progress = Progress(f"{suite.name}: answers", len(cases))

    async def one(case: Case) -> tuple[str, Answer]:
        sent = prompt(case, give_contexts=suite.give_contexts)
        answer = await endpoint.chat(sent, max_tokens=suite.max_tokens, temperature=0)
        progress.step()
        return case.id, answer

    return dict(await _all([one(case) for case in cases]))


async def judgements(
    suite: Suite, cases: Sequence[Case], given: Mapping[str, Answer], judge: Judge | None
) -> list[Row]:
    """Every answer by every metric; the rows are in the order of metrics and cases.

    Raises:
        EndpointError: The judge cannot be reached: an evaluation without it says nothing.
    """
    found = scorers(suite, judge)
    progress = Progress(f"{suite.name}: judgements", len(found) * len(cases))

    async def one(metric: str, scorer: Scorer, case: Case) -> Row:
        row = await _row(f"{suite.name}.{metric}", scorer, case, given[case.id], judge)
        progress.step()
        return row

    return await _all([one(metric, scorer, case) for metric, scorer in found.items() for case in cases])


async def _row(measure: str, scorer: Scorer, case: Case, answer: Answer, judge: Judge | None) -> Row:
    score, problem = await _judged(scorer, case, answer, judge)
    return Row(
        measure=measure,
        case=case.id,
        score=score,
        problem=problem,
        input=case.input,
        answer=answer.text,
        reference=case.reference,
    )


async def _judged(scorer: Scorer, case: Case, answer: Answer, judge: Judge | None) -> tuple[float | None, str]:
    if not answer.text.strip():
        return 0.0, "the answer is empty"  # the worst; to leave it out would reward it
    tally = Tally()
    TALLY.set(tally)
    problem = ""
    score = math.nan
    try:
        score = await scorer(case, answer)
    except Exception as error:  # each library has errors of its own; what they mean is seen below
        problem = f"{type(error).__name__}: {error}"[:500]
    if judge is not None and judge.broken is not None:
        raise judge.broken
    if problem and not (tally.asked or tally.unreadable):
        raise RuntimeError(f"{case.id} could not be judged at all: {problem}")  # ours or the library's, not the model's
    if tally.unreadable:
        return None, problem or f"{tally.unreadable} answers of the judge could not be read"
    if problem or not math.isfinite(score):
        return None, problem or "the metric has no value for this answer"
    return min(max(score, 0.0), 1.0), ""


async def _all(jobs: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Every result in order; the first error stops the others, so that nobody goes on asking."""
    running = [asyncio.ensure_future(job) for job in jobs]
    try:
        return list(await asyncio.gather(*running))
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)


class Progress:
    """A line for each tenth of the work."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0

    def step(self) -> None:
        """One more is done."""
        self._done += 1
        tenth = max(1, self._total // 10)
        if self._done % tenth == 0 or self._done == self._total:
            log.info(json.dumps({"progress": self._what, "done": self._done, "total": self._total}))
