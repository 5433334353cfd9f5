"""Declared models behind the real gateway: each backend is reached, canaries get their share, sessions stay."""

from __future__ import annotations

import json
import math
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from tests.data_plane.litellm_process import MASTER, Emitted, Replica, answer_of, emitted, replica
from tests.data_plane.openai_backend import Server, serving
from tests.data_plane.redis_server import running as cache_running
from tests.unit.conftest import mocked
from tests.unit.stack_models import CANARY, chat, planned
from workloads.models.registration import gateway_models
from workloads.models.smoke_pod import run

pytestmark = pytest.mark.data_plane

REQUESTS = 400
SIGMAS = 4.5  # a right share falls outside once in 150 000 runs

MODELS: list[dict[str, Any]] = [
    chat(canary={**CANARY, "percent": 20}, replicas={"max": 1}),
    chat(
        name="ab",
        ab={"weight": 1, "variants": [{"name": "b", "source": "s3://models/b"}]},
        replicas={"max": 1},
    ),
    {
        "name": "fast",
        "backend": "hosted",
        "source": "hosted://bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0",
        "fallbacks": ["ab"],
    },
]
"""Two more servers than the shipped groups hold; the tests give the stack larger ones."""

GROUPS = [
    {"name": "system", "role": "system", "instanceTypes": ["m6i.2xlarge"], "minSize": 2, "maxSize": 8},
    {"name": "cpu", "role": "cpu", "instanceTypes": ["m6i.4xlarge"], "maxSize": 10},
    {"name": "inference", "role": "gpu-inference", "instanceTypes": ["g5.2xlarge"], "maxSize": 8},
]


class Converse(BaseHTTPRequestHandler):
    """What Bedrock's Converse API answers to one message."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        message = {"role": "assistant", "content": [{"text": "hosted"}]}
        usage = {"inputTokens": 10, "outputTokens": 20, "totalTokens": 30}
        answer = {"output": {"message": message}, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def hosted_api() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Converse)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True)
class World:
    """The gateway, and the servers of the versions by the name that the configuration knows them by."""

    servers: dict[str, Server]
    gateway: Replica


def led_to(given: Emitted, servers: dict[str, Server], hosted: str) -> Emitted:
    """The emitted configuration, with each version's server and the cloud's API on this machine."""

    def here(name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        if name in servers:
            assert "svc.cluster.local" in parameters["api_base"]
            return {**parameters, "api_base": f"{servers[name].url}/v1"}
        nobody = {"aws_access_key_id": "nobody", "aws_secret_access_key": "nothing"}
        return {**parameters, "aws_bedrock_runtime_endpoint": hosted, **nobody}

    return given.led_to(here)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    recorder = mocked()
    found = planned(*MODELS, nodeGroups=GROUPS, workloads=[])
    folder = tmp_path_factory.mktemp("traffic")
    with ExitStack() as stack:
        cache = stack.enter_context(cache_running(folder))
        given = emitted(recorder, gateway_models(found.specs, found.plans))
        ids = [one["model_info"]["id"] for one in given.configuration["model_list"]]
        servers = {name: stack.enter_context(serving(name)) for name in ids if not name.startswith("fast/")}
        given = led_to(given, servers, stack.enter_context(hosted_api()))
        yield World(servers, stack.enter_context(replica(given, cache, folder)))


@pytest.fixture(autouse=True)
def _servers_are_well(world: World) -> Iterator[None]:
    yield
    for server in world.servers.values():
        server.status = 200


def asked(world: World, model: str, session: str = "") -> str:
    headers = {"authorization": f"Bearer {MASTER}", **({"x-litellm-session-id": session} if session else {})}
    body = {"model": model, "messages": [{"role": "user", "content": uuid.uuid4().hex}]}
    answer = requests.post(f"{world.gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=60)
    return answer_of(answer)


def test_each_version_of_each_model_is_reached(world: World):
    answers = {asked(world, model) for model in ("chat", "ab", "fast") for _ in range(40)}

    assert answers == {"chat/stable", "chat/canary", "ab/stable", "ab/b", "hosted"}


def test_a_canary_gets_its_share_of_the_requests(world: World):
    with ThreadPoolExecutor(8) as pool:
        answers = Counter(pool.map(lambda _: asked(world, "chat"), range(REQUESTS)))

    share, spread = 0.2, math.sqrt(REQUESTS * 0.2 * 0.8)
    assert answers.total() == REQUESTS
    assert abs(answers["chat/canary"] - share * REQUESTS) < SIGMAS * spread, answers


def test_clients_do_not_see_a_canary_that_fails(world: World):
    world.servers["chat/canary"].status = 500
    before = world.servers["chat/canary"].reached

    answers = {asked(world, "chat") for _ in range(40)}

    assert answers == {"chat/stable"}
    assert world.servers["chat/canary"].reached > before, "it was asked, and failed"


def test_a_session_stays_with_the_version_that_answered_first(world: World):
    sessions = [uuid.uuid4().hex for _ in range(16)]
    with ThreadPoolExecutor(8) as pool:
        first = dict(zip(sessions, pool.map(lambda one: asked(world, "ab", one), sessions), strict=True))
    assert set(first.values()) == {"ab/stable", "ab/b"}, "both versions have sessions"

    for session in sessions:
        assert {asked(world, "ab", session) for _ in range(4)} == {first[session]}


def test_without_a_session_requests_are_shared(world: World):
    assert {asked(world, "ab") for _ in range(30)} == {"ab/stable", "ab/b"}


def test_the_smoke_test_passes_through_the_gateway_and_sees_a_backend_that_is_broken(
    world: World, capsys: pytest.CaptureFixture[str]
):
    def smoke(expected: str) -> int:
        backends = [{"name": "chat", "url": world.servers["chat/stable"].url}]
        wanted = {"model": "chat", "gateway": world.gateway.url, "backends": backends, "prompt": "Who?"}
        return run({**wanted, "expected": expected, "p99Seconds": 10, "coldStartSeconds": 2}, MASTER)

    assert smoke("chat/") == 0
    assert smoke("nobody") == 2
    world.servers["chat/stable"].status = world.servers["chat/canary"].status = 500
    assert smoke("chat/") == 2
    assert "FAILED backend chat" in capsys.readouterr().out


def test_the_emitted_names_are_those_of_the_cluster():
    """What is replaced by this machine's addresses above: the activator for what may be away, the servers else."""
    found = planned(*MODELS, nodeGroups=GROUPS, workloads=[])
    urls = {
        backend.name: getattr(backend.target, "url", "")
        for model in gateway_models(found.specs, found.plans)
        for backend in model.backends
        if model.name == "chat"
    }
    assert urls == {
        "stable": "http://chat.mlops-serving.svc.cluster.local:8080",
        "canary": "http://chat-canary-predictor.mlops-serving.svc.cluster.local",
    }
