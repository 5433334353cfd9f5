"""What is read of those who watch: metrics, alerts, logs, traces, dashboards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from components.platform import telemetry
from components.platform.observability import alertmanager
from components.platform.observability.monitors.model import NAMESPACE, Monitor
from components.platform.openings import SCRAPER, Pods
from components.platform.site import Site

_NAME: Final = "app.kubernetes.io/name"

OPERATOR: Final = Pods(namespace=NAMESPACE, labels={_NAME: "kube-prometheus-stack-prometheus-operator"})
"""The operator of Prometheus and Alertmanager."""


def operator_port(site: Site) -> int:
    """Where it serves its webhook, by TLS with a certificate of cert-manager; without that only its metrics."""
    return 10250 if site.settings.certificates.enabled else 8080


def of_metrics(site: Site) -> Iterator[Monitor]:
    """The metrics stack itself."""
    yield Monitor(
        name="prometheus",
        namespaces=[NAMESPACE],
        labels=SCRAPER.labels,
        port=9090,
        why="Rules that fail, targets that are down, a volume that fills up.",
    )
    yield Monitor(
        name="alertmanager",
        namespaces=[NAMESPACE],
        labels=alertmanager.PODS.labels,
        port=alertmanager.PORT,
        why="Messages that could not be delivered; replicas that lost one another.",
    )
    yield Monitor(
        name="prometheus-operator",
        namespaces=[NAMESPACE],
        labels=OPERATOR.labels,
        port=operator_port(site),
        speaks="https" if site.settings.certificates.enabled else "http",
        why="Monitors and rules that it refuses.",
    )
    yield Monitor(
        name="kube-state-metrics",
        namespaces=[NAMESPACE],
        labels={_NAME: "kube-state-metrics"},
        port=8080,
        samples=250_000,  # of the whole cluster: about 150 for each pod
        honor_labels=True,
        why="The state of objects: pods that restart, volumes that wait, quotas, jobs, models.",
    )
    yield Monitor(
        name="kube-state-metrics-itself",
        namespaces=[NAMESPACE],
        labels={_NAME: "kube-state-metrics"},
        port=8081,
        why="Kinds of objects that it cannot list.",
    )


def of_others(site: Site) -> Iterator[Monitor]:
    """Dashboards, logs and traces, where they are switched on."""
    settings = site.settings
    if settings.grafana.enabled:
        yield Monitor(
            name="grafana",
            namespaces=[NAMESPACE],
            labels={_NAME: "grafana"},
            port=3000,
            drop=["grafana_(alerting|datasource|plugin|page)_.*_bucket"],
            why="Questions that fail.",
        )
    if settings.logs.enabled:
        yield Monitor(
            name="loki", namespaces=[NAMESPACE], labels={_NAME: "loki"}, port=3100, why="Lines that were refused."
        )
        yield Monitor(
            name="alloy",
            namespaces=[NAMESPACE],
            labels={_NAME: "alloy"},
            port=12345,
            node=True,
            why="Lines that were lost before they were sent.",
        )
    if settings.traces.enabled:
        yield Monitor(
            name="tempo", namespaces=[NAMESPACE], labels={_NAME: "tempo"}, port=3200, why="Spans that were refused."
        )
        yield Monitor(
            name="otel-collector",
            namespaces=[telemetry.COLLECTOR.namespace],
            labels=telemetry.COLLECTOR.labels,
            port=8888,
            why="Spans that were lost before they were kept.",
        )
