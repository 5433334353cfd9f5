"""Datasets: raw text of the object store, made into what models are trained on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from components.settings.base import Section
from components.settings.platform.backups import Cron

RAW: Final = "raw/"
"""Where raw data lies in the bucket ``data``."""

_HUB = re.compile(r"hf://[A-Za-z0-9][\w.-]*/[\w.-]+")
_BUCKET = re.compile(r"models/(?:[\w.-]+/)*[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _raw(value: str) -> str:
    parts = value.rstrip("/").split("/")
    if not value.startswith(RAW) or any(part in ("", ".", "..") for part in parts) or len(parts) < 2:
        raise ValueError(f"must be a path below {RAW} in the bucket data, such as raw/corpus/; got {value}")
    if not re.fullmatch(r"[\w./=+-]+", value, re.ASCII):
        raise ValueError(f"must have only letters, digits and . _ - + = /; got {value}")
    return value.rstrip("/") + "/"


DatasetName = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,24}[a-z0-9])?$")]
"""Lower-case letters, digits and hyphens, at most 26 characters: Ray adds 20 of its own to ``dataset-<name>-``."""

RawPath = Annotated[str, AfterValidator(_raw)]
"""A folder below ``raw/`` in the bucket ``data``."""


class CleaningSettings(Section):
    """What is done to every record, and which are set aside.

    Attributes:
        min_characters: Records with less text are set aside.
        max_characters: Records with more text are set aside.
    """

    min_characters: Annotated[int, Field(ge=1)] = 1
    max_characters: Annotated[int, Field(ge=1, le=10_000_000)] = 1_000_000

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Self:
        if self.min_characters > self.max_characters:
            raise ValueError(f"minCharacters {self.min_characters} is above maxCharacters {self.max_characters}")
        return self


class NearDuplicateSettings(Section):
    """Records that nearly say the same: MinHash signatures, compared where locality-sensitive hashing finds them alike.

    Attributes:
        threshold: Share of word groups that two records have in common, from which on one of them is a duplicate. 0.8
            is what the public corpora of web text use (Lee et al. 2021, "Deduplicating Training Data Makes Language
            Models Better").
        permutations: Length of a signature, a multiple of 16: more finds duplicates more surely, and costs 4 bytes a
            record each.
        words: Words in a group.
    """

    threshold: Annotated[float, Field(ge=0.5, le=0.99)] = 0.8
    permutations: Annotated[int, Field(ge=32, le=512, multiple_of=16)] = 128
    words: Annotated[int, Field(ge=1, le=20)] = 5


class SplitSettings(Section):
    """Who goes where. A record's own text decides, so that it stays on its side whatever is added later.

    Attributes:
        evaluation_percent: Records in ``evaluation``.
        test_percent: Records in ``test``.
        salt: Another one deals anew. Models that were trained before have then seen what they are judged by.
    """

    evaluation_percent: Annotated[float, Field(ge=0, le=50)] = 2
    test_percent: Annotated[float, Field(ge=0, le=50)] = 0
    salt: Annotated[str, Field(max_length=64)] = ""

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> Self:
        if self.evaluation_percent + self.test_percent >= 100:
            raise ValueError("evaluationPercent and testPercent leave nothing to train on")
        return self


class TokenizerSettings(Section):
    """The tokenizer of the model that is to be trained.

    Attributes:
        source: ``hf://<organisation>/<model>``, or a folder of the bucket ``models`` such as ``models/llama-3.1-8b``.
        revision: Which state of it: the commit, 40 hexadecimal digits, for one of the hub; for a folder the hash that
            a run with a wrong one names, 64 digits.
    """

    source: str
    revision: str

    @field_validator("source")
    @classmethod
    def _source_is_known(cls, value: str) -> str:
        if not _HUB.fullmatch(value) and not _BUCKET.fullmatch(value.rstrip("/")):
            raise ValueError(f"must be hf://<organisation>/<model> or models/<folder>; got {value}")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _revision_is_pinned(self) -> Self:
        wanted, what = (_COMMIT, "a commit of 40") if self.from_hub else (_SHA256, "a hash of 64")
        if not wanted.fullmatch(self.revision):
            raise ValueError(f"revision must be {what} hexadecimal digits for {self.source}; got {self.revision}")
        return self

    @property
    def from_hub(self) -> bool:
        """Whether it comes from the public hub."""
        return self.source.startswith("hf://")


class DatasetWorkerSettings(Section):
    """Workers of the job; they are there only while it runs.

    Attributes:
        max_count: How many at most. With the standing cluster and Milvus they must fit the row ``data-processing``.
        vcpu: CPU of one; it works on as many files at a time.
        memory_gib: Memory of one in GiB.
        disk_gib: Disk of one in GiB.
    """

    max_count: Annotated[int, Field(ge=1, le=100)] = 2
    vcpu: Annotated[int, Field(ge=1, le=64)] = 3
    memory_gib: Annotated[int, Field(ge=4, le=512)] = 12
    disk_gib: Annotated[int, Field(ge=5, le=500)] = 40


class DatasetSettings(Section):
    """One dataset: from raw files to tokens in Parquet, with a manifest.

    Attributes:
        name: Unique; also the folder of its results, ``processed/<name>/`` in the bucket ``data``.
        sources: Folders below ``raw/`` in the bucket ``data``; files ``*.jsonl``, ``*.txt`` and the same with ``.gz``.
        kind: ``text`` is running text; ``chat`` is conversations, lists of ``{"role": …, "content": …}``. Only JSONL
            holds conversations.
        record_field: Member of a JSONL record that holds it; ``text`` or ``messages`` where it is empty.
        text_record: What is one record of a ``.txt`` file.
        cleaning: What is done to every record.
        near_duplicates: Leave records out that nearly say the same as an earlier one; none finds only equal ones.
        split: Who goes where.
        tokenizer: The tokenizer.
        max_tokens: Length of a sequence at most. Longer text is cut into several; a longer conversation is set aside,
            because an answer that ends in the middle teaches to end there.
        pack: Put several records into one sequence, so that little of it is padding.
        train_on: ``assistant`` leaves all but the assistant's words out of the loss; only for conversations.
        max_bad_records: Share of records that may be set aside; with more the run fails.
        workers: Workers of the job.
        schedule: When it runs by itself, in UTC; none: when somebody or a pipeline asks. Nothing runs twice: a run that
            finds the same raw files ends at once.
        deadline_hours: When a run is stopped; the next one goes on where it ended.
    """

    name: DatasetName
    sources: Annotated[tuple[RawPath, ...], Field(min_length=1)]
    kind: Literal["text", "chat"] = "text"
    record_field: Annotated[str, Field(max_length=100)] = ""
    text_record: Literal["line", "file"] = "line"
    cleaning: CleaningSettings = CleaningSettings()
    near_duplicates: NearDuplicateSettings | None = None
    split: SplitSettings = SplitSettings()
    tokenizer: TokenizerSettings
    max_tokens: Annotated[int, Field(ge=16, le=1_000_000)] = 2048
    pack: bool = True
    train_on: Literal["all", "assistant"] = "all"
    max_bad_records: Annotated[float, Field(ge=0, le=1)] = 0.01
    workers: DatasetWorkerSettings = DatasetWorkerSettings()
    schedule: Cron | None = None
    deadline_hours: Annotated[int, Field(ge=1, le=168)] = 6

    @model_validator(mode="after")
    def _text_has_no_assistant(self) -> Self:
        if self.kind == "text" and self.train_on == "assistant":
            raise ValueError("trainOn: assistant needs kind: chat; running text has no roles")
        return self

    @field_validator("sources")
    @classmethod
    def _sources_are_apart(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for index, one in enumerate(value):
            if inside := [other for place, other in enumerate(value) if place != index and one.startswith(other)]:
                raise ValueError(f"must not overlap, or its records would be read twice; {one} lies in {inside[0]}")
        return value

    @property
    def field(self) -> str:
        """Member of a JSONL record that is read."""
        return self.record_field or {"text": "text", "chat": "messages"}[self.kind]


def repeated_names(datasets: Sequence[DatasetSettings]) -> Iterator[tuple[int, str]]:
    """Datasets whose name another one has: their place, and what to say."""
    counts = Counter(one.name for one in datasets)
    for index, one in enumerate(datasets):
        if counts[one.name] > 1:
            yield index, f"must be unique; {counts[one.name]} datasets are named {one.name}"
