"""Requests of the OpenAI API, as far as an answer from documents can honour them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from retrieval.config import Scalar, ServeConfig, told
from retrieval.prompt import Turn

# What is handed on to the model as it is.
_HANDED_ON = ("temperature", "top_p", "stop", "seed", "presence_penalty", "frequency_penalty", "user")
_VALUES = 64
_VALUE_LENGTH = 256


class RefusedError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: HTTP status.
        code: For programs.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Asked:
    """One request.

    Attributes:
        turns: The conversation.
        filter: Metadata that the request asks for.
        answer_tokens: Tokens of the answer at most.
        stream: Whether the answer is sent in pieces.
        usage: Whether the stream ends with what was used.
        parameters: What is handed on to the model.
    """

    turns: tuple[Turn, ...]
    filter: Mapping[str, Scalar | tuple[Scalar, ...]]
    answer_tokens: int
    stream: bool
    usage: bool
    parameters: Mapping[str, Any] = field(default_factory=dict)


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")
    type: Literal["text"]
    text: str


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]


class _Retrieval(BaseModel):
    model_config = ConfigDict(extra="forbid")
    filter: dict[str, Scalar | list[Scalar]] = Field(default_factory=dict)


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore")
    model: str
    messages: list[_Message] = Field(min_length=1)
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    n: Literal[1] | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    tools: list[Any] | None = Field(default=None, max_length=0)
    functions: list[Any] | None = Field(default=None, max_length=0)
    logprobs: Literal[False] | None = None
    response_format: dict[str, Any] | None = None
    retrieval: _Retrieval = _Retrieval()


def asked(document: Any, config: ServeConfig) -> Asked:
    """A request of the API.

    Raises:
        RefusedError: It cannot be honoured.
    """
    try:
        body = _Body.model_validate(document)
    except ValidationError as error:
        # Paths and rules, not values: what people write is not repeated.
        raise RefusedError(400, "invalid_request", "; ".join(told(error))) from None
    if body.model != config.name:
        raise RefusedError(404, "model_not_found", f"there is no such model here; this is {config.name}")
    if body.response_format and body.response_format.get("type") != "text":
        raise RefusedError(400, "unsupported", "response_format: answers are text with citations")
    turns = tuple(Turn("system" if one.role == "developer" else one.role, _text(one)) for one in body.messages)
    if turns[-1].role != "user" or not turns[-1].text.strip():
        raise RefusedError(400, "invalid_request", "messages: the last one must be a question of the user")
    wanted = body.max_completion_tokens or body.max_tokens or config.answer_tokens
    given = document if isinstance(document, dict) else {}
    return Asked(
        turns=turns,
        filter=_narrowed(body.retrieval.filter, config),
        answer_tokens=min(wanted, config.answer_tokens),
        stream=body.stream,
        usage=bool((body.stream_options or {}).get("include_usage")),
        parameters={key: given[key] for key in _HANDED_ON if given.get(key) is not None},
    )


def _text(message: _Message) -> str:
    if isinstance(message.content, str):
        return message.content
    return "\n".join(part.text for part in message.content)


def _narrowed(
    wanted: Mapping[str, Scalar | list[Scalar]], config: ServeConfig
) -> dict[str, Scalar | tuple[Scalar, ...]]:
    """The request's filter beside the service's own, which no request can widen."""
    allowed = config.search.filter_fields
    if wanted.keys() - set(allowed):
        raise RefusedError(400, "invalid_request", f"retrieval.filter: not one of {', '.join(allowed) or 'no fields'}")
    if fixed := sorted(wanted.keys() & config.search.filter.keys()):
        raise RefusedError(403, "fixed_filter", f"retrieval.filter: {', '.join(fixed)} is fixed")
    found: dict[str, Scalar | tuple[Scalar, ...]] = dict(config.search.filter)
    for key, value in wanted.items():
        values = value if isinstance(value, list) else [value]
        if len(values) > _VALUES or any(isinstance(one, str) and len(one) > _VALUE_LENGTH for one in values):
            raise RefusedError(400, "invalid_request", f"retrieval.filter: {key} has too many or too long values")
        found[key] = tuple(value) if isinstance(value, list) else value
    return found
