"""The smoke test against a small server: what it lets pass, what it fails, how long it waits."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from workloads.models import smoke_pod
from workloads.models.smoke_pod import Endpoint, FailedError, run, woken

pytestmark = pytest.mark.unit


class Model(ThreadingHTTPServer):
    """A model that can be asleep, wrong or slow."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.text, self.status, self.pause, self.asleep = "It is Paris.", 200, 0.0, 0
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Model

    def do_POST(self) -> None:
        model = self.server
        model.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        model.keys.append(self.headers.get("authorization", ""))
        time.sleep(model.pause)
        status = 503 if len(model.asked) <= model.asleep else model.status
        body = {"choices": [{"message": {"content": model.text}}]} if model.text else {"choices": []}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[Model]:
    monkeypatch.setattr(smoke_pod, "_PAUSE_SECONDS", 0.01)
    server = Model()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def wanted(model: Model, **changes: Any) -> dict[str, Any]:
    return {
        "model": "chat",
        "gateway": model.url,
        "backends": [{"name": "chat-canary", "url": model.url}],
        "prompt": "What is the capital of France?",
        "expected": "paris",
        "p99Seconds": 2,
        "coldStartSeconds": 2,
        **changes,
    }


def test_a_right_and_quick_answer_passes(model: Model, capsys: pytest.CaptureFixture[str]):
    assert run(wanted(model), "sk-key") == 0
    told = capsys.readouterr().out
    assert "ok backend chat-canary" in told
    assert "ok gateway chat" in told


def test_the_key_goes_to_the_gateway_alone_and_stands_in_no_log(model: Model, capsys: pytest.CaptureFixture[str]):
    run(wanted(model), "sk-key")

    with_key = [asked["model"] for asked, key in zip(model.asked, model.keys, strict=True) if key]
    assert set(with_key) == {"chat"}
    assert "sk-key" not in capsys.readouterr().out


def test_the_gateway_may_not_answer_from_its_cache(model: Model):
    run(wanted(model), "sk-key")

    assert all(asked["cache"] == {"no-cache": True} for asked in model.asked if asked["model"] == "chat")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"text": "It is Lyon."}, "does not match"),
        ({"text": ""}, "no text"),
        ({"status": 401}, "refused with HTTP 401"),
        ({"status": 500}, "no answer within"),
    ],
)
def test_what_is_wrong_fails_and_is_said(changes, complaint, model: Model, capsys: pytest.CaptureFixture[str]):
    for name, value in changes.items():
        setattr(model, name, value)

    assert run(wanted(model, coldStartSeconds=0.3), "sk-key") == 2
    assert complaint in capsys.readouterr().out


def test_an_answer_later_than_declared_fails(model: Model, capsys: pytest.CaptureFixture[str]):
    model.pause = 0.1

    assert run(wanted(model, p99Seconds=0.05), "sk-key") == 2
    assert "objective.p99Seconds is 0.05" in capsys.readouterr().out


def test_a_cold_start_is_waited_for_and_does_not_count_as_a_late_answer(model: Model):
    model.asleep = 5

    assert run(wanted(model, p99Seconds=1), "sk-key") == 0


def test_the_wait_for_a_server_ends():
    nobody = Endpoint("nobody", "http://127.0.0.1:1", "chat")
    clock = iter([0.0, 1.0, 2.0, 9.0, 11.0, 11.0])

    with pytest.raises(FailedError, match="no answer within 10 s"):
        woken(nobody, "?", 10, clock=lambda: next(clock))
