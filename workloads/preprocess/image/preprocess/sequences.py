"""Third stage: the records of a part become sequences of tokens, on the side where each belongs."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import url_to_fs
from numpy.typing import NDArray

from preprocess import tokens
from preprocess.config import Config
from preprocess.records import SET_ASIDE, TABLE, Records
from preprocess.text import BadRecordError, side
from preprocess.tokens import Tokenizer, Tokens
from workloads.artifacts import FileRecord, Manifest, find, key_of, publish
from workloads.artifacts.objects import join

FOLDER: Final = "sequences"
SIDES: Final = ("train", "evaluation", "test")

VERSION: Final = 1
_BATCH: Final = 256  # records that are tokenized at a time
_GROUP_TOKENS: Final = 1 << 20  # tokens of a row group: about 12 MiB before compression
_SHORTEST: Final = 2  # tokens; one alone has no next one to be learned


@dataclass(frozen=True)
class Job:
    """One task.

    Attributes:
        records: The part.
        dropped: Its rows that are left out.
        config: The run's.
    """

    records: Records
    dropped: NDArray[np.int64]
    config: Config


@dataclass(frozen=True)
class Sequences:
    """What the records of a part have become.

    Attributes:
        key: Of the artifact.
        url: Where it is.
        files: Its files.
        sides: For each side its numbers of records, sequences and tokens.
        set_aside: Records that could not be written as tokens, by reason.
        left_over: Tokens at the ends of texts that are in no sequence, because one alone teaches nothing.
        reused: An earlier run had made it.
    """

    key: str
    url: str
    files: Mapping[str, FileRecord]
    sides: Mapping[str, Mapping[str, int]]
    set_aside: Mapping[str, int]
    left_over: int
    reused: bool


@dataclass
class _Side:
    """One side while it is written."""

    writer: pq.ParquetWriter
    waiting: list[Tokens] = field(default_factory=list)  # records of a sequence that is not full
    rows: list[dict[str, Any]] = field(default_factory=list)
    numbers: Counter[str] = field(default_factory=Counter)


def make(job: Job) -> Sequences:
    """The sequences of a part; those of an earlier run where there are."""
    key = key_of(
        {
            "stage": FOLDER,
            "version": VERSION,
            "records": job.records.key,
            "dropped": hashlib.sha256(job.dropped.astype("<i8").tobytes()).hexdigest(),
            **job.config.sequences_inputs(),
        }
    )
    base = join(job.config.work, FOLDER)
    if (known := find(base, key)) is not None:
        return _found(known, reused=True)
    with tempfile.TemporaryDirectory() as folder:
        facts = _Writing(job, Path(folder)).run()
        made = publish(Path(folder), base, key, kind=FOLDER, parents={"records": job.records.key}, facts=facts)
    return _found(made, reused=False)


def windows(found: Tokens, length: int) -> Iterator[Tokens]:
    """Tokens in pieces of at most a length."""
    for at in range(0, len(found.ids), length):
        yield Tokens(found.ids[at : at + length], found.labels[at : at + length])


def row(records: list[Tokens], *, packed: bool) -> dict[str, Any]:
    """One sequence of several records. In a packed one positions begin anew with each, so that attention can too."""
    ids = [token for one in records for token in one.ids]
    found = {
        "input_ids": ids,
        "attention_mask": [1] * len(ids),
        "labels": [label for one in records for label in one.labels],
    }
    return found | ({"position_ids": [at for one in records for at in range(len(one.ids))]} if packed else {})


def schema(*, packed: bool) -> pa.Schema:
    """Columns of a sequence."""
    columns = {
        "input_ids": pa.list_(pa.int32()),
        "attention_mask": pa.list_(pa.int8()),
        "labels": pa.list_(pa.int32()),
    }
    return pa.schema(columns | ({"position_ids": pa.list_(pa.int32())} if packed else {}))


def _found(artifact: Manifest, *, reused: bool) -> Sequences:
    facts = cast("dict[str, Any]", artifact.facts)
    return Sequences(
        artifact.key,
        artifact.url,
        artifact.files,
        sides=facts["sides"],
        set_aside=facts["setAside"],
        left_over=facts["leftOver"],
        reused=reused,
    )


class _Writing:
    """The writing of one part."""

    def __init__(self, job: Job, folder: Path) -> None:
        self._job = job
        self._config = job.config
        self._folder = folder
        self._tokenizer: Tokenizer = tokens.load(job.config.tokenizer)
        self._sides: dict[str, _Side] = {}
        self._reasons: Counter[str] = Counter()
        self._left_over = 0

    def run(self) -> dict[str, Any]:
        """Write all of it, and say what it is."""
        with (self._folder / SET_ASIDE).open("w", encoding="utf-8") as aside:
            for batch in self._batches():
                for line, where, found in self._tokens(batch):
                    if isinstance(found, BadRecordError):
                        self._reasons[str(found)] += 1
                        aside.write(json.dumps({"line": line, "reason": str(found), "excerpt": ""}) + "\n")
                    else:
                        self._add(where, found)
        for one in self._sides.values():
            self._flush(one)
            self._write(one)
            one.writer.close()
        return {
            "sides": {name: dict(one.numbers) for name, one in sorted(self._sides.items())},
            "setAside": dict(sorted(self._reasons.items())),
            "leftOver": self._left_over,
        }

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        """Records that stay, with their lines and hashes."""
        files, path = url_to_fs(join(self._job.records.url, TABLE))
        first = 0
        with files.open(path, "rb") as stream:
            for batch in pq.ParquetFile(stream).iter_batches(_BATCH, columns=["line", "hash", "content"]):
                stays = np.ones(batch.num_rows, bool)
                here = self._job.dropped[
                    np.searchsorted(self._job.dropped, first) : np.searchsorted(self._job.dropped, first + len(stays))
                ]
                stays[here - first] = False
                first += batch.num_rows
                yield batch.filter(pa.array(stays)).to_pylist()

    def _tokens(self, batch: list[dict[str, Any]]) -> Iterator[tuple[int, str, Tokens | BadRecordError]]:
        config = self._config
        if config.kind == "text":
            found: list[Tokens | BadRecordError] = list(self._tokenizer.texts([one["content"] for one in batch]))
        else:
            found = [self._conversation(json.loads(one["content"])) for one in batch]
        for one, what in zip(batch, found, strict=True):
            short = isinstance(what, Tokens) and len(what.ids) < _SHORTEST
            yield (
                one["line"],
                side(one["hash"], config.split),
                BadRecordError("one token only") if short else what,
            )

    def _conversation(self, messages: list[dict[str, str]]) -> Tokens | BadRecordError:
        config = self._config
        try:
            found = self._tokenizer.conversation(messages, assistant_only=config.train_on == "assistant")
        except BadRecordError as error:
            return error
        if len(found.ids) > config.max_tokens:
            return BadRecordError("more tokens than maxTokens")
        if all(label == tokens.IGNORED for label in found.labels):
            return BadRecordError("no token of the assistant")
        return found

    def _add(self, where: str, found: Tokens) -> None:
        one = self._side(where)
        one.numbers["records"] += 1
        length = self._config.max_tokens
        if not self._config.pack:
            for piece in windows(found, length):
                self._sequence(one, [piece])
            return
        if self._config.kind == "chat":
            if sum(len(other.ids) for other in one.waiting) + len(found.ids) > length:
                self._flush(one)
            one.waiting.append(found)
            return
        while found.ids:  # running text goes on in the next sequence
            room = length - sum(len(other.ids) for other in one.waiting)
            one.waiting.append(Tokens(found.ids[:room], found.labels[:room]))
            found = Tokens(found.ids[room:], found.labels[room:])
            if sum(len(other.ids) for other in one.waiting) == length:
                self._flush(one)

    def _flush(self, one: _Side) -> None:
        waiting, one.waiting = one.waiting, []
        if waiting:
            self._sequence(one, waiting)

    def _sequence(self, one: _Side, records: list[Tokens]) -> None:
        made = row(records, packed=self._config.pack)
        if len(made["input_ids"]) < _SHORTEST:
            self._left_over += len(made["input_ids"])
            return
        one.rows.append(made)
        one.numbers["sequences"] += 1
        one.numbers["tokens"] += len(made["input_ids"])
        one.numbers["trainedTokens"] += sum(label != tokens.IGNORED for label in made["labels"])
        if len(one.rows) * self._config.max_tokens >= _GROUP_TOKENS:
            self._write(one)

    def _write(self, one: _Side) -> None:
        if one.rows:
            one.writer.write_table(pa.Table.from_pylist(one.rows, schema=schema(packed=self._config.pack)))
            one.rows = []

    def _side(self, name: str) -> _Side:
        if name not in self._sides:
            path = self._folder / f"{name}.parquet"
            self._sides[name] = _Side(pq.ParquetWriter(path, schema(packed=self._config.pack), compression="zstd"))
        return self._sides[name]
