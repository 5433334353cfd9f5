"""Backups: those that fail, and those that nobody took."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from components.platform.observability.rules.facts import SiteFacts
from components.platform.observability.rules.model import DAY, HOUR, MINUTE, NOW, Alert, Group, promql

# Both schedules run once a day by default; two hours are for the backup itself. A schedule that runs less often needs
# another limit, and says so by this alert.
_MISSED_SECONDS: Final = 26 * 3600

_VECTORS: Final = 'namespace="mlops-data",cronjob="milvus-backup"'


def groups(facts: SiteFacts) -> Iterator[Group]:
    """Rules about backups, for each system that takes some."""
    settings = facts.settings
    if settings.backups.enabled:
        yield Group(name="recovery.cluster", rules=_CLUSTER)
    if settings.vectors.enabled and settings.vectors.backups.enabled:
        yield Group(name="recovery.vectors", rules=_VECTOR_RULES)


_CLUSTER: Final = (
    Alert(
        name="BackupFailed",
        expression='max by (schedule) (velero_backup_last_status{schedule!=""}) == 0',
        lasting=NOW,
        severity="critical",
        summary="The last backup of {{ $labels.schedule }} failed",
        description="Until the next one succeeds, what changes since the one before can be lost.",
        page="recovery",
        dashboard="platform",
    ),
    Alert(
        name="BackupIncomplete",
        expression=(
            f'sum by (schedule) (increase(velero_backup_partial_failure_total{{schedule!=""}}[{promql(DAY)}])) > 0'
        ),
        lasting=NOW,
        severity="warning",
        summary="A backup of {{ $labels.schedule }} left something out",
        description="Some objects or volumes could not be saved; the rest is there.",
        page="recovery",
        dashboard="platform",
    ),
    Alert(
        name="BackupMissed",
        expression=(
            "time() - max by (schedule) "
            f'(velero_backup_last_successful_timestamp{{schedule!=""}} > 0) > {_MISSED_SECONDS}'
        ),
        lasting=NOW,
        severity="critical",
        summary="{{ $labels.schedule }} took no backup",
        description="The last one that succeeded is {{ $value | humanizeDuration }} old.",
        page="recovery",
        dashboard="platform",
    ),
    Alert(
        name="BackupMissed",
        # A schedule that never succeeded has no time of its last success.
        expression='absent(velero_backup_last_successful_timestamp{schedule!=""})',
        lasting=26 * HOUR,
        severity="critical",
        summary="The cluster was never backed up",
        description="For more than a day there has been no backup that succeeded.",
        page="recovery",
        dashboard="platform",
        labels={"schedule": "any"},
    ),
    Alert(
        name="BackupLocationUnavailable",
        expression="min by (backup_location_name) (velero_backup_location_status_gauge) == 0",
        lasting=15 * MINUTE,
        severity="critical",
        summary="Backups cannot be written to {{ $labels.backup_location_name }}",
        description="The bucket, its key or Velero's rights: the next backup fails, and no restore is possible.",
        page="recovery",
        dashboard="platform",
    ),
)

_VECTOR_RULES: Final = (
    Alert(
        name="VectorBackupFailed",
        expression=(
            'max by (namespace, job_name) (kube_job_failed{namespace="mlops-data",job_name=~"milvus-backup-.+",'
            'condition="true"}) == 1'
        ),
        lasting=NOW,
        severity="critical",
        summary="The backup of Milvus failed ({{ $labels.job_name }})",
        description="Until the next one succeeds, vectors that were written since the one before can be lost.",
        page="recovery",
        dashboard="platform",
    ),
    Alert(
        name="VectorBackupMissed",
        # One that never succeeded is counted from its beginning.
        expression=(
            f"time() - max by (namespace, cronjob) (kube_cronjob_status_last_successful_time{{{_VECTORS}}}"
            f" or kube_cronjob_created{{{_VECTORS}}}) > {_MISSED_SECONDS}"
        ),
        lasting=NOW,
        severity="critical",
        summary="Milvus was not backed up",
        description="The last backup that succeeded is {{ $value | humanizeDuration }} old.",
        page="recovery",
        dashboard="platform",
    ),
)
