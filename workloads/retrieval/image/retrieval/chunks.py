"""Documents cut into chunks: at headings first, then at paragraphs, lines, sentences, words."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from retrieval.config import Chunking
from retrieval.documents import Document, Section
from retrieval.tokens import Counter

# From the coarsest to the finest; the last one cuts anywhere.
_CUTS = (
    re.compile(r"\n\s*\n"),
    re.compile(r"\n"),
    re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])"),
    re.compile(r"\s+"),
)
_SEPARATORS = ("\n\n", "\n", " ", " ", "")
_ROOM = 16  # tokens that headings always leave to the text


@dataclass(frozen=True)
class Chunk:
    """A piece of a document.

    Attributes:
        id: Hash of the document's id, the text, and how often the text was there before.
        document: Id of its document.
        position: Its place in the document.
        title: Title of the document.
        text: Its headings and its text.
        metadata: The document's.
    """

    id: str
    document: str
    position: int
    title: str
    text: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class _Piece:
    text: str
    tokens: int
    separator: str


def chunks(document: Document, chunking: Chunking, count: Counter) -> tuple[Chunk, ...]:
    """The chunks of a document, in its order."""
    texts = [text for section in document.sections for text in _of_section(section, chunking, count)]
    seen: Tally[str] = Tally()
    found: list[Chunk] = []
    for position, text in enumerate(texts):
        described = json.dumps([document.id, text, seen[text]], ensure_ascii=False)
        seen[text] += 1
        identifier = hashlib.sha256(described.encode()).hexdigest()
        found.append(Chunk(identifier, document.id, position, document.title, text, document.metadata))
    return tuple(found)


def _of_section(section: Section, chunking: Chunking, count: Counter) -> Iterator[str]:
    head = " > ".join(section.headings)
    room = chunking.tokens - count(head)
    if room < _ROOM:  # headings longer than a chunk say less than the text
        head, room = "", chunking.tokens
    for body in _packed(list(_pieces(section.text, room, count, 0)), room, min(chunking.overlap, room // 2)):
        yield f"{head}\n\n{body}" if head else body


def _pieces(text: str, room: int, count: Counter, depth: int) -> Iterator[_Piece]:
    """The coarsest pieces of which each fits."""
    for part in _CUTS[depth].split(text):
        if not (stripped := part.strip()):
            continue
        if (tokens := count(stripped)) <= room:
            yield _Piece(stripped, tokens, _SEPARATORS[depth])
        elif depth + 1 < len(_CUTS):
            yield from _pieces(stripped, room, count, depth + 1)
        else:
            yield from _anywhere(stripped, room, count)


def _anywhere(text: str, room: int, count: Counter) -> Iterator[_Piece]:
    """A word that does not fit, in halves until it does: a key, a picture in base 64."""
    if (tokens := count(text)) <= room or len(text) < 2:
        yield _Piece(text, tokens, _SEPARATORS[-1])
        return
    middle = len(text) // 2
    yield from _anywhere(text[:middle], room, count)
    yield from _anywhere(text[middle:], room, count)


def _packed(pieces: list[_Piece], room: int, overlap: int) -> Iterator[str]:
    """As many pieces together as fit; the last ones begin the next chunk too."""
    held: list[_Piece] = []
    for piece in pieces:
        if held and sum(one.tokens for one in held) + piece.tokens > room:
            yield _joined(held)
            held = _tail(held, min(overlap, room - piece.tokens))
        held.append(piece)
    if held:
        yield _joined(held)


def _tail(held: list[_Piece], tokens: int) -> list[_Piece]:
    kept: list[_Piece] = []
    for piece in reversed(held[1:]):  # never all of it: the next chunk would hold this one
        if (tokens := tokens - piece.tokens) < 0:
            break
        kept.insert(0, piece)
    return kept


def _joined(pieces: list[_Piece]) -> str:
    return "".join(f"{piece.separator if index else ''}{piece.text}" for index, piece in enumerate(pieces))
