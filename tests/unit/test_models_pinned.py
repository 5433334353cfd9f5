"""Models of the registry: an alias is looked up once, the version stays, and what cannot be said is said clearly."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from workloads.models.pinned import Registry
from workloads.models.registry_client import RegistryError, look_up

pytestmark = pytest.mark.unit


class Mlflow(ThreadingHTTPServer):
    """The two calls of MLflow's API that are used."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.aliases = {"champion": "3"}
        self.root, self.status, self.calls, self.authorization = "s3://mlflow", 200, 0, ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Mlflow

    def do_GET(self) -> None:
        mlflow, parts = self.server, urlsplit(self.path)
        mlflow.calls += 1
        mlflow.authorization = self.headers.get("authorization", "")
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        body: dict[str, Any] = {"artifact_uri": f"{mlflow.root}/{query.get('version')}"}
        status = mlflow.status
        if "alias" in query:
            version = mlflow.aliases.get(query["alias"])
            body = {"model_version": {"version": version}} if version else {"error_code": "INVALID_PARAMETER_VALUE"}
            status = status if version else 400
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def mlflow() -> Iterator[Mlflow]:
    server = Mlflow()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def asked(mlflow: Mlflow, **changes: str) -> dict[str, Any]:
    return {"registry": mlflow.url, "model": "llama", "revision": "@champion", "refresh": "", **changes}


def test_a_preview_knows_the_version_and_where_it_lies(mlflow: Mlflow):
    checked = Registry().check({}, asked(mlflow))

    assert not checked.failures
    assert (checked.inputs["version"], checked.inputs["source"]) == ("3", "s3://mlflow/3")


def test_an_alias_that_moved_changes_nothing_until_somebody_asks_again(mlflow: Mlflow):
    provider = Registry()
    pinned = provider.check({}, asked(mlflow)).inputs
    mlflow.aliases["champion"] = "4"
    calls = mlflow.calls

    same = provider.check(pinned, asked(mlflow)).inputs
    assert same == pinned
    assert mlflow.calls == calls, "the registry need not even be there"
    assert not provider.diff("llama/3", pinned, same).changes

    again = provider.check(pinned, asked(mlflow, refresh="2026-11-22")).inputs
    assert again["version"] == "4"
    found = provider.diff("llama/3", pinned, again)
    assert found.changes
    assert not found.replaces
    assert provider.update("llama/3", pinned, again).outs == again


def test_another_alias_is_looked_up(mlflow: Mlflow):
    mlflow.aliases["challenger"] = "7"
    pinned = Registry().check({}, asked(mlflow)).inputs

    assert Registry().check(pinned, asked(mlflow, revision="@challenger")).inputs["version"] == "7"


def test_a_registry_that_cannot_be_reached_is_a_failure_of_the_preview_with_a_way_out(mlflow: Mlflow):
    checked = Registry().check({}, asked(mlflow, registry="http://127.0.0.1:1"))

    (failure,) = checked.failures
    assert "cannot be reached" in failure.reason
    assert "s3://mlflow/" in failure.reason


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"status": 401}, "MLFLOW_TRACKING_TOKEN"),
        ({"aliases": {}}, "register it first"),
        ({"root": "mlflow-artifacts:/1"}, "log it from a client that writes to the object store"),
    ],
)
def test_what_the_registry_cannot_say_is_said_with_a_remedy(changes, told, mlflow: Mlflow):
    for name, value in changes.items():
        setattr(mlflow, name, value)

    with pytest.raises(RegistryError, match=told):
        look_up(mlflow.url, "llama", "@champion")


def test_without_an_address_there_is_nobody_to_ask(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    with pytest.raises(RegistryError, match=r"platform\.serving\.registryUrl"):
        look_up("", "llama", "@champion")


def test_credentials_come_from_the_environment_and_stay_out_of_the_state(
    mlflow: Mlflow, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "reader")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "not-a-real-password")

    checked = Registry().check({}, asked(mlflow))

    assert mlflow.authorization.startswith("Basic ")
    assert "not-a-real-password" not in json.dumps(checked.inputs)
