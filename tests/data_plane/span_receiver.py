"""A small collector of OpenTelemetry spans: it takes OTLP by HTTP and keeps what came."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Span:
    """One span, as far as the tests look at it.

    Attributes:
        service: Who reports it.
        name: What it did.
        trace: Trace id in hexadecimal digits.
        id: Span id in hexadecimal digits.
        parent: Span id of the parent; empty for none.
        failed: Whether it says so.
        text: The span as it came, to look for what must not be in it.
        attributes: Those that are texts.
    """

    service: str
    name: str
    trace: str
    id: str
    parent: str
    failed: bool
    text: str
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])


class Receiver(ThreadingHTTPServer):
    """Takes spans at ``/v1/traces``.

    Attributes:
        bodies: What was sent, undecoded.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def spans(self) -> list[Span]:
        """Everything that came so far."""
        return [span for body in list(self.bodies) for span in decoded(body)]

    def wait_for(self, trace: str, *, names: int = 1, seconds: float = 30) -> list[Span]:
        """Spans of a trace, as soon as there are so many of them."""
        deadline = time.monotonic() + seconds
        found: list[Span] = []
        while time.monotonic() < deadline:
            found = [span for span in self.spans() if span.trace == trace]
            if len(found) >= names:
                return found
            time.sleep(0.2)
        raise AssertionError(f"{len(found)} spans of trace {trace} came in {seconds} s")


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/v1/traces":
            self.server.bodies.append(body)
        self.send_response(200 if self.path == "/v1/traces" else 404)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def receiving() -> Iterator[Receiver]:
    server = Receiver()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


# The protocol's messages are a few nested fields: ExportTraceServiceRequest, ResourceSpans, ScopeSpans, Span
# (opentelemetry-proto, trace.proto). Reading them by hand needs no generated code.


def decoded(body: bytes) -> Iterator[Span]:
    """Spans of one request."""
    for resource_spans in _all(body, 1):
        resource = {key: value for one in _all(resource_spans, 1) for key, value in _attributes(one, 1)}
        for scope_spans in _all(resource_spans, 2):
            for span in _all(scope_spans, 2):
                yield _span(span, resource.get("service.name", ""))


def _span(span: bytes, service: str) -> Span:
    status = next(iter(_all(span, 15)), b"")
    return Span(
        service=service,
        name=_first(span, 5).decode(),
        trace=_first(span, 1).hex(),
        id=_first(span, 2).hex(),
        parent=_first(span, 4).hex(),
        failed=any(number == 3 and value == 2 for number, value in _fields(status)),
        text=span.decode("utf-8", errors="replace"),
        attributes=dict(_attributes(span, 9)),
    )


def _attributes(message: bytes, number: int) -> Iterator[tuple[str, str]]:
    for one in _all(message, number):
        value = _first(one, 2)
        yield _first(one, 1).decode(), _first(value, 1).decode("utf-8", errors="replace")


def _first(message: bytes, number: int) -> bytes:
    return next(iter(_all(message, number)), b"")


def _all(message: bytes, number: int) -> list[bytes]:
    return [value for found, value in _fields(message) if found == number and isinstance(value, bytes)]


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        match key & 7:
            case 0:
                value, place = _varint(message, place)
                yield key >> 3, value
            case 1:
                yield key >> 3, message[place : place + 8]
                place += 8
            case 2:
                size, place = _varint(message, place)
                yield key >> 3, message[place : place + size]
                place += size
            case 5:
                yield key >> 3, message[place : place + 4]
                place += 4
            case other:
                raise ValueError(f"no such wire type: {other}")


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, place
        shift += 7
