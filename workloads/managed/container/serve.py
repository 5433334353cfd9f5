"""The first process in the container of a managed endpoint: it starts Triton, and speaks as the cloud expects.

Triton's OpenAI frontend listens on this machine only. This program passes requests on to it: SageMaker asks ``/ping``
and ``/invocations``, Vertex AI the paths of the OpenAI API. An answer that comes in pieces leaves in pieces. On Vertex
AI it fetches the model repository first; SageMaker has done that by itself.

It runs with the image's own Python, so it needs nothing but the standard library.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any, Final

_FRONTEND: Final = "/opt/tritonserver/python/openai/openai_frontend/main.py"
_FRONTEND_PORT: Final = 9000
_SAGEMAKER_MODEL: Final = "/opt/ml/model"
_PIECE: Final = 65536
_END_OF_EVENT: Final = b"\n\n"
_CHAT: Final = "/v1/chat/completions"
_PASSED: Final = (_CHAT, "/v1/completions", "/v1/embeddings")
_METADATA: Final = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
_GCS: Final = "https://storage.googleapis.com"


@dataclass(frozen=True)
class Settings:
    """What the cloud says by variables.

    Attributes:
        model: Name of the model in the repository; requests are for it, whatever they say.
        folder: What the model's source holds: Triton's model repository in ``models``, the tokenizer with the chat
            template in ``tokenizer``.
        storage_url: Where that is fetched from; empty where it is there already.
        port: Where the cloud calls.
        health_path: What the cloud asks whether the server can answer.
        frontend_port: Where Triton's frontend listens, on this machine.
    """

    model: str
    folder: Path
    storage_url: str
    port: int
    health_path: str
    frontend_port: int = _FRONTEND_PORT

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Settings:
        """Read them: ``AIP_…`` are those of Vertex AI."""
        return cls(
            model=variables["MODEL_NAME"],
            folder=Path(variables.get("MODEL_REPOSITORY", _SAGEMAKER_MODEL)),
            storage_url=variables.get("AIP_STORAGE_URI", ""),
            port=int(variables.get("AIP_HTTP_PORT") or variables.get("SAGEMAKER_BIND_TO_PORT") or 8080),
            health_path=variables.get("AIP_HEALTH_ROUTE", "/ping"),
            frontend_port=int(variables.get("FRONTEND_PORT", _FRONTEND_PORT)),
        )


def frontend_command(settings: Settings) -> list[str]:
    """Triton with its OpenAI frontend, on the model that lies here."""
    return [
        sys.executable,
        _FRONTEND,
        "--model-repository",
        str(settings.folder / "models"),
        "--tokenizer",
        str(settings.folder / "tokenizer"),
        "--host",
        "127.0.0.1",
        "--openai-port",
        str(settings.frontend_port),
    ]


class Handler(BaseHTTPRequestHandler):
    """Passes on what is for the model."""

    protocol_version = "HTTP/1.1"
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride] no other server uses it

    def do_GET(self) -> None:
        """Say whether the model can answer."""
        if self.path not in {self.server.settings.health_path, "/ping", "/health"}:
            self._answer(404, b"")
            return
        self._answer(200 if self.server.is_ready() else 503, b"")

    def do_POST(self) -> None:
        """Pass a request on, with the model that is here."""
        path = _CHAT if self.path == "/invocations" else self.path
        if path not in _PASSED:
            self._answer(404, b"")
            return
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            asked: Any = json.loads(body)
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            self._answer(400, b'{"error": {"message": "the body must be a JSON object", "type": "invalid_request"}}')
            return
        self._pass_on(path, json.dumps({**asked, "model": self.server.settings.model}).encode())

    def _pass_on(self, path: str, body: bytes) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.settings.frontend_port)
        try:
            connection.request("POST", path, body, {"content-type": "application/json"})
            response = connection.getresponse()
        except OSError as error:
            message = {"error": {"message": f"Triton does not answer: {error}", "type": "server_error"}}
            self._answer(503, json.dumps(message).encode())
            return
        try:
            kind = response.getheader("content-type") or "application/json"
            if response.getheader("content-length") is not None:
                self._answer(response.status, response.read(), kind)
                return
            self.send_response(response.status)
            self.send_header("content-type", kind)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for event in _events(response):
                self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        except OSError:  # whoever asked went away: closing the connection tells Triton to stop
            self.close_connection = True
        finally:
            connection.close()

    def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Health checks come every few seconds and say nothing; Triton logs the requests."""


