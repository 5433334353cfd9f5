"""Series for the alerts about the watchers themselves: metrics, notifications, logs, traces."""

from __future__ import annotations

from collections.abc import Iterator

from tests.data_plane.alert_case import Case, grows, level

_POD = '{namespace="monitoring",pod="prometheus-0"}'


def _prometheus() -> Iterator[Case]:
    yield Case(alert="Watchdog", fires={"up": level(1)}, quiet=None)
    target = 'up{job="litellm",namespace="mlops-serving",instance="%s"}'
    yield Case(
        alert="TargetDown",
        fires={target % "a": level(1), target % "b": level(0)},
        quiet={target % "a": level(1), target % "b": level(1)},
    )
    group = '{namespace="monitoring",pod="prometheus-0",rule_group="models"}'
    for alert, counter in (
        ("PrometheusRulesFailing", f"prometheus_rule_evaluation_failures_total{group}"),
        ("PrometheusRulesLate", f"prometheus_rule_group_iterations_missed_total{group}"),
    ):
        yield Case(alert=alert, fires={counter: grows(1)}, quiet={counter: level(7)})
    trouble = [
        f"prometheus_tsdb_{what}_total{_POD}" for what in ("compactions_failed", "reloads_failures", "wal_corruptions")
    ]
    yield Case(
        alert="PrometheusStorageFailing",
        fires={trouble[0]: "0x30 1x40", trouble[1]: level(0), trouble[2]: level(0)},
        quiet=dict.fromkeys(trouble, level(1)),
    )
    reload = f"prometheus_config_last_reload_successful{_POD}"
    yield Case(alert="PrometheusConfigurationRefused", fires={reload: level(0)}, quiet={reload: level(1)})
    known = f"prometheus_notifications_alertmanagers_discovered{_POD}"
    yield Case(alert="PrometheusAlertsLost", fires={known: level(0)}, quiet={known: level(1)})
    limits = f"prometheus_target_scrapes_exceeded_sample_limit_total{_POD}"
    twice = f"prometheus_target_scrapes_sample_duplicate_timestamp_total{_POD}"
    yield Case(
        alert="PrometheusSamplesRefused",
        fires={limits: grows(1), twice: level(0)},
        quiet={limits: level(1), twice: level(1)},
    )
    errors = 'prometheus_operator_reconcile_errors_total{controller="prometheus"}'
    yield Case(alert="OperatorFailing", fires={errors: grows(1)}, quiet={errors: level(5)})
    lists = 'kube_state_metrics_list_total{resource="*v1.Pod",result="%s"}'
    yield Case(alert="ObjectMetricsIncomplete", fires={lists % "error": grows(1)}, quiet={lists % "success": grows(1)})


def _alertmanager() -> Iterator[Case]:
    sent, failed = (f'alertmanager_notifications{what}_total{{integration="slack"}}' for what in ("", "_failed"))
    yield Case(
        alert="NotificationsFailing",
        fires={sent: grows(100), failed: grows(2)},
        quiet={sent: grows(100), failed: grows(1)},
    )
    members = 'alertmanager_cluster_members{namespace="monitoring",pod="%s"}'
    yield Case(
        alert="AlertmanagerSplit",
        fires={members % "a": level(1), members % "b": level(1)},
        quiet={members % "a": level(2), members % "b": level(2)},
    )
    reload = 'alertmanager_config_last_reload_successful{namespace="monitoring",pod="a"}'
    yield Case(alert="AlertmanagerConfigurationRefused", fires={reload: level(0)}, quiet={reload: level(1)})


def _logs_and_traces() -> Iterator[Case]:
    dropped = 'loki_write_dropped_entries_total{reason="ingester_error"}'
    yield Case(alert="LogsLost", fires={dropped: grows(5)}, quiet={dropped: level(5)})
    refused = 'loki_discarded_samples_total{reason="rate_limited",tenant="platform"}'
    yield Case(alert="LogsRefused", fires={refused: grows(5)}, quiet={refused: level(5)})
    asked = 'loki_request_duration_seconds_count{route="loki_api_v1_push",status_code="%s"}'
    yield Case(
        alert="LokiFailing",
        fires={asked % "204": grows(85), asked % "500": grows(15)},
        quiet={asked % "204": grows(90), asked % "500": grows(10)},
    )
    flushes = "loki_ingester_chunks_flush_failures_total"
    yield Case(alert="LokiCannotStore", fires={flushes: grows(1)}, quiet={flushes: level(1)})
    compacted = "loki_boltdb_shipper_compact_tables_operation_last_successful_run_timestamp_seconds"
    # It is looked at after 300 minutes, 18 000 s; three hours are 10 800 s, and they must have been over for one more.
    yield Case(
        alert="LokiDoesNotCompact",
        minutes=300,
        every=5,
        fires={compacted: level(3_000, 310)},
        quiet={compacted: level(4_000, 310)},
    )
    spans = 'otelcol_exporter_send_failed_spans_total{exporter="otlp"}'
    yield Case(alert="TracesLost", fires={spans: grows(5)}, quiet={spans: level(5)})
    blocks = "tempo_ingester_failed_flushes_total"
    yield Case(alert="TempoCannotStore", fires={blocks: grows(1)}, quiet={blocks: "0x50 1x20"})


CASES = (*_prometheus(), *_alertmanager(), *_logs_and_traces())
