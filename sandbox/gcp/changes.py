"""Which changes replace a resource of Google Cloud."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

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
    """Return the paths that replace because of what they change from and to; both sides are known values.

    The same reading of the provider 7.31.0 as in :mod:`sandbox.gcp.replacements`, of its ``CustomizeDiff`` functions.
    """
    judge = _SOMETIMES.get(type_token)
    return tuple(judge(old, new)) if judge else ()


def _subnetwork(old: Properties, new: Properties) -> Iterator[str]:
    if _shrinks(old.get("ipCidrRange"), new.get("ipCidrRange")):
        yield "ipCidrRange"


def _database(old: Properties, new: Properties) -> Iterator[str]:
    # A disk that grows by itself is never replaced: the provider forgets a smaller size then.
    grows = _at(new, "settings.diskAutoresize")
    if grows is False and _less(_at(old, "settings.diskSize"), _at(new, "settings.diskSize")):
        yield "settings.diskSize"
    if _at(old, "settings.ipConfiguration.privateNetwork") and not _at(new, "settings.ipConfiguration.privateNetwork"):
        yield "settings.ipConfiguration.privateNetwork"
    # A switch to the replica, which changes nothing, is not told apart here.
    for path in ("masterInstanceName", "replicaConfiguration.cascadableReplica"):
        if _at(old, path) != _at(new, path):
            yield path


def _cache(old: Properties, new: Properties) -> Iterator[str]:
    if _less(_version(old), _version(new)):
        yield "redisVersion"


def _cluster(old: Properties, new: Properties) -> Iterator[str]:
    for name in ("enableL4IlbSubsetting", "enableFqdnNetworkPolicy"):
        if old.get(name) is True and new.get(name) is not True:
            yield name
    enabled: tuple[Any, Any] = _at(old, "enableK8sBetaApis.enabledApis"), _at(new, "enableK8sBetaApis.enabledApis")
    before, after = (set(one) if is_list(one) else set[Any]() for one in enabled)
    if before - after:
        yield "enableK8sBetaApis.enabledApis"


def _bucket(old: Properties, new: Properties) -> Iterator[str]:
    if _at(old, "retentionPolicy.isLocked") is True and _at(new, "retentionPolicy.isLocked") is not True:
        yield "retentionPolicy.isLocked"


_SOMETIMES: Final[Mapping[str, Callable[[Properties, Properties], Iterator[str]]]] = {
    "gcp:compute/subnetwork:Subnetwork": _subnetwork,
    "gcp:container/cluster:Cluster": _cluster,
    "gcp:redis/instance:Instance": _cache,
    "gcp:sql/databaseInstance:DatabaseInstance": _database,
    "gcp:storage/bucket:Bucket": _bucket,
}


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        if is_list(value):
            value = value[0] if value else None
        value = value.get(part) if is_object(value) else None
    return value


def _less(old: Any, new: Any) -> bool:
    return isinstance(old, int) and isinstance(new, int) and new < old


def _version(inputs: Properties) -> int | None:
    """As the provider reads it: ``REDIS_6_X`` tells no number, and so never replaces."""
    found = re.match(r"REDIS_(\d+)_(\d+)", str(inputs.get("redisVersion")))
    return None if found is None else int(found[1]) * 100 + int(found[2])


def _shrinks(old: Any, new: Any) -> bool:
    """Whether a range does not hold all of the earlier one: Compute Engine only ever widens a subnetwork."""
    if not (isinstance(old, str) and isinstance(new, str)) or old == new:
        return False
    return not ipaddress.ip_network(old).subnet_of(ipaddress.ip_network(new))  # type: ignore[arg-type] both are IPv4