def _events(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Whole events of a stream.

    SageMaker makes a part of its own of each piece that a container writes, and LiteLLM reads a part as one event.
    """
    kept = b""
    while piece := response.read1(_PIECE):
        *events, kept = (kept + piece).split(_END_OF_EVENT)
        yield from (event + _END_OF_EVENT for event in events)
    if kept:
        yield kept


class Server(ThreadingHTTPServer):
    """Listens where the cloud calls."""

    daemon_threads = True

    def __init__(self, settings: Settings, host: str = "0.0.0.0") -> None:
        super().__init__((host, settings.port), Handler)
        self.settings = settings

    def is_ready(self) -> bool:
        """Whether Triton's frontend says so."""
        connection = http.client.HTTPConnection("127.0.0.1", self.settings.frontend_port, timeout=2)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()


def fetch_repository(url: str, folder: Path, *, endpoint: str = _GCS, metadata: str = _METADATA) -> None:
    """Fetch everything below ``gs://bucket/prefix`` into ``folder``, as the account that the container runs as."""
    bucket, _, prefix = url.removeprefix("gs://").partition("/")
    prefix = f"{prefix.rstrip('/')}/" if prefix else ""
    request = urllib.request.Request(metadata, headers={"Metadata-Flavor": "Google"})
    with urllib.request.urlopen(request, timeout=30) as response:
        token = json.load(response)["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    for name in _objects(endpoint, bucket, prefix, headers):
        relative = name.removeprefix(prefix)
        if not relative or relative.endswith("/"):
            continue
        target = (folder / relative).resolve()
        if not target.is_relative_to(folder.resolve()):
            raise ValueError(f"{name} would lie outside of the model repository")
        target.parent.mkdir(parents=True, exist_ok=True)
        _download(f"{endpoint}/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, safe='')}?alt=media", headers, target)


def _objects(endpoint: str, bucket: str, prefix: str, headers: Mapping[str, str]) -> Iterator[str]:
    page = ""
    while True:
        query = urllib.parse.urlencode({"prefix": prefix, "fields": "items/name,nextPageToken", "pageToken": page})
        request = urllib.request.Request(f"{endpoint}/storage/v1/b/{bucket}/o?{query}", headers=dict(headers))
        with urllib.request.urlopen(request, timeout=60) as response:
            found = json.load(response)
        yield from (item["name"] for item in found.get("items", ()))
        if not (page := found.get("nextPageToken", "")):
            return


def _download(url: str, headers: Mapping[str, str], target: Path) -> None:
    """Fetch one object; it is there whole or not at all."""
    part = target.with_name(f".{target.name}.part")
    request = urllib.request.Request(url, headers=dict(headers))
    with urllib.request.urlopen(request, timeout=300) as response, part.open("wb") as file:
        while piece := response.read(1 << 20):
            file.write(piece)
    part.rename(target)


def run(settings: Settings, command: Sequence[str]) -> int:
    """Serve until Triton ends or the cloud says stop; the exit code is Triton's."""
    if settings.storage_url:
        started = time.monotonic()
        fetch_repository(settings.storage_url, settings.folder)
        print(f"fetched {settings.storage_url} in {time.monotonic() - started:.0f} s", flush=True)
    triton = subprocess.Popen(list(command))

    def stop(number: int, _frame: FrameType | None) -> None:
        triton.send_signal(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server = Server(settings)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    code = triton.wait()
    server.shutdown()
    return code


if __name__ == "__main__":
    given = Settings.of(os.environ)
    sys.exit(run(given, frontend_command(given)))
