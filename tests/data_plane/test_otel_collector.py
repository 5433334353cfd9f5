"""The real collector, twice, on the configuration that the program emits: which traces it keeps, and what of them.

Needs a collector with tail sampling and load balancing: ``otelcol-k8s`` or ``otelcol-contrib`` on PATH, or ``OTELCOL``.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from concurrent import futures
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import requests

from components.platform.observability.traces import collector_configuration
from components.settings.platform.traces import TraceSettings
from tests.data_plane.programs import program, running
from tests.data_plane.span_receiver import Span, decoded

pytestmark = pytest.mark.data_plane

WAIT_SECONDS = 5
SETTINGS = {"samplingPercent": 0, "slowSeconds": 3, "waitSeconds": WAIT_SECONDS, "longestSeconds": 60}
# Addresses of the loopback network: each collector has one, as pods have.
ADDRESSES = ("127.77.0.1", "127.77.0.2")
_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_OK, _ERROR = 1, 2


class Store(grpc.GenericRpcHandler):
    """Takes spans by gRPC, in Tempo's place."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[self])
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    def service(self, handler_call_details: Any) -> Any:
        if handler_call_details.method != _EXPORT:
            return None
        return grpc.unary_unary_rpc_method_handler(self._keep)

    def _keep(self, request: bytes, _context: Any) -> bytes:
        self.bodies.append(request)
        return b""

    def spans(self, trace: str) -> list[Span]:
        return [span for body in list(self.bodies) for span in decoded(body) if span.trace == trace]


@dataclass(frozen=True)
class World:
    """Two collectors and what they keep."""

    store: Store

    def report(self, collector: int, trace: str, **more: Any) -> str:
        """One span, sent to one of the collectors by HTTP, as LiteLLM sends its own."""
        span = secrets.token_hex(8)
        body = {"resourceSpans": [{"scopeSpans": [{"spans": [_span(trace, span, **more)]}]}]}
        answer = requests.post(f"http://{ADDRESSES[collector]}:4318/v1/traces", json=body, timeout=10)
        assert answer.ok, answer.text
        return span

    def kept(self, trace: str, count: int = 1) -> list[Span]:
        """What was kept of a trace, at most some seconds after its time has come."""
        deadline = time.monotonic() + WAIT_SECONDS + 10
        while time.monotonic() < deadline and len(self.store.spans(trace)) < count:
            time.sleep(0.2)
        return self.store.spans(trace)


def _span(
    trace: str,
    span: str,
    *,
    parent: str = "",
    status: int = _OK,
    seconds: float = 0.1,
    attributes: dict[str, str] | None = None,
) -> dict[str, Any]:
    end = time.time_ns()
    return {
        "traceId": trace,
        "spanId": span,
        **({"parentSpanId": parent} if parent else {}),
        "name": "call",
        "kind": 2,
        "startTimeUnixNano": str(end - int(seconds * 1e9)),
        "endTimeUnixNano": str(end),
        "status": {"code": status},
        "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in (attributes or {}).items()],
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    collector = program("OTELCOL", "otelcol-k8s", "otelcol-contrib")
    folder = tmp_path_factory.mktemp("collectors")
    config = collector_configuration(TraceSettings.model_validate(SETTINGS), shared=True)
    store = Store()
    store.server.start()
    # What is not here as in the cluster: the names of Tempo and of the collectors.
    config["exporters"]["otlp_grpc/tempo"]["endpoint"] = f"127.0.0.1:{store.port}"
    port = config["exporters"]["load_balancing"]["resolver"]["dns"]["port"]
    peers = [f"{address}:{port}" for address in ADDRESSES]
    config["exporters"]["load_balancing"]["resolver"] = {"static": {"hostnames": peers}}
    file = folder / "relay.yaml"
    file.write_text(json.dumps(config))
    with ExitStack() as stack:
        stack.callback(store.server.stop, None)
        for address in ADDRESSES:
            stack.enter_context(
                running(
                    [collector, f"--config={file}"],
                    ready=f"http://{address}:13133",
                    log=folder / f"{address}.log",
                    environment={"MY_POD_IP": address},
                )
            )
        yield World(store)


def new_trace() -> str:
    return secrets.token_hex(16)


def test_a_trace_that_failed_is_kept(world: World):
    trace = new_trace()
    world.report(0, trace, status=_ERROR)
    assert len(world.kept(trace)) == 1


def test_a_trace_that_was_slow_is_kept(world: World):
    trace = new_trace()
    world.report(0, trace, seconds=3.5)
    assert len(world.kept(trace)) == 1


def test_of_the_others_only_the_share_is_kept(world: World):
    trace, judged = new_trace(), new_trace()
    world.report(0, trace)
    world.report(0, judged, status=_ERROR)
    assert world.kept(judged), "by now it was decided about both"
    time.sleep(2)
    assert not world.store.spans(trace)


@pytest.mark.parametrize("first", [0, 1])
def test_parts_of_a_trace_that_came_to_different_collectors_are_kept_together(world: World, first: int):
    """The gateway reports to one collector and the model to another; only one of them saw the failure."""
    trace = new_trace()
    sent = {world.report(first, trace), world.report(1 - first, trace, status=_ERROR), world.report(first, trace)}
    assert {span.id for span in world.kept(trace, 3)} == sent


def test_a_part_that_was_reported_long_before_the_answer_was_over_waits_for_it(world: World):
    """A sign-in is over at once; that the request was slow is known when the gateway reports it."""
    trace, gateway = new_trace(), secrets.token_hex(8)
    early = world.report(0, trace, parent=gateway)
    time.sleep(WAIT_SECONDS + 4)
    last = world.report(1, trace, seconds=WAIT_SECONDS + 4)
    assert {span.id for span in world.kept(trace, 2)} == {early, last}


def test_what_comes_late_of_a_trace_that_was_kept_is_kept_too(world: World):
    trace = new_trace()
    first = world.report(0, trace, status=_ERROR)
    assert world.kept(trace)
    time.sleep(2)
    late = world.report(1, trace)
    assert {span.id for span in world.kept(trace, 2)} == {first, late}


def test_what_was_said_is_not_kept(world: World):
    trace = new_trace()
    said = {"gen_ai.prompt.0.content": "a secret plan", "input.value": "a secret plan", "gen_ai.request.model": "small"}
    world.report(0, trace, status=_ERROR, attributes=said)
    (span,) = world.kept(trace)
    assert span.attributes == {"gen_ai.request.model": "small"}
    assert "secret plan" not in span.text


def test_it_counts_what_it_takes_and_what_it_cannot_send(world: World):
    trace = new_trace()
    world.report(0, trace, status=_ERROR)
    world.kept(trace)
    text = requests.get(f"http://{ADDRESSES[0]}:8888/metrics", timeout=10).text
    assert "otelcol_receiver_accepted_spans" in text
    assert "otelcol_exporter_sent_spans" in text
