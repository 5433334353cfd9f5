"""The watchers: Prometheus and Alertmanager, and the signal that they are alive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from components.platform.observability.rules.facts import SiteFacts
from components.platform.observability.rules.model import MINUTE, NOW, Alert, Group

_PROMETHEUS: Final = "{{ $labels.namespace }}/{{ $labels.pod }}"


def groups(facts: SiteFacts) -> Iterator[Group]:
    """Rules about the watchers."""
    del facts  # where there are rules at all, there is what evaluates them
    yield Group(name="metrics.alive", rules=[_WATCHDOG, _TARGETS])
    yield Group(name="metrics.prometheus", rules=_RULES)
    yield Group(name="metrics.alertmanager", rules=_ALERTMANAGER)


_WATCHDOG: Final = Alert(
    name="Watchdog",
    expression="vector(1)",
    lasting=NOW,
    severity="info",
    summary="Alerts arrive",
    description="It always fires. Who no longer receives it receives no other alert either.",
    page="metrics",
)

_TARGETS: Final = Alert(
    name="TargetDown",
    expression="1 - sum by (job, namespace) (up) / count by (job, namespace) (up) > 0.1",
    lasting=10 * MINUTE,
    severity="warning",
    summary="Metrics of {{ $labels.namespace }}/{{ $labels.job }} are missing",
    description="{{ $value | humanizePercentage }} of the targets cannot be read: they are down, or a way is closed.",
    page="metrics",
    dashboard="platform",
)

_RULES: Final = (
    Alert(
        name="PrometheusRulesFailing",
        expression="sum by (namespace, pod, rule_group) (increase(prometheus_rule_evaluation_failures_total[5m])) > 0",
        lasting=10 * MINUTE,
        severity="critical",
        summary=f"{_PROMETHEUS} cannot evaluate rules",
        description="Group {{ $labels.rule_group }}: its alerts do not fire.",
        page="metrics",
        dashboard="platform",
    ),
    Alert(
        name="PrometheusRulesLate",
        expression=(
            "sum by (namespace, pod, rule_group) (increase(prometheus_rule_group_iterations_missed_total[5m])) > 0"
        ),
        lasting=15 * MINUTE,
        severity="warning",
        summary=f"{_PROMETHEUS} skips rules",
        description="Group {{ $labels.rule_group }} takes longer than its interval.",
        page="metrics",
        dashboard="platform",
    ),
    Alert(
        name="PrometheusStorageFailing",
        expression=(
            "sum by (namespace, pod) (increase(prometheus_tsdb_compactions_failed_total[3h])"
            " + increase(prometheus_tsdb_reloads_failures_total[3h])"
            " + increase(prometheus_tsdb_wal_corruptions_total[3h])) > 0"
        ),
        lasting=NOW,
        severity="warning",
        summary=f"{_PROMETHEUS} has trouble with its storage",
        description="Blocks could not be compacted or loaded, or the log was damaged. Often the volume is full.",
        page="metrics",
        dashboard="platform",
    ),
    Alert(
        name="PrometheusConfigurationRefused",
        expression="max by (namespace, pod) (prometheus_config_last_reload_successful) == 0",
        lasting=10 * MINUTE,
        severity="warning",
        summary=f"{_PROMETHEUS} refuses its configuration",
        description="It goes on with the one before: new targets and rules are not in force.",
        page="metrics",
        dashboard="platform",
    ),
    Alert(
        name="PrometheusAlertsLost",
        expression=(
            "max by (namespace, pod) (prometheus_notifications_alertmanagers_discovered) == 0"
            " or sum by (namespace, pod) (rate(prometheus_notifications_dropped_total[5m])) > 0"
        ),
        lasting=10 * MINUTE,
        severity="critical",
        summary=f"{_PROMETHEUS} cannot deliver alerts",
        description="It knows no Alertmanager, or none takes them. This one comes by the other replica, if at all.",
        page="metrics",
        dashboard="platform",
    ),
    Alert(
        name="PrometheusSamplesRefused",
        expression=(
            "sum by (namespace, pod) (increase(prometheus_target_scrapes_exceeded_sample_limit_total[15m])"
            " + increase(prometheus_target_scrapes_sample_duplicate_timestamp_total[15m])) > 0"
        ),
        lasting=15 * MINUTE,
        severity="warning",
        summary=f"{_PROMETHEUS} drops samples",
        description="A target has more series than its limit allows, or two say different things of the same one.",
        page="metrics",
        dashboard="platform",
    ),
    Alert(
        name="OperatorFailing",
        expression="sum by (controller) (increase(prometheus_operator_reconcile_errors_total[15m])) > 0",
        lasting=15 * MINUTE,
        severity="warning",
        summary="The Prometheus operator fails ({{ $labels.controller }})",
        description="Changes of monitors, rules or of Alertmanager's configuration do not take effect.",
        page="metrics",
        dashboard="platform",
    ),
    Alert(
        name="ObjectMetricsIncomplete",
        expression='sum(rate(kube_state_metrics_list_total{result="error"}[5m])) > 0',
        lasting=15 * MINUTE,
        severity="warning",
        summary="kube-state-metrics cannot read objects",
        description="Alerts about pods, deployments and quotas see an old state.",
        page="metrics",
        dashboard="platform",
    ),
)

_ALERTMANAGER: Final = (
    Alert(
        name="NotificationsFailing",
        expression=(
            "sum by (integration) (rate(alertmanager_notifications_failed_total[15m]))"
            " / sum by (integration) (rate(alertmanager_notifications_total[15m])) > 0.01"
        ),
        lasting=5 * MINUTE,
        severity="critical",
        summary="Alerts do not reach {{ $labels.integration }}",
        description="{{ $value | humanizePercentage }} of the notifications fail: an address or a credential is wrong.",
        page="metrics",
        dashboard="platform",
    ),
    Alert(
        name="AlertmanagerSplit",
        expression=(
            "min by (namespace) (alertmanager_cluster_members)"
            " < on(namespace) count by (namespace) (alertmanager_cluster_members)"
        ),
        lasting=15 * MINUTE,
        severity="warning",
        summary="The replicas of Alertmanager do not know one another",
        description="Each sends for itself: alerts come twice, and silences hold for one of them.",
        page="metrics",
        dashboard="platform",
    ),
    Alert(
        name="AlertmanagerConfigurationRefused",
        expression="max by (namespace, pod) (alertmanager_config_last_reload_successful) == 0",
        lasting=10 * MINUTE,
        severity="critical",
        summary="{{ $labels.pod }} refuses its configuration",
        description="It goes on with the one before; after a restart it sends nothing.",
        page="metrics",
        dashboard="platform",
    ),
)
