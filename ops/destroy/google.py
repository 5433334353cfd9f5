"""The Google Cloud project around a destroy: what refuses there, what goes before the engine and after it.

The twin of :mod:`ops.destroy.account`. Buckets need no emptying here: the provider deletes their objects itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol, cast

from ops.destroy.account import Planned, Resources
from ops.destroy.protection import Protected
from ops.leftovers.cli import tell
from ops.leftovers.gcp.look import bare
from ops.leftovers.gcp.removal import Deleting, removable, remove
from ops.leftovers.gcp.search import BALANCERS, HELD, held_by_network, made_by_controllers, search
from ops.leftovers.model import Leftover
from ops.leftovers.record import Record
from ops.plan.stateful import STATEFUL
from ops.preflight.gcp.account import Account, GoogleError
from ops.preflight.model import UnansweredError

_BALANCER_SECONDS: Final = 600.0  # GKE takes a minute or two for each load balancer
_SWEEP_SECONDS: Final = 600.0


class Project(Account, Deleting, Protocol):
    """A project that can be asked and changed."""


def protected(account: Account, record: Record, resources: Resources) -> list[Protected]:
    """What refuses in the project though the engine's state does not say so: set by hand, or a lock on what is kept."""
    found: list[Protected] = []
    for one in resources:
        name, type_ = str(one.get("id") or ""), str(one["type"])
        judge = _REFUSALS.get(type_)
        if judge is None or not name or one.get("delete") or one.get("external"):
            continue
        try:
            told = judge(account, record.account, name)
        except UnansweredError as error:
            if not (isinstance(error, GoogleError) and (error.absent or error.api_off)):
                tell(f"whether the project protects {name} is not known: {error}")
            continue
        if told:
            why, way = told
            holds = STATEFUL.get(type_, "")
            found.append(
                Protected(urn=one["urn"], name=name, type=type_, by="account", why=why, holds=holds, unprotect=way)
            )
    return found


Refusal = tuple[str, str] | None
"""Why something is kept, and how it is let go."""


def _database(account: Account, project: str, name: str) -> Refusal:
    short = name.rpartition("/")[2]
    told = account.get(f"https://sqladmin.googleapis.com/v1/projects/{project}/instances/{short}")
    refuses = cast("Mapping[str, Any]", told.get("settings") or {}).get("deletionProtectionEnabled")
    command = f"gcloud sql instances patch {short} --no-deletion-protection --project {project}"
    return ("deletion protection", command) if refuses else None


def _files(account: Account, project: str, name: str) -> Refusal:
    told = account.get(f"https://file.googleapis.com/v1/{bare(name)}")
    parts = bare(name).split("/")
    command = f"gcloud filestore instances update {parts[-1]} --location {parts[3]} --no-deletion-protection"
    refuses = told.get("deletionProtectionEnabled")
    return ("deletion protection", f"{command} --project {project}") if refuses else None


def _bucket(account: Account, project: str, name: str) -> Refusal:
    del project
    told = account.get(f"https://storage.googleapis.com/storage/v1/b/{name}")
    policy = cast("Mapping[str, Any]", told.get("retentionPolicy") or {})
    if policy.get("isLocked"):
        days = int(policy.get("retentionPeriod") or 0) // 86_400
        return f"a locked retention policy: each object stays {days} days, nobody can shorten it", "wait"
    if policy:
        return "a retention policy", f"gcloud storage buckets update gs://{name} --clear-retention-period"
    if told.get("defaultEventBasedHold"):
        return "a hold on new objects", f"gcloud storage buckets update gs://{name} --no-default-event-based-hold"
    return None


def _log_bucket(account: Account, project: str, name: str) -> Refusal:
    del project
    told = account.get(f"https://logging.googleapis.com/v2/{bare(name)}")
    why = "it is locked: a locked bucket of logs is deleted when it is empty"
    return (why, f"wait for its {told.get('retentionDays')} days") if told.get("locked") else None


_REFUSALS: Final[Mapping[str, Callable[[Account, str, str], Refusal]]] = {
    "gcp:filestore/instance:Instance": _files,
    "gcp:logging/projectBucketConfig:ProjectBucketConfig": _log_bucket,
    "gcp:sql/databaseInstance:DatabaseInstance": _database,
    "gcp:storage/bucket:Bucket": _bucket,
}


def planned(account: Account, record: Record, resources: Resources, services: frozenset[str]) -> Planned:
    """Look, and change nothing; buckets are emptied by the engine's provider."""
    whole = search(account, record)
    found = [one for one in _unknown_to(resources, whole.found) if one.fate in ("safe", "data")]
    swept = [one for one in found if one.kind in HELD and removable(one, data=False)]
    return Planned(
        controllers=[one for one in swept if one.kind in BALANCERS and one.note not in services],
        buckets=(),
        after=[one for one in swept if one.kind not in BALANCERS],
        kept=[one for one in found if one not in swept],
        unseen=whole.unseen,
    )


def prepare(account: Project, record: Record, resources: Resources, services: frozenset[str], *, scale: float) -> None:
    """Before the engine: parts of load balancers must be gone, or the network cannot go.

    Those of Services that the engine deletes itself are left to it: the cluster, and so their controller, goes later.
    """
    deadline = time.monotonic() + _BALANCER_SECONDS * scale
    while True:
        seen = made_by_controllers(account, record)
        found = [one for one in _unknown_to(resources, seen.found) if one.note not in services]
        if not found or time.monotonic() > deadline:
            break
        tell(f"waiting for {len(found)} parts of load balancers to go: {found[0].kind} {found[0].name}")
        time.sleep(15 * min(scale, 1))
    for one in seen.unseen:
        tell(f"not seen: {one.what}: {one.why}")
    if found:
        tell("their controller did not remove them; they go now")
        _remove(account, record, found, 60 * scale, scale)


def clear_network(account: Project, record: Record, resources: Resources, *, scale: float) -> int:
    """What is in the network, and nobody looks after since the cluster is gone; returns how much was asked to go."""
    gone = 0
    for _ in range(3):  # a forwarding rule lets its backend service go, that its endpoint groups
        found = _unknown_to(resources, held_by_network(account, record).found)
        wanted = [one for one in found if removable(one, data=False)]
        if not wanted:
            break
        tell(f"removing {len(wanted)} things in the network that nothing looks after any more")
        refused = _remove(account, record, wanted, _SWEEP_SECONDS * scale, scale)
        gone += len(wanted) - refused
        if refused == len(wanted):
            break
    return gone


def clear_rest(account: Project, record: Record, *, scale: float) -> int:
    """When the engine is done: what holds no data and was made by the cluster; the rest is for ``leftovers``."""
    return clear_network(account, record, (), scale=scale)


def _remove(account: Project, record: Record, found: Iterable[Leftover], seconds: float, scale: float) -> int:
    def pause(wait: float) -> None:
        time.sleep(wait * min(scale, 1))

    refused = remove(account, found, record.account, tell, seconds=seconds, pause=pause)
    for line in refused:
        tell(line)
    return len(refused)


def _unknown_to(resources: Resources, found: Iterable[Leftover]) -> list[Leftover]:
    """What the engine does not delete itself."""
    known = {str(name) for one in resources for name in (one.get("id"), _outputs(one).get("name")) if name}
    return [one for one in found if one.name not in known]


def _outputs(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", resource.get("outputs") or {})
