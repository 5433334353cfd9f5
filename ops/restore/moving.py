"""A stack's settings, moved to another region: what changes, and what a person must look at."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast


def moved(config: Mapping[str, Any], old: str, new: str) -> tuple[dict[str, Any], list[str]]:
    """The configuration of a stack in the other region, and what else names the old one.

    Regions and zones change; replication is off, because its other side is the region that is lost.

    Args:
        config: ``config`` of the stack's file.
        old: The region that is lost.
        new: The other one.
    """
    changed = copy.deepcopy(dict(config))
    for key, value in changed.items():
        section = key.rpartition(":")[2]
        if section == "aws" and isinstance(value, dict):
            aws = cast("dict[str, Any]", value)
            aws["region"] = new
            if aws.get("drRegion") == new:
                aws["drRegion"] = old
        if section == "network" and isinstance(value, dict):
            network = cast("dict[str, Any]", value)
            if "zones" in network:
                network["zones"] = [_zone(str(zone), old, new) for zone in network["zones"]]
        if section == "quotas" and isinstance(value, dict):
            quotas = cast("dict[str, Any]", value)
            if "regions" in quotas:
                quotas["regions"] = list(dict.fromkeys(new if one == old else one for one in quotas["regions"]))
        if section == "objects" and isinstance(value, dict):
            cast("dict[str, Any]", value)["replicate"] = False
        if section == "database" and isinstance(value, dict):
            database = cast("dict[str, Any]", value)
            if "replicateBackups" in database:
                database["replicateBackups"] = False
    left = [path for path in _naming(changed, old, "") if not path.endswith("aws.drRegion")]
    return changed, left


def _zone(zone: str, old: str, new: str) -> str:
    return f"{new}{zone.removeprefix(old)}" if zone.startswith(old) else zone


def _naming(value: Any, text: str, path: str) -> list[str]:
    if isinstance(value, str):
        return [path] if text in value else []
    if isinstance(value, Mapping):
        parts = cast("Mapping[str, Any]", value).items()
        return [found for key, part in parts for found in _naming(part, text, f"{path}.{key}".lstrip("."))]
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        listed = enumerate(cast("Sequence[Any]", value))
        return [found for number, part in listed for found in _naming(part, text, f"{path}[{number}]")]
    return []
