"""A stand-in for the one ConfigMap that drills write, and a service account that may."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

from sandbox import paths
from tests.data_plane.pods import Pod

TOKEN = "token-of-the-drill"


@dataclass
class Records:
    """What was written.

    Attributes:
        environment: What leads a drill here.
        data: Keys and values of the ConfigMap.
        asked: Set when somebody reads it.
        answers: Nobody is answered before it is set.
        version: How often it was written.
        away: Requests that are not answered yet, as by an API server that is being replaced.
        meanwhile: Called before the next change: what somebody else does at that moment.
    """

    environment: dict[str, str]
    data: dict[str, str] = field(default_factory=dict[str, str])
    asked: Event = field(default_factory=Event)
    answers: Event = field(default_factory=Event)
    version: int = 1
    away: int = 0
    meanwhile: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])

    def put(self, data: Mapping[str, str | None]) -> None:
        """Write it; None removes a key."""
        self.version += 1
        for key, value in data.items():
            if value is None:
                self.data.pop(key, None)
            else:
                self.data[key] = value

    def last(self, drill: str) -> dict[str, Any]:
        return json.loads(self.data[f"{drill}.json"])

    def failed(self, drill: str) -> dict[str, str]:
        """Checks that did not pass."""
        return {one["name"]: one["detail"] for one in self.last(drill)["checks"] if not one["passed"]}


@contextmanager
def records(folder: Path) -> Iterator[Records]:
    account = folder / "account"
    account.mkdir(parents=True)
    (account / "token").write_text(TOKEN)
    kept = Records({"SERVICE_ACCOUNT": str(account), "PAUSE_SECONDS": "0.1"})
    kept.answers.set()

    class Handler(BaseHTTPRequestHandler):
        def answer(self, status: int, body: Any) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            kept.asked.set()
            kept.answers.wait(60)
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                self.answer(401, {})
                return
            if kept.away:
                kept.away -= 1
                self.answer(503, {})
                return
            found = {"kind": "ConfigMap", "metadata": {"resourceVersion": str(kept.version)}}
            self.answer(200, {**found, **({"data": kept.data} if kept.data else {})})

        def do_PATCH(self) -> None:
            if self.headers["Content-Type"] != "application/merge-patch+json":
                self.answer(415, {})
                return
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if kept.away:
                kept.away -= 1
                self.answer(503, {})
                return
            if kept.meanwhile:
                kept.meanwhile.pop()()
            if body.get("metadata", {}).get("resourceVersion", str(kept.version)) != str(kept.version):
                self.answer(409, {})
                return
            kept.put(body["data"])
            self.do_GET()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.environment["RECORDS_URL"] = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield kept
    finally:
        server.shutdown()


def measured(record: Mapping[str, Any]) -> None:
    """Write down what a drill measured, for the table of docs/recovery.md: nothing in a test depends on it."""
    file = paths.cache_dir() / "measured" / "drills.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    told = {key: record[key] for key in ("drill", "startedAt", "recoveryTimeSeconds", "recoveryPointSeconds")}
    line = json.dumps({**told, "steps": record["steps"], "amounts": record["amounts"], "loaded": record["loaded"]})
    with file.open("a") as kept:
        kept.write(f"{line}\n")


def of_init(pod: Pod) -> Pod:
    """The same pod, with those of its containers that run first."""
    from dataclasses import replace

    return replace(pod, spec={**pod.spec, "containers": pod.spec["initContainers"]})
