"""Retrievals: documents that are brought into the vector database, and a model that answers from them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from components.settings.base import Name, Section
from components.settings.datasets import RawPath
from components.settings.hosted_models import HostedModelSettings, ModelName, Usd
from components.settings.models import ModelSettings
from components.settings.platform import PlatformSettings
from components.settings.platform.backups import Cron

NAME_LENGTH: Final = 24
"""Longest name: with what stands around it in ``ingest-<name>-<suffix>`` Ray's 40 characters hold it."""

_TOKENIZER = re.compile(r"models/(?:[\w.-]+/)*[\w.-]+\.json")

MetadataKey = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")]
Scalar = Annotated[str, Field(max_length=256)] | int | bool
Pattern = Annotated[str, Field(min_length=1, max_length=200)]


def _tokenizer(value: str) -> str:
    if value and not _TOKENIZER.fullmatch(value):
        raise ValueError(
            f"must be a tokenizer.json in the bucket models, such as models/e5/tokenizer.json; got {value}"
        )
    return value


class ChunkingSettings(Section):
    """How documents are cut; another value makes a new collection.

    Attributes:
        tokens: Tokens of one chunk at most, its headings included. 400 is some 300 words; embedding models are trained
            on passages of 128 to 512 tokens.
        overlap: Tokens at the end of a chunk that begin the next one too, at most half of it.
        tokenizer: The embedding model's ``tokenizer.json`` in the bucket ``models``; empty counts by an estimate that
            is a little high for prose.
    """

    tokens: Annotated[int, Field(ge=32, le=2048)] = 400
    overlap: Annotated[int, Field(ge=0, le=1024)] = 60
    tokenizer: Annotated[str, AfterValidator(_tokenizer)] = ""

    @model_validator(mode="after")
    def _overlap_is_the_smaller_part(self) -> Self:
        if self.overlap > self.tokens // 2:
            raise ValueError(f"overlap must be at most half of tokens ({self.tokens // 2}); got {self.overlap}")
        return self


class EmbeddingSettings(Section):
    """How text becomes a vector.

    Attributes:
        model: One of the stack's models with mode ``embedding``. Another one makes a new collection.
        dimension: Numbers of a vector, as the model has them.
        revision: Any text; another one embeds everything anew, where the model behind the name has changed.
        document_prefix: Put in front of chunks, for models that were trained so, such as ``passage: ``.
        query_prefix: Put in front of questions, such as ``query: ``. It takes effect with a new collection.
        batch: Chunks of one request.
    """

    model: ModelName
    dimension: Annotated[int, Field(ge=2, le=32768)]
    revision: Annotated[str, Field(max_length=100)] = ""
    document_prefix: Annotated[str, Field(max_length=200)] = ""
    query_prefix: Annotated[str, Field(max_length=200)] = ""
    batch: Annotated[int, Field(ge=1, le=2048)] = 64


class IndexSettings(Section):
    """Which index the collection has, by its chunks. It is chosen anew when a collection grows.

    Attributes:
        flat_below: Below so many, every vector is compared: exact, and at 20,000 of 1,024 numbers some milliseconds.
        hnsw_below: Below so many, a graph in memory: the fastest, at the vectors' own size and half as much again.
            2,000,000 of 1,024 numbers are 12 GB.
        ivf_below: Below so many, clusters of 8-bit numbers in memory, a quarter of the vectors' size. Above, a graph on
            the query nodes' disks (DISKANN), which needs fast ones.
    """

    flat_below: Annotated[int, Field(ge=0)] = 20_000
    hnsw_below: Annotated[int, Field(ge=0)] = 2_000_000
    ivf_below: Annotated[int, Field(ge=0)] = 10_000_000

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.flat_below <= self.hnsw_below <= self.ivf_below:
            raise ValueError("flatBelow, hnswBelow and ivfBelow must not fall")
        return self


class SearchSettings(Section):
    """What is found for a question.

    Attributes:
        top_k: Chunks at most.
        min_score: Cosine similarity below which a chunk is not used; where none is above it, the answer is that nothing
            is known. Models differ: look at ``llmops_retrieval_best_score`` of questions that should be answered.
        filter: Metadata that every chunk must have, a value or one of several. No request can widen it.
        filter_fields: Metadata by which a request may narrow its search (``retrieval.filter`` in its body).
    """

    top_k: Annotated[int, Field(ge=1, le=100)] = 6
    min_score: Annotated[float, Field(ge=-1, le=1)] = 0.3
    filter: dict[MetadataKey, Scalar | tuple[Scalar, ...]] = Field(
        default_factory=dict[str, Scalar | tuple[Scalar, ...]]
    )
    filter_fields: tuple[MetadataKey, ...] = ()


