"""What is counted and measured of an answering service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300)
_SCORES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Metrics:
    """The series of one service; in a registry of its own, so that tests can have several."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.requests = Counter(
            "llmops_retrieval_requests", "Requests by how they ended.", ["outcome"], registry=registry
        )
        for outcome in ("answered", "unknown", "refused", "failed", "cancelled"):
            self.requests.labels(outcome)
        self.failures = Counter(
            "llmops_retrieval_failures", "Failures by the stage at which they happened.", ["stage"], registry=registry
        )
        for stage in ("collection", "embedding", "search", "generation"):
            self.failures.labels(stage)
        self.stages = Histogram(
            "llmops_retrieval_stage_seconds", "Time of each stage.", ["stage"], buckets=_SECONDS, registry=registry
        )
        self.passages = Histogram(
            "llmops_retrieval_passages",
            "Passages above the least score, for each question.",
            buckets=(0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 100),
            registry=registry,
        )
        self.best = Histogram(
            "llmops_retrieval_best_score", "Score of the best passage.", buckets=_SCORES, registry=registry
        )
        self.invented = Counter(
            "llmops_retrieval_invented_citations", "Numbers that answers cite and no source has.", registry=registry
        )
        self.busy = Gauge("llmops_retrieval_requests_under_way", "Requests under way.", registry=registry)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage, and count its failure."""
        began = monotonic()
        try:
            yield
        except Exception:
            self.failures.labels(name).inc()
            raise
        finally:
            self.stages.labels(name).observe(monotonic() - began)
