"""Files as documents: text, Markdown, HTML, PDF, and JSON lines with a document each."""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

ID_BYTES = 1024
_TITLE_BYTES = 1024
_VALUE_LENGTH = 256
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_HEADING = re.compile(r"(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*")
_FENCE = re.compile(r"[ \t]*(```+|~~~+)")
_FRONT_MATTER = re.compile(r"---\r?\n(.*?)\r?\n---\r?\n", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True)
class Section:
    """Text below one heading.

    Attributes:
        headings: The headings that it is below, the outermost first.
        text: The text.
    """

    headings: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Document:
    """One document.

    Attributes:
        id: Path of its file below the source; for one of several in a file ``#`` and its own name after it.
        title: What people call it.
        sections: Its text.
        metadata: By which searches may be narrowed.
    """

    id: str
    title: str
    sections: tuple[Section, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Bad:
    """Something that was set aside.

    Attributes:
        file: Path of the file.
        where: Line of it; 0 for all of it.
        reason: Why.
        document: Which document, where that is known.
    """

    file: str
    where: int
    reason: str
    document: str = ""


class UnreadableError(Exception):
    """A document that cannot be read; its message is the reason."""


def parse(path: str, data: bytes) -> Iterator[Document | Bad]:
    """The documents of a file; what cannot be read is told, and never dropped."""
    name = path.lower()
    try:
        if name.endswith(".gz"):
            data, name = gzip.decompress(data), name.removesuffix(".gz")
    except (OSError, EOFError, zlib.error) as error:
        yield Bad(path, 0, f"not gzip: {error}")
        return
    if name.endswith((".jsonl", ".ndjson")):
        yield from _lines(path, data)
        return
    try:
        if len(path.encode()) > ID_BYTES:
            raise UnreadableError(f"its path has more than {ID_BYTES} bytes")
        yield _whole(path, name, data)
    except UnreadableError as error:
        yield Bad(path, 0, str(error), path)


def _whole(path: str, name: str, data: bytes) -> Document:
    title, metadata = path.rpartition("/")[2], dict[str, Any]()
    if name.endswith((".md", ".markdown")):
        text, metadata = _front_matter(_text(data))
        sections = markdown(text)
        title = str(metadata.pop("title", "")) or _first_heading(sections) or title
    elif name.endswith((".html", ".htm")):
        found, sections = html(_text(data))
        title = found or _first_heading(sections) or title
    elif name.endswith(".pdf"):
        found, sections = _pdf(data)
        title = found or title
    elif name.endswith((".txt", ".text")):
        sections = (Section((), _text(data)),)
    else:
        raise UnreadableError("not one of txt, md, html, pdf, jsonl")
    return _document(path, title, sections, metadata)


def _lines(path: str, data: bytes) -> Iterator[Document | Bad]:
    seen: set[str] = set()
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        identifier = ""
        try:
            record = json.loads(_text(line))
            if not isinstance(record, dict) or not isinstance(record.get("text"), str):
                raise UnreadableError("not an object with text")
            if unknown := record.keys() - {"id", "title", "text", "metadata"}:
                raise UnreadableError(f"unknown keys {', '.join(sorted(unknown))}; put them into metadata")
            identifier = f"{path}#{record.get('id', number)}"
            if len(identifier.encode()) > ID_BYTES:
                raise UnreadableError(f"its id and path have more than {ID_BYTES} bytes")
            if identifier in seen:
                raise UnreadableError("its id is that of a line before it")
            sections = (Section((), record["text"]),)
            title = str(record.get("title") or record.get("id") or f"{path.rpartition('/')[2]}, line {number}")
            found = _document(identifier, title, sections, record.get("metadata") or {})
        except (UnreadableError, ValueError) as error:
            yield Bad(path, number, str(error), identifier)
            continue
        seen.add(identifier)
        yield found


def _document(identifier: str, title: str, sections: tuple[Section, ...], metadata: Any) -> Document:
    cleaned = tuple(
        Section(tuple(_clean(one) for one in section.headings), text)
        for section in sections
        if (text := _clean(section.text))
    )
    if not cleaned:
        raise UnreadableError("no text in it")
    short = _clean(title).encode()[:_TITLE_BYTES].decode(errors="ignore")
    return Document(identifier, short, cleaned, checked(metadata))


def checked(metadata: Any) -> dict[str, Any]:
    """Metadata as it is stored: simple names, simple values."""
    if not isinstance(metadata, dict):
        raise UnreadableError("metadata is not an object")
    for key, value in metadata.items():
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise UnreadableError(f"metadata has the key {key!r}; letters, digits and _ are allowed")
        if not isinstance(value, str | int | float | bool) or (isinstance(value, str) and len(value) > _VALUE_LENGTH):
            raise UnreadableError(f"metadata {key} is not a number, a truth value or a text of {_VALUE_LENGTH}")
    return dict(sorted(metadata.items()))


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"not UTF-8 at byte {error.start}") from None


