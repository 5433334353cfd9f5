"""Recording and alerting rules: typed, one module for each concern, put together here."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.platform.observability.rules import (
    data,
    delivery,
    drills,
    gateway,
    gpus,
    kubernetes,
    logs_and_traces,
    metrics,
    models,
    money,
    pipelines,
    recovery,
    scheduling,
    stores,
    training,
)
from components.platform.observability.rules.facts import (
    ERROR_RATIO,
    GPU_MEMORY_RATIO,
    P99_SECONDS,
    ModelObjective,
    SiteFacts,
)
from components.platform.observability.rules.model import (
    DASHBOARD_UIDS,
    Alert,
    Group,
    Links,
    RecordingRule,
    runbook_url,
    spec,
)
from components.platform.openings import Namespace
from components.platform.site import Site

__all__ = [
    "DASHBOARD_UIDS",
    "ERROR_RATIO",
    "GPU_MEMORY_RATIO",
    "P99_SECONDS",
    "Alert",
    "Group",
    "Links",
    "ModelObjective",
    "RecordingRule",
    "SiteFacts",
    "declare",
    "groups",
    "rule",
    "runbook_url",
    "spec",
]

_NAMESPACE: Namespace = "monitoring"
_API = "monitoring.coreos.com/v1"


def groups(facts: SiteFacts, objectives: Sequence[ModelObjective] = ()) -> tuple[Group, ...]:
    """Every group of rules of a stack, for the systems that it has."""
    return (
        *models.groups(facts, objectives),
        *gpus.groups(facts, objectives),
        *training.groups(facts),
        *pipelines.groups(facts),
        *data.groups(facts),
        *stores.groups(facts),
        *scheduling.groups(facts),
        *money.groups(facts),
        *gateway.groups(facts),
        *delivery.groups(facts),
        *recovery.groups(facts),
        *drills.groups(facts),
        *kubernetes.groups(facts),
        *metrics.groups(facts),
        *logs_and_traces.groups(facts),
    )


def by_object(made: Sequence[Group]) -> dict[str, tuple[Group, ...]]:
    """Groups by the object that holds them: one for each concern, which is what stands before the dot."""
    found: dict[str, tuple[Group, ...]] = {}
    for group in made:
        if group.rules:
            concern = group.name.split(".")[0]
            found[concern] = (*found.get(concern, ()), group)
    return found


def declare(
    name: str,
    *,
    site: Site,
    objectives: Sequence[ModelObjective],
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource],
    grafana_url: str = "",
) -> tuple[pulumi.Resource, ...]:
    """Declare the rules of a stack.

    Args:
        name: Prefix of the Pulumi resources.
        site: Where they are evaluated; which systems there are.
        objectives: What is promised of models.
        parent: The component.
        after: The release that brings the definition of a PrometheusRule, and what refuses a wrong one.
        grafana_url: Address of Grafana, for links; empty where it is not published.
    """
    links = Links(owner=site.owner, runbooks=site.settings.alerting.runbook_base_url, grafana=grafana_url)
    return tuple(
        rule(f"{name}-{concern}", some, title=f"llmops-{concern}", links=links, parent=parent, after=after)
        for concern, some in by_object(groups(SiteFacts.of(site), objectives)).items()
    )


def rule(
    name: str,
    some: Sequence[Group],
    *,
    title: str,
    links: Links,
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource],
) -> CustomResource:
    """Declare one PrometheusRule.

    Args:
        name: Of the Pulumi resource.
        some: What is in it.
        title: Its name.
        links: Where its alerts point to.
        parent: The component.
        after: What brings the definition, and what refuses a wrong one.
    """
    return CustomResource(
        name,
        api_version=_API,
        kind="PrometheusRule",
        metadata=meta.ObjectMetaArgs(name=title, namespace=_NAMESPACE, labels={"app.kubernetes.io/part-of": "llmops"}),
        spec=spec(some, links),
        opts=pulumi.ResourceOptions(parent=parent, depends_on=list(after)),
    )
