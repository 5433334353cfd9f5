"""Cases of a suite: a file of JSON Lines, held against its hash. Also in the training image, which answers them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from workloads.artifacts.objects import objects

ANSWERS_KIND: Final = "answers"
"""Kind of an artifact with answers and losses."""

ANSWERS_FILE: Final = "answers.jsonl"
"""Its answers: objects with ``suite``, ``case``, ``text``."""

LOSSES_FILE: Final = "losses.jsonl"
"""Its losses: objects with ``sequence``, ``loss`` (mean of its tokens), ``tokens``."""

HELD_OUT_FACT: Final = "heldOut"
"""Fact of its manifest: what the losses were computed on."""

_FIELDS: Final = {"id", "input", "messages", "reference", "contexts"}
_SHOWN: Final = 20


class CasesError(ValueError):
    """A file of cases that cannot be used; one line for each problem."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One question.

    Attributes:
        id: Unique in its file: its own, or the hash of what it says.
        input: The question.
        messages: The conversation that is sent; the question is its last message of the user.
        reference: The right answer; empty for none.
        contexts: Texts that the answer should rest on.
    """

    id: str
    input: str
    messages: tuple[Mapping[str, str], ...] = ()
    reference: str = ""
    contexts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CaseFile:
    """The cases that a suite takes of a file.

    Attributes:
        sha256: Of the whole file.
        cases: Those that are taken.
    """

    sha256: str
    cases: tuple[Case, ...]


def load(name: str, url: str, *, sha256: str, most: int) -> CaseFile:
    """Read the cases of a suite.

    Args:
        name: The suite's.
        url: The file.
        sha256: Its hash; empty takes what is there.
        most: Cases that are taken; 0 for all.

    Raises:
        CasesError: The file is another one, or lines of it cannot be used; all of them are named.
    """
    data = objects(url).read(url)
    found = hashlib.sha256(data).hexdigest()
    if sha256 and found != sha256:
        raise CasesError(f"suites.{name}.data: {url} has SHA-256 {found}, declared is {sha256}")
    try:
        cases = parse(data.decode())
    except (CasesError, UnicodeDecodeError) as error:
        raise CasesError(f"suites.{name}.data: {url}\n{error}") from None
    return CaseFile(sha256=found, cases=taken(cases, most))


def parse(text: str) -> tuple[Case, ...]:
    """Read JSON Lines."""
    found: dict[str, Case] = {}
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            case = _case(json.loads(line))
        except ValueError as error:
            problems.append(f"line {number}: {error}")
            continue
        if case.id in found:
            problems.append(f"line {number}: id {case.id} is there twice")
        found[case.id] = case
    if not found and not problems:
        problems.append("no cases")
    if problems:
        more = len(problems) - _SHOWN
        raise CasesError("\n".join([*problems[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]))
    return tuple(found.values())


def _case(value: object) -> Case:
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    document = cast("dict[str, Any]", value)
    if unknown := sorted(set(document) - _FIELDS):
        raise ValueError(f"has unknown {', '.join(unknown)}; known: {', '.join(sorted(_FIELDS))}")
    messages = _messages(document.get("messages") or [])
    asked = [one["content"] for one in messages if one["role"] == "user"]
    question: object = document.get("input") or (asked[-1] if asked else "")
    if not isinstance(question, str) or not question.strip():
        raise ValueError("needs input, or messages with one of the user")
    reference: object = document.get("reference") or ""
    if not isinstance(reference, str):
        raise ValueError("reference must be text")
    contexts = _texts(document.get("contexts") or [])
    said = json.dumps([question, messages, reference, contexts], sort_keys=True, ensure_ascii=False)
    name: object = document.get("id") or hashlib.sha256(said.encode()).hexdigest()[:16]
    return Case(id=str(name), input=question, messages=tuple(messages), reference=reference, contexts=tuple(contexts))


def _messages(value: object) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for one in cast("list[object]", value) if isinstance(value, list) else [value]:
        message = cast("dict[str, object]", one) if isinstance(one, dict) else {}
        role, content = message.get("role"), message.get("content")
        if role not in ("system", "user", "assistant") or not isinstance(content, str):
            raise ValueError("messages must be a list of objects with role and content, both text")
        found.append({"role": str(role), "content": content})
    return found


def _texts(value: object) -> list[str]:
    found = cast("list[object]", value) if isinstance(value, list) else [None]
    if not all(isinstance(one, str) and one.strip() for one in found):
        raise ValueError("contexts must be a list of texts, none of them empty")
    return cast("list[str]", found)


def taken(cases: Sequence[Case], most: int) -> tuple[Case, ...]:
    """The same cases each time, whatever the order of the file: those whose hashes come first."""
    if not most or most >= len(cases):
        return tuple(cases)
    chosen = sorted(cases, key=lambda one: hashlib.sha256(one.id.encode()).hexdigest())[:most]
    return tuple(one for one in cases if one in chosen)


def prompt(case: Case, *, give_contexts: bool) -> list[dict[str, str]]:
    """The conversation that a model is sent."""
    if case.messages:
        return [dict(one) for one in case.messages]
    if not (give_contexts and case.contexts):
        return [{"role": "user", "content": case.input}]
    contexts = "\n\n".join(f"[{number}] {text}" for number, text in enumerate(case.contexts, start=1))
    text = f"Answer the question with nothing but the context below.\n\nContext:\n{contexts}\n\nQuestion: {case.input}"
    return [{"role": "user", "content": text}]