class AnswerSettings(Section):
    """How answers are written.

    Attributes:
        model: One of the stack's models with mode ``chat``.
        context_tokens: Tokens that it takes, its answer included.
        answer_tokens: Tokens of an answer at most, at most half of the context.
        instructions: Added to the service's own instructions, such as a tone or a language.
        unknown: What is said where nothing was found.
        list_sources: End each answer with the sources that it cites. They are in the field ``citations`` too.
        timeout_seconds: From the request to the end of the answer.
        input_usd_per_million: Price of a million input tokens, which budgets of teams are charged with: what was found
            is counted as the question's. Unset charges nothing: the retrieval's own key pays for the calls below.
        output_usd_per_million: The same for output tokens.
    """

    model: ModelName
    context_tokens: Annotated[int, Field(ge=512, le=10_000_000)] = 8192
    answer_tokens: Annotated[int, Field(ge=16)] = 1024
    instructions: Annotated[str, Field(max_length=4000)] = ""
    unknown: Annotated[str, Field(min_length=1, max_length=500)] = (
        "I do not know: the documents that I answer from say nothing about this."
    )
    list_sources: bool = True
    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 120
    input_usd_per_million: Usd | None = None
    output_usd_per_million: Usd | None = None

    @model_validator(mode="after")
    def _an_answer_leaves_room(self) -> Self:
        if self.answer_tokens > self.context_tokens // 2:
            raise ValueError(
                f"answerTokens must be at most half of contextTokens ({self.context_tokens // 2}); "
                f"got {self.answer_tokens}"
            )
        return self


class IngestionSettings(Section):
    """The job that brings documents in.

    Attributes:
        schedule: When, in UTC: minute, hour, day of the month, month, day of the week; empty for by hand only.
        include: Patterns of paths below the source; ``*`` takes slashes too.
        document_mib: A larger file is set aside.
        max_bad_share: Share of the documents that may be set aside; above it the run is refused.
        max_deleted_share: Share of the known documents that may be gone at once; above it the run is refused, because
            it looks like a source that is not there.
        workers: Ray workers at most; as many files are worked on at once as they have CPUs.
        vcpu: CPUs of one worker.
        memory_gib: Memory of one worker in GiB.
        deadline_hours: When a run is stopped.
    """

    schedule: Cron | None = None
    include: Annotated[tuple[Pattern, ...], Field(min_length=1)] = ("*",)
    document_mib: Annotated[int, Field(ge=1, le=1024)] = 64
    max_bad_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    max_deleted_share: Annotated[float, Field(ge=0, le=1)] = 0.3
    workers: Annotated[int, Field(ge=1, le=50)] = 1
    vcpu: Annotated[int, Field(ge=2, le=64)] = 3
    memory_gib: Annotated[int, Field(ge=4, le=512)] = 8
    deadline_hours: Annotated[int, Field(ge=1, le=168)] = 6


class AnsweringSettings(Section):
    """The servers that answer. They wait for others most of the time.

    Attributes:
        min_replicas: Servers at least; two at least where the platform is highly available.
        max_replicas: Servers at most; more come above 70 % of the CPU that they request.
        cpu_millicores: CPU that one requests.
        memory_mib: Memory that one requests.
        memory_limit_mib: Memory at which it is stopped.
        body_kib: A larger request is refused.
        concurrency: Requests that one takes at once.
    """

    min_replicas: Annotated[int, Field(ge=1, le=20)] = 1
    max_replicas: Annotated[int, Field(ge=1, le=50)] = 3
    cpu_millicores: Annotated[int, Field(ge=50, le=8000)] = 100
    memory_mib: Annotated[int, Field(ge=128, le=8192)] = 256
    memory_limit_mib: Annotated[int, Field(ge=256, le=16384)] = 768
    body_kib: Annotated[int, Field(ge=1, le=10240)] = 256
    concurrency: Annotated[int, Field(ge=1, le=1000)] = 64

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"minReplicas {self.min_replicas} is above maxReplicas {self.max_replicas}")
        if self.memory_mib > self.memory_limit_mib:
            raise ValueError(f"memoryMib {self.memory_mib} is above memoryLimitMib {self.memory_limit_mib}")
        return self


