"""What refuses to be deleted, read off the stack's state, and how it is let go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from ops.plan.stateful import STATEFUL


@dataclass(frozen=True, kw_only=True)
class Protected:
    """A resource that refuses.

    Attributes:
        urn: Pulumi's name of the resource.
        name: The cloud's name, or Pulumi's where there is none.
        type: Pulumi's type.
        by: Who refuses: ``pulumi``, or ``cloud``: there the flag is lifted by an update, not by Pulumi's state.
        why: What the refusal is.
        holds: What would be lost.
        unprotect: How it is let go.
    """

    urn: str
    name: str
    type: str
    by: str
    why: str
    holds: str
    unprotect: str


@dataclass(frozen=True, kw_only=True)
class Delayed:
    """Something that the cloud keeps for a while after its deletion.

    Attributes:
        name: The cloud's name.
        what: What is kept, and how long.
    """

    name: str
    what: str


# The clouds' own flags: property, value that refuses, what it says, and a command where there is one.
_FLAGS: Final[Sequence[tuple[str, bool, str]]] = (
    ("deletionProtection", True, "deletion protection"),
    ("deletionProtectionEnabled", True, "deletion protection"),
    ("enableDeletionProtection", True, "deletion protection"),
    ("forceDestroy", False, "it is kept while there are objects in it, in any version"),
    ("forceDelete", False, "it is kept while there is something in it"),
)
# Types where the property means something else, or refuses nothing.
_HARMLESS: Final = ("aws:iam/", "aws:route53/")
_COMMANDS: Final[Mapping[str, str]] = {
    "aws:rds/instance:Instance": (
        "aws rds modify-db-instance --no-deletion-protection --apply-immediately --db-instance-identifier {id}"
    ),
    "aws:eks/cluster:Cluster": "aws eks update-cluster-config --no-deletion-protection --name {id}",
}


def protected(deployment: Mapping[str, Any], stack: str) -> list[Protected]:
    """Everything in the state that refuses."""
    found: list[Protected] = []
    for one in _resources(deployment):
        holds = STATEFUL.get(one["type"], "")
        if one.get("protect"):
            found.append(
                Protected(
                    urn=one["urn"],
                    name=_name(one),
                    type=one["type"],
                    by="pulumi",
                    why="Pulumi's protect",
                    holds=holds,
                    unprotect=f"pulumi state unprotect --stack {stack} --yes '{one['urn']}'",
                )
            )
        found += [
            Protected(
                urn=one["urn"],
                name=_name(one),
                type=one["type"],
                by="cloud",
                why=why,
                holds=holds,
                unprotect=_lift(one),
            )
            for why in _flags(one)
        ]
    return found


def delayed(deployment: Mapping[str, Any]) -> list[Delayed]:
    """What stays for a while, though it is deleted."""
    found: list[Delayed] = []
    for one in _resources(deployment):
        outputs = _outputs(one)
        match one["type"]:
            case "aws:secretsmanager/secret:Secret" if int(outputs.get("recoveryWindowInDays") or 0):
                days = int(outputs["recoveryWindowInDays"])
                found.append(Delayed(name=_name(one), what=f"the secret keeps its name {days} days"))
            case "aws:kms/key:Key" | "aws:kms/replicaKey:ReplicaKey":
                days = int(outputs.get("deletionWindowInDays") or 30)  # AWS's default
                found.append(Delayed(name=_name(one), what=f"the key waits {days} days for its deletion"))
            case "aws:rds/instance:Instance":
                if not outputs.get("skipFinalSnapshot"):
                    last = outputs.get("finalSnapshotIdentifier") or "a last snapshot"
                    found.append(Delayed(name=_name(one), what=f"{last} is taken, and stays"))
                if outputs.get("deleteAutomatedBackups") is False:
                    found.append(Delayed(name=_name(one), what="automated backups stay until they expire"))
            case "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication":
                days = int(outputs.get("retentionPeriod") or 7)  # the provider's default
                found.append(Delayed(name=_name(one), what=f"copied backups stay {days} days at most"))
            case _:
                found += _delayed_at_google(one)
    return found


def _delayed_at_google(one: Mapping[str, Any]) -> list[Delayed]:
    outputs, name = _outputs(one), _name(one)
    settings = cast("Mapping[str, Any]", outputs.get("settings") or {})
    match one["type"]:
        case "gcp:kms/cryptoKey:CryptoKey":
            days = int(str(outputs.get("destroyScheduledDuration") or "2592000s").rstrip("s")) // 86_400  # the default
            return [Delayed(name=name, what=f"its versions wait {days} days; the key keeps its name")]
        case "gcp:sql/databaseInstance:DatabaseInstance":
            kept = "; automated backups stay until they expire" if settings.get("retainBackupsOnDelete") else ""
            return [Delayed(name=name, what=f"its name is taken for a week{kept}")]
        case "gcp:logging/projectBucketConfig:ProjectBucketConfig":
            return [Delayed(name=name, what="the bucket of logs stays seven days")]
        case "gcp:projects/iAMCustomRole:IAMCustomRole":
            return [Delayed(name=name, what="the role can be brought back for a week")]
        case "gcp:servicenetworking/connection:Connection":
            return [Delayed(name=name, what="Google keeps its side of the peering for days")]
        case _:
            return []


def _resources(deployment: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    # Something pending deletion is gone for Pulumi; its flags say nothing any more.
    resources = cast("list[dict[str, Any]]", deployment.get("resources") or [])
    return (one for one in resources if not one.get("delete") and not one.get("external"))


def _outputs(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", resource.get("outputs") or {})


def _name(resource: Mapping[str, Any]) -> str:
    return str(resource.get("id") or resource["urn"].rsplit("::", 1)[1])


def _flags(resource: Mapping[str, Any]) -> list[str]:
    if not resource["type"].startswith(("aws:", "gcp:")) or resource["type"].startswith(_HARMLESS):
        return []
    outputs = {**_outputs(resource)}
    inputs = cast("Mapping[str, Any]", resource.get("inputs") or {})
    # A flag that the program never set is the provider's default, and for `forceDestroy` that means: it refuses.
    if resource["type"] in ("aws:s3/bucket:Bucket", "gcp:storage/bucket:Bucket"):
        outputs.setdefault("forceDestroy", inputs.get("forceDestroy", False))
    return list(dict.fromkeys(why for name, refuses, why in _FLAGS if outputs.get(name) is refuses))


def _lift(resource: Mapping[str, Any]) -> str:
    setting = 'set llmops:protect to "false" in the stack\'s settings and run `pulumi up`'
    command = _COMMANDS.get(resource["type"])
    return f"{setting}, or {command.format(id=_name(resource))}" if command else setting
