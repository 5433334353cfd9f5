"""Metrics: Prometheus, what it keeps and for how long."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from components.settings.base import Section

PROMETHEUS_URL: Final = "http://prometheus-operated.monitoring.svc.cluster.local:9090"
"""Any replica of Prometheus: each reads every target and evaluates every rule."""

FILLED: Final = 0.8
"""Share of its volume that Prometheus fills: its write-ahead log and a compaction need the rest."""


class MetricsSettings(Section):
    """Metrics (Prometheus, its operator, node exporter, kube-state-metrics).

    A sample takes 1 to 2 bytes on disk (Prometheus documentation, "Storage"). 150,000 series every 30 s are 430 million
    samples a day: 0.4 to 0.9 GiB.

    Attributes:
        enabled: Install them, with Alertmanager.
        retention_days: How long samples are kept at most.
        volume_gib: Volume of each Prometheus; the oldest samples go when it is 80 % full.
        scrape_seconds: How often a target is read that does not say otherwise, and how often rules are evaluated.
        memory_mib: What each Prometheus requests; it may take twice as much. About 6 KiB a series.
        samples_per_target: A target with more samples in one answer is refused, and shows as down: one system whose
            labels run wild does not take all others with it.
    """

    enabled: bool = True
    retention_days: Annotated[int, Field(ge=1, le=365)] = 15
    volume_gib: Annotated[int, Field(ge=5, le=2000)] = 15
    scrape_seconds: Annotated[int, Field(ge=10, le=120)] = 30
    memory_mib: Annotated[int, Field(ge=512, le=65_536)] = 1216
    samples_per_target: Annotated[int, Field(ge=1000, le=500_000)] = 50_000
