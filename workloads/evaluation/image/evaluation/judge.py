"""The judge: a model whose answers are read by schema. RAGAS and DeepEval both ask through it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from .config import Judge as JudgeConfig
from .endpoint import Endpoint, EndpointError, RejectedError

Form = TypeVar("Form", bound=BaseModel)

_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)
_LATER_TEMPERATURE = 0.4  # a model at temperature 0 would give the same unreadable answer again


class UnreadableError(Exception):
    """The judge's answers to one question do not have the form that was asked for, or it takes no such question."""


@dataclass
class Tally:
    """What happened while one case was judged by one metric.

    Attributes:
        unreadable: Questions whose answer could not be read, whatever the metric made of that.
        asked: Answers that were got.
    """

    unreadable: int = 0
    asked: int = 0


TALLY: ContextVar[Tally] = ContextVar("tally")
"""Of the metric that runs now: libraries swallow errors of their models, and a score without a judgement is none."""


class Judge:
    """Asks, reads, asks again.

    Attributes:
        broken: Why no more can be asked; a library may have swallowed the error itself.
        name: The model.
    """

    def __init__(self, config: JudgeConfig, endpoint: Endpoint) -> None:
        self._config, self._endpoint = config, endpoint
        self.broken: EndpointError | None = None
        self.name = config.model

    async def ask(self, question: str, form: type[Form]) -> Form:
        """An answer in a form.

        Raises:
            EndpointError: The judge cannot be reached.
            UnreadableError: No attempt brought an answer in that form, or the judge does not take the question.
        """
        last = ""
        for attempt in range(self._config.attempts):
            text = await self.say(question, form=form, fresh=attempt > 0)
            try:
                return form.model_validate(_document(text))
            except (ValueError, ValidationError) as error:
                last = str(error)
        TALLY.get().unreadable += 1
        raise UnreadableError(f"{form.__name__}: {last[:300]}")

    async def say(self, question: str, *, form: type[BaseModel] | None = None, fresh: bool = False) -> str:
        """An answer as it came.

        Raises:
            EndpointError: The judge cannot be reached.
        """
        more: dict[str, Any] = {"temperature": _LATER_TEMPERATURE if fresh else 0}
        if form is not None and self._config.structured:
            schema: Mapping[str, Any] = form.model_json_schema()
            more["response_format"] = {"type": "json_schema", "json_schema": {"name": form.__name__, "schema": schema}}
        if self.broken is not None:
            raise self.broken
        try:
            answer = await self._endpoint.chat([{"role": "user", "content": question}], fresh=fresh, **more)
        except RejectedError as error:
            TALLY.get().unreadable += 1
            raise UnreadableError(str(error)) from None
        except EndpointError as error:
            self.broken = error
            raise
        TALLY.get().asked += 1
        return answer.text

    async def embed(self, texts: list[str]) -> list[list[float]]:
        """Embeddings of texts.

        Raises:
            EndpointError: The judge's embedding model cannot be reached.
        """
        if self.broken is not None:
            raise self.broken
        try:
            found = await self._endpoint.embed(texts, self._config.embeddings)
        except EndpointError as error:
            self.broken = error
            raise
        TALLY.get().asked += 1
        return found


def _document(text: str) -> Any:
    """The JSON of an answer, also where the model put a fence or a sentence around it."""
    fenced = _FENCE.search(text)
    inner = fenced.group(1) if fenced else text
    start = min((place for place in (inner.find("{"), inner.find("[")) if place >= 0), default=-1)
    if start < 0:
        raise ValueError("no JSON in the answer")
    return json.JSONDecoder().raw_decode(inner[start:])[0]
