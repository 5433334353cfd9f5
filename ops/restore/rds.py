"""RDS servers: restored beside the old one, waited for, renamed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ops.progress import Progress, until
from ops.refusals import RefusedError
from ops.restore.declared import RESTORED_FROM, Declared, completing_arguments, restore_arguments

RESTORE_PATIENCE_SECONDS: Final = 4 * 3600  # a large snapshot is loaded slowly
_RENAME_PATIENCE_SECONDS: Final = 1800
MAX_NAME: Final = 63  # of a server: CreateDBInstance, API reference; snapshots take 255


@dataclass(frozen=True)
class Moment:
    """What a server is restored to.

    Attributes:
        at: A moment, with its time zone; none for the latest, or where ``snapshot`` is set.
        snapshot: Identifier or ARN of a snapshot.
    """

    at: datetime | None = None
    snapshot: str = ""

    @property
    def words(self) -> str:
        """For messages."""
        if self.snapshot:
            return f"snapshot {self.snapshot}"
        return f"its state at {self.at.isoformat()}" if self.at else "its latest restorable state"


class Servers:
    """The account's servers in one region, by ``boto3``'s client of RDS."""

    def __init__(self, rds: Any, progress: Progress, *, pause_seconds: float = 20) -> None:
        self._rds = rds
        self._progress = progress
        self._pause_seconds = pause_seconds

    def find(self, identifier: str) -> dict[str, Any] | None:
        """The server of a name, as RDS describes it; none where there is none."""
        try:
            return self._rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]
        except self._rds.exceptions.DBInstanceNotFoundFault:
            return None

    def window(self, declared: Declared) -> dict[str, Any]:
        """What can be restored: the range of moments and the snapshots, newest first."""
        backups = self._rds.describe_db_instance_automated_backups(DbiResourceId=declared.id)[
            "DBInstanceAutomatedBackups"
        ]
        # By the resource id, which a server keeps through renames, and which stays when it is gone.
        pages = self._rds.get_paginator("describe_db_snapshots").paginate(DbiResourceId=declared.id)
        snapshots = [one for page in pages for one in page["DBSnapshots"] if one.get("Status") == "available"]
        snapshots.sort(key=lambda one: one["SnapshotCreateTime"], reverse=True)
        window: Mapping[str, Any] = backups[0].get("RestoreWindow", {}) if backups else {}
        server = self.find(declared.identifier)
        latest = window.get("LatestTime") or (server or {}).get("LatestRestorableTime")
        return {
            "earliest": _text(window.get("EarliestTime")),
            "latest": _text(latest),
            "snapshots": [
                {"id": one["DBSnapshotIdentifier"], "taken": _text(one["SnapshotCreateTime"])} for one in snapshots
            ],
        }

    def restore(self, declared: Declared, target: str, moment: Moment) -> None:
        """Begin to restore into a new server."""
        arguments = restore_arguments(declared, target)
        if moment.snapshot:
            self._rds.restore_db_instance_from_db_snapshot(DBSnapshotIdentifier=moment.snapshot, **arguments)
            return
        arguments["TargetDBInstanceIdentifier"] = arguments.pop("DBInstanceIdentifier")
        if self.find(declared.identifier):
            arguments["SourceDBInstanceIdentifier"] = declared.identifier
        else:  # deleted: its automated backups are kept where the stack is protected
            arguments["SourceDbiResourceId"] = declared.id
        when = {"RestoreTime": moment.at} if moment.at else {"UseLatestRestorableTime": True}
        self._rds.restore_db_instance_to_point_in_time(**arguments, **when)

    def restore_copies(
        self, declared: Declared, target: str, backups_arn: str, moment: Moment, *, for_now: bool = False
    ) -> None:
        """Begin to restore copies of a server's backups in another region; ``for_now``: into one that goes again."""
        arguments = restore_arguments(declared, target)
        arguments["TargetDBInstanceIdentifier"] = arguments.pop("DBInstanceIdentifier")
        if for_now:  # no standby, no protection, no backups of its own: they would only cost time
            arguments |= {"MultiAZ": False, "DeletionProtection": False, "BackupRetentionPeriod": 0}
        when = {"RestoreTime": moment.at} if moment.at else {"UseLatestRestorableTime": True}
        self._rds.restore_db_instance_to_point_in_time(
            SourceDBInstanceAutomatedBackupsArn=backups_arn, **arguments, **when
        )

    def find_snapshot(self, name: str) -> dict[str, Any] | None:
        """The snapshot of a name, as RDS describes it; none where there is none."""
        try:
            return self._rds.describe_db_snapshots(DBSnapshotIdentifier=name)["DBSnapshots"][0]
        except self._rds.exceptions.DBSnapshotNotFoundFault:
            return None

    def take_snapshot(self, identifier: str, name: str) -> None:
        """Begin a snapshot of a server."""
        self._rds.create_db_snapshot(
            DBInstanceIdentifier=identifier, DBSnapshotIdentifier=name, Tags=[_origin(identifier)]
        )

    def copy_snapshot(self, name: str, copy: str, kms_key: str) -> None:
        """Begin to copy a snapshot under another key."""
        self._rds.copy_db_snapshot(
            SourceDBSnapshotIdentifier=name, TargetDBSnapshotIdentifier=copy, KmsKeyId=kms_key, Tags=[_origin(name)]
        )

    def snapshot_available(self, name: str) -> None:
        """Wait for a snapshot.

        Raises:
            RefusedError: It failed, or is gone.
            PatienceError: It is not there in time.
        """

        def look() -> bool | None:
            snapshot = self.find_snapshot(name)
            status = str(snapshot["Status"]) if snapshot else "gone"
            self._progress.say(f"snapshot {name}: {status}")
            if status in ("failed", "gone"):
                raise RefusedError(f"snapshot {name} is {status}; `aws rds describe-events` says why")
            return True if status == "available" else None

        until(
            look,
            what=f"snapshot {name} is available",
            patience_seconds=RESTORE_PATIENCE_SECONDS,
            pause_seconds=self._pause_seconds,
        )

    def remove_snapshot(self, name: str) -> None:
        """Delete a snapshot."""
        self._rds.delete_db_snapshot(DBSnapshotIdentifier=name)

    def complete(self, declared: Declared, identifier: str) -> None:
        """Give a restored server what a restore does not take."""
        self._rds.modify_db_instance(DBInstanceIdentifier=identifier, **completing_arguments(declared))

    def export_logs(self, declared: Declared, identifier: str) -> None:
        """Export logs again, under the final name; and take the stack's word on protection."""
        self._rds.modify_db_instance(
            DBInstanceIdentifier=identifier,
            CloudwatchLogsExportConfiguration={
                "EnableLogTypes": list(declared.inputs.get("enabledCloudwatchLogsExports", ()))
            },
            DeletionProtection=bool(declared.inputs.get("deletionProtection")),
            ApplyImmediately=True,
        )

    def forget_origin(self, server: Mapping[str, Any]) -> None:
        """Take the tag away by which a restored server may be discarded: it is the stack's now."""
        self._rds.remove_tags_from_resource(ResourceName=server["DBInstanceArn"], TagKeys=[RESTORED_FROM])

    def rename(self, old: str, new: str) -> dict[str, Any]:
        """Rename a server, and wait until it answers to its new name."""
        self._rds.modify_db_instance(DBInstanceIdentifier=old, NewDBInstanceIdentifier=new, ApplyImmediately=True)
        found = self._await(new, lambda _: True, _RENAME_PATIENCE_SECONDS)
        until(
            lambda: None if self.find(old) else True,
            what=f"the name {old} is given up",
            patience_seconds=_RENAME_PATIENCE_SECONDS,
            pause_seconds=self._pause_seconds,
        )
        return found

    def available(self, identifier: str, *, complete: bool = False) -> dict[str, Any]:
        """Wait until a server is available; ``complete``: and has a password of its own in Secrets Manager.

        Raises:
            RefusedError: It will never be.
            PatienceError: It is not in time.
        """
        return self._await(
            identifier,
            lambda server: not complete or server.get("MasterUserSecret", {}).get("SecretStatus") == "active",
            RESTORE_PATIENCE_SECONDS,
        )

    def remove(self, identifier: str) -> None:
        """Delete a server that a restore made, without a last snapshot, and wait until it is gone.

        Raises:
            RefusedError: No restore made it.
        """
        server = self.find(identifier)
        if server is None:
            return
        if not any(tag["Key"] == RESTORED_FROM for tag in server.get("TagList", ())):
            raise RefusedError(f"{identifier} has no tag {RESTORED_FROM}: no restore made it")
        if server.get("DeletionProtection"):
            self._rds.modify_db_instance(
                DBInstanceIdentifier=identifier, DeletionProtection=False, ApplyImmediately=True
            )
        self._rds.delete_db_instance(
            DBInstanceIdentifier=identifier, SkipFinalSnapshot=True, DeleteAutomatedBackups=True
        )
        until(
            lambda: None if self.find(identifier) else True,
            what=f"{identifier} is gone",
            patience_seconds=_RENAME_PATIENCE_SECONDS,
            pause_seconds=self._pause_seconds,
        )

    def _await(
        self, identifier: str, ready: Callable[[Mapping[str, Any]], bool], patience_seconds: float
    ) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            server = self.find(identifier)
            status = str(server["DBInstanceStatus"]) if server else "not there yet"
            self._progress.say(f"{identifier}: {status}")
            if status in ("failed", "incompatible-restore", "incompatible-network", "incompatible-parameters"):
                raise RefusedError(f"{identifier} is {status}; `aws rds describe-events` says why")
            return server if server and status == "available" and ready(server) else None

        return until(
            look,
            what=f"{identifier} is available",
            patience_seconds=patience_seconds,
            pause_seconds=self._pause_seconds,
        )


def _origin(name: str) -> dict[str, str]:
    return {"Key": RESTORED_FROM, "Value": name}


def _text(moment: Any) -> str:
    return moment.isoformat() if isinstance(moment, datetime) else str(moment or "")
