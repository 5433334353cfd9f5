"""What a run shows while it runs, on ``/metrics``."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Gauge, start_http_server

from .pace import Pace

_LABELS: Final = ("job_name", "run_id")


class Gauges:
    """Loss, learning rate and pace of one run. Every node answers, with its own part of the pace."""

    def __init__(self, *, job_name: str, run_id: str, share: float, pace: Pace) -> None:
        """Make the gauges.

        Args:
            job_name: Name of the fine-tune.
            run_id: Run that it is logged as.
            share: This node's part of all processes.
            pace: Of all processes together.
        """
        self.registry = CollectorRegistry()
        labels = (job_name, run_id)
        self._loss = Gauge("llmops_training_loss", "Loss of the last steps.", _LABELS, registry=self.registry)
        self._rate = Gauge("llmops_training_learning_rate", "Learning rate.", _LABELS, registry=self.registry)
        pace_gauge = Gauge(
            "llmops_training_tokens_per_second",
            "Tokens that this node learns from a second, over five minutes; no number while it measures or saves.",
            _LABELS,
            registry=self.registry,
        )
        pace_gauge.labels(*labels).set_function(lambda: pace() * share)
        self._labels = labels

    def serve(self, port: int) -> None:
        """Answer on a port, in a thread of its own."""
        start_http_server(port, registry=self.registry)

    def show(self, *, loss: float | None, learning_rate: float | None) -> None:
        """Show what is known."""
        if loss is not None:
            self._loss.labels(*self._labels).set(loss)
        if learning_rate is not None:
            self._rate.labels(*self._labels).set(learning_rate)
