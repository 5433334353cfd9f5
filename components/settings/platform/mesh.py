"""The service mesh."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.settings.base import Section


class TracingSettings(Section):
    """Traces of requests that pass the gateway.

    Attributes:
        enabled: Send them; a collector must answer.
        collector: Host of an OpenTelemetry collector, as pods address it.
        port: Its port for OTLP over gRPC.
        sampling_percent: Share of requests that are traced where the client has not decided it.
    """

    enabled: bool = False
    collector: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")] = (
        "otel-collector.monitoring.svc.cluster.local"
    )
    port: Annotated[int, Field(ge=1, le=65535)] = 4317
    sampling_percent: Annotated[float, Field(ge=0, le=100)] = 1.0


class MeshSettings(Section):
    """The service mesh (Istio in ambient mode).

    Attributes:
        enabled: Install it. The gateway needs it.
        access_logs: The gateway logs every request, as JSON on its standard output.
        tracing: Traces.
    """

    enabled: bool = True
    access_logs: bool = True
    tracing: TracingSettings = TracingSettings()
