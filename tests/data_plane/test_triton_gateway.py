"""The real LiteLLM in front of Triton: what arrives by its OpenAI frontend, and what by its own endpoint."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from components.platform.model_gateway import Backend, GatewayModel, Served
from components.platform.model_gateway.config import configuration
from components.settings.platform.model_gateway import ModelGatewaySettings
from tests.data_plane.litellm_process import MASTER, Emitted, Replica, answer_of, emitted, events, replica
from tests.data_plane.redis_server import running as cache_running
from tests.unit.conftest import mocked
from tests.unit.stack_models import chat, planned
from workloads.models.registration import gateway_models

pytestmark = pytest.mark.data_plane

PIECES = ("Par", "is", ".")
ROLES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Capital of France?"}]


class Triton(ThreadingHTTPServer):
    """Triton with its OpenAI frontend, as one model looks from outside.

    Attributes:
        asked: Path and body of every request.
        pause: Seconds before an answer.
        answering: Requests that it is busy with.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.pause, self.answering = 0.0, 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Triton

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, body))
        self.server.answering += 1
        try:
            time.sleep(self.server.pause)
            match self.path.rsplit("/", 1)[-1]:
                case "completions":
                    self._streamed(body) if body.get("stream") else self._send(self._whole(body))
                case "generate":
                    self._send({"model_name": "m", "model_version": "1", "text_output": "".join(PIECES)})
                case "generate_stream":
                    self._events([{"model_name": "m", "text_output": piece} for piece in PIECES])
                case _:
                    self.send_error(404)
        finally:
            self.server.answering -= 1

    def _head(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        head = {"id": "cmpl-1", "created": 1, "model": body["model"], "object": kind, "system_fingerprint": None}
        return {**head, "usage": None}

    def _whole(self, body: dict[str, Any]) -> dict[str, Any]:
        message = {"content": "".join(PIECES), "tool_calls": None, "role": "assistant", "function_call": None}
        choice = {"finish_reason": "stop", "index": 0, "message": message, "logprobs": None}
        usage = {"completion_tokens": 3, "prompt_tokens": 17, "total_tokens": 20}
        return {**self._head("chat.completion", body), "choices": [choice], "usage": usage}

    def _streamed(self, body: dict[str, Any]) -> None:
        head = self._head("chat.completion.chunk", body)
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "", "function_call": None}]
        deltas += [{"role": None, "content": piece, "function_call": None} for piece in PIECES]
        chunks = [
            {
                **head,
                "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": "stop" if last else None}],
            }
            for delta, last in zip(deltas, [False] * len(PIECES) + [True], strict=True)
        ]
        if (body.get("stream_options") or {}).get("include_usage"):
            usage = {"completion_tokens": 3, "prompt_tokens": 17, "total_tokens": 20}
            chunks.append({**head, "choices": [], "usage": usage})
        self._events(chunks, end="data: [DONE]\n\n")

    def _events(self, chunks: list[dict[str, Any]], end: str = "") -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("connection", "close")
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.write(end.encode())
        self.close_connection = True

    def _send(self, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def running() -> Iterator[Triton]:
    with Triton() as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@dataclass(frozen=True)
class World:
    """The gateway and two servers.

    Attributes:
        one: Serves ``chat`` as declared, ``flat`` by its own endpoint, and half of ``pair``.
        other: The other half.
        gateway: LiteLLM.
    """

    one: Triton
    other: Triton
    gateway: Replica

    def ask(self, model: str, **more: Any) -> requests.Response:
        return requests.post(
            f"{self.gateway.url}/v1/chat/completions",
            json={"model": model, "messages": ROLES, "cache": {"no-cache": True}, **more},
            headers={"authorization": f"Bearer {MASTER}"},
            stream=bool(more.get("stream")),
            timeout=60,
        )

    def asked(self) -> tuple[str, dict[str, Any]]:
        """What arrived last."""
        return self.one.asked[-1]


def led_to(given: Emitted, one: Triton) -> Emitted:
    """The emitted configuration, with the declared model's server on this machine."""
    return given.led_to(
        lambda _, parameters: (
            {**parameters, "api_base": f"{one.url}/v1"} if "svc.cluster.local" in parameters["api_base"] else parameters
        )
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    recorder = mocked()
    found = planned(chat(backend="triton", quantization="awq"))
    folder = tmp_path_factory.mktemp("triton")
    with ExitStack() as stack:
        cache = stack.enter_context(cache_running(folder))
        one, other = stack.enter_context(running()), stack.enter_context(running())

        def by_openai(server: Triton, name: str) -> Backend:
            return Backend(name=name, target=Served(url=server.url, model="m", api="openai"), timeout_seconds=30)

        own = Backend(name="own", target=Served(url=one.url, model="m", api="triton"), timeout_seconds=30)
        models = (
            *gateway_models(found.specs, found.plans),
            GatewayModel(name="flat", backends=(own,)),
            GatewayModel(name="pair", backends=(by_openai(one, "one"), by_openai(other, "other"))),
        )
        settings = ModelGatewaySettings.model_validate({"routing": {"strategy": "least-busy"}})
        given = replace(emitted(recorder, models), configuration=configuration(models, settings))
        yield World(one, other, stack.enter_context(replica(led_to(given, one), cache, folder)))


@pytest.fixture(autouse=True)
def _servers_are_well(world: World) -> Iterator[None]:
    yield
    world.one.pause = world.other.pause = 0.0


class TestTheOpenAiFrontend:
    """What a declared model uses."""

    def test_roles_arrive_as_roles_and_so_the_models_own_chat_template_is_used(self, world: World):
        assert answer_of(world.ask("chat")) == "Paris."

        path, body = world.asked()
        assert path == "/v1/chat/completions"
        assert (body["model"], body["messages"]) == ("chat", ROLES)

    def test_what_a_client_asks_for_arrives(self, world: World):
        wanted = {"temperature": 0.2, "top_p": 0.9, "max_tokens": 7, "stop": ["\n"], "seed": 3}

        answer_of(world.ask("chat", **wanted))

        _, body = world.asked()
        assert {key: body.get(key) for key in wanted} == wanted

    def test_tokens_are_those_that_the_engine_counted(self, world: World):
        usage = world.ask("chat").json()["usage"]

        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (17, 3)

    def test_answers_are_streamed_with_their_count(self, world: World):
        chunks = [chunk for chunk, _ in events(world.ask("chat", stream=True, stream_options={"include_usage": True}))]
        said = [choice["delta"].get("content") for chunk in chunks for choice in chunk["choices"]]
        counted = [chunk["usage"] for chunk in chunks if chunk.get("usage")]

        assert [one for one in said if one] == list(PIECES)
        assert counted[-1]["completion_tokens"] == 3


class TestTritonsOwnEndpoint:
    """What a declared model does not use, and why not (decision 14)."""

    def test_it_answers_whole_and_streamed(self, world: World):
        assert answer_of(world.ask("flat")) == "Paris."
        chunks = [chunk for chunk, _ in events(world.ask("flat", stream=True))]

        assert "".join(c["delta"].get("content") or "" for one in chunks for c in one["choices"]) == "Paris."
        assert world.asked()[0].endswith("/generate_stream")

    def test_roles_sampling_and_stop_words_are_lost_on_the_way_to_it(self, world: World):
        answer_of(world.ask("flat", temperature=0.2, max_tokens=7, stop=["\n"]))

        _, body = world.asked()
        assert isinstance(body["text_input"], str)
        assert "system" not in body["text_input"]
        assert body["parameters"] == {"max_tokens": 7}
        assert not {"temperature", "stop"} & set(body)


def test_a_busy_server_is_spared_where_the_gateway_knows_the_servers(world: World):
    """Backends of one model are balanced by requests under way: strategy ``least-busy`` of the settings."""
    world.one.pause = world.other.pause = 6.0
    with ThreadPoolExecutor(8) as clients:
        first = clients.submit(world.ask, "pair")
        deadline = time.monotonic() + 5
        while not world.one.answering + world.other.answering and time.monotonic() < deadline:
            time.sleep(0.02)
        busy, idle = (world.one, world.other) if world.one.answering else (world.other, world.one)
        idle.pause = 0.0
        before = len(idle.asked), len(busy.asked)
        for _ in range(8):
            answer_of(world.ask("pair"))
        assert len(idle.asked) - before[0] == 8
        assert len(busy.asked) == before[1]
        answer_of(first.result(timeout=60))
