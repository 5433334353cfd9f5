"""The answering service: OpenAI's chat completions over documents, with citations."""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from opentelemetry import trace
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pymilvus import MilvusException

from retrieval.asked import Asked, RefusedError, asked
from retrieval.config import ServeConfig
from retrieval.gateway import FailedError, Gateway
from retrieval.library import Library, NothingServedError
from retrieval.metrics import Metrics
from retrieval.names import expression
from retrieval.passages import Passage
from retrieval.prompt import Prompt, TooLongError, citations, invented, prompt, question, source_list
from retrieval.tracing import Tracing

log = logging.getLogger("retrieval.service")

_TYPES = {400: "invalid_request_error", 404: "not_found_error", 413: "invalid_request_error", 429: "rate_limit_error"}


@dataclass
class Answer:
    """One request on its way.

    Attributes:
        asked: What was asked.
        span: Its span.
        deadline: When it has failed, by the monotonic clock.
        began: When it came.
        id: The answer's.
        passages: What was found.
        text: What the model has said so far.
        outcome: How it ended.
    """

    asked: Asked
    span: trace.Span
    deadline: float
    began: float
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    passages: tuple[Passage, ...] = ()
    text: str = ""
    outcome: str = "failed"


class Service:
    """Everything between a request and its answer."""

    def __init__(self, config: ServeConfig, *, library: Library | None = None, tracing: Tracing | None = None) -> None:
        self.config, self.metrics = config, Metrics()
        self._library = library or Library(config)
        self._gateway = Gateway(config.gateway_url, os.environ.get("GATEWAY_KEY", ""), retries=config.retries)
        self._tracing = tracing or Tracing(config.traces_url, config.name)
        self._ready_until = 0.0

    async def close(self) -> None:
        """Close connections, send what is left of the spans."""
        await self._gateway.close()
        self._tracing.close()

    async def ready(self) -> dict[str, bool]:
        """Whether those that it needs can be reached; remembered for a moment, so that probes cost nothing."""
        if time.monotonic() < self._ready_until:
            return {}
        found = {"milvus": await self._library.reachable(), "gateway": await self._gateway.alive()}
        if all(found.values()):
            self._ready_until = time.monotonic() + 5
        return {name: there for name, there in found.items() if not there}

    async def chat(self, request: Request) -> Response:
        """Answer a request; whatever goes wrong is told as the API tells it."""
        began = time.monotonic()
        span = self._tracing.begun(request.headers)
        self.metrics.busy.inc()
        try:
            wanted = asked(await _json(request, self.config.body_kib * 1024), self.config)
        except RefusedError as error:
            self._ended("refused", span, began, None)
            return _error(error.status, error.code, str(error))
        one = Answer(wanted, span, began + self.config.timeout_seconds, began)
        stack = AsyncExitStack()
        stack.callback(lambda: self._ended(one.outcome, span, began, one))
        try:
            made = await self._retrieved(one)
            if made is None:
                one.outcome = "unknown"
                return await _closed(stack, self._unknown(one))
            if wanted.stream:
                # What fails up to here has a status of its own; afterwards the answer is under way.
                pieces = await stack.enter_async_context(self._generating(one, made))
                return StreamingResponse(self._streamed(one, pieces, stack), media_type="text/event-stream")
            response = await self._whole(one, made)
        except FailedError as error:
            return await _closed(stack, _error(error.status, "upstream", str(error)))
        except NothingServedError:
            self.metrics.failures.labels("collection").inc()
            text = f"the documents of {self.config.collection} have not been brought in yet"
            return await _closed(stack, _error(503, "not_ingested", text))
        except MilvusException as error:
            self._library.forget()
            log.error("search failed", extra={"facts": {"code": error.code}})
            return await _closed(stack, _error(503, "search", "the documents cannot be searched now"))
        except TooLongError as error:
            one.outcome = "refused"
            return await _closed(stack, _error(400, "context_length_exceeded", str(error)))
        except BaseException:
            one.outcome = "failed"
            await stack.aclose()
            raise
        one.outcome = "answered"
        return await _closed(stack, response)

    async def _retrieved(self, one: Answer) -> Prompt | None:
        """What the model is asked; None where nothing near enough was found."""
        search = self.config.search
        served = await self._library.served()
        with self.metrics.stage("embedding"), self._tracing.part(one.span, "embed the question") as headers:
            vector = await self._gateway.vector(
                served.query_prefix + question(one.asked.turns),
                model=served.model,
                dimension=served.dimension,
                deadline=one.deadline,
                headers=headers,
            )
        with self.metrics.stage("search"), self._tracing.part(one.span, "search", {"db.system": "milvus"}):
            found = await self._library.search(served, vector, search, expression(one.asked.filter))
        self.metrics.passages.observe(len(found))
        if not found:
            return None
        self.metrics.best.observe(found[0].score)
        made = prompt(one.asked.turns, found, self.config, answer_tokens=one.asked.answer_tokens)
        one.passages = made.passages
        return made

    def _call(self, one: Answer, made: Prompt) -> dict[str, Any]:
        return {
            **one.asked.parameters,
            "model": self.config.model,
            "messages": list(made.messages),
            "max_tokens": one.asked.answer_tokens,
        }

    async def _whole(self, one: Answer, made: Prompt) -> Response:
        with self.metrics.stage("generation"), self._tracing.part(one.span, "generate") as headers:
            document = await self._gateway.answer(self._call(one, made), deadline=one.deadline, headers=headers)
        choice = document["choices"][0]
        one.text = choice["message"].get("content") or ""
        found, tail = self._cited(one)
        return JSONResponse(
            {
                **self._head(one, "chat.completion"),
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": one.text + tail},
                        "finish_reason": choice.get("finish_reason") or "stop",
                    }
                ],
                "usage": document.get("usage") or _NOTHING_USED,
                "citations": found,
            }
        )

    @asynccontextmanager
    async def _generating(self, one: Answer, made: Prompt) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        body = self._call(one, made)
        if one.asked.usage:
            body["stream_options"] = {"include_usage": True}
        with self.metrics.stage("generation"), self._tracing.part(one.span, "generate") as headers:
            async with self._gateway.pieces(body, deadline=one.deadline, headers=headers) as pieces:
                yield pieces

    async def _streamed(
        self, one: Answer, pieces: AsyncIterator[dict[str, Any]], stack: AsyncExitStack
    ) -> AsyncIterator[str]:
        head = self._head(one, "chat.completion.chunk")
        reason, usage, one.outcome = "stop", None, "cancelled"  # until it is at its end
        async with stack:
            try:
                yield _event({**head, "choices": [_delta({"role": "assistant", "content": ""})]})
                async for piece in pieces:
                    usage = piece.get("usage") or usage
                    for choice in piece.get("choices") or ():
                        reason = choice.get("finish_reason") or reason
                        if text := (choice.get("delta") or {}).get("content"):
                            one.text += text
                            yield _event({**head, "choices": [_delta({"content": text})]})
                found, tail = self._cited(one)
                if tail:
                    yield _event({**head, "choices": [_delta({"content": tail})]})
                yield _event({**head, "choices": [_delta({}, reason)], "citations": found})
                if one.asked.usage:
                    yield _event({**head, "choices": [], "usage": usage or _NOTHING_USED})
                one.outcome = "answered"
            except FailedError as error:
                one.outcome = "failed"
                self.metrics.failures.labels("generation").inc()
                yield _event({"error": _told(error.status, "upstream", str(error))})
                return
            yield "data: [DONE]\n\n"

    def _cited(self, one: Answer) -> tuple[list[dict[str, Any]], str]:
        found = citations(one.text, one.passages)
        self.metrics.invented.inc(invented(one.text, one.passages))
        unknown = self.config.unknown_answer in one.text
        return found, source_list(found) if self.config.list_sources and one.text and not unknown else ""

    def _unknown(self, one: Answer) -> Response:
        """Nothing was near enough: said without asking a model, which might know better than the documents."""
        text = self.config.unknown_answer
        if one.asked.stream:
            return StreamingResponse(self._unknown_pieces(one, text), media_type="text/event-stream")
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        head = self._head(one, "chat.completion")
        return JSONResponse({**head, "choices": [choice], "usage": _NOTHING_USED, "citations": []})

    async def _unknown_pieces(self, one: Answer, text: str) -> AsyncIterator[str]:
        head = self._head(one, "chat.completion.chunk")
        yield _event({**head, "choices": [_delta({"role": "assistant", "content": text})]})
        yield _event({**head, "choices": [_delta({}, "stop")], "citations": []})
        if one.asked.usage:
            yield _event({**head, "choices": [], "usage": _NOTHING_USED})
        yield "data: [DONE]\n\n"

    def _head(self, one: Answer, kind: str) -> dict[str, Any]:
        return {"id": one.id, "object": kind, "created": int(time.time()), "model": self.config.name}

    def _ended(self, outcome: str, span: trace.Span, began: float, one: Answer | None) -> None:
        self.metrics.busy.dec()
        self.metrics.requests.labels(outcome).inc()
        facts = {"outcome": outcome, "passages": len(one.passages) if one else 0}
        span.set_attributes({f"retrieval.{key}": value for key, value in facts.items()})
        span.end()
        log.info("request", extra={"facts": {**facts, "seconds": round(time.monotonic() - began, 3)}})


