"""One trace id through a request: the real LiteLLM, as the program emits it, between a caller and a model."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest
import requests

from components.platform import telemetry
from components.platform.model_gateway import Backend, GatewayModel, Served
from tests.data_plane.litellm_process import MASTER, Emitted, Replica, emitted, replica
from tests.data_plane.openai_backend import Server, serving
from tests.data_plane.ports import free_port
from tests.data_plane.redis_server import running as cache_running
from tests.data_plane.span_receiver import Receiver, receiving
from tests.data_plane.test_litellm import recorder
from tests.unit.conftest import Recorder

pytestmark = pytest.mark.data_plane

__all__ = ["recorder"]  # a fixture


@dataclass(frozen=True)
class World:
    """A model, a collector, and the gateway that reports to it."""

    model: Server
    collector: Receiver
    gateway: Replica
    emitted: Emitted

    def ask(self, model: str, text: str, *, stream: bool = False) -> tuple[str, str, requests.Response]:
        """Ask as the platform's gateway does for a client: with a trace, and a span of its own in it."""
        trace, span = secrets.token_hex(16), secrets.token_hex(8)
        answer = requests.post(
            f"{self.gateway.url}/v1/chat/completions",
            json={"model": model, "messages": [{"role": "user", "content": text}], "stream": stream},
            headers={"authorization": f"Bearer {MASTER}", "traceparent": f"00-{trace}-{span}-01"},
            timeout=60,
        )
        return trace, span, answer


@pytest.fixture(scope="module")
def world(recorder: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("traced")
    with ExitStack() as stack:
        model, collector = stack.enter_context(serving("one")), stack.enter_context(receiving())
        cache = stack.enter_context(cache_running(folder))
        nobody = f"http://127.0.0.1:{free_port()}"
        given = emitted(
            recorder,
            tuple(
                GatewayModel(
                    name=name, backends=(Backend(name="one", target=Served(url=url, model="m"), timeout_seconds=20),)
                )
                for name, url in (("plain", model.url), ("gone", nobody))
            ),
        )
        reporting = replace(given, containers=_moved(given.containers, collector.url))
        yield World(model, collector, stack.enter_context(replica(reporting, cache, folder)), given)


def _moved(containers: dict[str, dict[str, Any]], collector: str) -> dict[str, dict[str, Any]]:
    """The same containers where the collector's name in the cluster is a place here."""
    gateway = containers["model-gateway"]
    environment = [
        {**one, "value": one["value"].replace(telemetry.OTLP_HTTP_URL, collector)} if "value" in one else one
        for one in gateway["env"]
    ]
    assert environment != gateway["env"], "nothing tells it where the collector is"
    return {**containers, "model-gateway": {**gateway, "env": environment}}


def test_what_the_gateway_reports_belongs_to_the_trace_of_the_request(world: World):
    trace, _, answer = world.ask("plain", "hello")
    assert answer.status_code == 200, answer.text

    found = world.collector.wait_for(trace)
    assert {span.service for span in found} == {"model-gateway"}


def test_its_spans_hang_below_the_span_that_asked(world: World):
    trace, asking, _ = world.ask("plain", "hello again")

    found = world.collector.wait_for(trace)
    known = {span.id for span in found} | {asking}
    assert any(span.parent == asking for span in found), [(span.name, span.parent) for span in found]
    assert all(span.parent in known for span in found), "a part of the request hangs nowhere"


@pytest.mark.parametrize("stream", [False, True])
def test_the_model_is_told_the_same_trace(world: World, stream: bool):
    world.model.traceparents.clear()
    trace, _, answer = world.ask("plain", uuid.uuid4().hex, stream=stream)
    assert answer.status_code == 200, answer.text

    (told,) = world.model.traceparents
    version, carried, _, sampled = told.split("-")
    assert (version, carried, sampled) == ("00", trace, "01")


def test_what_was_asked_and_answered_is_in_no_span(world: World):
    said = f"said-{uuid.uuid4().hex}"
    trace, _, answer = world.ask("plain", said)
    assert answer.json()["choices"][0]["message"]["content"] == "one"

    found = world.collector.wait_for(trace)
    assert found
    for span in found:
        assert said not in span.text, span.name
        assert MASTER not in span.text, span.name


def test_a_request_that_failed_says_so_in_its_trace(world: World):
    trace, _, answer = world.ask("gone", "is anybody there?")
    assert answer.status_code >= 500, answer.text

    found = world.collector.wait_for(trace)
    assert any(span.failed for span in found), "the collector would not know that it must keep it"
