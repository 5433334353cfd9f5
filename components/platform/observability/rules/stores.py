"""Stores that run in the cluster: database, object store, cache. Where a cloud runs them, it watches them itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from components.contract import StorePods
from components.platform.observability.rules.facts import SiteFacts
from components.platform.observability.rules.model import HOUR, MINUTE, NOW, Alert, Group
from components.platform.observability.rules.promql import matching, share

_MISSED_SECONDS: Final = 26 * 3600  # a base backup each night, and two hours for the backup itself
_LAG_SECONDS: Final = 300  # the project's own limit (CloudNativePG, `samples/monitoring/prometheusrule.yaml`)
_FULL: Final = 0.05
"""Share of a store's volume that must be free: below it somebody is woken; at a tenth `VolumeNearlyFull` is told."""


def groups(facts: SiteFacts) -> Iterator[Group]:
    """Rules about each store that is pods; none on a foundation whose cloud runs them."""
    stores = facts.stores
    if database := [one for one in stores if one.software == "cloudnative-pg"]:
        yield Group(name="stores.database", rules=_database(sum(one.servers for one in database)))
    if objects := [one for one in stores if one.software == "seaweedfs"]:
        yield Group(name="stores.objects", rules=_objects(objects))
    if any(one.software == "valkey" for one in stores):
        yield Group(name="stores.cache", rules=_CACHE)
    if stores:
        yield Group(name="stores.volumes", rules=[_volumes(stores)])


def _volumes(stores: Sequence[StorePods]) -> Alert:
    namespaces = matching({one.namespace for one in stores})
    selector = f'{{namespace=~"{namespaces}"}}'
    free = f"kubelet_volume_stats_available_bytes{selector} / kubelet_volume_stats_capacity_bytes{selector}"
    return Alert(
        name="StoreVolumeFull",
        expression=f"max by (namespace, persistentvolumeclaim) ({free}) < {_FULL:g}",
        lasting=5 * MINUTE,
        severity="critical",
        summary="The store's volume {{ $labels.persistentvolumeclaim }} is as good as full",
        description="{{ $value | humanizePercentage }} are free. A full disk stops its server.",
        page="stores",
        dashboard="platform",
    )


_LEADERLESS: Final = Alert(
    name="DatabaseWithoutLeader",
    # No server that answers is none that leads; nobody at all who answers is the same.
    expression="(count(cnpg_pg_replication_in_recovery == 0) or vector(0)) == 0",
    lasting=2 * MINUTE,
    severity="critical",
    summary="No server of the database takes writes",
    description="A failover takes less than a minute, so this is none, or one that did not end.",
    page="stores",
    dashboard="platform",
)

_ARCHIVE: Final = Alert(
    name="DatabaseArchivingFailed",
    expression="max(cnpg_pg_stat_archiver_last_failed_time - cnpg_pg_stat_archiver_last_archived_time) > 1",
    lasting=10 * MINUTE,
    severity="critical",
    summary="The database's log does not get into the archive",
    description="What is written from now on can be brought back to no moment, and the log's disk fills until it can.",
    page="stores",
    dashboard="platform",
)

_BACKUP_FAILED: Final = Alert(
    name="DatabaseBackupFailed",
    # Only the leader tells; one that led before tells what it knew.
    expression=(
        "max(cnpg_collector_last_failed_backup_timestamp) > max(cnpg_collector_last_available_backup_timestamp)"
    ),
    lasting=NOW,
    severity="critical",
    summary="The last backup of the database failed",
    description="The base backup before it is still there, and the log since then: a recovery takes longer.",
    page="stores",
    dashboard="platform",
)

_BACKUP_MISSED: Final = Alert(
    name="DatabaseBackupMissed",
    # One that never succeeded is from 1970.
    expression=f"time() - max(cnpg_collector_last_available_backup_timestamp) > {_MISSED_SECONDS}",
    lasting=HOUR,
    severity="critical",
    summary="The database was not backed up",
    description="The last base backup is older than 26 hours, or there is none.",
    page="stores",
    dashboard="platform",
)

_CONNECTIONS: Final = Alert(
    name="DatabaseConnectionsUsed",
    expression=(
        "sum by (pod) (cnpg_backends_total) / on(pod) "
        'max by (pod) (cnpg_pg_settings_setting{name="max_connections"}) > 0.8'
    ),
    lasting=10 * MINUTE,
    severity="warning",
    summary="Connections of {{ $labels.pod }} are nearly used up",
    description="{{ $value | humanizePercentage }} of them are in use; who comes after the last one is refused.",
    page="stores",
    dashboard="platform",
)


def _database(servers: int) -> list[Alert]:
    found = [_LEADERLESS, _ARCHIVE, _BACKUP_FAILED, _BACKUP_MISSED, _CONNECTIONS]
    if servers == 1:
        return found
    return [
        *found,
        Alert(
            name="DatabaseReplicaMissing",
            expression=f"max(cnpg_pg_replication_streaming_replicas) < {servers - 1}",
            lasting=15 * MINUTE,
            severity="warning",
            summary="A server of the database does not follow its leader",
            description=f"{{{{ $value }}}} of {servers - 1} follow: with none, a lost node is lost commits.",
            page="stores",
            dashboard="platform",
        ),
        Alert(
            name="DatabaseReplicationLag",
            expression=f"max by (pod) (cnpg_pg_replication_lag) > {_LAG_SECONDS}",
            lasting=5 * MINUTE,
            severity="warning",
            summary="{{ $labels.pod }} is behind the database's leader",
            description="By {{ $value | humanizeDuration }}: so long would a failover to it take to read on.",
            page="stores",
            dashboard="platform",
        ),
    ]


