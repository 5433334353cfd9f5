"""Calls of the model gateway by the answering service: vectors of questions, and answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from retrieval.embeddings import UnusableError, in_order
from retrieval.patience import passes, pause_seconds


class FailedError(Exception):
    """The gateway did not do what was asked.

    Attributes:
        status: What the caller is told.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Gateway:
    """The model gateway, with one key."""

    def __init__(self, url: str, key: str, *, retries: int) -> None:
        self._retries = retries
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            headers={"authorization": f"Bearer {key}"},
            limits=httpx.Limits(max_connections=200, max_keepalive_connections=50),
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def alive(self) -> bool:
        """Whether it answers at all."""
        try:
            return (await self._client.get("/health/liveliness", timeout=3)).status_code < 500
        except httpx.TransportError:
            return False

    async def vector(
        self, text: str, *, model: str, dimension: int, deadline: float, headers: Mapping[str, str]
    ) -> list[float]:
        """The vector of a question."""
        body = {"model": model, "input": [text], "encoding_format": "float"}
        answer = await self._sent("/v1/embeddings", body, deadline, headers, stream=False)
        try:
            (vector,) = in_order(answer.json(), 1, dimension)
        except (UnusableError, ValueError) as error:
            raise FailedError(502, f"embedding: {error}") from None
        return vector

    async def answer(self, body: dict[str, Any], *, deadline: float, headers: Mapping[str, str]) -> dict[str, Any]:
        """A whole answer."""
        response = await self._sent("/v1/chat/completions", body, deadline, headers, stream=False)
        try:
            document = response.json()
            document["choices"][0]["message"]["role"]
        except (ValueError, KeyError, IndexError, TypeError):
            raise FailedError(502, "generation: an answer without a message") from None
        return document

    @asynccontextmanager
    async def pieces(
        self, body: dict[str, Any], *, deadline: float, headers: Mapping[str, str]
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """An answer in pieces; it is under way when this is entered."""
        response = await self._sent("/v1/chat/completions", {**body, "stream": True}, deadline, headers, stream=True)
        try:
            yield _events(response, deadline)
        finally:
            await response.aclose()

    async def _sent(
        self, path: str, body: dict[str, Any], deadline: float, headers: Mapping[str, str], *, stream: bool
    ) -> httpx.Response:
        for attempt in range(self._retries + 1):
            if (left := deadline - time.monotonic()) <= 0:
                break
            request = self._client.build_request("POST", path, json=body, headers=dict(headers), timeout=left)
            waited: Mapping[str, str] = {}
            try:
                response = await asyncio.wait_for(self._client.send(request, stream=stream), left)
            except (httpx.TimeoutException, TimeoutError):
                break  # who asks has waited as long as it may take
            except httpx.TransportError as error:
                failed = FailedError(502, f"{path}: {type(error).__name__}")
            else:
                if response.status_code < 400:
                    return response
                await response.aclose()
                waited, failed = response.headers, _failure(path, response.status_code)
                if not passes(response.status_code):
                    raise failed
            pause = pause_seconds(attempt, waited)
            if attempt == self._retries or time.monotonic() + pause >= deadline:
                raise failed
            await asyncio.sleep(pause)
        raise FailedError(504, f"{path}: no answer in time")


def _failure(path: str, status: int) -> FailedError:
    """What the caller is told: busy is busy, and a refusal of our key is no fault of theirs."""
    told = status if status in (400, 413, 429, 503) else 502
    return FailedError(told, f"{path}: the gateway answers {status}")


async def _events(response: httpx.Response, deadline: float) -> AsyncIterator[dict[str, Any]]:
    lines = response.aiter_lines()
    while True:
        try:
            line = await asyncio.wait_for(anext(lines), max(0.0, deadline - time.monotonic()))
        except StopAsyncIteration:
            raise FailedError(502, "generation: it ended before its end") from None
        except (TimeoutError, httpx.TimeoutException):
            raise FailedError(504, "generation: not finished in time") from None
        except httpx.TransportError as error:
            raise FailedError(502, f"generation: {type(error).__name__}") from None
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        try:
            document = json.loads(data)
        except ValueError:
            raise FailedError(502, "generation: a piece that is no JSON") from None
        if "error" in document:
            raise FailedError(502, "generation: the model failed on the way")
        yield document
