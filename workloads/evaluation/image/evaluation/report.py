"""From judgements to measures: means, intervals, and what changes over the versions that bear an alias. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from workloads.evaluation.gate import Change, Measure

from .ask import Row
from .config import Config
from .intervals import Interval, Point, change, interval

LOSS = "heldOut.loss"
PERPLEXITY = "heldOut.perplexity"

COLUMNS = ("measure", "case", "score", "weight", "problem", "input", "answer", "reference")
"""Of the table of judgements, as MLflow shows it."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """An evaluation, as it is kept.

    Attributes:
        key: Names what it follows from.
        measures: By name.
        bases: By measure what another version must have too, to be compared: cases, judge, library.
        facts: What is worth knowing: versions of libraries, the judge, files of cases.
    """

    key: str
    measures: Mapping[str, Measure]
    bases: Mapping[str, str]
    facts: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "key": self.key,
            "measures": {name: asdict(one) for name, one in self.measures.items()},
            "bases": dict(self.bases),
            "facts": dict(self.facts),
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Report:
        """From JSON."""
        return cls(
            key=document["key"],
            measures={name: Measure.of(one) for name, one in document["measures"].items()},
            bases=document["bases"],
            facts=document["facts"],
        )


def table(rows: Sequence[Row]) -> dict[str, Any]:
    """The rows, as MLflow's tables are written."""
    return {"columns": list(COLUMNS), "data": [[getattr(row, name) for name in COLUMNS] for row in rows]}


def rows_of(document: Mapping[str, Any]) -> list[Row]:
    """The rows of such a table."""
    return [Row(**dict(zip(document["columns"], values, strict=True))) for values in document["data"]]


def measures(config: Config, rows: Sequence[Row]) -> dict[str, Measure]:
    """What the rows come to."""
    found: dict[str, Measure] = {}
    for name in dict.fromkeys(row.measure for row in rows):
        own = [row for row in rows if row.measure == name]
        where = _interval(config, list(_points(own).values()))
        unjudged = sum(row.score is None for row in own)
        found[name] = _measure(where, cases=len(own) - unjudged, unjudged=unjudged)
    if (loss := found.get(LOSS)) is not None:
        # A monotonous function of the loss, and so are the ends of its interval.
        where = Interval(*(_exp(one) for one in (loss.value, loss.low, loss.high)))
        found[PERPLEXITY] = _measure(where, cases=loss.cases, unjudged=0)
    return found


def compared(config: Config, own: Report, rows: Sequence[Row], others: Mapping[str, Other]) -> Report:
    """The report with what changes over other versions, for the measures whose thresholds ask for it."""
    found = dict(own.measures)
    for name, threshold in config.thresholds.items():
        if name not in found or (threshold.max_decrease is None and threshold.max_increase is None):
            continue
        other = others.get(threshold.over, Other())
        changes = {threshold.over: _change(config, name, own, rows, other)}
        found[name] = replace(found[name], changes=changes)
    return replace(own, measures=found)


@dataclass(frozen=True, kw_only=True)
class Other:
    """A version to compare with.

    Attributes:
        version: Its number; empty where no version bears the alias.
        report: Its report; none where it has not been evaluated.
        rows: Its judgements.
    """

    version: str = ""
    report: Report | None = None
    rows: Sequence[Row] = ()


def _change(config: Config, name: str, own: Report, rows: Sequence[Row], other: Other) -> Change:
    if not other.version:
        return Change()
    if other.report is None or name not in other.report.measures:
        return Change(version=other.version, problem=f"evaluate version {other.version} first")
    if other.report.bases.get(name) != own.bases.get(name):
        problem = (
            f"version {other.version} was evaluated with other cases, another judge or another library; do it again"
        )
        return Change(version=other.version, problem=problem)
    mine, theirs = (_points([row for row in one if row.measure == name]) for one in (rows, other.rows))
    if len(mine.keys() & theirs.keys()) < config.min_cases:
        return Change(version=other.version, problem=f"fewer than {config.min_cases} cases have been judged for both")
    where = change(mine, theirs, confidence=config.confidence, resamples=config.resamples, seed=config.seed)
    return Change(version=other.version, value=where.value, low=where.low, high=where.high)


def _points(rows: Sequence[Row]) -> dict[str, Point]:
    return {row.case: Point(row.score, row.weight) for row in rows if row.score is not None}


def _interval(config: Config, points: Sequence[Point]) -> Interval:
    if not points:
        return Interval(0, 0, 0)  # no judgement at all; the number of cases says so
    return interval(points, confidence=config.confidence, resamples=config.resamples, seed=config.seed)


def _measure(where: Interval, *, cases: int, unjudged: int) -> Measure:
    return Measure(value=where.value, low=where.low, high=where.high, cases=cases, unjudged=unjudged)


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
