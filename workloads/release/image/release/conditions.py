"""Conditions on the fields of an object: ``status.jobStatus == SUCCEEDED``, ``status.conditions[Failed] == True``.

Terms with commas between must all hold; with ``||`` between, one of the alternatives must.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

_TERM = re.compile(r"\s*([A-Za-z0-9_.\[\]-]+)\s*(?:(==|!=|>|<)\s*([^,\s]+))?\s*")
_PART = re.compile(r"([A-Za-z0-9_-]+)(?:\[([A-Za-z0-9_-]+)\])?")


class ConditionError(ValueError):
    """A condition that cannot be read."""


def check(text: str) -> None:
    """Refuse a condition that cannot be read.

    Raises:
        ConditionError: It cannot.
    """
    for alternative in text.split("||"):
        _terms(alternative)


def holds(text: str, document: Any) -> bool:
    """Whether a condition holds; a field that is not there is equal to nothing."""
    return any(
        all(_holds(_value(document, path), operator, wanted) for path, operator, wanted in _terms(alternative))
        for alternative in text.split("||")
    )


def _terms(text: str) -> Sequence[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    for term in text.split(","):
        match = _TERM.fullmatch(term)
        if match is None or any(_PART.fullmatch(part) is None for part in match[1].split(".")):
            raise ConditionError(f"{text!r}: {term.strip()!r} is no condition such as status.jobStatus == SUCCEEDED")
        found.append((match[1], match[2] or "", match[3] or ""))
    return found


def _holds(value: Any, operator: str, wanted: str) -> bool:
    if operator == "!=":
        return _text(value) != wanted
    if value is None:
        return False
    if operator == "":
        return True
    if operator == "==":
        return _text(value) == wanted
    try:
        return float(value) > float(wanted) if operator == ">" else float(value) < float(wanted)
    except (TypeError, ValueError):
        return False


def _text(value: Any) -> str:
    return "" if value is None else ("true" if value else "false") if isinstance(value, bool) else str(value)


def _value(document: Any, path: str) -> Any:
    """The field; in a list of conditions ``[Type]`` is the status of the one of that type."""
    for part in path.split("."):
        match = _PART.fullmatch(part)
        assert match is not None, "conditions are checked when they are read"
        name, kind = match[1], match[2]
        if isinstance(document, list) and name.isdigit():
            items = cast("list[Any]", document)
            document = items[int(name)] if int(name) < len(items) else None
        elif isinstance(document, dict):
            document = cast("dict[str, Any]", document).get(name)
        else:
            return None
        if kind:
            listed = cast("list[Any]", document) if isinstance(document, list) else []
            document = next((one.get("status") for one in listed if one.get("type") == kind), None)
    return document
