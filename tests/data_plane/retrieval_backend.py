"""A gateway for retrieval: vectors of words that can be foretold, and answers that cite what they were given."""

from __future__ import annotations

import hashlib
import json
import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DIMENSION = 64


def vector(text: str, dimension: int = DIMENSION) -> list[float]:
    """Words thrown into buckets: texts with the same words are near, others are not."""
    found = [0.0] * dimension
    for word in re.findall(r"[a-z]{4,}", text.lower()):
        found[int(hashlib.sha256(word.encode()).hexdigest(), 16) % dimension] += 1
    length = math.sqrt(sum(one * one for one in found)) or 1.0
    return [one / length for one in found]


class Gateway(ThreadingHTTPServer):
    """The gateway.

    Attributes:
        embedded: Every text that was embedded.
        asked: Every request for an answer.
        keys: Keys that were shown.
        traceparents: Traces that requests said they belong to.
        failing: Status of the next answers, one for each request; then it works again.
        refuses: A text that holds this is refused with 400.
        dead: Embeds nothing any more: what it is asked is answered with 401.
        dead_after: So many texts until it is dead.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.embedded: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.traceparents: list[str] = []
        self.failing: list[int] = []
        self.refuses = "\0"
        self.dead_after: int | None = None
        self.answer = "The sources say so [1]."
        self.breaks = False
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Gateway
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send({"status": "alive"})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        gateway = self.server
        with gateway.lock:
            gateway.keys.add(self.headers.get("authorization", ""))
            gateway.traceparents.append(self.headers.get("traceparent", ""))
            status = gateway.failing.pop(0) if gateway.failing else 200
        if status != 200:
            self._send({"error": {"message": "told to fail"}}, status, {"retry-after": "0"})
        elif self.path == "/v1/embeddings":
            self._embed(asked)
        else:
            gateway.asked.append(asked)
            self._answer(asked)

    def _embed(self, asked: dict[str, Any]) -> None:
        gateway, texts = self.server, asked["input"]
        with gateway.lock:
            if gateway.dead_after is not None and len(gateway.embedded) + len(texts) > gateway.dead_after:
                return self._send({"error": {"message": "no"}}, 401)
            if any(gateway.refuses in text for text in texts):
                return self._send({"error": {"message": "too long"}}, 400)
            gateway.embedded += texts
        size = 32 if asked["model"] == "embed-small" else DIMENSION
        data = [{"index": index, "embedding": vector(text, size)} for index, text in enumerate(texts)]
        return self._send({"object": "list", "data": data[::-1], "model": asked["model"], "usage": {"total_tokens": 1}})

    def _answer(self, asked: dict[str, Any]) -> None:
        text = self.server.answer
        usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
        head = {"id": "one", "created": 1, "model": asked["model"]}
        if not asked.get("stream"):
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            return self._send({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        pieces = re.findall(r"\S+\s*", text)
        for piece in pieces:
            self._event({**head, "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
            if self.server.breaks:
                return None
        self._event({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if (asked.get("stream_options") or {}).get("include_usage"):
            self._event({**head, "choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")
        return None

    def _event(self, body: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps({'object': 'chat.completion.chunk', **body})}\n\n".encode())
        self.wfile.flush()

    def _send(self, body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def gateway() -> Iterator[Gateway]:
    server = Gateway()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
