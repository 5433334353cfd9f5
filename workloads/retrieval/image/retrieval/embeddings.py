"""Vectors of chunks, from the gateway."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from retrieval.config import Embedding
from retrieval.patience import passes, pause_seconds

_NOT_THE_TEXT = frozenset({401, 402, 403, 404})


class RefusedError(Exception):
    """A text that the model does not take."""


class UnusableError(Exception):
    """The gateway, or what it answers, is of no use: no text would fare better."""


class Embedder:
    """One model at the gateway.

    Attributes:
        requests: Requests that were sent.
    """

    def __init__(
        self, url: str, key: str, embedding: Embedding, *, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._embedding, self._pause = embedding, pause
        self._client = httpx.Client(
            base_url=url.rstrip("/"), headers={"authorization": f"Bearer {key}"}, timeout=embedding.timeout_seconds
        )
        self.requests = 0

    def vectors(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector for each text, in their order.

        Raises:
            RefusedError: One of the texts is not taken.
            UnusableError: Nothing is.
        """
        found: list[list[float]] = []
        for start in range(0, len(texts), self._embedding.batch):
            found += self._some(texts[start : start + self._embedding.batch])
        return found

    def _some(self, texts: Sequence[str]) -> list[list[float]]:
        body = {
            "model": self._embedding.model,
            "input": [self._embedding.document_prefix + text for text in texts],
            "encoding_format": "float",
        }
        answer = self._post(body)
        if answer.status_code in _NOT_THE_TEXT:
            raise UnusableError(f"{self._embedding.model}: the gateway refuses with {answer.status_code}")
        if answer.status_code >= 400:
            raise RefusedError(f"{self._embedding.model} refuses it with {answer.status_code}")
        return in_order(answer.json(), len(texts), self._embedding.dimension)

    def _post(self, body: dict[str, Any]) -> httpx.Response:
        for attempt in range(self._embedding.retries + 1):
            last = attempt == self._embedding.retries
            self.requests += 1
            try:
                answer = self._client.post("/v1/embeddings", json=body)
            except httpx.TransportError as error:
                if last:
                    raise UnusableError(f"the gateway cannot be reached: {type(error).__name__}") from None
                self._pause(pause_seconds(attempt, {}))
                continue
            if not passes(answer.status_code):
                return answer
            if last:
                raise UnusableError(f"the gateway answers {answer.status_code}, {attempt + 1} times")
            self._pause(pause_seconds(attempt, answer.headers))
        raise AssertionError("the last attempt returns or raises")


def in_order(document: Any, texts: int, dimension: int) -> list[list[float]]:
    """The vectors of an answer, in the order of what was asked."""
    try:
        rows = sorted(document["data"], key=lambda row: row["index"])
        vectors = [[float(number) for number in row["embedding"]] for row in rows]
    except (KeyError, TypeError, ValueError):
        raise UnusableError("an answer without embeddings") from None
    if len(vectors) != texts:
        raise UnusableError(f"{len(vectors)} vectors for {texts} texts")
    if wrong := {len(vector) for vector in vectors} - {dimension}:
        raise UnusableError(
            f"vectors of {', '.join(map(str, sorted(wrong)))} numbers; embedding.dimension is {dimension}"
        )
    return vectors
