"""Where the replicas of a controller are placed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

# Two replicas of a Deployment never share a node. The hash counts each roll-out by itself: else the last replica of a
# new one would find no node as long as the old ones are there.
SPREAD: Final[Sequence[Mapping[str, Any]]] = (
    {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "matchLabelKeys": ["pod-template-hash"],
    },
    {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"},
)
"""Topology spread constraints of a highly available controller; the chart adds its selector."""
