"""A small server that speaks the OpenAI API: it says who it is, counts, and can be told to fail, to be slow, to die."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PIECES = 4


class Server(ThreadingHTTPServer):
    """One backend.

    Attributes:
        name: What it answers with.
        reached: Requests that it was sent.
        status: What it answers; above 399 it fails.
        pause: Seconds before an answer, and between the pieces of a stream.
        answering: Requests that it is busy with.
        traceparents: Which trace each request said it belongs to; empty for none.
    """

    daemon_threads = True

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.name, self.reached, self.status, self.pause, self.answering = name, 0, 200, 0.0, 0
        self.traceparents: list[str] = []
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def count(self, change: int) -> None:
        with self._lock:
            self.reached += change > 0
            self.answering += change

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self._lock:
            self._connections.add(connection)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up, and connections that were cut, are no news."""

    def die(self) -> None:
        """Take no more connections, and cut those that are open, as when its node is gone."""
        self.shutdown()
        self.server_close()
        for connection in self._connections:
            with suppress(OSError):  # it was closed before
                connection.shutdown(socket.SHUT_RDWR)


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        server = self.server
        server.traceparents.append(self.headers.get("traceparent", ""))
        server.count(1)
        try:
            if server.status >= 400:
                self._send({"error": {"message": "told to fail", "type": "server_error"}}, server.status)
            elif asked.get("stream"):
                self._stream(asked["model"])
            else:
                time.sleep(server.pause)
                choice = {"index": 0, "finish_reason": "stop", "message": self._message(server.name)}
                usage = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
                self._send({**self._head("chat.completion", asked["model"]), "choices": [choice], "usage": usage})
        finally:
            server.count(-1)

    def _send(self, body: dict[str, Any], status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, model: str) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for number in range(PIECES):
            if number:
                time.sleep(self.server.pause)
            choice = {"index": 0, "finish_reason": None, "delta": self._message(f"{self.server.name}{number} ")}
            self._event({**self._head("chat.completion.chunk", model), "choices": [choice]})
        choice = {"index": 0, "finish_reason": "stop", "delta": {}}
        self._event({**self._head("chat.completion.chunk", model), "choices": [choice]})
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _event(self, body: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(body)}\n\n".encode())
        self.wfile.flush()

    @staticmethod
    def _head(kind: str, model: str) -> dict[str, Any]:
        return {"id": "one", "object": kind, "created": int(time.time()), "model": model}

    @staticmethod
    def _message(content: str) -> dict[str, str]:
        return {"role": "assistant", "content": content}

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(name: str) -> Iterator[Server]:
    server = Server(name)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        if thread.is_alive():
            server.shutdown()
            server.server_close()
