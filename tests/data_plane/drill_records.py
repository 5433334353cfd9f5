"""A stand-in for the one ConfigMap that drills write, and a service account that may."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

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
    """

    environment: dict[str, str]
    data: dict[str, str] = field(default_factory=dict[str, str])
    asked: Event = field(default_factory=Event)
    answers: Event = field(default_factory=Event)

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
    kept = Records({"SERVICE_ACCOUNT": str(account)})
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
            self.answer(200, {"kind": "ConfigMap", **({"data": kept.data} if kept.data else {})})

        def do_PATCH(self) -> None:
            if self.headers["Content-Type"] != "application/merge-patch+json":
                self.answer(415, {})
                return
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            kept.data.update(body["data"])
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


def of_init(pod: Pod) -> Pod:
    """The same pod, with those of its containers that run first."""
    from dataclasses import replace

    return replace(pod, spec={**pod.spec, "containers": pod.spec["initContainers"]})
