"""Logs and traces: Alloy, Loki, the collector, Tempo. Their alerts are for working hours: users feel none of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from components.platform.observability.rules.facts import SiteFacts
from components.platform.observability.rules.model import HOUR, MINUTE, NOW, Alert, Group
from components.platform.observability.rules.promql import share


def groups(facts: SiteFacts) -> Iterator[Group]:
    """Rules about logs and traces, for what there is of them."""
    if facts.settings.logs.enabled:
        yield Group(name="logs", rules=_LOGS)
    if facts.settings.traces.enabled:
        yield Group(name="traces", rules=_TRACES)


_ASKED: Final = "sum by (route) (rate(loki_request_duration_seconds_count[5m]))"
_FAILED: Final = 'sum by (route) (rate(loki_request_duration_seconds_count{status_code=~"5.."}[5m]))'

_LOGS: Final = (
    Alert(
        name="LogsLost",
        expression="sum by (reason) (rate(loki_write_dropped_entries_total[10m])) > 0",
        lasting=15 * MINUTE,
        severity="warning",
        summary="Log lines are thrown away ({{ $labels.reason }})",
        description="Alloy drops {{ $value | humanize }} lines a second that Loki did not take.",
        page="logs-and-traces",
        dashboard="logs",
    ),
    Alert(
        name="LogsRefused",
        expression="sum by (reason) (rate(loki_discarded_samples_total[10m])) > 0",
        lasting=15 * MINUTE,
        severity="warning",
        summary="Loki refuses log lines ({{ $labels.reason }})",
        description="{{ $value | humanize }} lines a second are above a limit, too old or too long.",
        page="logs-and-traces",
        dashboard="logs",
    ),
    Alert(
        name="LokiFailing",
        expression=f"{share(_FAILED, _ASKED)} > 0.1",
        lasting=15 * MINUTE,
        severity="warning",
        summary="Loki answers with errors ({{ $labels.route }})",
        description="{{ $value | humanizePercentage }} of its answers are 5xx.",
        page="logs-and-traces",
        dashboard="logs",
    ),
    Alert(
        name="LokiCannotStore",
        expression=(
            "sum(increase(loki_ingester_chunks_flush_failures_total[1h])) > 0"
            " or sum(increase(loki_ingester_wal_disk_full_failures_total[1h])) > 0"
        ),
        lasting=15 * MINUTE,
        severity="warning",
        summary="Loki cannot write to the object store",
        description="What it holds in memory and on its volume is lost when both are gone.",
        page="logs-and-traces",
        dashboard="logs",
    ),
    Alert(
        name="LokiDoesNotCompact",
        expression=(
            "time() - max(loki_boltdb_shipper_compact_tables_operation_last_successful_run_timestamp_seconds > 0)"
            " > 3 * 3600"
        ),
        lasting=HOUR,
        severity="warning",
        summary="Loki does not compact",
        description="For {{ $value | humanizeDuration }} nothing was compacted: queries slow down, old logs are kept.",
        page="logs-and-traces",
        dashboard="logs",
    ),
)

_TRACES: Final = (
    Alert(
        name="TracesLost",
        expression=(
            "sum(rate(otelcol_receiver_refused_spans_total[10m])) > 0"
            " or sum(rate(otelcol_exporter_send_failed_spans_total[10m])) > 0"
        ),
        lasting=15 * MINUTE,
        severity="warning",
        summary="Spans are thrown away",
        description="The collector is out of memory, or Tempo does not take what it sends.",
        page="logs-and-traces",
        dashboard="logs",
    ),
    Alert(
        name="TempoCannotStore",
        expression=(
            "sum(increase(tempo_ingester_failed_flushes_total[1h])) > 2"
            " or sum(increase(tempodb_compaction_errors_total[1h])) > 2"
            " or sum(increase(tempodb_blocklist_poll_errors_total[1h])) > 2"
        ),
        lasting=NOW,
        severity="warning",
        summary="Tempo cannot use the object store",
        description="Traces of the last hours are lost when its pod goes; older ones are not found.",
        page="logs-and-traces",
        dashboard="logs",
    ),
)
