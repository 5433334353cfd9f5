"""Where resources of Google Cloud are, and which machines node pools have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from policies.view import UNKNOWN, Resource, mapping

_CONTINENTS: Final = {"us": "us-", "eu": "europe-", "europe": "europe-", "asia": "asia-"}
_NOWHERE: Final = ("global", "")


def machines_of(pool: Resource) -> tuple[Any, Any, Any]:
    """Types, most nodes and purchase option of a node pool; sizes for each zone count in every zone."""
    config = pool.get("nodeConfig")
    machine = mapping(config).get("machineType", "e2-medium") if config is not UNKNOWN else UNKNOWN  # GKE's default
    spot = mapping(config).get("spot") is True or mapping(config).get("preemptible") is True
    return [machine], _most(pool), "SPOT" if spot else "ON_DEMAND"


def _most(pool: Resource) -> Any:
    total = pool.get("autoscaling", "totalMaxNodeCount")
    if total is not None:
        return total
    zones = pool.get("nodeLocations")
    in_each = pool.get("autoscaling", "maxNodeCount")
    if in_each is None:
        in_each = pool.get("nodeCount") if pool.get("nodeCount") is not None else pool.get("initialNodeCount")
    if not isinstance(in_each, int) or zones is UNKNOWN:
        return UNKNOWN
    return in_each * (len(pool.items("nodeLocations")) or 3)  # a region's pools have three zones unless told otherwise


def region_of(resource: Resource) -> Any:
    """The region, the continent or ``UNKNOWN``; None for what is nowhere in particular."""
    for name in ("region", "location", "zone"):
        value = resource.get(name)
        if value is UNKNOWN:
            return UNKNOWN
        if isinstance(value, str) and value.lower() not in _NOWHERE:
            return re.sub(r"^([a-z]+-[a-z]+[0-9]+)-[a-z]$", r"\1", value.lower().rpartition("/")[2])
    return None


def is_within(place: str, regions: Sequence[str]) -> bool:
    """Whether a place is one of some regions, or the continent of one: multi-regions name no region."""
    if place in regions:
        return True
    prefix = _CONTINENTS.get(place)
    return prefix is not None and any(region.startswith(prefix) for region in regions)
