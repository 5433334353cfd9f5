"""The one argument of a run."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from preprocess.errors import ConfigurationError

Url = Annotated[str, Field(pattern=r"^(s3|gs|file)://\S+$")]


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class Source(_Part):
    """A folder with raw files.

    Attributes:
        name: What its files are called in reports; the key of the dataset does not depend on the bucket.
        url: Where it is.
    """

    name: str
    url: Url


class Cleaning(_Part):
    """Bounds of a record's length in characters."""

    min_characters: Annotated[int, Field(ge=1)] = 1
    max_characters: Annotated[int, Field(ge=1)] = 1_000_000


class NearDuplicates(_Part):
    """MinHash: from which share of common word groups on, length of a signature, words in a group."""

    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.8
    permutations: Annotated[int, Field(ge=16, multiple_of=16)] = 128
    words: Annotated[int, Field(ge=1)] = 5


class Split(_Part):
    """Shares of the records in percent."""

    evaluation_percent: Annotated[float, Field(ge=0, lt=100)] = 2
    test_percent: Annotated[float, Field(ge=0, lt=100)] = 0
    salt: str = ""

    @model_validator(mode="after")
    def _something_is_left(self) -> Split:
        if self.evaluation_percent + self.test_percent >= 100:
            raise ValueError("nothing is left to train on")
        return self


class TokenizerSource(_Part):
    """``hf://organisation/model`` or the URL of a folder, and which state of it."""

    url: Annotated[str, Field(pattern=r"^(hf|s3|gs|file)://\S+$")]
    revision: Annotated[str, Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]

    @property
    def identity(self) -> str:
        """Which tokenizer it is, wherever it lies: a folder's revision is the hash of its content."""
        return f"{self.url}@{self.revision}" if self.url.startswith("hf://") else self.revision


class Config(_Part):
    """What is made of what.

    Attributes:
        name: Name of the dataset.
        sources: Where the raw files are.
        output: Folder of the dataset's artifacts.
        work: Folder of what a run can go on from; may be emptied when nothing runs.
        kind: Running text, or conversations.
        field: Member of a JSONL record that is read.
        text_record: What is one record of a ``.txt`` file.
        cleaning: Bounds.
        near_duplicates: None finds only equal records.
        split: Who goes where.
        tokenizer: Which one.
        max_tokens: Length of a sequence at most.
        pack: Several records in one sequence.
        train_on: Which tokens are in the loss.
        max_bad_records: Share of the records that may be set aside.
        partition_mib: Size from which on a file that is not compressed is worked on in parts.
        runner: ``inline`` works on one part after the other in this process, without Ray: for small data, at a shell.
    """

    name: str
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    output: Url
    work: Url
    kind: Literal["text", "chat"] = "text"
    field: str = "text"
    text_record: Literal["line", "file"] = "line"
    cleaning: Cleaning = Cleaning()
    near_duplicates: NearDuplicates | None = None
    split: Split = Split()
    tokenizer: TokenizerSource
    max_tokens: Annotated[int, Field(ge=16)] = 2048
    pack: bool = True
    train_on: Literal["all", "assistant"] = "all"
    max_bad_records: Annotated[float, Field(ge=0, le=1)] = 0.01
    partition_mib: Annotated[float, Field(gt=0)] = 256
    runner: Literal["ray", "inline"] = "ray"

    @model_validator(mode="after")
    def _text_has_no_assistant(self) -> Config:
        if self.kind == "text" and self.train_on == "assistant":
            raise ValueError("trainOn: assistant needs kind: chat")
        if len({source.name for source in self.sources}) < len(self.sources):
            raise ValueError("sources: names must be unique")
        return self

    def records_inputs(self) -> dict[str, Any]:
        """What decides which records a file gives."""
        near = self.near_duplicates
        return {
            "kind": self.kind,
            "field": self.field,
            "textRecord": self.text_record,
            "cleaning": self.cleaning.model_dump(),
            "signatures": None if near is None else {"permutations": near.permutations, "words": near.words},
        }

    def sequences_inputs(self) -> dict[str, Any]:
        """What decides which sequences records become."""
        return {
            "kind": self.kind,
            "tokenizer": self.tokenizer.identity,
            "split": self.split.model_dump(),
            "maxTokens": self.max_tokens,
            "pack": self.pack,
            "trainOn": self.train_on,
        }


def read(text: str) -> Config:
    """The configuration in ``text``; every error at once.

    Raises:
        ConfigurationError: One line for each thing that is wrong.
    """
    try:
        return Config.model_validate_json(text)
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, one['loc'])) or 'configuration'}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors()
        ]
        raise ConfigurationError("\n".join(lines)) from None
