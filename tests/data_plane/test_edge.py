"""The edge on a real Envoy: the filters that the program emits, put where Istio puts them, and asked."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from components.platform import envoy
from components.platform.edge import patches
from components.settings.platform.gateway import GatewaySettings
from tests.data_plane.environments import environment
from tests.data_plane.ports import free_port

pytestmark = pytest.mark.data_plane

KEY = "sk-AAAAAAAAabcdefghijklmn"
OTHER_KEY = "sk-BBBBBBBBabcdefghijklmn"
TYPE = "type.googleapis.com/envoy.extensions.filters"
ROUTER = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": f"{TYPE}.http.router.v3.Router"},
}
# What Istio makes of the policy that asks for a bearer token of this form.
KEY_POLICY = {
    "name": "envoy.filters.http.rbac",
    "typed_config": {
        "@type": f"{TYPE}.http.rbac.v3.RBAC",
        "rules": {
            "action": "ALLOW",
            "policies": {
                "edge": {
                    "permissions": [{"any": True}],
                    "principals": [
                        {"header": {"name": "authorization", "string_match": {"prefix": "Bearer sk-"}}},
                    ],
                }
            },
        },
    },
}


@pytest.fixture(scope="session")
def program() -> str:
    return os.environ.get("ENVOY") or str(environment("envoy") / "bin" / "envoy")


Start = Callable[..., str]


class Backend(ThreadingHTTPServer):
    """Answers 200 to everything, and counts what reaches it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.reached = 0


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.reached += 1
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def start(program: str, tmp_path: Path, backend: Backend) -> Iterator[Start]:
    """Start the gateway with settings; gives its URL."""
    with ExitStack() as stack:

        def begin(settings: dict[str, Any], *before: dict[str, Any], counter: int = 1) -> str:
            return stack.enter_context(gateway(program, tmp_path, settings, before, counter, backend))

        yield begin


@contextmanager
def gateway(
    program: str,
    folder: Path,
    settings: dict[str, Any],
    before: tuple[dict[str, Any], ...],
    counter: int,
    backend: Backend,
) -> Iterator[str]:
    port = free_port()
    manager = patched(patches(GatewaySettings.model_validate(settings), 1), [*before, ROUTER])
    cluster = f"outbound|{envoy.COUNTER_PORT}||{envoy.COUNTER_HOST}"
    bootstrap = {
        # Istio's own bootstrap has it; Envoy's default refuses longer expressions.
        "layered_runtime": {"layers": [{"name": "x", "static_layer": {"re2.max_program_size.error_level": 32768}}]},
        "static_resources": {
            "listeners": [
                {
                    "name": "gateway",
                    "address": address(port),
                    "filter_chains": [
                        {
                            "filters": [
                                {
                                    "name": "envoy.filters.network.http_connection_manager",
                                    "typed_config": manager,
                                }
                            ]
                        }
                    ],
                }
            ],
            "clusters": [
                {
                    "name": cluster,
                    "type": "STATIC",
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                            "explicit_http_config": {"http2_protocol_options": {}},
                        }
                    },
                    "load_assignment": {
                        "cluster_name": cluster,
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(counter)}}]}],
                    },
                },
                {
                    "name": "backend",
                    "type": "STATIC",
                    "load_assignment": {
                        "cluster_name": "backend",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(backend.server_port)}}]}],
                    },
                },
            ],
        },
    }
    file = folder / f"{port}.json"
    file.write_text(json.dumps(bootstrap))
    log = (folder / f"{port}.log").open("wb")
    command = [program, "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        await_listener(port, process, folder / f"{port}.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)
        log.close()


def patched(found: list[dict[str, Any]], filters: list[dict[str, Any]]) -> dict[str, Any]:
    """Apply patches as istiod does: merge into the connection manager, insert before the router."""
    manager: dict[str, Any] = {
        "@type": f"{TYPE}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "backend"}}],
                }
            ]
        },
        "http_filters": deepcopy(filters),
    }
    for one in found:
        value = one["patch"]["value"]
        if one["patch"]["operation"] == "MERGE":
            manager |= {key: part for key, part in value["typed_config"].items() if key != "@type"}
        else:
            manager["http_filters"].insert(len(manager["http_filters"]) - 1, value)
    return manager


