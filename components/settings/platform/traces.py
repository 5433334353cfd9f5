"""Traces: which requests are kept, and for how long."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.settings.base import Section


class TraceSettings(Section):
    """Traces of requests (OpenTelemetry collector, Tempo).

    The gateway, the model gateway and vLLM report every request to the collector, which waits until a trace is whole
    and then keeps it or not: all that failed or were slow, and a share of the others.

    Attributes:
        enabled: Install them, and let the gateway, the model gateway and vLLM report. Needs the mesh.
        retention_days: How long a trace can be looked at. Less than ``objects.logRetentionDays``.
        sampling_percent: Share that is kept of the traces that neither failed nor were slow.
        slow_seconds: A trace that took longer is slow.
        wait_seconds: How long the collector waits for the rest of a trace after the gateway has reported it, which it
            does when the answer is over.
        longest_seconds: How long it waits where the gateway's part is not the first of the trace, because the client
            brought one of its own, or is missing. Above the longest answer.
        traces_in_memory: Traces that may wait at once in one collector; beyond that the oldest are decided early.
        volume_gib: Volume of Tempo: its write-ahead log, and blocks until they are in the object store.
    """

    enabled: bool = True
    retention_days: Annotated[int, Field(ge=1, le=365)] = 7
    sampling_percent: Annotated[float, Field(ge=0, le=100)] = 10.0
    slow_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0
    wait_seconds: Annotated[int, Field(ge=1, le=300)] = 10
    longest_seconds: Annotated[int, Field(ge=10, le=3600)] = 660
    traces_in_memory: Annotated[int, Field(ge=1000, le=1_000_000)] = 20_000
    volume_gib: Annotated[int, Field(ge=1, le=500)] = 5