_REQUESTS: Final = "sum(rate(SeaweedFS_s3_request_total[5m]))"
_FAILED: Final = 'sum(rate(SeaweedFS_s3_request_total{code=~"5.."}[5m]))'

_ERRORS: Final = Alert(
    name="ObjectStoreFailing",
    expression=f"{share(_FAILED, _REQUESTS)} > 0.05",
    lasting=10 * MINUTE,
    severity="critical",
    summary="The object store answers with errors",
    description="{{ $value | humanizePercentage }} of its answers are 5xx: weights, artifacts, logs, backups.",
    page="stores",
    dashboard="platform",
)

_DRIVE: Final = Alert(
    name="ObjectStoreDriveFailing",
    expression='max by (pod, name) (SeaweedFS_volumeServer_disk_error_status{type="error"}) == 1',
    lasting=5 * MINUTE,
    severity="critical",
    summary="A drive of the object store's server {{ $labels.pod }} fails",
    description="{{ $labels.name }} cannot be read and written as it should; its volumes are not used.",
    page="stores",
    dashboard="platform",
)

_READ_ONLY: Final = Alert(
    name="ObjectStoreReadOnly",
    # Volumes that are sealed because they are as large as they may be are read-only too; those are no trouble.
    expression='sum by (pod) (SeaweedFS_volumeServer_read_only_volumes{type="isDiskSpaceLow"}) > 0',
    lasting=5 * MINUTE,
    severity="critical",
    summary="The object store's server {{ $labels.pod }} takes no more data",
    description="{{ $value }} of its volumes are read-only because its disk is full.",
    page="stores",
    dashboard="platform",
)


def _objects(parts: Sequence[StorePods]) -> list[Alert]:
    found = [_ERRORS, _DRIVE, _READ_ONLY]
    if max(one.servers for one in parts) == 1:
        return found  # one server that is gone is a deployment without a pod: SystemDown
    namespace = matching({one.namespace for one in parts})
    of = f'{{namespace=~"{namespace}",statefulset=~".+-(master|volume|filer)"}}'
    return [
        *found,
        Alert(
            name="ObjectStoreServerMissing",
            expression=(
                f"max by (namespace, statefulset) (kube_statefulset_replicas{of})"
                f" - max by (namespace, statefulset) (kube_statefulset_status_replicas_ready{of}) > 0"
            ),
            lasting=15 * MINUTE,
            severity="critical",
            summary="{{ $labels.statefulset }} lacks servers",
            description="{{ $value }} are not ready. Of what they hold there is one copy: the next loss is for good.",
            page="stores",
            dashboard="platform",
        ),
        Alert(
            name="ObjectStoreWithoutLeader",
            expression="(sum(SeaweedFS_master_is_leader) or vector(0)) == 0",
            lasting=5 * MINUTE,
            severity="critical",
            summary="No master of the object store leads",
            description="Nothing new can be written: nobody says where to.",
            page="stores",
            dashboard="platform",
        ),
        Alert(
            name="ObjectStoreCopiesMissing",
            expression="sum(max by (collection, disk, rp, ttl) (SeaweedFS_master_under_replicated_volumes)) > 0",
            lasting=HOUR,
            severity="warning",
            summary="Volumes of the object store lack a copy",
            description="{{ $value }} volumes have one copy instead of two, and the masters have not made the other.",
            page="stores",
            dashboard="platform",
        ),
    ]


_MEMORY: Final = "redis_memory_used_bytes / redis_memory_max_bytes"

_CACHE: Final = (
    Alert(
        name="CacheDown",
        expression="(max(redis_up) or vector(0)) == 0",
        lasting=5 * MINUTE,
        severity="warning",
        summary="The cache does not answer",
        description="Its pod is away, or refuses its own exporter. It comes back empty.",
        page="stores",
        dashboard="platform",
    ),
    Alert(
        name="CacheEvicting",
        expression="sum(rate(redis_evicted_keys_total[15m])) > 1",
        lasting=30 * MINUTE,
        severity="warning",
        summary="The cache throws keys away before their time",
        description="{{ $value | humanize }} a second: it is too small for what is put there.",
        page="stores",
        dashboard="platform",
    ),
    Alert(
        name="CacheFull",
        # Full and evicting is a cache at work; full of keys that may not go refuses what is written.
        expression=f"max({_MEMORY}) > 0.95 unless sum(increase(redis_evicted_keys_total[15m])) > 0",
        lasting=10 * MINUTE,
        severity="critical",
        summary="The cache refuses what is written",
        description="{{ $value | humanizePercentage }} of its memory are used, by keys without an expiry: they stay.",
        page="stores",
        dashboard="platform",
    ),
)
