"""A small server that speaks Triton's own API and its OpenAI frontend's, as far as models are loaded and tried."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KEY_HEADER = "x-loader-key"


@dataclass
class Model:
    """A loaded model.

    Attributes:
        steps: The models of an ensemble, as its configuration was when it was loaded.
        asked: It was loaded by its own name, and not for another one.
    """

    steps: tuple[str, ...]
    asked: bool


@dataclass
class Behaviour:
    """What goes wrong; names are parts of names of models.

    Attributes:
        unloadable: What cannot be loaded.
        mute: Ensembles of these answer nothing.
        pause: Seconds for an answer.
    """

    unloadable: str = ""
    mute: str = ""
    pause: float = 0.0


class Server(ThreadingHTTPServer):
    """The server, both of its APIs on one port.

    Attributes:
        repository: Folder of the model repository.
        key: What the frontend asks for.
        loaded: Models by name.
        announced: What the OpenAI API lists.
        calls: Everything that it was told to load and unload, in order.
        behaviour: What goes wrong.
    """

    daemon_threads = True

    def __init__(self, repository: Path, key: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repository, self.key = repository, key
        self.loaded: dict[str, Model] = {}
        self.announced: set[str] = set()
        self.calls: list[str] = []
        self.behaviour = Behaviour()
        self.lock = threading.RLock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def restart(self) -> None:
        """Lose everything but the disk."""
        with self.lock:
            self.loaded.clear()
            self.announced.clear()

    def load(self, name: str, *, asked: bool = True) -> str:
        """Why it cannot be loaded; empty where it is."""
        file = self.repository / name / "config.pbtxt"
        if not file.exists():
            return f"failed to load '{name}', no config.pbtxt"
        if self.behaviour.unloadable and self.behaviour.unloadable in name:
            return f"failed to load '{name}', out of memory"
        text = file.read_text()
        if 'backend: "python"' in text and not (file.parent / "1" / "model.py").exists():
            return f"failed to load '{name}', no model.py"
        steps = tuple(re.findall(r'model_name: "([^"]+)"', text))
        for step in steps:
            if step not in self.loaded and (wrong := self.load(step, asked=False)):
                return wrong
        self.loaded[name] = Model(steps, asked)
        return ""

    def unload(self, name: str, *, dependents: bool) -> None:
        model = self.loaded.pop(name, None)
        if model is None or not dependents:
            return
        for step in model.steps:
            used = any(step in other.steps for other in self.loaded.values())
            if step in self.loaded and not self.loaded[step].asked and not used:
                del self.loaded[step]


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: Any = field(default_factory=dict[str, Any])


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(self._got(self.path.strip("/").split("/")))

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("content-length") or 0))
        body = json.loads(text) if text else {}
        with self.server.lock:
            reply = self._posted(self.path.strip("/").split("/"), body)
        if self.path.endswith("/generate"):
            time.sleep(self.server.behaviour.pause)
        self._answer(reply)

    def _got(self, path: list[str]) -> Reply:
        server = self.server
        match path:
            case ["v2", "health", "live"]:
                return Reply()
            case ["v2", "models", name, "ready"]:
                model = server.loaded.get(name)
                ready = model is not None and all(step in server.loaded for step in model.steps)
                return Reply(200 if ready else 400)
            case ["v1", "models", name]:
                if self.headers.get(KEY_HEADER) != server.key:
                    return Reply(401, {"error": "unauthorized"})
                return Reply(200 if name in server.announced else 404)
            case _:
                return Reply(404)

    def _posted(self, path: list[str], body: dict[str, Any]) -> Reply:
        server = self.server
        match path:
            case ["v2", "repository", "models", name, "load"]:
                server.calls.append(f"load {name}")
                wrong = server.load(name)
                return Reply(400, {"error": wrong}) if wrong else Reply()
            case ["v2", "repository", "models", name, "unload"]:
                server.calls.append(f"unload {name}")
                server.unload(name, dependents=body.get("parameters", {}).get("unload_dependents", False))
                return Reply()
            case ["v1", "models", name, "load"]:
                if self.headers.get(KEY_HEADER) != server.key:
                    return Reply(401, {"error": "unauthorized"})
                if name in server.announced:
                    return Reply(400, {"detail": f"Model '{name}' is already loaded"})
                server.calls.append(f"announce {name}")
                if wrong := server.load(name):
                    return Reply(500, {"detail": wrong})
                server.announced.add(name)
                return Reply()
            case ["v2", "models", name, "generate"]:
                return self._generated(name, body)
            case _:
                return Reply(404)

    def _generated(self, name: str, body: dict[str, Any]) -> Reply:
        model = self.server.loaded.get(name)
        if model is None or not {"text_input", "max_tokens"} <= set(body):
            return Reply(400, {"error": "unknown model, or an input is missing"})
        mute = self.server.behaviour.mute
        said = "" if mute and any(mute in step for step in model.steps) else f" from {model.steps[1]}"
        return Reply(200, {"model_name": name, "text_output": said})

    def _answer(self, reply: Reply) -> None:
        data = json.dumps(reply.body).encode()
        self.send_response(reply.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(repository: Path, key: str) -> Iterator[Server]:
    with Server(repository, key) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()
