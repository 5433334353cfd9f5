"""Spans of an answering service: how long each part took, and nothing that anybody wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import context, propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind


class Tracing:
    """A tracer of its own; it does nothing where there is no collector."""

    def __init__(self, url: str, service: str, exporter: SpanExporter | None = None) -> None:
        self._provider: TracerProvider | None = None
        if url and exporter is None:
            exporter = OTLPSpanExporter(endpoint=f"{url.rstrip('/')}/v1/traces")
        if exporter is not None:
            self._provider = TracerProvider(resource=Resource.create({"service.name": f"retrieval-{service}"}))
            self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("retrieval") if self._provider else trace.NoOpTracer()

    def begun(self, headers: Mapping[str, str]) -> trace.Span:
        """The span of a request, below the caller's."""
        parent = propagate.extract(dict(headers))
        return self._tracer.start_span("answer from documents", context=parent, kind=SpanKind.SERVER)

    @contextmanager
    def part(self, parent: trace.Span, name: str, facts: Mapping[str, Any] | None = None) -> Iterator[dict[str, str]]:
        """A part of a request; what is given are the headers for whom it calls."""
        around = trace.set_span_in_context(parent, context.Context())
        with self._tracer.start_as_current_span(
            name, context=around, kind=SpanKind.CLIENT, attributes=dict(facts or {})
        ) as span:
            headers: dict[str, str] = {}
            if span.get_span_context().is_valid:
                propagate.inject(headers, context=trace.set_span_in_context(span, context.Context()))
            yield headers

    def close(self) -> None:
        """Send what is left."""
        if self._provider:
            self._provider.shutdown()
