"""Confidence intervals by bootstrap: which values a measure would have had with other cases of the same kind."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """A value for one case.

    Attributes:
        value: The value.
        weight: How much it counts: 1 for a judgement, the number of tokens for a mean loss of a sequence.
    """

    value: float
    weight: float = 1


@dataclass(frozen=True)
class Interval:
    """A mean, and where it may lie.

    Attributes:
        value: The mean, by weight.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float


def mean(points: Sequence[Point]) -> float:
    """By weight; not a number of nothing."""
    weight = math.fsum(one.weight for one in points)
    return math.fsum(one.value * one.weight for one in points) / weight if weight else math.nan


def interval(points: Sequence[Point], *, confidence: float, resamples: int, seed: int) -> Interval:
    """The percentile bootstrap of a mean; the same points give the same interval."""
    value = mean(points)
    if len(points) < 2:
        # One case says nothing of others; that it is only one is held against minCases.
        return Interval(value, value, value)
    draw = random.Random(seed)  # the same each time
    # The order of the cases must not matter: a file with its lines in another order is the same set of cases.
    ordered = sorted(points, key=lambda one: (one.value, one.weight))
    means = sorted(mean(draw.choices(ordered, k=len(ordered))) for _ in range(resamples))
    tail = (1 - confidence) / 2
    low = means[math.floor(tail * (resamples - 1))]
    high = means[math.ceil((1 - tail) * (resamples - 1))]
    return Interval(value, min(low, value), max(high, value))


def change(
    own: Mapping[str, Point], other: Mapping[str, Point], *, confidence: float, resamples: int, seed: int
) -> Interval:
    """How much more one model has than another, case by case: what is hard for both does not count."""
    shared = own.keys() & other.keys()
    differences = [Point(own[one].value - other[one].value, own[one].weight) for one in shared]
    return interval(differences, confidence=confidence, resamples=resamples, seed=seed)
