"""Which changes replace a resource of Google Cloud."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Any

from sandbox.gcp.identifiers import is_grant
from sandbox.gcp.replacements import REPLACING
from sandbox.schema import resource_schema
from sandbox.values import Properties, is_list, is_object


def replacing(type_token: str) -> Sequence[str]:
    """Return the paths that replace a resource of this type; grants are replaced for everything but their members."""
    if type_token in REPLACING:
        return REPLACING[type_token]
    if is_grant(type_token):
        return tuple(sorted(resource_schema(type_token).inputs.keys() - {"members", "policyData"}))
    return ()


def sometimes(type_token: str, old: Properties, new: Properties) -> Sequence[str]:
    """Return the paths that replace because of what they change from and to; both sides are known values."""
    if type_token == "gcp:compute/subnetwork:Subnetwork" and _shrinks(old.get("ipCidrRange"), new.get("ipCidrRange")):
        return ("ipCidrRange",)
    if type_token == "gcp:sql/databaseInstance:DatabaseInstance" and _less(
        _at(old, "settings.diskSize"), _at(new, "settings.diskSize")
    ):
        return ("settings.diskSize",)
    if type_token == "gcp:redis/instance:Instance" and _less(_version(old), _version(new)):
        return ("redisVersion",)
    if type_token == "gcp:container/cluster:Cluster":
        names = ("enableL4IlbSubsetting", "enableFqdnNetworkPolicy")
        return tuple(name for name in names if old.get(name) is True and new.get(name) is not True)
    return ()


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        if is_list(value):
            value = value[0] if value else None
        value = value.get(part) if is_object(value) else None
    return value


def _less(old: Any, new: Any) -> bool:
    return isinstance(old, int) and isinstance(new, int) and new < old


def _version(inputs: Properties) -> int | None:
    found = re.fullmatch(r"REDIS_(\d+)_(\d+|X)", str(inputs.get("redisVersion")))
    return None if found is None else int(found[1]) * 100 + (0 if found[2] == "X" else int(found[2]))


def _shrinks(old: Any, new: Any) -> bool:
    """Whether a range does not hold all of the earlier one: Compute Engine only ever widens a subnetwork."""
    if not (isinstance(old, str) and isinstance(new, str)) or old == new:
        return False
    return not ipaddress.ip_network(old).subnet_of(ipaddress.ip_network(new))  # type: ignore[arg-type] both are IPv4