_NOTHING_USED = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def _delta(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": reason}


def _event(document: dict[str, Any]) -> str:
    return f"data: {json.dumps(document, ensure_ascii=False)}\n\n"


def _told(status: int, code: str, message: str) -> dict[str, Any]:
    return {"message": message, "type": _TYPES.get(status, "server_error"), "code": code}


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": _told(status, code, message)}, status)


async def _closed(stack: AsyncExitStack, response: Response) -> Response:
    await stack.aclose()
    return response


async def _json(request: Request, most: int) -> Any:
    """The body, which is not read further than allowed, whatever its length is said to be."""
    too_large = RefusedError(413, "request_too_large", f"a request has at most {most} bytes")
    said = request.headers.get("content-length", "0")
    if said.isdigit() and int(said) > most:
        raise too_large
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise too_large
    try:
        return json.loads(body)
    except ValueError:
        raise RefusedError(400, "invalid_request", "the body is not JSON") from None


def application(service: Service) -> FastAPI:
    """The routes."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.close()

    app = FastAPI(title=service.config.name, lifespan=life, docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        return await service.chat(request)

    @app.get("/v1/models")
    async def models() -> Any:
        return {"object": "list", "data": [{"id": service.config.name, "object": "model", "owned_by": "llmops"}]}

    @app.get("/healthz")
    async def healthz() -> Any:
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> Response:
        missing = await service.ready()
        return JSONResponse({"missing": sorted(missing)}, 503 if missing else 200)

    @app.get("/metrics")
    async def metrics() -> Response:
        return PlainTextResponse(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    del chat, models, healthz, readyz, metrics  # the routes hold them
    return app