def address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def await_listener(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, f"Envoy refuses the configuration: {log.read_text()}"
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("Envoy does not listen")


def ask(url: str, token: str = "") -> requests.Response:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return requests.get(url, headers=headers, timeout=10)


def eventually(url: str, status: int) -> requests.Response:
    """Ask until there is an answer of the counting service: on a busy machine its first ones come too late to count."""
    deadline = time.monotonic() + 30
    while (answer := ask(url, KEY)).status_code != status and time.monotonic() < deadline:
        time.sleep(0.1)
    assert answer.status_code == status
    return answer


def limited(clients: int = 3, **more: Any) -> dict[str, Any]:
    return {"rateLimits": {"clientRequestsPerMinute": clients, "requestsPerSecond": 100, "burst": 100, **more}}


def test_a_request_without_a_key_gets_401_that_clients_understand(start: Start, backend: Backend):
    url = start({}, KEY_POLICY)
    refused = ask(url)
    assert refused.status_code == 401
    assert backend.reached == 0
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.json()["error"]["type"] == "authentication_error"
    assert ask(url, KEY).status_code == 200


def test_a_client_above_its_limit_gets_429_and_is_told_when_to_come_back(start: Start):
    url = start(limited(), KEY_POLICY)
    assert [ask(url, KEY).status_code for _ in range(3)] == [200, 200, 200]
    refused = ask(url, KEY)
    assert refused.status_code == 429
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert 1 <= int(refused.headers["retry-after"]) <= 60


def test_one_clients_limit_does_not_stop_another(start: Start):
    url = start(limited(), KEY_POLICY)
    assert [ask(url, KEY).status_code for _ in range(4)][-1] == 429
    assert ask(url, OTHER_KEY).status_code == 200


def test_all_clients_together_are_limited_too(start: Start):
    url = start(limited(1000, requestsPerSecond=1, burst=5), KEY_POLICY)
    answers = [ask(url, f"sk-{number:08d}abcdefghijklmn") for number in range(12)]
    refused = [one for one in answers if one.status_code == 429]
    assert len(refused) >= 4
    assert all(int(one.headers["retry-after"]) >= 1 for one in refused)


def test_refused_requests_do_not_use_up_anybodys_limit(start: Start):
    url = start(limited(), KEY_POLICY)
    assert {ask(url).status_code for _ in range(10)} == {401}
    assert ask(url, KEY).status_code == 200


def test_without_authentication_a_client_is_an_address(start: Start):
    url = start({"authentication": {"mode": "none"}, **limited()})
    assert [ask(url).status_code for _ in range(4)] == [200, 200, 200, 429]


class Counter(grpc.GenericRpcHandler):
    """Answers like the counting service, and remembers what it was asked (protobuf, by hand)."""

    OK, OVER_LIMIT = b"\x08\x01", b"\x08\x02"

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.asked: list[bytes] = []

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method != "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit":
            return None
        return grpc.unary_unary_rpc_method_handler(lambda request, _: self.asked.append(request) or self.answer)


@contextmanager
def counting(answer: bytes) -> Iterator[tuple[Counter, int]]:
    server = grpc.server(futures.ThreadPoolExecutor(2))
    counter = Counter(answer)
    server.add_generic_rpc_handlers((counter,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield counter, port
    finally:
        server.stop(None).wait()


def test_the_counting_service_decides_and_never_sees_a_whole_key(start: Start):
    with counting(Counter.OVER_LIMIT) as (counter, port):
        url = start(limited(counting="global"), KEY_POLICY, counter=port)
        refused = eventually(url, 429)
    assert int(refused.headers["retry-after"]) >= 1
    asked = counter.asked[-1]
    assert b"gateway" in asked
    assert b"client" in asked
    assert KEY[:11].encode() in asked
    assert KEY[:12].encode() not in asked


def test_what_the_counting_service_allows_passes(start: Start):
    with counting(Counter.OK) as (_, port):
        url = start(limited(counting="global", onFailure="refuse"), KEY_POLICY, counter=port)
        eventually(url, 200)


@pytest.mark.parametrize(("on_failure", "status"), [("allow", 200), ("refuse", 500)])
def test_without_the_counting_service_the_setting_decides(on_failure, status, start: Start):
    url = start(limited(counting="global", onFailure=on_failure), KEY_POLICY, counter=free_port())
    assert ask(url, KEY).status_code == status


def test_clients_with_tokens_are_told_apart_by_the_verified_claim(start: Start):
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    settings = {
        "authentication": {
            "mode": "jwt",
            "jwt": {"issuer": "https://idp.test", "jwksUri": "https://idp.test/keys", "audiences": ["llm"]},
        },
        **limited(),
    }
    url = start(settings, jwt_filter(private))

    def token(subject: str) -> str:
        return signed(private, {"iss": "https://idp.test", "aud": "llm", "sub": subject, "exp": int(time.time()) + 60})

    assert [ask(url, token("anna")).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert ask(url, token("ben")).status_code == 200
    assert ask(url, token("anna")[:-8] + "AAAAAAAA").status_code == 401


def jwt_filter(private: rsa.RSAPrivateKey) -> dict[str, Any]:
    """What Istio makes of a RequestAuthentication, with the keys at hand."""
    numbers = private.public_key().public_numbers()
    key = {"kty": "RSA", "alg": "RS256", "kid": "1", "n": number(numbers.n), "e": number(numbers.e)}
    return {
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": f"{TYPE}.http.jwt_authn.v3.JwtAuthentication",
            "providers": {
                "origins-0": {
                    "issuer": "https://idp.test",
                    "audiences": ["llm"],
                    "local_jwks": {"inline_string": json.dumps({"keys": [key]})},
                    "payload_in_metadata": "payload",
                }
            },
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "origins-0"}}],
        },
    }


def signed(private: rsa.RSAPrivateKey, claims: dict[str, Any]) -> str:
    head = encoded(json.dumps({"alg": "RS256", "kid": "1"}).encode())
    body = f"{head}.{encoded(json.dumps(claims).encode())}"
    return f"{body}.{encoded(private.sign(body.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def number(value: int) -> str:
    return encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
