"""One file of the source: read, cut, compared with what is there, and only what is new embedded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from retrieval.chunks import Chunk, chunks
from retrieval.config import IngestConfig
from retrieval.documents import Bad, Document, parse
from retrieval.embeddings import Embedder, RefusedError
from retrieval.names import CollectionName
from retrieval.store import Store, Stored, batches, connect
from retrieval.tokens import Counter, counter
from workloads.artifacts.objects import objects


@dataclass(frozen=True)
class SourceFile:
    """A file of the source.

    Attributes:
        path: Below the source.
        url: Where it is.
        size: Bytes.
    """

    path: str
    url: str
    size: int


@dataclass
class FileReport:
    """What became of one file.

    Attributes:
        file: Its path.
        documents: Ids of the documents that were read.
        bad: What was set aside.
        counts: Chunks by what was done with them, and requests for embeddings.
    """

    file: str
    documents: list[str] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    counts: dict[str, int] = field(
        default_factory=lambda: {"embedded": 0, "unchanged": 0, "updated": 0, "removed": 0, "requests": 0}
    )


@dataclass(frozen=True)
class Change:
    """What has to be done for a document.

    Attributes:
        new: Chunks that are not there.
        moved: Chunks that are there, with another position, title or metadata.
        unchanged: How many are there as they are.
        gone: Ids of chunks that are there and no longer in the document.
    """

    new: tuple[Chunk, ...]
    moved: tuple[Chunk, ...]
    unchanged: int
    gone: tuple[str, ...]


def change(wanted: tuple[Chunk, ...], there: Mapping[str, Stored]) -> Change:
    """Compare a document's chunks with those that are stored."""
    new = tuple(chunk for chunk in wanted if chunk.id not in there)
    known = [chunk for chunk in wanted if chunk.id in there]
    moved = tuple(chunk for chunk in known if _differs(chunk, there[chunk.id]))
    ids = {chunk.id for chunk in wanted}
    gone = tuple(identifier for identifier in there if identifier not in ids)
    return Change(new, moved, len(known) - len(moved), gone)


def _differs(chunk: Chunk, stored: Stored) -> bool:
    return (chunk.position, chunk.title, dict(chunk.metadata)) != (
        stored.position,
        stored.title,
        dict(stored.metadata),
    )


class Worker:
    """Works on files, one after another."""

    def __init__(self, config: IngestConfig, name: CollectionName) -> None:
        self._config, self._name = config, name
        self._store = Store(connect(config.milvus), config.retrieval)
        self._embedder = Embedder(config.gateway_url, os.environ.get("GATEWAY_KEY", ""), config.embedding)
        self._count: Counter = counter(config.chunking.tokenizer)

    def ready(self) -> None:
        """It has started: nothing more is said."""

    def work(self, file: SourceFile) -> FileReport:
        """Bring one file's documents into the collection."""
        report = FileReport(file.path)
        limit = self._config.limits.document_mib
        if file.size > limit * 2**20:
            report.bad.append(Bad(file.path, 0, f"larger than limits.document_mib, {limit}"))
            return report
        try:
            data = objects(file.url).read(file.url)
        except FileNotFoundError:
            return report  # deleted since the folder was listed: as if it had not been there
        sent = self._embedder.requests
        for found in parse(file.path, data):
            if isinstance(found, Bad):
                report.bad.append(found)
                continue
            try:
                self._document(found, report.counts)
            except RefusedError as error:
                report.bad.append(Bad(file.path, 0, str(error), found.id))
                continue
            report.documents.append(found.id)
        report.counts["requests"] = self._embedder.requests - sent
        return report

    def _document(self, document: Document, counts: dict[str, int]) -> None:
        wanted = chunks(document, self._config.chunking, self._count)
        found = change(wanted, self._store.of_document(self._name, document.id))
        # What is done is kept: a run that is killed here begins with the next batch.
        for some in batches(found.new, self._config.embedding.batch):
            vectors = self._embedder.vectors([chunk.text for chunk in some])
            self._store.upsert(self._name, zip(some, vectors, strict=True))
        if found.moved:
            vectors_there = self._store.vectors(self._name, [chunk.id for chunk in found.moved])
            self._store.upsert(self._name, [(chunk, vectors_there[chunk.id]) for chunk in found.moved])
        # Last: until the new chunks are there, the old ones answer.
        self._store.delete(self._name, found.gone)
        done: dict[str, Any] = {
            "embedded": len(found.new),
            "updated": len(found.moved),
            "unchanged": found.unchanged,
            "removed": len(found.gone),
        }
        for key, number in done.items():
            counts[key] += number
