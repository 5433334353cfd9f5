"""Where systems send their spans: what senders need to know of the collector, and nothing that the collector needs."""

from __future__ import annotations

from typing import Final

from components.platform.openings import Opening, Pods
from components.platform.site import Site

COLLECTOR: Final = Pods(namespace="monitoring", labels={"app.kubernetes.io/name": "opentelemetry-collector"})
"""Pods that take spans."""

NAME: Final = "otel-collector"
"""Name of the collector's release and of its service."""

HOST: Final = f"{NAME}.{COLLECTOR.namespace}.svc.cluster.local"
"""The collector, as pods address it."""

GRPC_PORT: Final = 4317
HTTP_PORT: Final = 4318

OTLP_GRPC_URL: Final = f"http://{HOST}:{GRPC_PORT}"
"""Spans by gRPC. Without TLS of its own: the mesh encrypts, and knows both ends."""

OTLP_HTTP_URL: Final = f"http://{HOST}:{HTTP_PORT}"
"""Spans by HTTP; clients add ``/v1/traces``."""


def traced(site: Site) -> bool:
    """Whether requests are traced."""
    return site.settings.traces.enabled


def spans_from(site: Site, source: Pods, ports: tuple[int, ...] = (GRPC_PORT, HTTP_PORT)) -> tuple[Opening, ...]:
    """The way of a sender's spans, for the sender's own list of openings; none where nothing is traced."""
    if not traced(site):
        return ()
    return (Opening(source=source, target=COLLECTOR, ports=ports, why="It reports the parts of requests it served."),)
