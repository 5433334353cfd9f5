"""What the two programs are told, as one JSON document: unknown keys are refused, and all errors are told at once."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

BAD_CONFIGURATION = 2
REFUSED = 3

IndexKind = Literal["flat", "hnsw", "ivf_sq8", "diskann"]
Scalar = str | int | float | bool

Name = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$")]
MetadataKey = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")]

# What is stored of a chunk; another number makes new collections.
SCHEMA = 1


class Strict(BaseModel):
    """Base of all: nothing unknown, nothing changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Chunking(Strict):
    """How documents are cut.

    Attributes:
        tokens: Tokens of one chunk at most, its headings included.
        overlap: Tokens at the end of a chunk that begin the next one too.
        tokenizer: URL of the embedding model's ``tokenizer.json``; empty counts by an estimate.
    """

    tokens: Annotated[int, Field(ge=32, le=2048)] = 400
    overlap: Annotated[int, Field(ge=0, le=1024)] = 60
    tokenizer: str = ""

    @model_validator(mode="after")
    def _overlap_is_the_smaller_part(self) -> Chunking:
        if self.overlap > self.tokens // 2:
            raise ValueError(f"overlap must be at most half of tokens ({self.tokens // 2}); got {self.overlap}")
        return self


class Embedding(Strict):
    """How text becomes a vector.

    Attributes:
        model: Name at the gateway.
        dimension: Numbers of a vector.
        revision: Any text; another one embeds everything anew.
        document_prefix: Put in front of chunks, for models that were trained so.
        query_prefix: Put in front of questions.
        batch: Chunks of one request.
        timeout_seconds: Of one request.
        retries: How often a request that failed for a reason that passes is sent again.
    """

    model: str
    dimension: Annotated[int, Field(ge=2, le=32768)]
    revision: str = ""
    document_prefix: str = ""
    query_prefix: str = ""
    batch: Annotated[int, Field(ge=1, le=2048)] = 64
    timeout_seconds: Annotated[float, Field(gt=0)] = 60
    retries: Annotated[int, Field(ge=0, le=20)] = 6


class Index(Strict):
    """Which index a collection has, by its chunks.

    Attributes:
        flat_below: Below so many every vector is compared.
        hnsw_below: Below so many a graph in memory.
        ivf_below: Below so many clusters of 8-bit numbers in memory; above it a graph on disk.
    """

    flat_below: Annotated[int, Field(ge=0)] = 20_000
    hnsw_below: Annotated[int, Field(ge=0)] = 2_000_000
    ivf_below: Annotated[int, Field(ge=0)] = 10_000_000

    @model_validator(mode="after")
    def _in_order(self) -> Index:
        if not self.flat_below <= self.hnsw_below <= self.ivf_below:
            raise ValueError("flat_below, hnsw_below and ivf_below must not fall")
        return self


class Limits(Strict):
    """What ends an ingestion with a refusal.

    Attributes:
        document_mib: A larger file is set aside.
        bad_share: Share of the documents that may be set aside.
        deleted_share: Share of the known documents that may be gone from the source at once: more looks like a source
            that is not there.
    """

    document_mib: Annotated[int, Field(ge=1, le=4096)] = 64
    bad_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    deleted_share: Annotated[float, Field(ge=0, le=1)] = 0.3


class Milvus(Strict):
    """The vector database; user and password are ``MILVUS_USERNAME`` and ``MILVUS_PASSWORD``.

    Attributes:
        url: Such as ``http://milvus:19530``.
        database: Database inside of it; empty for its default.
        timeout_seconds: Of one call.
    """

    url: str
    database: str = ""
    timeout_seconds: Annotated[float, Field(gt=0)] = 30


class IngestConfig(Strict):
    """One ingestion.

    Attributes:
        retrieval: Whose documents; the alias of its collection.
        source: URL of the folder with the documents.
        include: Patterns of paths below it.
        milvus: The vector database.
        gateway_url: Root of the gateway; its key is ``GATEWAY_KEY``.
        report_url: Folder that gets a report of each run; empty for none.
        chunking: How documents are cut.
        embedding: How text becomes a vector.
        index: Which index the collection gets.
        limits: What ends it with a refusal.
        parallelism: Files that are worked on at once.
        executor: ``ray``, or ``local`` for this process alone.
    """

    retrieval: Name
    source: str
    include: tuple[str, ...] = ("*",)
    milvus: Milvus
    gateway_url: str
    report_url: str = ""
    chunking: Chunking = Chunking()
    embedding: Embedding
    index: Index = Index()
    limits: Limits = Limits()
    parallelism: Annotated[int, Field(ge=1, le=256)] = 4
    executor: Literal["ray", "local"] = "ray"

    @property
    def fingerprint(self) -> str:
        """What the vectors depend on, and nothing else."""
        of_embedding = self.embedding.model_dump(include={"model", "dimension", "revision", "document_prefix"})
        described = [SCHEMA, of_embedding, self.chunking.model_dump()]
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:10]


