"""Copies of a lost server's automated backups: what RDS keeps of them in the other region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ops.refusals import RefusedError
from ops.restore.declared import Declared

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Copies:
    """The copied backups of one server.

    Attributes:
        arn: RDS's name of them, in the region where they are.
        source: Name of the server that they are of.
        status: ``replicating`` while they are made; ``retained`` once that was stopped, until they expire.
        kms_key: Key under which they are; empty where they are under none.
        engine: Database engine, and its whole version.
        username: The server's administrator.
        storage_gib: Size of the server's storage.
        kept_days: How long they are kept.
        earliest: First moment that can be restored; none before the first snapshot is there.
        latest: Last one.
    """

    arn: str
    source: str
    status: str
    kms_key: str
    engine: tuple[str, str]
    username: str
    storage_gib: int
    kept_days: int
    earliest: datetime | None
    latest: datetime | None

    def age(self, now: datetime | None = None) -> timedelta | None:
        """How far they are behind: what a loss of the other region at this moment would lose."""
        return (now or datetime.now(UTC)) - self.latest if self.latest else None

    def facts(self, now: datetime | None = None) -> dict[str, Any]:
        """As JSON has it."""
        age = self.age(now)
        return {
            "server": self.source,
            "backups": self.arn,
            "status": self.status,
            "earliest": self.earliest.isoformat() if self.earliest else None,
            "latest": self.latest.isoformat() if self.latest else None,
            "ageSeconds": round(age.total_seconds()) if age else None,
            "keptDays": self.kept_days,
            "storageGib": self.storage_gib,
        }


def copies_of(rds: Any, identifier: str, region: str, resource_id: str = "") -> Copies | None:
    """The copies that a region has of the backups of a server in ``region``; none where it has none.

    A server that was put into the place of another has the other's name and is copied anew. Of several of that name
    those of ``resource_id`` are meant, else those that reach furthest.

    Args:
        rds: Client of the region that has the copies. RDS cannot be asked for one by a name that is of elsewhere.
        identifier: Name of the server.
        region: Where the server is, or was.
        resource_id: The server's resource id, where it is known.
    """
    pages = rds.get_paginator("describe_db_instance_automated_backups").paginate()
    found = [
        one
        for page in pages
        for one in page["DBInstanceAutomatedBackups"]
        if one.get("DBInstanceIdentifier") == identifier and _region_of(one.get("DBInstanceArn")) == region
    ]
    found.sort(key=lambda one: (one.get("DbiResourceId") == resource_id, _window(one).get("LatestTime") or _NEVER))
    return _read(found[-1]) if found else None


def checked(copies: Copies | None, declared: Declared, lost: str) -> Copies:
    """Refuse copies from which the server that ``declared`` says cannot be made.

    Raises:
        RefusedError: There are none, they hold nothing yet, or the stack's database is of another kind.
    """
    if copies is None:
        raise RefusedError(
            f"{declared.region} has no copies of backups of {lost}: database.replicateBackups was off, or they expired"
        )
    if copies.latest is None:
        raise RefusedError(f"the copies of {lost} are {copies.status} and hold no snapshot yet")
    engine, version = copies.engine
    wanted = str(declared.inputs.get("engineVersion", "")).partition(".")[0]
    if engine != declared.inputs.get("engine", engine) or (wanted and version.partition(".")[0] != wanted):
        raise RefusedError(
            f"the copies are of {engine} {version}, and the stack declares {declared.inputs.get('engine')} {wanted}: "
            f"set database.engineVersion to {version.partition('.')[0]}, and `pulumi up`"
        )
    if copies.username != declared.inputs.get("username", copies.username):
        raise RefusedError(
            f"the administrator of the copies is {copies.username}, and the stack's is {declared.inputs['username']}"
        )
    return copies


def age_words(copies: Copies, now: datetime | None = None) -> str:
    """How far they are behind, for people."""
    age = copies.age(now)
    if age is None:
        return "without a snapshot yet"
    minutes = round(age.total_seconds() / 60)
    return f"{minutes} minutes old" if minutes < 2 * 60 else f"{minutes / 60:.0f} hours old"


def window_words(copies: Copies, now: datetime | None = None) -> str:
    """What can be restored, and how old it is."""
    if copies.earliest is None or copies.latest is None:
        return f"copies of its backups are {copies.status} and hold no snapshot yet"
    window = f"any moment from {copies.earliest.isoformat()} to {copies.latest.isoformat()}"
    return f"{window}, {age_words(copies, now)}; copying is {copies.status}"


def _read(one: Mapping[str, Any]) -> Copies:
    window = _window(one)
    return Copies(
        arn=str(one["DBInstanceAutomatedBackupsArn"]),
        source=str(one["DBInstanceIdentifier"]),
        status=str(one.get("Status", "unknown")).lower(),  # RDS writes it in both ways
        kms_key=str(one.get("KmsKeyId") or ""),
        engine=(str(one.get("Engine", "")), str(one.get("EngineVersion", ""))),
        username=str(one.get("MasterUsername", "")),
        storage_gib=int(one.get("AllocatedStorage") or 0),
        kept_days=int(one.get("BackupRetentionPeriod") or 0),
        earliest=window.get("EarliestTime"),
        latest=window.get("LatestTime"),
    )


def _window(one: Mapping[str, Any]) -> Mapping[str, Any]:
    return one.get("RestoreWindow") or {}


def _region_of(arn: Any) -> str:
    parts = str(arn or "").split(":")
    return parts[3] if len(parts) > 3 else ""
