"""The AWS account around a destroy: what refuses there, what goes before the engine, between its rounds, after it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from ops.destroy.protection import Protected
from ops.leftovers.aws.buckets import empty
from ops.leftovers.aws.removal import removable, remove
from ops.leftovers.aws.search import AFTER_THE_ENGINE, FINDERS, HOLD_THE_NETWORK, MADE_BY_CONTROLLERS, Finder, search
from ops.leftovers.cli import tell
from ops.leftovers.model import Leftover, Unseen
from ops.leftovers.record import Record
from ops.plan.stateful import STATEFUL
from ops.preflight.aws.account import Account, AwsError
from ops.preflight.model import UnansweredError

_BALANCER_SECONDS: Final = 600.0  # a network load balancer is gone some minutes after its Service
_SWEEP_SECONDS: Final = 600.0  # a machine that is ended holds its interfaces for minutes
_BUCKET: Final = "aws:s3/bucket:Bucket"
_LOCKED: Final = (
    "wait until the locks end; where they are of mode GOVERNANCE: aws s3api delete-objects "
    "--bypass-governance-retention --bucket {name} --delete ..., for all versions that list-object-versions shows"
)

# Kinds of leftovers, as the finders of the two steps say them.
_OF_CONTROLLERS: Final = ("load balancer", "classic load balancer", "target group")
_SWEPT: Final = ("instance group", "instance", "network interface", "security group", "log group")

Resources = Sequence[Mapping[str, Any]]
"""As the engine's state has them."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What a destroy would meet in the account.

    Attributes:
        controllers: What controllers made, and is waited for before the engine begins, then removed.
        buckets: Those that are emptied before the engine begins.
        after: What the engine does not know, and is removed when the cluster is gone.
        kept: What holds data, or may be somebody's: it stays until ``leftovers`` is told to remove it.
        unseen: Questions without an answer.
    """

    controllers: Sequence[Leftover]
    buckets: Sequence[str]
    after: Sequence[Leftover]
    kept: Sequence[Leftover]
    unseen: Sequence[Unseen]


def planned(account: Account, record: Record, resources: Resources, services: frozenset[str]) -> Planned:
    """Look, and change nothing.

    Args:
        account: The account.
        record: What is known of the stack.
        resources: The engine's.
        services: Services that the engine deletes itself, as ``Service <namespace>/<name>``.
    """
    whole = search(account, record, FINDERS)
    found = [one for one in _unknown_to(resources, whole.found) if one.fate in ("safe", "data")]
    return Planned(
        controllers=[one for one in found if one.kind in _OF_CONTROLLERS and one.note not in services],
        buckets=[name for name, _ in _emptied(resources, record)],
        after=[one for one in found if one.kind in _SWEPT],
        kept=[one for one in found if one.kind not in (*_OF_CONTROLLERS, *_SWEPT)],
        unseen=whole.unseen,
    )


def protected(account: Account, record: Record, resources: Resources) -> list[Protected]:
    """What refuses in the account though the engine's state does not say so: set by hand, or a lock on objects."""
    found: list[Protected] = []
    for one in resources:
        name, region, type_ = str(one.get("id") or ""), _region(one) or record.regions[0], str(one["type"])
        if not name or one.get("delete") or one.get("external"):
            continue
        try:
            told = _refusal(account, type_, name, region)
        except UnansweredError as error:
            if not (isinstance(error, AwsError) and _missing(error)):
                tell(f"whether the account protects {name} is not known: {error}")
            continue
        if told:
            why, way = told
            holds = STATEFUL.get(type_, "")
            found.append(
                Protected(urn=one["urn"], name=name, type=type_, by="account", why=why, holds=holds, unprotect=way)
            )
    return [*found, *_kept_balancers(account, record)]


def _kept_balancers(account: Account, record: Record) -> list[Protected]:
    """Load balancers of Services whose annotations ask for it: neither their controller nor we can delete them."""
    found: list[Protected] = []
    for one in search(account, record, {"load balancers": MADE_BY_CONTROLLERS["load balancers"]}).found:
        try:
            told = account.call("elbv2", "describe_load_balancer_attributes", one.region, LoadBalancerArn=one.name)
        except UnansweredError as error:
            if not (isinstance(error, AwsError) and _missing(error)):
                tell(f"whether the account protects {one.name} is not known: {error}")
            continue
        if {"Key": "deletion_protection.enabled", "Value": "true"} in told["Attributes"]:
            command = (
                "aws elbv2 modify-load-balancer-attributes --attributes Key=deletion_protection.enabled,Value=false"
            )
            found.append(
                Protected(
                    urn="",
                    name=one.name,
                    type=one.note or one.kind,
                    by="account",
                    why="deletion protection",
                    holds="",
                    unprotect=f"take it out of the annotations of {one.note or 'what made it'}, or "
                    f"{command} --region {one.region} --load-balancer-arn {one.name}",
                )
            )
    return found