class Search(Strict):
    """What is found for a question.

    Attributes:
        top_k: Chunks at most.
        min_score: Cosine similarity below which a chunk is not used.
        filter: Metadata that every chunk must have: a value, or one of several.
        filter_fields: Metadata by which a request may narrow its own search.
    """

    top_k: Annotated[int, Field(ge=1, le=100)] = 6
    min_score: Annotated[float, Field(ge=-1, le=1)] = 0.3
    filter: dict[MetadataKey, Scalar | tuple[Scalar, ...]] = Field(default_factory=dict)
    filter_fields: tuple[MetadataKey, ...] = ()


class ServeConfig(Strict):
    """One answering service.

    Attributes:
        name: The model that it is.
        collection: Alias of the collection that it answers from.
        model: Model at the gateway that writes the answers.
        milvus: The vector database.
        gateway_url: Root of the gateway; its key is ``GATEWAY_KEY``.
        search: What is found for a question.
        context_tokens: Tokens that the model takes, its answer included.
        answer_tokens: Tokens of an answer at most.
        instructions: Added to the service's own instructions.
        unknown_answer: What is said where nothing was found.
        list_sources: End each answer with the sources that it cites.
        timeout_seconds: From the request to the end of the answer.
        retries: How often a call that failed for a reason that passes is sent again.
        body_kib: A larger request is refused.
        concurrency: Requests at once; more are refused.
        host: Address to listen on.
        port: Port to listen on.
        drain_seconds: How long answers under way are waited for at the end.
        traces_url: Root of an OTLP collector that speaks HTTP; empty for no traces.
    """

    name: Name
    collection: Name
    model: str
    milvus: Milvus
    gateway_url: str
    search: Search = Search()
    context_tokens: Annotated[int, Field(ge=512)] = 8192
    answer_tokens: Annotated[int, Field(ge=16)] = 1024
    instructions: str = ""
    unknown_answer: str = "I do not know: the documents that I answer from say nothing about this."
    list_sources: bool = True
    timeout_seconds: Annotated[float, Field(gt=0)] = 120
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    body_kib: Annotated[int, Field(ge=1)] = 256
    concurrency: Annotated[int, Field(ge=1)] = 64
    host: str = "0.0.0.0"
    port: Annotated[int, Field(ge=1, le=65535)] = 8090
    drain_seconds: Annotated[int, Field(ge=0)] = 60
    traces_url: str = ""

    @model_validator(mode="after")
    def _an_answer_leaves_room(self) -> ServeConfig:
        if self.answer_tokens > self.context_tokens // 2:
            raise ValueError(f"answer_tokens must be at most half of context_tokens; got {self.answer_tokens}")
        return self


class AccountsConfig(Strict):
    """Users of the vector database.

    Attributes:
        milvus: The vector database, with its administrator's credentials.
        patience_seconds: How long it is waited for.
    """

    milvus: Milvus
    patience_seconds: Annotated[float, Field(ge=0)] = 300


Config = TypeVar("Config", bound=Strict)


def from_arguments(kind: type[Config], description: str, arguments: list[str] | None = None) -> Config:
    """The configuration of the command line; a wrong one ends the program with 2 and a line for each error."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", required=True, metavar="JSON", help=f"a {kind.__name__} as JSON")
    text: str = parser.parse_args(arguments).config
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        for line in told(error):
            print(line, file=sys.stderr)
        raise SystemExit(BAD_CONFIGURATION) from None


def told(error: ValidationError) -> list[str]:
    """Every error, a line each."""
    return [f"{_path(one['loc'])}: {one['msg'].removeprefix('Value error, ')}" for one in error.errors()]


def _path(location: tuple[Any, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".") or "config"
