"""What a test of one alerting rule is: series that fire it, and series that do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MINUTES = 70
"""Samples of a series where nothing else is said: a little more than the hour after which alerts are looked at."""

Series = Mapping[str, str]


def level(value: float, minutes: int = MINUTES) -> str:
    """A series that stays where it is, in promtool's notation: one sample a minute."""
    return f"{value}x{minutes}"


def grows(each_minute: float, minutes: int = MINUTES) -> str:
    """A counter that grows evenly."""
    return f"0+{each_minute}x{minutes}"


def appears(value: float, after: int = 30, minutes: int = 40) -> str:
    """A series that is not there before: a counter that begins with what it counts."""
    return f"_x{after} {value}x{minutes}"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One rule.

    Attributes:
        alert: Its name.
        fires: Series for which it fires.
        quiet: Series, as close to the others as can be, for which it does not. None where it always fires.
        labels: Labels that the rule adds, beside severity and owner, where several have the name.
        minutes: When it is looked at.
        every: Minutes between evaluations.
    """

    alert: str
    fires: Series
    quiet: Series | None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    minutes: int = 60
    every: int = 1

    @property
    def rule(self) -> tuple[str, frozenset[tuple[str, str]]]:
        """Which rule it tests."""
        return self.alert, frozenset(self.labels.items())