class RetrievalSettings(Section):
    """One collection of documents, and a model that answers from it.

    Attributes:
        name: What clients put into ``model``; unique among all models of the stack.
        source: Folder below ``raw/`` in the bucket ``data``: text, Markdown, HTML, PDF, JSON lines.
        documents_of: Instead of ``source``: another retrieval, which brings the documents in. So several models answer
            from one collection, each with a filter of its own.
        embedding: How text becomes a vector; with ``documents_of`` it is that retrieval's.
        chunking: How documents are cut.
        index: Which index the collection has.
        search: What is found for a question.
        answer: How answers are written.
        ingestion: The job that brings documents in.
        service: The servers that answer.
        monthly_usd: What the retrieval may spend at the model gateway in thirty days, for vectors and answers.
    """

    name: Annotated[Name, Field(max_length=NAME_LENGTH)]
    source: RawPath | None = None
    documents_of: str = ""
    embedding: EmbeddingSettings | None = None
    chunking: ChunkingSettings = ChunkingSettings()
    index: IndexSettings = IndexSettings()
    search: SearchSettings = SearchSettings()
    answer: AnswerSettings
    ingestion: IngestionSettings = IngestionSettings()
    service: AnsweringSettings = AnsweringSettings()
    monthly_usd: Annotated[float, Field(gt=0)] = 100

    @model_validator(mode="after")
    def _documents_come_from_one_place(self) -> Self:
        if (self.source is None) == (not self.documents_of):
            raise ValueError("needs source, or documentsOf with the name of another retrieval")
        if self.source is not None and self.embedding is None:
            raise ValueError("needs embedding: documents of a source of its own are embedded")
        if self.documents_of:
            own = {"embedding", "chunking", "index", "ingestion"} & self.model_fields_set
            if own:
                raise ValueError(f"{', '.join(sorted(own))}: set at {self.documents_of}, which brings the documents in")
        return self

    @property
    def collection(self) -> str:
        """Whose documents it answers from."""
        return self.documents_of or self.name


Finding = tuple[str, str]
"""A path in the settings, and what is wrong there."""


def problems(
    retrievals: Sequence[RetrievalSettings],
    *,
    hosted: Sequence[HostedModelSettings],
    models: Sequence[ModelSettings],
    platform: PlatformSettings,
) -> Iterator[Finding]:
    """What cannot work of the retrievals together with the rest of the stack. Pure.

    Args:
        retrievals: All retrievals.
        hosted: Models that the cloud serves.
        models: Models of the stack's own: they chat.
        platform: Which systems there are.
    """
    if not retrievals:
        return
    yield from _systems(retrievals, platform)
    modes = {model.name: model.mode for model in hosted} | {model.name: "chat" for model in models}
    own = {one.name: one for one in retrievals}
    taken: set[str] = set(modes)
    for index, one in enumerate(retrievals):
        path = f"retrievals[{index}]"
        if one.name in taken:
            yield f"{path}.name", f"must differ from the names of all other models; got {one.name}"
        taken.add(one.name)
        wanted = [("answer.model", one.answer.model, "chat")]
        if one.embedding:
            wanted.append(("embedding.model", one.embedding.model, "embedding"))
        for field, name, mode in wanted:
            if name in own:
                yield f"{path}.{field}", f"must be a model that does not answer from documents itself; got {name}"
            elif modes.get(name) != mode:
                known = [title for title, does in modes.items() if does == mode]
                which = f"one of the stack's {', '.join(known)}" if known else "declared, and the stack has none"
                yield f"{path}.{field}", f"must be a model with mode {mode}: {which}; got {name}"
        if one.documents_of and (own.get(one.documents_of) is None or own[one.documents_of].source is None):
            known = [other.name for other in retrievals if other.source is not None]
            yield (
                f"{path}.documentsOf",
                f"must be a retrieval with a source: {', '.join(known) or 'there is none'}; got {one.documents_of}",
            )


def _systems(retrievals: Sequence[RetrievalSettings], platform: PlatformSettings) -> Iterator[Finding]:
    """Systems that must be there; data processing only for those that bring documents in."""
    needed: list[tuple[str, bool, str]] = [
        ("vectors", platform.vectors.enabled, "which holds their documents"),
        ("modelGateway", platform.model_gateway.enabled, "which clients reach them through"),
    ]
    if any(one.source is not None for one in retrievals):
        needed.append(("ray", platform.ray.enabled, "which brings documents in"))
        needed.append(("workflows", platform.workflows.enabled, "which starts ingestions"))
    for name, there, why in needed:
        if not there:
            yield "retrievals", f"need platform.{name}.enabled, {why}"
