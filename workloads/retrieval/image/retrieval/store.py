"""The collections of a retrieval in Milvus."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymilvus import DataType, MilvusClient, MilvusException

from retrieval.chunks import Chunk
from retrieval.config import Embedding, Milvus
from retrieval.documents import ID_BYTES
from retrieval.names import CollectionName, alias_of, build_parameters, parsed, search_parameters
from retrieval.passages import Passage

_TEXT_BYTES = 65535  # the longest that Milvus stores
_BATCH = 1000
_FACTS = "llmops.embedding"
_STRONG = "Strong"  # what was written before is seen: existing chunks are compared with
_FIELDS = ["id", "document", "position", "title", "text", "metadata", "vector"]


@dataclass(frozen=True)
class Stored:
    """What is compared of a chunk that is there."""

    position: int
    title: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Served:
    """The collection that is answered from, and how its vectors were made."""

    name: CollectionName
    model: str
    dimension: int
    query_prefix: str


def connect(milvus: Milvus) -> MilvusClient:
    """A client with the credentials of the environment; a file's path opens Milvus Lite."""
    user, password = os.environ.get("MILVUS_USERNAME", ""), os.environ.get("MILVUS_PASSWORD", "")
    return MilvusClient(
        milvus.url,
        user=user,
        password=password,
        timeout=milvus.timeout_seconds,
        **({"db_name": milvus.database} if milvus.database else {}),
    )


