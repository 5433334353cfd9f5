"""Pipelines: runs that fail, steps that wait, the controller that starts them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from components.platform.observability.rules.facts import SiteFacts
from components.platform.observability.rules.model import HOUR, MINUTE, NOW, Alert, Group
from components.platform.observability.rules.promql import by_team, raised

_LATE_SECONDS: Final = 60
_FAILURES: Final = 'argo_workflows_total_count{phase=~"Failed|Error"}'


def groups(facts: SiteFacts) -> Iterator[Group]:
    """Rules about pipelines. Kubeflow's runs are workflows of Argo too, and are counted there."""
    if not facts.settings.workflows.enabled:
        return
    yield Group(name="pipelines.failures", rules=[_FAILED])
    yield Group(name="pipelines.controller", rules=[_WAITING, _LATE, _ERRORS])


_FAILED: Final = Alert(
    name="PipelineFailed",
    expression=by_team(f"sum by (namespace) ({raised(_FAILURES, HOUR)}) > 0"),
    lasting=NOW,
    severity="critical",
    summary="A pipeline in {{ $labels.namespace }} failed",
    description="Runs that ended in failure within the last hour, their own attempts included.",
    page="pipelines",
    dashboard="pipelines",
)

_WAITING: Final = Alert(
    name="PipelineWaiting",
    expression='max(argo_workflows_pods_gauge{phase="Pending"}) > 0',
    lasting=30 * MINUTE,
    severity="warning",
    summary="Steps of pipelines do not start",
    description="For half an hour {{ $value }} steps have waited for a node, an image or their volumes.",
    page="pipelines",
    dashboard="pipelines",
)

_LATE: Final = Alert(
    name="PipelineControllerLate",
    expression=(
        "histogram_quantile(0.95, sum by (le) "
        f'(rate(argo_workflows_queue_latency_bucket{{queue_name="workflow_queue"}}[10m]))) > {_LATE_SECONDS}'
    ),
    lasting=10 * MINUTE,
    severity="warning",
    summary="Pipelines wait for their controller",
    description="The slowest twentieth of the changes waits {{ $value | humanizeDuration }} before it is looked at.",
    page="pipelines",
    dashboard="pipelines",
)

_ERRORS: Final = Alert(
    name="PipelineControllerErrors",
    expression="sum by (cause) (increase(argo_workflows_error_count[15m])) > 0",
    lasting=NOW,
    severity="warning",
    summary="The controller of pipelines fails: {{ $labels.cause }}",
    description="Cron workflows that cannot be submitted, or a fault of the controller itself.",
    page="pipelines",
    dashboard="pipelines",
)
