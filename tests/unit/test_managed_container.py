"""The first process in a managed container, in front of a server that stands for Triton's frontend."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from workloads.managed.container import serve
from workloads.managed.container.serve import Server, Settings, fetch_repository, frontend_command

pytestmark = pytest.mark.unit


class Frontend(ThreadingHTTPServer):
    """What was asked of it; it can be not ready."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), FrontendHandler)
        self.ready = True
        self.asked: list[tuple[str, dict[str, Any]]] = []


class FrontendHandler(BaseHTTPRequestHandler):
    server: Frontend
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send(200 if self.path == "/health/ready" and self.server.ready else 503, b"")

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, asked))
        if asked.get("stream"):
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            for piece in (b"data: 0\n\nda", b"ta: 1\n", b"\ndata: 2\n\n"):  # cut anywhere, as networks do
                self.wfile.write(piece)
                self.wfile.flush()
                time.sleep(0.15)
            self.close_connection = True
            return
        self._send(422 if asked.get("bad") else 200, b'{"answer": 42}')

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[str]:
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def frontend() -> Iterator[Frontend]:
    server = Frontend()
    with running(server):
        yield server


@pytest.fixture
def url(frontend: Frontend) -> Iterator[str]:
    with running(Server(settings(frontend_port=frontend.server_port), "127.0.0.1")) as address:
        yield address


def settings(**changes: Any) -> Settings:
    given: dict[str, Any] = {
        "model": "llama", "folder": Path("/opt/ml/model"), "storage_url": "", "port": 0, "health_path": "/ping",
    }  # fmt: skip
    return Settings(**{**given, **changes})


def test_it_is_healthy_exactly_when_triton_is(frontend: Frontend, url: str):
    assert requests.get(f"{url}/ping", timeout=5).status_code == 200
    frontend.ready = False
    assert requests.get(f"{url}/ping", timeout=5).status_code == 503


@pytest.mark.parametrize("path", ["/invocations", "/v1/chat/completions"])
def test_a_request_is_for_the_model_that_is_here_whatever_it_says(frontend: Frontend, url: str, path: str):
    """SageMaker's clients name the endpoint, Vertex AI's nothing at all."""
    for named in ({"model": "llmops-prod-llama"}, {"model": ""}, {}):
        answer = requests.post(f"{url}{path}", json={**named, "messages": []}, timeout=5)
        assert answer.json() == {"answer": 42}
    assert {asked[0] for asked in frontend.asked} == {"/v1/chat/completions"}
    assert {asked[1]["model"] for asked in frontend.asked} == {"llama"}


def test_an_answer_that_comes_in_pieces_leaves_in_pieces(url: str):
    with requests.post(f"{url}/invocations", json={"stream": True}, stream=True, timeout=5) as answer:
        arrived: list[tuple[float, bytes]] = []
        while piece := answer.raw.read1():
            arrived.append((time.monotonic(), piece))
    assert [piece for _, piece in arrived] == [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n"], "each event by itself"
    assert arrived[-1][0] - arrived[0][0] > 0.2, "they were not kept until the last"


def test_what_triton_refuses_is_refused_with_its_words(url: str):
    answer = requests.post(f"{url}/invocations", json={"bad": True}, timeout=5)
    assert (answer.status_code, answer.json()) == (422, {"answer": 42})


def test_what_is_no_request_of_a_model_reaches_nobody(frontend: Frontend, url: str):
    """Vertex AI opens every path of the container: administration must not be among them."""
    assert requests.post(f"{url}/invocations", data=b"[1]", timeout=5).status_code == 400
    assert requests.post(f"{url}/v2/repository/models/llama/unload", json={}, timeout=5).status_code == 404
    assert requests.get(f"{url}/metrics", timeout=5).status_code == 404
    assert frontend.asked == []


def test_a_triton_that_is_gone_is_said(frontend: Frontend):
    frontend.server_close()
    with running(Server(settings(frontend_port=frontend.server_port), "127.0.0.1")) as url:
        answer = requests.post(f"{url}/invocations", json={}, timeout=5)
    assert answer.status_code == 503
    assert "Triton does not answer" in answer.json()["error"]["message"]


def test_each_cloud_says_by_its_variables_where_it_calls_and_where_weights_are():
    sagemaker = Settings.of({"MODEL_NAME": "llama"})
    assert (sagemaker.port, sagemaker.health_path, str(sagemaker.folder)) == (8080, "/ping", "/opt/ml/model")
    vertex = Settings.of(
        {
            "MODEL_NAME": "llama", "MODEL_REPOSITORY": "/models",
            "AIP_HTTP_PORT": "9999", "AIP_HEALTH_ROUTE": "/health", "AIP_STORAGE_URI": "gs://bucket/llama",
        }
    )  # fmt: skip
    assert (vertex.port, vertex.health_path, vertex.storage_url) == (9999, "/health", "gs://bucket/llama")
    command = frontend_command(vertex)
    assert command[command.index("--model-repository") + 1] == "/models/models"
    assert command[command.index("--host") + 1] == "127.0.0.1", "only this program may ask it"


class Google(ThreadingHTTPServer):
    """The metadata server and Cloud Storage."""

    daemon_threads = True

    def __init__(self, objects: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), GoogleHandler)
        self.objects = objects
        self.refused = 0


class GoogleHandler(BaseHTTPRequestHandler):
    server: Google

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/token":
            self._send(200 if self.headers["metadata-flavor"] == "Google" else 403, b'{"access_token": "t"}')
        elif self.headers["authorization"] != "Bearer t":
            self.server.refused += 1
            self._send(401, b"")
        elif "alt=media" in query:
            from urllib.parse import unquote

            self._send(200, self.server.objects[unquote(path.removeprefix("/storage/v1/b/bucket/o/"))])
        else:
            names = sorted(self.server.objects)
            page = 1 if "pageToken=second" in query else 0
            items = [{"name": name} for name in names[page * 2 : page * 2 + 2]]
            self._send(200, json.dumps({"items": items, **({} if page else {"nextPageToken": "second"})}).encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_the_repository_is_fetched_whole_over_all_pages(tmp_path: Path):
    objects = {
        "llama/1/models/llama/config.pbtxt": b"name", "llama/1/models/llama/1/": b"",
        "llama/1/tokenizer/a b.json": b"{}", "llama/1/models/llama/1/rank0.engine": b"x" * 3_000_000,
    }  # fmt: skip
    google = Google(objects)
    with running(google) as url:
        fetch_repository("gs://bucket/llama/1", tmp_path, endpoint=url, metadata=f"{url}/token")
    found = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {
        name.removeprefix("llama/1/"): content for name, content in objects.items() if not name.endswith("/")
    }
    assert google.refused == 0


def test_an_object_cannot_be_written_outside_of_the_repository(tmp_path: Path):
    with (
        running(Google({"llama/../../evil": b"x"})) as url,
        pytest.raises(ValueError, match="outside of the model repository"),
    ):
        fetch_repository("gs://bucket/llama", tmp_path / "models", endpoint=url, metadata=f"{url}/token")


def test_it_ends_with_triton_and_says_how(tmp_path: Path):
    """The cloud starts the container again when its first process ends."""
    code = serve.run(settings(folder=tmp_path), [sys.executable, "-c", "import sys; sys.exit(7)"])
    assert code == 7
