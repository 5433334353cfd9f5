"""Rules as typed values: what is recorded, what is alerted on, and how both become a PrometheusRule."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Literal

Severity = Literal["critical", "warning", "info"]
"""``critical`` wakes somebody: users are hurt, or data is at risk. ``warning`` is for working hours. ``info`` is read
when something else is wrong."""

Page = Literal[
    "data",
    "delivery",
    "gateway",
    "gpus",
    "kubernetes",
    "logs-and-traces",
    "metrics",
    "models",
    "money",
    "pipelines",
    "recovery",
    "scheduling",
    "stores",
    "training",
]
"""Pages of ``docs/runbooks``. An alert's section has its name."""

Dashboard = Literal["gateway", "gpus", "logs", "models", "money", "pipelines", "platform", "training"]
"""Which dashboard shows what an alert is about."""

DASHBOARD_UIDS: Final[Mapping[Dashboard, str]] = {
    "gateway": "llmops-gateway",
    "gpus": "llmops-gpus",
    "logs": "llmops-logs",
    "models": "llmops-serving",
    "money": "llmops-money",
    "pipelines": "llmops-pipelines",
    "platform": "llmops-platform",
    "training": "llmops-training",
}
"""Identifiers of the dashboards in Grafana: part of every link that was ever sent, so they do not change."""

_ALERT: Final = re.compile(r"([A-Z][a-z0-9]+)+")
_RECORD: Final = re.compile(r"[a-z][a-z0-9_]*(:[a-z0-9_]+){2}")

MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
NOW: Final = timedelta(0)


def promql(duration: timedelta) -> str:
    """A duration as Prometheus writes it, in the largest unit that is exact: ``5m``, ``6h``, ``3d``."""
    seconds = round(duration.total_seconds())
    if seconds <= 0:
        raise ValueError(f"a duration must be positive; got {seconds} s")
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


@dataclass(frozen=True, kw_only=True)
class RecordingRule:
    """A series that is computed once, for alerts, dashboards and autoscaling to share.

    Attributes:
        record: Its name: ``level:metric:operation``.
        expression: What it is computed from.
        labels: Labels that are added.
    """

    record: str
    expression: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if not _RECORD.fullmatch(self.record):
            raise ValueError(f"a recorded series is named level:metric:operation; got {self.record}")


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One alert; there is none without something to do.

    Attributes:
        name: In camel case. Several rules may share a name where they say the same of different things.
        expression: Fires for every series that it returns.
        lasting: For how long it must return the series without a gap; zero for at once.
        severity: Who must act, and when.
        summary: One line, with what it is about in it: a template over the series' labels.
        description: What it means and what the numbers are; a template too.
        page: Page of its runbook.
        dashboard: Where to look; none where no dashboard shows it.
        labels: Labels that are added, such as the ``team`` of a model.
    """

    name: str
    expression: str
    lasting: timedelta
    severity: Severity
    summary: str
    description: str
    page: Page
    dashboard: Dashboard | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if not _ALERT.fullmatch(self.name):
            raise ValueError(f"an alert is named in camel case; got {self.name}")


Rule = RecordingRule | Alert


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rules that are evaluated together, in this order.

    Attributes:
        name: Unique.
        rules: What is evaluated.
        interval: How often; none for Prometheus' own interval.
    """

    name: str
    rules: Sequence[Rule]
    interval: timedelta | None = None

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """Its alerts."""
        return tuple(rule for rule in self.rules if isinstance(rule, Alert))


@dataclass(frozen=True, kw_only=True)
class Links:
    """Where an alert points.

    Attributes:
        owner: Team that answers for what belongs to no other.
        runbooks: Address of the folder with the runbooks, without a slash at its end.
        grafana: Address of Grafana; empty where it is not published.
    """

    owner: str
    runbooks: str
    grafana: str = ""


def spec(groups: Sequence[Group], links: Links, *, patience: float = 1.0) -> dict[str, Any]:
    """Specification of a PrometheusRule.

    Args:
        groups: What it holds.
        links: Where alerts point.
        patience: Factor of every ``for`` and every interval. 1 is what clusters get; tests against a real Prometheus
            take less, because nobody waits a quarter of an hour for a test.
    """
    return {"groups": [_group(group, links, patience) for group in groups if group.rules]}


def _group(group: Group, links: Links, patience: float) -> dict[str, Any]:
    every = {} if group.interval is None else {"interval": _shortened(group.interval, patience)}
    return {"name": group.name, **every, "rules": [_rule(rule, links, patience) for rule in group.rules]}


def _rule(rule: Rule, links: Links, patience: float) -> dict[str, Any]:
    if isinstance(rule, RecordingRule):
        labels = {"labels": dict(rule.labels)} if rule.labels else {}
        return {"record": rule.record, "expr": rule.expression, **labels}
    lasting = {"for": _shortened(rule.lasting, patience)} if rule.lasting else {}
    return {
        "alert": rule.name,
        "expr": rule.expression,
        **lasting,
        "labels": {"severity": rule.severity, "owner": links.owner, **rule.labels},
        "annotations": {
            "summary": rule.summary,
            "description": rule.description,
            "runbook_url": runbook_url(rule, links.runbooks),
            **dashboard_url(rule, links.grafana),
        },
    }


def _shortened(duration: timedelta, patience: float) -> str:
    return promql(max(timedelta(seconds=1), timedelta(seconds=round(duration.total_seconds() * patience))))


def runbook_url(alert: Alert, base: str) -> str:
    """Address of an alert's runbook: its page, at the section with its name."""
    return f"{base.rstrip('/')}/{alert.page}.md#{alert.name.lower()}"


def dashboard_url(alert: Alert, grafana: str) -> dict[str, str]:
    """The annotation with the dashboard's address, where there is one."""
    if not grafana or alert.dashboard is None:
        return {}
    return {"dashboard_url": f"{grafana.rstrip('/')}/d/{DASHBOARD_UIDS[alert.dashboard]}"}
