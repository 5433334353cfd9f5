"""Where the replicas of a controller are placed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

# Two replicas of a Deployment never share a node. The hash counts each roll-out by itself: else the last replica of a
# new one would find no node as long as the old ones are there.
ON_DIFFERENT_NODES: Final[Mapping[str, Any]] = {
    "maxSkew": 1,
    "topologyKey": "kubernetes.io/hostname",
    "whenUnsatisfiable": "DoNotSchedule",
    "matchLabelKeys": ["pod-template-hash"],
}

SPREAD: Final[Sequence[Mapping[str, Any]]] = (
    ON_DIFFERENT_NODES,
    {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"},
)
"""Topology spread constraints of a highly available controller, for charts that add their selector."""


def selecting(constraint: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """A constraint with the selector of the pods that it counts."""
    return {**constraint, "labelSelector": {"matchLabels": dict(labels)}}


def spread(labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """:data:`SPREAD` for charts and manifests that name the selector themselves."""
    return [selecting(constraint, labels) for constraint in SPREAD]


def spread_args(labels: Mapping[str, str]) -> list[core.TopologySpreadConstraintArgs]:
    """:data:`SPREAD` for a Deployment of ours."""
    return [
        core.TopologySpreadConstraintArgs(
            max_skew=one["maxSkew"],
            topology_key=one["topologyKey"],
            when_unsatisfiable=one["whenUnsatisfiable"],
            match_label_keys=one.get("matchLabelKeys"),
            label_selector=meta.LabelSelectorArgs(match_labels=labels),
        )
        for one in SPREAD
    ]
