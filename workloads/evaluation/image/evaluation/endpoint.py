"""A model at an OpenAI-style API: asked again while it may still come, never for ever."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from .answer import Answer
from .config import Served

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # a server that starts, a limit, a gateway that waits
_REJECTED = frozenset({400, 413, 422})
_SHOWN = 500


class EndpointError(Exception):
    """A model cannot be reached, or refuses; an evaluation without it says nothing."""


class RejectedError(EndpointError):
    """A model refuses this very question, such as one that is too long for it; it may take others."""


class Endpoint:
    """One model, or the models of one judge."""

    def __init__(self, served: Served, role: str) -> None:
        self._served, self._role = served, role
        self._key = os.environ.get(served.key, "") if served.key else ""
        headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
        self._http = httpx.AsyncClient(
            base_url=served.url.rstrip("/"),
            headers=headers,
            timeout=served.timeout_seconds,
            limits=httpx.Limits(max_connections=served.concurrency),
            trust_env=False,  # no proxy of the environment stands between a pod and the gateway
        )
        self._places = asyncio.Semaphore(served.concurrency)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def chat(self, messages: Sequence[Mapping[str, str]], *, fresh: bool = True, **more: Any) -> Answer:
        """One answer; ``fresh`` takes none that the gateway has kept.

        Raises:
            EndpointError: There is none.
        """
        body: dict[str, Any] = {"model": self._served.model, "messages": list(messages), **more}
        if self._key and fresh:
            body["cache"] = {"no-cache": True}  # the gateway's own; a bare server would refuse or ignore it
        document = await self._post("/chat/completions", body)
        try:
            text: str | None = document["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            raise EndpointError(f"{self._title}: an answer without a message") from None
        cited = document.get("citations") or []
        return Answer(text=text or "", contexts=tuple(filter(None, map(_cited, cited))))

    async def embed(self, texts: Sequence[str], model: str) -> list[list[float]]:
        """Embeddings of texts, in their order.

        Raises:
            EndpointError: There are none.
        """
        document = await self._post("/embeddings", {"model": model, "input": list(texts), "encoding_format": "float"})
        try:
            found = {int(one["index"]): list(map(float, one["embedding"])) for one in document["data"]}
            return [found[number] for number in range(len(texts))]
        except (KeyError, TypeError, ValueError):
            raise EndpointError(f"{self._title}: {model} answers without embeddings") from None

    @property
    def _title(self) -> str:
        return f"{self._role} {self._served.model} at {self._served.url}"

    async def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        end: float | None = None  # from the first failure on: a question may have waited long for its place
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                async with self._places:
                    answer = await self._http.post(path, json=body)
                if answer.is_success:
                    document = answer.json()
                    if isinstance(document, dict):
                        return document
                    raise EndpointError(f"{self._title}: an answer that is no object")
                last = f"HTTP {answer.status_code}: {answer.text[:_SHOWN]}"
                if answer.status_code not in _PASSING:
                    kind = RejectedError if answer.status_code in _REJECTED else EndpointError
                    raise kind(f"{self._title} refuses: {last}")
                wait = max(pause, _asked_to_wait(answer))
            except (httpx.HTTPError, ValueError) as error:
                last, wait = f"{type(error).__name__}: {error}", pause
            end = end or time.monotonic() + self._served.patience_seconds
            if time.monotonic() + wait > end:
                raise EndpointError(f"{self._title} cannot be reached; last: {last}")
            await asyncio.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _cited(citation: Any) -> str:
    """What the answer had of a source: the whole passage, or an excerpt where the service gives no more."""
    found = (citation.get("text") or citation.get("excerpt")) if isinstance(citation, dict) else ""
    return found if isinstance(found, str) else ""


def _asked_to_wait(answer: httpx.Response) -> float:
    try:
        return min(float(answer.headers.get("retry-after", "0")), 2 * _LONGEST_PAUSE_SECONDS)
    except ValueError:
        return 0.0  # a date; the growing pauses do