def _clean(text: str) -> str:
    return _CONTROL.sub(" ", text).replace("\r\n", "\n").strip()


def _first_heading(sections: tuple[Section, ...]) -> str:
    return next((section.headings[0] for section in sections if section.headings), "")


def _front_matter(text: str) -> tuple[str, dict[str, Any]]:
    if not (found := _FRONT_MATTER.match(text)):
        return text, {}
    import yaml  # noqa: PLC0415 only for those that have it

    try:
        read = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        raise UnreadableError(f"its front matter is not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(read, dict):
        raise UnreadableError("its front matter is not a mapping")
    return text[found.end() :], {str(key): value for key, value in read.items()}


def markdown(text: str) -> tuple[Section, ...]:
    """Markdown cut at its headings; ``#`` in a block of code is none."""
    outline, fence = _Outline(), ""
    for line in text.splitlines():
        if mark := _FENCE.match(line):
            fence = "" if fence and mark[1].startswith(fence) else fence or mark[1][:3]
        elif not fence and (heading := _HEADING.fullmatch(line)):
            outline.heading(len(heading[1]), heading[2])
            continue
        outline.text(line + "\n")
    return outline.sections()


def html(text: str) -> tuple[str, tuple[Section, ...]]:
    """Title and text of a page cut at its headings; without scripts, styles and navigation."""
    reader = _HtmlReader()
    reader.feed(text)
    reader.close()
    return " ".join(reader.title.split()), reader.outline.sections()


def _pdf(data: bytes) -> tuple[str, tuple[Section, ...]]:
    from pypdf import PdfReader  # noqa: PLC0415 only where there are such files
    from pypdf.errors import PyPdfError  # noqa: PLC0415 the same

    try:
        reader = PdfReader(io.BytesIO(data))
        pages = [page.extract_text() for page in reader.pages]
        title = (reader.metadata.title if reader.metadata else "") or ""
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableError(f"not a PDF that can be read: {type(error).__name__}") from None
    return title, tuple(Section((f"page {number}",), page) for number, page in enumerate(pages, 1))


class _Outline:
    """Text below the headings that are open."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str]] = []
        self._found: list[tuple[tuple[str, ...], list[str]]] = [((), [])]

    def heading(self, level: int, title: str) -> None:
        self._open = [one for one in self._open if one[0] < level]
        self._open.append((level, " ".join(title.split())))
        self._found.append((tuple(one for _, one in self._open), []))

    def text(self, text: str) -> None:
        self._found[-1][1].append(text)

    def sections(self) -> tuple[Section, ...]:
        return tuple(Section(headings, "".join(parts)) for headings, parts in self._found)


class _HtmlReader(HTMLParser):
    _SKIPPED = frozenset({"script", "style", "nav", "noscript", "template", "svg", "header", "footer", "aside"})
    _BLOCKS = frozenset(
        {"p", "div", "section", "article", "ul", "ol", "table", "pre", "blockquote", "dl", "figure", "main", "form"}
    )
    _LINES = frozenset({"br", "li", "tr", "dt", "dd", "hr"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title, self.outline = "", _Outline()
        self._skipped, self._in_title = 0, False
        self._heading: tuple[int, list[str]] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in self._SKIPPED:
            self._skipped += 1
        elif tag == "title":
            self._in_title = True
        elif re.fullmatch(r"h[1-6]", tag):
            self._heading = (int(tag[1]), [])
        else:
            self._gap(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._SKIPPED:
            self._skipped = max(0, self._skipped - 1)
        elif tag == "title":
            self._in_title = False
        elif self._heading and re.fullmatch(r"h[1-6]", tag):
            level, parts = self._heading
            self._heading = None
            if title := " ".join("".join(parts).split()):
                self.outline.heading(level, title)
        else:
            self._gap(tag)

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif not self._skipped and self._heading:
            self._heading[1].append(data)
        elif not self._skipped:
            self.outline.text(re.sub(r"\s+", " ", data))

    def _gap(self, tag: str) -> None:
        if not self._skipped and not self._heading:
            self.outline.text("\n\n" if tag in self._BLOCKS else "\n" if tag in self._LINES else "")
