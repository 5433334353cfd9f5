"""Metrics of the watchers themselves: Prometheus, Alertmanager, Grafana, Loki, Tempo, Alloy, the collector."""

from __future__ import annotations

from typing import Final

from components.platform.observability.catalogue.model import Source, metrics

_PROMETHEUS: Final = Source(
    component="Prometheus",
    version="3",
    documents="https://github.com/prometheus/prometheus/tree/main/documentation/prometheus-mixin",
    seen=True,
)
# Written by Prometheus itself for every target and every alert.
_SYNTHETIC: Final = Source(
    component="Prometheus",
    version="3",
    documents="https://prometheus.io/docs/concepts/jobs_instances/",
    seen=True,
)
_ALERTMANAGER: Final = Source(
    component="Alertmanager",
    version="0.28",
    documents="https://github.com/prometheus/alertmanager/tree/main/doc/alertmanager-mixin",
    seen=True,
)
_OPERATOR: Final = Source(
    component="Prometheus operator",
    version="0.93.1",
    documents="https://github.com/prometheus-operator/prometheus-operator/blob/v0.93.1/Documentation/platform/troubleshooting.md",
)
_GRAFANA: Final = Source(
    component="Grafana",
    version="12",
    documents="https://grafana.com/docs/grafana/latest/setup-grafana/set-up-grafana-monitoring/",
)
_LOKI: Final = Source(
    component="Loki",
    version="3.7.6",
    documents="https://github.com/grafana/loki/tree/v3.7.6/production/loki-mixin",
)
_TEMPO: Final = Source(
    component="Tempo",
    version="2.10.8",
    documents="https://github.com/grafana/tempo/tree/v2.10.8/operations/tempo-mixin",
)
_ALLOY: Final = Source(
    component="Alloy",
    version="1.18.1",
    documents="https://github.com/grafana/alloy/tree/v1.18.1/docs/sources/reference/components/loki",
)
_COLLECTOR: Final = Source(
    component="OpenTelemetry collector",
    version="0.158.0",
    documents="https://opentelemetry.io/docs/collector/internal-telemetry/",
)

METRICS: Final = (
    *metrics(
        _SYNTHETIC,
        "gauge",
        {
            "up": "",
            "scrape_duration_seconds": "",
            "scrape_samples_scraped": "",
            "ALERTS": "alertname alertstate severity owner team model",
        },
    ),
    *metrics(
        _PROMETHEUS,
        "gauge",
        {
            "prometheus_config_last_reload_successful": "",
            "prometheus_notifications_alertmanagers_discovered": "",
            "prometheus_notifications_queue_length": "",
            "prometheus_notifications_queue_capacity": "",
            "prometheus_tsdb_head_series": "",
            "prometheus_tsdb_storage_blocks_bytes": "",
            "prometheus_rule_group_last_duration_seconds": "rule_group",
            "prometheus_rule_group_interval_seconds": "rule_group",
        },
    ),
    *metrics(
        _PROMETHEUS,
        "counter",
        {
            "prometheus_rule_evaluation_failures_total": "rule_group",
            "prometheus_rule_evaluations_total": "rule_group",
            "prometheus_rule_group_iterations_missed_total": "rule_group",
            "prometheus_notifications_errors_total": "alertmanager",
            "prometheus_notifications_sent_total": "alertmanager",
            "prometheus_notifications_dropped_total": "",
            "prometheus_tsdb_compactions_failed_total": "",
            "prometheus_tsdb_reloads_failures_total": "",
            "prometheus_tsdb_wal_corruptions_total": "",
            "prometheus_tsdb_head_samples_appended_total": "type",
            "prometheus_target_scrapes_exceeded_sample_limit_total": "",
            "prometheus_target_scrapes_sample_duplicate_timestamp_total": "",
        },
    ),
    *metrics(
        _ALERTMANAGER,
        "gauge",
        {
            "alertmanager_config_last_reload_successful": "",
            "alertmanager_cluster_members": "",
            "alertmanager_alerts": "state",
        },
    ),
    *metrics(
        _ALERTMANAGER,
        "counter",
        {
            "alertmanager_notifications_total": "integration",
            "alertmanager_notifications_failed_total": "integration reason",
        },
    ),
    *metrics(
        _OPERATOR,
        "counter",
        {
            "prometheus_operator_reconcile_errors_total": "controller",
            "prometheus_operator_reconcile_operations_total": "controller",
        },
    ),
    *metrics(_GRAFANA, "counter", {"grafana_alerting_result_total": "state"}),
    *metrics(_GRAFANA, "histogram", {"grafana_http_request_duration_seconds": "handler method status_code"}),
    *metrics(_LOKI, "histogram", {"loki_request_duration_seconds": "method route status_code ws"}),
    *metrics(
        _LOKI,
        "counter",
        {
            "loki_discarded_samples_total": "reason tenant policy retention_hours",
            "loki_distributor_lines_received_total": "tenant aggregated_metric policy",
            "loki_distributor_bytes_received_total": "tenant retention_hours aggregated_metric policy",
            "loki_ingester_chunks_flush_failures_total": "",
            "loki_ingester_wal_disk_full_failures_total": "",
            "loki_panic_total": "",
        },
    ),
    *metrics(
        _LOKI,
        "gauge",
        {
            "loki_boltdb_shipper_compactor_running": "",
            "loki_boltdb_shipper_compact_tables_operation_last_successful_run_timestamp_seconds": "",
        },
    ),
    *metrics(
        _TEMPO,
        "counter",
        {
            "tempo_distributor_spans_received_total": "tenant",
            "tempo_ingester_failed_flushes_total": "",
            "tempo_discarded_spans_total": "reason tenant",
            "tempodb_compaction_errors_total": "",
            "tempodb_blocklist_poll_errors_total": "tenant",
        },
    ),
    *metrics(_TEMPO, "histogram", {"tempo_request_duration_seconds": "method route status_code ws"}),
    *metrics(
        _ALLOY,
        "counter",
        {
            "loki_write_sent_entries_total": "host tenant component_id component_path",
            "loki_write_dropped_entries_total": "host tenant reason component_id component_path",
            "loki_source_file_read_bytes_total": "path component_id component_path",
        },
    ),
    *metrics(
        _ALLOY,
        "gauge",
        {"alloy_component_controller_running_components": "health_type controller_id controller_path"},
    ),
    *metrics(
        _COLLECTOR,
        "counter",
        {
            "otelcol_receiver_accepted_spans_total": "receiver transport",
            "otelcol_receiver_refused_spans_total": "receiver transport",
            "otelcol_exporter_sent_spans_total": "exporter",
            "otelcol_exporter_send_failed_spans_total": "exporter",
        },
    ),
    *metrics(
        _COLLECTOR,
        "gauge",
        {"otelcol_exporter_queue_size": "exporter", "otelcol_exporter_queue_capacity": "exporter"},
    ),
)
"""Every metric of this part."""
