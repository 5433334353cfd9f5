"""Records: what is one, what is done to it, and why it is set aside. Pure functions."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from preprocess.config import Config, Split

ROLES: Final = ("system", "user", "assistant", "tool")

# Everything of category Cc but tab and line feed, and the mark that files of other systems begin with.
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff]")
_LINE_ENDS: Final = re.compile("\r\n?|\u2028|\u2029|\x85")
_SPACE: Final = re.compile(r"\s+")


class BadRecordError(Exception):
    """A record that is set aside; the message is the reason, the same for all of its kind."""


@dataclass(frozen=True)
class Record:
    """One record.

    Attributes:
        content: Its text, or its conversation as canonical JSON.
        normalised: The text by which records are compared.
    """

    content: str
    normalised: str

    @property
    def hash(self) -> bytes:
        """128 bits of what it says: case, width and spacing do not count."""
        return hashlib.sha256(self.normalised.encode()).digest()[:16]


def clean(text: str) -> str:
    """Text as it is trained on: composed, one kind of line end, without control characters."""
    return unicodedata.normalize("NFC", _CONTROL.sub("", _LINE_ENDS.sub("\n", text))).strip()


def normalise(text: str) -> str:
    """Text as it is compared."""
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def record(text: str, config: Config) -> Record:
    """A record of running text.

    Raises:
        BadRecordError: It is set aside.
    """
    found = _cleaned(text)
    _bounded(len(found), config)
    return Record(found, normalise(found))


def from_line(line: str, config: Config) -> Record:
    """The record of a line of JSONL.

    Raises:
        BadRecordError: It is set aside.
    """
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        raise BadRecordError("not JSON") from None
    if not isinstance(document, dict):
        raise BadRecordError("not a JSON object")
    if config.field not in document:
        raise BadRecordError(f"no member {config.field}")
    value = document[config.field]
    if config.kind == "chat":
        return conversation(value, config)
    if not isinstance(value, str):
        raise BadRecordError(f"{config.field} is no text")
    return record(value, config)


def conversation(value: Any, config: Config) -> Record:
    """The record of a conversation.

    Raises:
        BadRecordError: It is set aside.
    """
    if not isinstance(value, list) or not value:
        raise BadRecordError(f"{config.field} is no list of messages")
    messages = [_message(one) for one in value]
    if all(one["role"] != "assistant" for one in messages):
        raise BadRecordError("nothing of an assistant in it")
    _bounded(sum(len(one["content"]) for one in messages), config)
    said = "\n".join(f"{one['role']}: {normalise(one['content'])}" for one in messages)
    return Record(json.dumps(messages, ensure_ascii=False, separators=(",", ":")), said)


def side(record_hash: bytes, split: Split) -> str:
    """The side of a record: by its own hash, so that it stays there whatever is added or removed beside it."""
    drawn = int.from_bytes(hashlib.sha256(split.salt.encode() + b"\0" + record_hash).digest()[:8]) / 2**64 * 100
    if drawn < split.test_percent:
        return "test"
    return "evaluation" if drawn < split.test_percent + split.evaluation_percent else "train"


def _message(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or not isinstance(value.get("content"), str):
        raise BadRecordError("a message without text")
    if value.get("role") not in ROLES:
        raise BadRecordError("a message of an unknown role")
    # Tool calls and images: to leave them out would make another conversation of it.
    if value.keys() - {"role", "content"}:
        raise BadRecordError("a message with more than role and content")
    content = _cleaned(value["content"])
    if not content:
        raise BadRecordError("a message without text")
    return {"role": value["role"], "content": content}


def _cleaned(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRecordError("half of a surrogate pair") from None
    return clean(text)


def _bounded(characters: int, config: Config) -> None:
    bounds = config.cleaning
    if characters < bounds.min_characters:
        raise BadRecordError("too short")
    if characters > bounds.max_characters:
        raise BadRecordError("too long")