class Store:
    """One retrieval's collections, of which at most one is served: the one with its alias."""

    def __init__(self, client: MilvusClient, retrieval: str) -> None:
        self.client, self.alias = client, alias_of(retrieval)

    def served(self) -> Served | None:
        """What the alias names now; None before the first ingestion has come to its end."""
        name = self._aliased()
        if name is None:
            return None
        described: Any = self.client.describe_collection(str(name))
        # A restore may bring one of the two back, and a small stand-in for Milvus has the first only.
        facts = json.loads(described.get("properties", {}).get(_FACTS) or described["description"])
        return Served(name, facts["model"], facts["dimension"], facts["query_prefix"])

    def _aliased(self) -> CollectionName | None:
        try:
            found = self.client.describe_alias(self.alias)
        except MilvusException as error:
            if _is_missing(error):
                return None
            raise
        return parsed(str(found.get("collection_name", "")), self.alias)

    def all(self) -> list[CollectionName]:
        """Every collection of this retrieval, served or not."""
        names: Any = self.client.list_collections()
        found = (parsed(name, self.alias) for name in names)
        return [one for one in found if one is not None]

    def create(self, name: CollectionName, embedding: Embedding, chunks: int) -> None:
        """Make a collection that nobody asks yet, with the index of its name."""
        # Whoever searches must embed as it was embedded, whatever is declared by then.
        facts = json.dumps(
            {"model": embedding.model, "dimension": embedding.dimension, "query_prefix": embedding.query_prefix}
        )
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False, description=facts)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
        schema.add_field("document", DataType.VARCHAR, max_length=ID_BYTES)
        schema.add_field("position", DataType.INT64)
        schema.add_field("title", DataType.VARCHAR, max_length=ID_BYTES)
        schema.add_field("text", DataType.VARCHAR, max_length=_TEXT_BYTES)
        schema.add_field("metadata", DataType.JSON)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=embedding.dimension)
        index = MilvusClient.prepare_index_params()
        index.add_index(
            "vector",
            index_type=name.kind.upper(),
            metric_type="COSINE",
            params=build_parameters(name.kind, chunks),
        )
        # Its chunks are looked up by document at every ingestion.
        index.add_index("document", index_type="INVERTED")
        self.client.create_collection(
            str(name), schema=schema, index_params=index, properties={_FACTS: facts}, consistency_level="Bounded"
        )

    def load(self, name: CollectionName) -> None:
        """Have it in memory; it is there already where it is served."""
        self.client.load_collection(str(name))

    def of_document(self, name: CollectionName, document: str) -> dict[str, Stored]:
        """What is there of one document, by id."""
        wanted = f"document == {json.dumps(document, ensure_ascii=False)}"
        rows = self._rows(name, wanted, ["id", "position", "title", "metadata"])
        return {row["id"]: Stored(int(row["position"]), row["title"], _object(row["metadata"])) for row in rows}

    def documents(self, name: CollectionName) -> dict[str, list[str]]:
        """Ids of all chunks by document."""
        found: dict[str, list[str]] = {}
        for row in self._rows(name, "", ["id", "document"]):
            found.setdefault(row["document"], []).append(row["id"])
        return found

    def vectors(self, name: CollectionName, ids: Sequence[str]) -> dict[str, list[float]]:
        """Vectors of chunks that are there."""
        found: dict[str, list[float]] = {}
        for some in batches(ids, _BATCH):
            for row in self.client.get(str(name), ids=list(some), output_fields=["vector"], consistency_level=_STRONG):
                found[row["id"]] = [float(number) for number in row["vector"]]
        return found

    def upsert(self, name: CollectionName, chunks: Iterable[tuple[Chunk, Sequence[float]]]) -> None:
        """Write chunks; what is there with the same id is replaced."""
        rows = [
            {
                "id": chunk.id,
                "document": chunk.document,
                "position": chunk.position,
                "title": chunk.title,
                "text": chunk.text.encode()[:_TEXT_BYTES].decode(errors="ignore"),
                "metadata": dict(chunk.metadata),
                "vector": list(vector),
            }
            for chunk, vector in chunks
        ]
        for some in batches(rows, _BATCH):
            self.client.upsert(str(name), list(some))

    def delete(self, name: CollectionName, ids: Sequence[str]) -> None:
        """Remove chunks."""
        for some in batches(ids, _BATCH):
            self.client.delete(str(name), ids=list(some))

    def count(self, name: CollectionName) -> int:
        """Chunks that are there now."""
        (row,) = self.client.query(str(name), filter="", output_fields=["count(*)"], consistency_level=_STRONG)
        return int(row["count(*)"])

    def copy(self, source: CollectionName, target: CollectionName) -> None:
        """Fill a collection with the chunks of another; nothing is embedded again."""
        held: list[dict[str, Any]] = []
        for row in self._rows(source, "", _FIELDS):
            held.append({**row, "metadata": _object(row["metadata"]), "vector": [float(one) for one in row["vector"]]})
            if len(held) == _BATCH:
                self.client.upsert(str(target), held)
                held = []
        if held:
            self.client.upsert(str(target), held)

    def serve(self, name: CollectionName) -> None:
        """Give it the alias, in one step."""
        if self._aliased() is None:
            self.client.create_alias(str(name), self.alias)
        else:
            self.client.alter_alias(str(name), self.alias)

    def drop(self, name: CollectionName) -> None:
        """Remove a collection."""
        self.client.drop_collection(str(name))

    def flush(self, name: CollectionName) -> None:
        """Seal what was written, so that its index is built."""
        self.client.flush(str(name))

    def search(
        self, served: Served, vector: Sequence[float], *, top_k: int, min_score: float, filter_: str
    ) -> list[Passage]:
        """Chunks that are near, the nearest first."""
        (hits,) = self.client.search(
            str(served.name),
            data=[list(vector)],
            anns_field="vector",
            limit=top_k,
            filter=filter_,
            output_fields=_FIELDS[:-1],
            search_params={"metric_type": "COSINE", "params": search_parameters(served.name.kind, top_k)},
        )
        found = [_passage(hit["entity"] | {"id": hit["id"]}, float(hit["distance"])) for hit in hits]
        return [one for one in found if one.score >= min_score]

    def _rows(self, name: CollectionName, wanted: str, fields: list[str]) -> Iterator[dict[str, Any]]:
        iterator = self.client.query_iterator(
            str(name), batch_size=_BATCH, filter=wanted, output_fields=fields, consistency_level=_STRONG
        )
        try:
            while rows := iterator.next():
                yield from (dict(row) for row in rows)
        finally:
            iterator.close()


def _passage(row: Mapping[str, Any], score: float) -> Passage:
    metadata = _object(row["metadata"])
    return Passage(row["id"], row["document"], int(row["position"]), row["title"], row["text"], metadata, score)


def _object(value: Any) -> dict[str, Any]:
    return dict(json.loads(value)) if isinstance(value, str | bytes) else dict(value or {})


def _is_missing(error: MilvusException) -> bool:
    """Whether there is no such alias: 1600 since 2.3, or said in words."""
    text = str(error).lower()
    return error.code == 1600 or ("alias" in text and ("not found" in text or "not exist" in text))


def batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Items in groups of at most ``size``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
