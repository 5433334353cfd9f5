"""All finders of a project of Google Cloud, at the same time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from ops.leftovers.gcp import everywhere, stores
from ops.leftovers.gcp.compute import KINDS, TIES, Compute, Kind, networks
from ops.leftovers.gcp.look import Look
from ops.leftovers.model import Leftover, Proof, Unseen, proof
from ops.leftovers.record import Record
from ops.preflight.gcp.account import Account, GoogleError
from ops.preflight.model import UnansweredError

Finder = Callable[[Look], Iterator[Leftover]]

STORES: Final[Mapping[str, Finder]] = {
    "clusters": stores.clusters,
    "networks": networks,
    "buckets": stores.buckets,
    "databases": stores.databases,
    "database backups": stores.database_backups,
    "caches": stores.caches,
    "files": stores.files,
    "backups of files": stores.file_backups,
    "secrets": stores.secrets,
    "repositories": stores.repositories,
    "log buckets": stores.log_buckets,
    "log sinks": everywhere.sinks,
    "alarms": everywhere.alarms,
    "zones": everywhere.zones,
    "service accounts": everywhere.service_accounts,
    "custom roles": everywhere.custom_roles,
    "keys": stores.keys,
}

MADE_BY_CONTROLLERS: Final = ("forwardingRules", "targetPools", "backendServices", "networkEndpointGroups")
"""Collections of what controllers in the cluster make, and must have removed before the network can go."""

HOLD_THE_NETWORK: Final = (
    *MADE_BY_CONTROLLERS,
    "healthChecks",
    "instanceGroups",
    "instances",
    "addresses",
    "firewalls",
)
"""The same and what else of the cluster is in the network, or was behind its load balancers."""

BALANCERS: Final = frozenset(kind.title for kind in KINDS if kind.collection in MADE_BY_CONTROLLERS)
HELD: Final = frozenset(kind.title for kind in KINDS if kind.collection in HOLD_THE_NETWORK)
"""Kinds of both, as leftovers call them."""

_AT_ONCE: Final = 8


def search(account: Account, record: Record) -> Proof:
    """Ask for every kind; an API that is off has nothing, a question that is refused is told and stops no other."""
    look = Look(account=account, record=record)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        others = [pool.submit(_ask, what, lambda finder=finder: finder(look)) for what, finder in STORES.items()]
        compute = pool.submit(_compute, look, KINDS)
        answers = [one.result() for one in (*others, compute)]
    return proof([one for found, _ in answers for one in found], [one for _, unseen in answers for one in unseen])


def made_by_controllers(account: Account, record: Record) -> Proof:
    """What is left of load balancers only."""
    return _of(account, record, MADE_BY_CONTROLLERS)


def held_by_network(account: Account, record: Record) -> Proof:
    """What is in the network and was made by the cluster or its controllers: it has to go before the network."""
    return _of(account, record, HOLD_THE_NETWORK)


def _of(account: Account, record: Record, collections: Collection[str]) -> Proof:
    kinds = [kind for kind in KINDS if kind.collection in collections]
    return proof(*_compute(Look(account=account, record=record), kinds))


def _compute(look: Look, kinds: tuple[Kind, ...] | list[Kind]) -> tuple[list[Leftover], list[Unseen]]:
    """Kinds of Compute Engine, one after the other: they share what ties them to the network."""
    compute, found, unseen = Compute(look), list[Leftover](), list[Unseen]()
    # What ties the rest to the network comes first: where it is not told, neither is the rest.
    for kind in sorted(kinds, key=lambda kind: kind.collection not in TIES):
        some, missing = _ask(f"{kind.title}s", lambda kind=kind: compute.find(kind))
        found += some
        unseen += missing
    return found, unseen


def _ask(what: str, finder: Callable[[], Iterator[Leftover]]) -> tuple[list[Leftover], list[Unseen]]:
    try:
        return list(finder()), []
    except UnansweredError as error:
        if isinstance(error, GoogleError) and error.api_off:
            return [], []
        return [], [Unseen(what=what, why=str(error))]
