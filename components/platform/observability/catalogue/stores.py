"""Metrics of stores that run in the cluster: CloudNativePG, SeaweedFS, Valkey."""

from __future__ import annotations

from typing import Final

from components.platform.observability.catalogue.model import Source, metrics

_POSTGRESQL: Final = Source(
    component="CloudNativePG",
    version="1.30.0",
    documents="https://github.com/cloudnative-pg/cloudnative-pg/blob/v1.30.0/docs/src/monitoring.md",
)
# Its queries, as the operator brings them: `default-monitoring.yaml` of the same version.
_POSTGRESQL_QUERIES: Final = Source(
    component="CloudNativePG",
    version="1.30.0",
    documents="https://github.com/cloudnative-pg/cloudnative-pg/blob/v1.30.0/config/manager/default-monitoring.yaml",
)
_SEAWEEDFS: Final = Source(
    component="SeaweedFS",
    version="4.44",
    documents="https://github.com/seaweedfs/seaweedfs/blob/4.44/weed/stats/metrics.go",
)
_VALKEY: Final = Source(
    component="redis_exporter",
    version="1.88.0",
    documents="https://github.com/oliver006/redis_exporter/blob/v1.88.0/exporter/exporter.go",
)

_LAYOUT: Final = "collection disk rp ttl"

METRICS: Final = (
    *metrics(
        _POSTGRESQL,
        "gauge",
        {
            "cnpg_collector_up": "cluster",
            "cnpg_collector_nodes_used": "",
            "cnpg_collector_last_available_backup_timestamp": "",
            "cnpg_collector_last_failed_backup_timestamp": "",
            "cnpg_collector_first_recoverability_point": "",
            "cnpg_collector_pg_wal_archive_status": "value",
            "cnpg_collector_pg_wal": "value",
        },
    ),
    *metrics(
        _POSTGRESQL_QUERIES,
        "gauge",
        {
            "cnpg_backends_total": "datname usename application_name state",
            "cnpg_pg_database_size_bytes": "datname",
            "cnpg_pg_database_xid_age": "datname",
            "cnpg_pg_replication_in_recovery": "",
            "cnpg_pg_replication_is_wal_receiver_up": "",
            "cnpg_pg_replication_lag": "",
            "cnpg_pg_replication_streaming_replicas": "",
            "cnpg_pg_settings_setting": "name",
            "cnpg_pg_stat_archiver_last_archived_time": "",
            "cnpg_pg_stat_archiver_last_failed_time": "",
        },
    ),
    *metrics(
        _SEAWEEDFS,
        "gauge",
        {
            "SeaweedFS_master_is_leader": "",
            "SeaweedFS_master_under_replicated_volumes": _LAYOUT,
            "SeaweedFS_volumeServer_disk_error_status": "name type",
            "SeaweedFS_volumeServer_read_only_volumes": "collection type",
            "SeaweedFS_volumeServer_resource": "name type",
        },
    ),
    *metrics(_SEAWEEDFS, "counter", {"SeaweedFS_s3_request_total": "type code bucket"}),
    *metrics(
        _VALKEY,
        "gauge",
        {"redis_up": "", "redis_memory_used_bytes": "", "redis_memory_max_bytes": "", "redis_connected_clients": ""},
    ),
    *metrics(_VALKEY, "counter", {"redis_evicted_keys_total": "", "redis_rejected_connections_total": ""}),
)
"""Every metric of this part."""
