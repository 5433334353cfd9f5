"""What a dashboard is made of: rows of panels, each with a question, a unit and what it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from components.platform.observability.rules.model import DASHBOARD_UIDS, Dashboard

WIDTH: Final = 24
"""Columns of Grafana's grid."""

DATA_SOURCES: Final[Mapping[str, str]] = {
    "metrics": "prometheus",
    "alerts": "alertmanager",
    "logs": "loki",
    "traces": "tempo",
}
"""Uid of every data source."""

FOLDERS: Final[Mapping[str, str]] = {
    "platform": "Platform",
    "models": "Models",
    "training": "Training and pipelines",
    "money": "Money",
}
"""Folders by uid, with their titles."""

Kind = Literal["graph", "stack", "stat", "bars", "table", "logs"]
"""Lines over time; areas on top of one another; the last value, large; the last values as bars; the last values of all
series with their labels; lines of logs."""

Unit = Literal[
    "short",
    "percentunit",
    "s",
    "ms",
    "bytes",
    "decmbytes",
    "mbytes",
    "Bps",
    "reqps",
    "ops",
    "currencyUSD",
    "celsius",
    "watt",
    "bool",
    "dateTimeFromNow",
    "sci",
]
"""Identifiers of Grafana's units; ``mbytes`` are MiB."""

Height = Literal[4, 8, 12, 20]


@dataclass(frozen=True, kw_only=True)
class Query:
    """One question.

    Attributes:
        expression: PromQL; LogQL in a panel of logs and where ``source`` says so.
        legend: What a series is called, with its labels in double braces; empty for all its labels.
        source: Who is asked.
        exemplars: Show the traces of single requests, where the metric has them.
    """

    expression: str
    legend: str = ""
    source: Literal["metrics", "logs"] = "metrics"
    exemplars: bool = False


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """From where on something is wrong.

    Attributes:
        value: In the panel's unit.
        alert: Alert that says so, which must have the same number and severity; empty where none does.
        limit: The number in the alert, where the panel shows another measure: what is used, and not what is left.
        severity: How wrong.
        below: The wrong side is below the value.
    """

    value: float
    alert: str = ""
    limit: float | None = None
    severity: Literal["warning", "critical"] = "critical"
    below: bool = False


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture.

    Attributes:
        title: What is seen; unique in its dashboard.
        description: What it means, and what to do when it looks wrong.
        queries: One at least.
        kind: How it is drawn.
        unit: Of every value in it.
        width: Columns of 24.
        height: In grid units of 30 pixels.
        thresholds: In ascending order.
        least: Lower end of the axis; none for where the data begins.
        most: Upper end of the axis.
        decimals: Digits after the point; none for Grafana's choice.
        hidden_labels: Columns of a table that say nothing.
        nothing: What is written where there are no data.
    """

    title: str
    description: str
    queries: Sequence[Query]
    kind: Kind = "graph"
    unit: Unit = "short"
    width: int = 8
    height: Height = 8
    thresholds: Sequence[Threshold] = ()
    least: float | None = 0
    most: float | None = None
    decimals: int | None = None
    hidden_labels: Sequence[str] = ()
    nothing: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Panels under one heading.

    Attributes:
        title: The heading.
        panels: From left to right; they are wrapped after 24 columns.
    """

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A variable that the reader sets at the top.

    Attributes:
        name: As expressions name it: ``$name``.
        title: What the reader sees.
        query: Prometheus query of its values: ``label_values(metric, label)``; empty for a field to type in.
        several: Whether several values can be chosen; all of them are, at first. Expressions then compare with ``=~``.
        everything: What stands for all of them; ``.+`` where nothing at all must not match.
    """

    name: str
    title: str
    query: str = ""
    several: bool = True
    everything: str = ".*"


@dataclass(frozen=True, kw_only=True)
class Board:
    """A dashboard.

    Attributes:
        name: Its name in files and, by :data:`DASHBOARD_UIDS`, in links.
        title: What people see.
        description: Whom it is for, and which question it answers.
        folder: Key of :data:`FOLDERS`.
        rows: From top to bottom.
        choices: Its variables.
        tags: Dashboards with a common tag are linked to one another.
        since: What is shown at first, such as ``now-6h``.
        logs: Namespaces whose log lines belong to it, for the link to them.
    """

    name: Dashboard
    title: str
    description: str
    folder: str
    rows: Sequence[Row]
    choices: Sequence[Choice] = ()
    tags: Sequence[str] = field(default_factory=tuple[str, ...])
    since: str = "now-3h"
    logs: Sequence[str] = ()

    @property
    def uid(self) -> str:
        """Its name in links, which never changes."""
        return DASHBOARD_UIDS[self.name]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels, from top to bottom."""
        return tuple(panel for row in self.rows for panel in row.panels)
