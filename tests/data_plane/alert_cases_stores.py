"""Series that fire the alerts of stores in the cluster, and series that do not, at the limits themselves."""

from __future__ import annotations

from collections.abc import Iterator

from tests.data_plane.alert_case import Case, grows, level

_HOUR = 3600
_PODS = '{namespace="llmops-stores",pod="%s"}'
_LEADER, _FIRST, _SECOND = (_PODS % f"database-{number}" for number in (1, 2, 3))


def _database() -> Iterator[Case]:
    recovering = "cnpg_pg_replication_in_recovery"
    yield Case(
        alert="DatabaseWithoutLeader",
        fires={recovering + _FIRST: level(1), recovering + _SECOND: level(1)},
        quiet={recovering + _LEADER: level(0), recovering + _SECOND: level(1)},
    )
    following = "cnpg_pg_replication_streaming_replicas"
    yield Case(
        alert="DatabaseReplicaMissing",
        fires={following + _LEADER: level(1), following + _FIRST: level(0)},
        quiet={following + _LEADER: level(2), following + _FIRST: level(0)},
    )
    lag = "cnpg_pg_replication_lag"
    yield Case(
        alert="DatabaseReplicationLag",
        fires={lag + _FIRST: level(301), lag + _SECOND: level(0)},
        quiet={lag + _FIRST: level(300), lag + _SECOND: level(0)},
    )
    archived, failed = (f"cnpg_pg_stat_archiver_last_{what}_time{_LEADER}" for what in ("archived", "failed"))
    yield Case(
        alert="DatabaseArchivingFailed",
        fires={archived: level(1000), failed: level(1060)},
        # An attempt that failed and was made good; a server that never failed says -1.
        quiet={archived: level(1060), failed: level(1061)},
    )
    good, bad = (f"cnpg_collector_last_{what}_backup_timestamp" for what in ("available", "failed"))
    yield Case(
        alert="DatabaseBackupFailed",
        fires={good + _LEADER: level(1000), bad + _LEADER: level(1001)},
        # One that led before remembers a failure that the leader's success came after.
        quiet={good + _LEADER: level(2000), bad + _LEADER: level(2000), bad + _FIRST: level(1001)},
    )
    # It is looked at after two hours, and must have been so for one.
    yield Case(
        alert="DatabaseBackupMissed",
        fires={good + _LEADER: level(-25 * _HOUR - 60, 130), good + _FIRST: level(-99 * _HOUR, 130)},
        quiet={good + _LEADER: level(-24 * _HOUR, 130), good + _FIRST: level(-99 * _HOUR, 130)},
        minutes=120,
    )
    used = 'cnpg_backends_total{namespace="llmops-stores",pod="database-1",usename="%s"}'
    limit = 'cnpg_pg_settings_setting{namespace="llmops-stores",pod="database-1",name="max_connections"}'
    yield Case(
        alert="DatabaseConnectionsUsed",
        fires={used % "mlflow": level(100), used % "litellm": level(61), limit: level(200)},
        quiet={used % "mlflow": level(100), used % "litellm": level(60), limit: level(200)},
    )


def _objects() -> Iterator[Case]:
    asked = 'SeaweedFS_s3_request_total{pod="s3",type="GET",bucket="models",code="%s"}'
    yield Case(
        alert="ObjectStoreFailing",
        fires={asked % "200": grows(94), asked % "500": grows(6)},
        quiet={asked % "200": grows(95), asked % "500": grows(5), asked % "404": grows(50)},
    )
    drive = 'SeaweedFS_volumeServer_disk_error_status{pod="objects-seaweedfs-volume-0",name="/data",type="error"}'
    yield Case(alert="ObjectStoreDriveFailing", fires={drive: level(1)}, quiet={drive: level(0)})
    closed = 'SeaweedFS_volumeServer_read_only_volumes{pod="objects-seaweedfs-volume-0",collection="models",type="%s"}'
    yield Case(
        alert="ObjectStoreReadOnly",
        fires={closed % "isDiskSpaceLow": level(1)},
        quiet={closed % "isDiskSpaceLow": level(0), closed % "noWriteCanDelete": level(7)},
    )
    of = '{namespace="llmops-stores",statefulset="objects-seaweedfs-volume"}'
    wanted, ready = f"kube_statefulset_replicas{of}", f"kube_statefulset_status_replicas_ready{of}"
    yield Case(
        alert="ObjectStoreServerMissing",
        fires={wanted: level(3), ready: level(2)},
        quiet={wanted: level(3), ready: level(3)},
    )
    leads = 'SeaweedFS_master_is_leader{pod="objects-seaweedfs-master-%s"}'
    yield Case(
        alert="ObjectStoreWithoutLeader",
        fires={leads % 0: level(0), leads % 1: level(0)},
        quiet={leads % 0: level(0), leads % 1: level(1)},
    )
    lacking = 'SeaweedFS_master_under_replicated_volumes{pod="objects-seaweedfs-master-0",collection="models",rp="001"}'
    yield Case(
        alert="ObjectStoreCopiesMissing",
        fires={lacking: level(1, 130)},
        quiet={lacking: "1x70 0x60"},
        minutes=90,
    )


def _cache() -> Iterator[Case]:
    pod = '{namespace="llmops-stores",pod="cache-0"}'
    up, evicted = f"redis_up{pod}", f"redis_evicted_keys_total{pod}"
    yield Case(alert="CacheDown", fires={up: level(0)}, quiet={up: level(1)})
    yield Case(alert="CacheEvicting", fires={evicted: grows(61)}, quiet={evicted: grows(60)})
    used, most = f"redis_memory_used_bytes{pod}", f"redis_memory_max_bytes{pod}"
    yield Case(
        alert="CacheFull",
        fires={used: level(96), most: level(100), evicted: level(5)},
        quiet={used: level(96), most: level(100), evicted: grows(1)},
    )


def _volumes() -> Iterator[Case]:
    claim = '{namespace="%s",persistentvolumeclaim="database-1-wal"}'
    free, all_ = "kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes"
    ours, theirs = claim % "llmops-stores", claim % "mlops-data"
    yield Case(
        alert="StoreVolumeFull",
        fires={free + ours: level(49), all_ + ours: level(1000)},
        # At the limit itself; and what is no store is told of by others.
        quiet={
            free + ours: level(50),
            all_ + ours: level(1000),
            free + theirs: level(1),
            all_ + theirs: level(1000),
        },
    )


CASES = (*_database(), *_objects(), *_cache(), *_volumes())
