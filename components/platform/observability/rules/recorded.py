"""Names of the recorded series: level, metric, operation. Dashboards and autoscaling may use them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from components.platform.observability.rules.model import DAY, HOUR, MINUTE, promql

REQUESTS: Final = "model:requests:rate5m"
"""Requests a second by ``model`` and ``source``: ``gateway`` for clients, ``vllm`` and ``triton`` for servers."""

ERRORS: Final = "model:errors:rate5m"
"""Those of them that failed for a reason that is not the client's."""

P99: Final = "model:latency_seconds:p99_5m"
"""Latency of the slowest hundredth, by ``model`` and ``source``."""

QUEUE: Final = "model:queue_seconds:p95_5m"
"""How long the slowest twentieth of the requests waited in a server before it was worked on, by ``model``."""

WINDOWS: Final = (
    5 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    6 * HOUR,
    DAY,
    3 * DAY,
)
"""Windows over which the share of failed requests is recorded."""

GPU_MEMORY: Final = "gpu:memory_used:ratio"
"""Share of a GPU's memory that is in use; what the driver keeps for itself counts for neither side."""

GATEWAY_ERRORS: Final = "gateway:errors:ratio_rate5m"
"""Share of the requests at the public gateway that it answered with a status of 500 or more."""


def error_ratio(window: timedelta) -> str:
    """Name of the share of a model's requests that failed in a window."""
    return f"model:errors:ratio_rate{promql(window)}"


LABELS: Final[Mapping[str, tuple[str, ...]]] = {
    REQUESTS: ("model", "source"),
    ERRORS: ("model", "source"),
    P99: ("model", "source"),
    QUEUE: ("model",),
    GPU_MEMORY: ("gpu", "UUID", "modelName", "Hostname", "namespace", "pod", "container"),
    GATEWAY_ERRORS: (),
    **{error_ratio(window): ("model", "source") for window in WINDOWS},
}
"""Every recorded series and its labels."""