def _refusal(account: Account, type_: str, name: str, region: str) -> tuple[str, str] | None:
    """Why the account keeps something, and how it is let go."""
    match type_:
        case "aws:rds/instance:Instance":
            (server,) = account.call("rds", "describe_db_instances", region, DBInstanceIdentifier=name)["DBInstances"]
            command = f"aws rds modify-db-instance --no-deletion-protection --apply-immediately --region {region}"
            refuses = bool(server.get("DeletionProtection"))
            return ("deletion protection", f"{command} --db-instance-identifier {name}") if refuses else None
        case "aws:eks/cluster:Cluster":
            cluster = account.call("eks", "describe_cluster", region, name=name)["cluster"]
            command = f"aws eks update-cluster-config --no-deletion-protection --region {region} --name {name}"
            return ("deletion protection", command) if cluster.get("deletionProtection") else None
        case "aws:s3/bucket:Bucket" if _locks(account, name, region):
            listed = account.call("s3", "list_object_versions", region, Bucket=name, MaxKeys=1)
            if listed.get("Versions"):
                return "object lock: S3 keeps each version until its date", _LOCKED.format(name=name)
        case _:
            pass
    return None


def _locks(account: Account, bucket: str, region: str) -> bool:
    try:
        told = account.call("s3", "get_object_lock_configuration", region, Bucket=bucket)
    except AwsError as error:
        if error.code != "ObjectLockConfigurationNotFoundError":
            raise
        return False
    return told.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"


def prepare(account: Account, record: Record, resources: Resources, services: frozenset[str], *, scale: float) -> None:
    """Before the engine: load balancers must be gone, and buckets empty, or it waits and fails.

    Raises:
        UnansweredError: A bucket cannot be emptied.
    """
    deadline = time.monotonic() + _BALANCER_SECONDS * scale
    while True:
        # The engine deletes its own Services itself, before the controller that removes their load balancers.
        seen = search(account, record, MADE_BY_CONTROLLERS)
        found = [one for one in _unknown_to(resources, seen.found) if one.note not in services]
        if not found or time.monotonic() > deadline:
            break
        tell(f"waiting for {len(found)} load balancers and target groups to go: {found[0].name}")
        time.sleep(15 * min(scale, 1))
    for one in seen.unseen:
        tell(f"not seen: {one.what}: {one.why}")
    if found:
        tell("their controller did not remove them; they go now")
        for line in remove(account, found, record.regions[0], tell, seconds=60 * scale, pause=_pause(scale)):
            tell(line)
    for name, region in _emptied(resources, record):
        try:
            versions = empty(account, name, region, lambda gone, name=name: tell(f"{name}: {gone} versions deleted"))
        except AwsError as error:
            if not _missing(error):
                raise
            tell(f"{name}: it is gone already")
        else:
            tell(f"{name}: empty, {versions} versions deleted")


def clear_network(account: Account, record: Record, resources: Resources, *, scale: float) -> int:
    """What holds subnets and groups, and nobody looks after since the cluster is gone; returns how much was removed."""
    return _sweep(account, record, resources, HOLD_THE_NETWORK, scale)


def clear_rest(account: Account, record: Record, *, scale: float) -> int:
    """When the engine is done: what holds no data and belongs to nothing any more."""
    return _sweep(account, record, (), AFTER_THE_ENGINE, scale)


def _sweep(account: Account, record: Record, resources: Resources, finders: Mapping[str, Finder], scale: float) -> int:
    gone, refused = 0, list[str]()
    for _ in range(3):  # an ended machine lets its interfaces go, an interface its group
        found = _unknown_to(resources, search(account, record, finders).found)
        wanted = [one for one in found if removable(one, data=False)]
        if not wanted:
            return gone
        tell(f"removing {len(wanted)} things that nothing looks after any more")
        refused = remove(account, wanted, record.regions[0], tell, seconds=_SWEEP_SECONDS * scale, pause=_pause(scale))
        gone += len(wanted) - len(refused)
        if len(refused) == len(wanted):
            break
    for line in refused:
        tell(line)
    return gone


def _pause(scale: float) -> Callable[[float], None]:
    def pause(seconds: float) -> None:
        time.sleep(seconds * min(scale, 1))

    return pause


def _unknown_to(resources: Resources, found: Iterable[Leftover]) -> list[Leftover]:
    """What the engine does not delete itself."""
    known: set[str] = set()
    for one in resources:
        outputs = _outputs(one)
        known |= {str(name) for name in (one.get("id"), outputs.get("arn"), outputs.get("name")) if name}
    return [one for one in found if one.name not in known]


def _emptied(resources: Resources, record: Record) -> list[tuple[str, str]]:
    """Buckets that the engine deletes with what is in them, and their regions."""
    return [
        (str(one["id"]), _region(one) or record.regions[0])
        for one in resources
        if one["type"] == _BUCKET and one.get("id") and _outputs(one).get("forceDestroy")
    ]


def _outputs(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", resource.get("outputs") or {})


def _region(resource: Mapping[str, Any]) -> str:
    outputs = _outputs(resource)
    parts = str(outputs.get("arn") or "").split(":")
    return str(outputs.get("region") or (parts[3] if len(parts) > 3 else ""))


def _missing(error: AwsError) -> bool:
    return "NotFound" in error.code or error.code.startswith("NoSuch")
