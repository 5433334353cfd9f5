"""Quotas before and after, counted as the policy pack counts them: every node group at its maximum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from components.capacity.quotas import needs_of
from ops.cost.model import Resource
from policies import quotas as rules
from policies.view import Resource as Judged


@dataclass(frozen=True, kw_only=True)
class Quota:
    """One quota.

    Attributes:
        name: Path below ``llmops:quotas``.
        before: What the stack could grow to before; None where that is not known.
        after: What it can grow to afterwards.
        limit: What is declared; what is not declared is 0.
    """

    name: str
    before: int | None
    after: int
    limit: int

    @property
    def headroom(self) -> int:
        """What is left; negative where it is exceeded."""
        return self.limit - self.after


def usage(resources: Sequence[Resource]) -> dict[str, int]:
    """What a stack can grow to, by quota. What cannot be counted is the policy pack's to refuse."""
    judged = [_judged(resource) for resource in resources]
    groups, _ = rules.ranges(judged)
    needs = needs_of(groups)
    storage, _ = rules.storage_gib(judged)
    types = Counter(resource.type for resource in resources)
    return {
        **{f"gpus.{model}": count for model, count in needs.gpus.items()},
        **{f"vcpu.{family}": count for family, count in needs.vcpu.items()},
        "nodes": needs.nodes,
        "storageGib": storage,
        "loadBalancers": sum(rules.load_balancers(resource) for resource in judged),
        "elasticIps": types["aws:ec2/eip:Eip"],
        "clusters": types["aws:eks/cluster:Cluster"],
    }


def _judged(resource: Resource) -> Judged:
    return Judged(
        type=resource.type,
        name=resource.name,
        urn=resource.urn,
        properties=resource.properties,
        parent=resource.parent,
        sources={"launchTemplate": resource.dependencies},
    )


def compare(
    declared: Mapping[str, Any], after: Sequence[Resource], before: Sequence[Resource] | None = None
) -> list[Quota]:
    """Each quota that is declared or used.

    Args:
        declared: The setting ``quotas``; empty where the stack declares none, and then there is nothing to compare.
        after: Resources after the update.
        before: Resources before it, where they are known.
    """
    if not declared:
        return []
    now = usage(after)
    then: dict[str, int] | None = None if before is None else usage(before)
    limits = _limits(declared)
    used_before: dict[str, int] = then or {}
    names = sorted({*now, *used_before, *limits}, key=lambda name: (not name.startswith("gpus"), name))
    rows = [
        Quota(
            name=name,
            before=None if then is None else then.get(name, 0),
            after=now.get(name, 0),
            limit=limits.get(name, 0),
        )
        for name in names
    ]
    return [row for row in rows if row.after or row.before or row.limit]


def _limits(declared: Mapping[str, Any]) -> dict[str, int]:
    limits: dict[str, int] = {}
    for group in ("gpus", "vcpu"):
        named = cast("Mapping[str, Any]", declared.get(group) or {})
        limits |= {f"{group}.{name}": int(value) for name, value in named.items()}
    for name in ("nodes", "storageGib", "loadBalancers", "elasticIps", "clusters"):
        limits[name] = int(declared.get(name) or 0)
    return limits
