"""Availability: what must stay up survives the loss of a node, and its drain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pulumi_policy import Severity

from policies.objects import Namespaces, Pod, pods
from policies.registry import Context, Finding, Rule
from policies.view import UNKNOWN, Resource, at, mapping

BUDGET: Final = "kubernetes:policy/v1:PodDisruptionBudget"
REPLICATED: Final = ("kubernetes:apps/v1:Deployment", "kubernetes:apps/v1:StatefulSet")


def _selects(selector: Any, labels: dict[str, Any]) -> bool:
    """Whether a selector by labels alone selects pods with ``labels``; one with expressions is taken at its word."""
    wanted = mapping(selector, "matchLabels")
    if not wanted:
        return bool(at(selector, "matchExpressions"))
    return all(labels.get(key) == value for key, value in wanted.items())


def _is_spread(pod: Pod) -> bool:
    return bool(pod.spec.get("topologySpreadConstraints") or at(pod.spec, "affinity", "podAntiAffinity"))


def _stays_up(resources: Sequence[Resource], _context: Context) -> Iterator[Finding]:
    namespaces = Namespaces(resources)
    budgets = [resource for resource in resources if resource.type == BUDGET]
    for resource in resources:
        replicas = resource.get("spec", "replicas")
        if resource.type not in REPLICATED or replicas is UNKNOWN or not replicas or replicas < 2:
            continue
        for pod in pods(resource):
            mine = [one for one in budgets if _same_place(namespaces, one, resource)]
            found = [one for one in mine if _selects(one.get("spec", "selector"), pod.labels)]
            if not found:
                yield Finding(
                    f"{replicas} replicas need a PodDisruptionBudget, or a drain may stop all at once", resource
                )
            elif any(_forbids(one, replicas) for one in found):
                yield Finding("its PodDisruptionBudget lets no pod go, so that no node can be drained", resource)
            if not _is_spread(pod):
                yield Finding(f"{replicas} replicas need topologySpreadConstraints, or one node may hold all", resource)


def _same_place(namespaces: Namespaces, one: Resource, other: Resource) -> bool:
    places = namespaces.of(one), namespaces.of(other)
    return not places[0] or not places[1] or places[0] == places[1]


def _forbids(budget: Resource, replicas: int) -> bool:
    least, most = budget.get("spec", "minAvailable"), budget.get("spec", "maxUnavailable")
    return most in (0, "0", "0%") or least == "100%" or (isinstance(least, int) and least >= replicas)


RULES: Final = (
    Rule(
        name="stays-up", group="kubernetes", severity=Severity.MEDIUM, stack=_stays_up,
        types=(*REPLICATED, BUDGET, "kubernetes:core/v1:Namespace"),
        description="What has replicas has a disruption budget and is spread over nodes.",
    ),
)  # fmt: skip
