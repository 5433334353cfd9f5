"""A server that speaks the OpenAI API and plays both sides of an evaluation: models that answer, and their judge.

A model answers with the place that the question's context names, or with an invented one. The judge finds everything
good that does not name the invented place, and says so in whatever form it is asked for.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

INVENTED = "Atlantis"
UNREADABLE = "unspeakable"
"""A question with this word gets no readable judgement."""

OVERLONG = "endless"
"""A question with this word is too long for the judge."""


class Server(ThreadingHTTPServer):
    """The server.

    Attributes:
        key: What callers must send.
        asked: Requests by model.
        kept: Requests that may be answered from the gateway's cache, by model.
        wrong: Models by the share of their answers that are invented.
        silent: Models that answer with 503.
        forms: Names of the forms that judgements were asked for in.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.key = "sk-evaluation"
        self.asked: dict[str, int] = {}
        self.kept: dict[str, int] = {}
        self.wrong: dict[str, float] = {"good": 0, "bad": 1, "mixed": 0.25, "empty": 0}
        self.silent: set[str] = set()
        self.forms: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride] no other server uses it
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        server, model = self.server, body["model"]
        server.asked[model] = server.asked.get(model, 0) + 1
        if not body.get("cache", {}).get("no-cache"):
            server.kept[model] = server.kept.get(model, 0) + 1
        if self.headers.get("authorization") != f"Bearer {server.key}":
            self._send({"error": {"message": "no such key"}}, 401)
        elif model in server.silent:
            self._send({"error": {"message": "starting"}}, 503)
        elif self.path == "/v1/embeddings":
            rows = [{"index": n, "embedding": embedding(text)} for n, text in enumerate(body["input"])]
            self._send({"data": list(reversed(rows))})
        else:
            said = body["messages"][-1]["content"]
            if model == "judge" and OVERLONG in said:
                self._send({"error": {"message": "the prompt is longer than the context"}}, 400)
                return
            text = self._judged(said, body) if model == "judge" else self._answered(said, model)
            self._send({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]})

    def _answered(self, said: str, model: str) -> str:
        if model == "empty":
            return ""
        place = re.search(r"is (City-\d+)", said)
        invented = int(hashlib.sha256(said.encode()).hexdigest(), 16) % 100 < 100 * self.server.wrong[model]
        return f"It is {INVENTED}." if invented or place is None else f"It is {place[1]}."

    def _judged(self, said: str, body: Mapping[str, Any]) -> str:
        if UNREADABLE in said:
            return "I would rather not say."
        form = body["response_format"]["json_schema"]
        self.server.forms.add(form["name"])
        good = INVENTED not in said
        if form["name"] == "Verdicts" and re.search("toxic|bias", said, re.IGNORECASE):
            good = not good  # there a yes is no praise
        # RAGAS asks for 0 to 4 in one place, and for 0 to 2 in others.
        rating = 4 if form["name"].startswith("AnswerAccuracy") else 2
        document = filled(form["schema"], form["schema"], good=good, rating=rating)
        return f"Here it is:\n```json\n{json.dumps(document)}\n```"

    def _send(self, body: Mapping[str, Any], status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: tests look at what was asked."""


def embedding(text: str) -> list[float]:
    """The same for the same text."""
    return [byte / 255 for byte in hashlib.sha256(text.encode()).digest()[:8]]


def filled(schema: Mapping[str, Any], root: Mapping[str, Any], *, good: bool, rating: int, name: str = "") -> Any:
    """A document of a schema that says that everything is good, or that nothing is."""
    if "$ref" in schema:
        return filled(root["$defs"][schema["$ref"].split("/")[-1]], root, good=good, rating=rating, name=name)
    if "anyOf" in schema:
        return filled(schema["anyOf"][0], root, good=good, rating=rating, name=name)
    if "enum" in schema:
        return next(one for one in schema["enum"] if str(one).lower() == ("yes" if good else "no"))
    match schema.get("type"):
        case "object":
            return {
                key: filled(one, root, good=good, rating=rating, name=key) for key, one in schema["properties"].items()
            }
        case "array":
            return [filled(schema["items"], root, good=good, rating=rating, name=name)]
        case "integer" | "number":
            return _number(name, good=good, rating=rating)
        case "boolean":
            return good
        case _:
            return f"It is {'the capital' if good else INVENTED}."


def _number(name: str, *, good: bool, rating: int) -> int:
    match name:
        case "noncommittal":
            return 0
        case "rating":
            return rating if good else 0
        case "score":
            return 10 if good else 0
        case _:
            return int(good)


@contextmanager
def serving() -> Generator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
