"""Expressions that several rules share."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from components.platform.observability.rules.model import promql

TEAM_OR_PLATFORM = r"mlops-.+|team-.+"
"""Namespaces of work, as a pattern; the others hold controllers."""


def raised(counter: str, window: timedelta) -> str:
    """Series of a counter that rose within the window, a new one among them.

    A counter that begins with its first failure is 1 from the start, and to ``increase`` nothing has happened.

    Args:
        counter: Name and selector.
        window: How far back.
    """
    length = promql(window)
    return f"(increase({counter}[{length}]) > 0) or (({counter} unless {counter} offset {length}) > 0)"


def share(part: str, whole: str) -> str:
    """``part`` of ``whole``, 0 where there is a whole and no part; the parts must have the labels of the wholes."""
    return f"({part} or {whole} * 0) / {whole}"


def by_team(expression: str) -> str:
    """The same series, those of a team's namespace with the label ``team``: its people hear of them."""
    return f'label_replace({expression}, "team", "$1", "namespace", "team-(.+)")'


def matching(values: Iterable[str]) -> str:
    """A pattern that matches these names and no other; Kubernetes' names have nothing to escape but the dot."""
    return "|".join(sorted(value.replace(".", r"\\.") for value in values))
