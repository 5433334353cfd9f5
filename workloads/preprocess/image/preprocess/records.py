"""First stage: a part of a raw file becomes cleaned records, and a list of those that are set aside."""

from __future__ import annotations

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

from preprocess import near
from preprocess.config import Config
from preprocess.reading import DamagedFileError, Partition, check_state, lines, whole
from preprocess.text import BadRecordError, Record, from_line, record
from workloads.artifacts import Manifest, find, key_of, publish
from workloads.artifacts.objects import join

FOLDER: Final = "records"
TABLE: Final = "records.parquet"
SET_ASIDE: Final = "set-aside.jsonl"

VERSION: Final = 1  # another one reads every file anew
_GROUP: Final = 5000  # records; with signatures and a kilobyte of text each about 8 MiB
_EXCERPT: Final = 200  # characters


@dataclass(frozen=True)
class Records:
    """What a part has become.

    Attributes:
        part: Where it was read.
        key: Of the artifact.
        url: Where the artifact is; empty where the file is damaged.
        kept: Records in it.
        set_aside: Number of the others, by reason.
        lines: Lines of the part, blank ones too.
        blank: Blank ones; they are no records.
        reused: An earlier run had made it.
        damage: Why the file cannot be read; empty where it can.
    """

    part: Partition
    key: str = ""
    url: str = ""
    kept: int = 0
    set_aside: Mapping[str, int] = field(default_factory=dict)
    lines: int = 0
    blank: int = 0
    reused: bool = False
    damage: str = ""

    @property
    def read(self) -> int:
        """Records that there were."""
        return self.kept + sum(self.set_aside.values())


def make(part: Partition, config: Config) -> Records:
    """The records of a part; those of an earlier run where there are."""
    count, _ = bands(config)
    key = key_of(
        {
            "stage": FOLDER,
            "version": VERSION,
            "file": part.sha256,
            "range": [part.start, part.end],
            # How a file is taken apart follows from its ending; its name does not count otherwise.
            "ending": part.name.rpartition("/")[2].partition(".")[2].lower() if part.end is None else "",
            "bands": count,
            **config.records_inputs(),
        }
    )
    base = join(config.work, FOLDER)
    if (known := find(base, key)) is not None:
        return _found(part, known, reused=True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            facts = _write(part, config, Path(folder))
        except DamagedFileError as error:
            return Records(part, damage=str(error))
        check_state(part.url, part.state)
        made = publish(Path(folder), base, key, kind=FOLDER, parents={part.name: part.sha256}, facts=facts)
    return _found(part, made, reused=False)


def bands(config: Config) -> tuple[int, int]:
    """Bands and rows of signatures; none where near-duplicates stay."""
    wanted = config.near_duplicates
    return (0, 0) if wanted is None else near.bands(wanted.permutations, wanted.threshold)


def band_column(band: int) -> str:
    """Name of the column with the hashes of a band."""
    return f"band_{band:03d}"


def _found(part: Partition, artifact: Manifest, *, reused: bool) -> Records:
    facts = cast("dict[str, Any]", artifact.facts)
    return Records(
        part,
        artifact.key,
        artifact.url,
        kept=facts["kept"],
        set_aside=facts["setAside"],
        lines=facts["lines"],
        blank=facts["blank"],
        reused=reused,
    )


def _write(part: Partition, config: Config, folder: Path) -> dict[str, Any]:
    reasons: Counter[str] = Counter()
    told = {"kept": 0, "lines": 0, "blank": 0}
    pending: list[tuple[int, Record]] = []
    schema = _schema(config)
    with (
        pq.ParquetWriter(folder / TABLE, schema, compression="zstd") as table,
        (folder / SET_ASIDE).open("w", encoding="utf-8") as aside,
    ):
        for number, content in _contents(part, config):
            told["lines"] = number
            if content is not None and not content.strip():
                told["blank"] += 1
                continue
            try:
                pending.append((number, _record(content, part, config)))
            except BadRecordError as error:
                reasons[str(error)] += 1
                excerpt = (content or b"")[: 4 * _EXCERPT].decode(errors="replace").strip()[:_EXCERPT]
                said = {"line": number, "reason": str(error), "excerpt": excerpt}
                aside.write(json.dumps(said, ensure_ascii=False) + "\n")
                continue
            told["kept"] += 1
            if len(pending) >= _GROUP:
                table.write_table(_table(pending, config, schema))
                pending = []
        if pending:
            table.write_table(_table(pending, config, schema))
    return {**told, "setAside": dict(sorted(reasons.items()))}


def _contents(part: Partition, config: Config) -> Iterator[tuple[int, bytes | None]]:
    # A character has four bytes at most, and in JSON six for each half of a pair; the rest is for the other members.
    longest = 12 * config.cleaning.max_characters + (1 << 20)
    if _is_text(part) and config.text_record == "file":
        yield 1, whole(part, longest_bytes=longest)
    else:
        yield from lines(part, longest_bytes=longest)


def _is_text(part: Partition) -> bool:
    return part.name.endswith((".txt", ".txt.gz"))


def _record(content: bytes | None, part: Partition, config: Config) -> Record:
    if content is None:
        raise BadRecordError("too long to be held")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise BadRecordError("not UTF-8") from None
    return record(text, config) if _is_text(part) else from_line(text.removeprefix("\ufeff"), config)


def _schema(config: Config) -> pa.Schema:
    count, _ = bands(config)
    columns = [("line", pa.int64()), ("hash", pa.binary(16)), ("content", pa.string())]
    if config.near_duplicates is not None:
        columns += [("signature", pa.binary(4 * config.near_duplicates.permutations))]
        columns += [(band_column(band), pa.uint64()) for band in range(count)]
    return pa.schema(columns)


def _table(pending: list[tuple[int, Record]], config: Config, schema: pa.Schema) -> pa.Table:
    columns: list[Any] = [
        pa.array([number for number, _ in pending], pa.int64()),
        pa.array([one.hash for _, one in pending], pa.binary(16)),
        pa.array([one.content for _, one in pending], pa.string()),
    ]
    if (wanted := config.near_duplicates) is not None:
        made = np.stack(
            [near.signature(one.normalised, permutations=wanted.permutations, words=wanted.words) for _, one in pending]
        )
        columns.append(pa.array([row.tobytes() for row in made], pa.binary(4 * wanted.permutations)))
        hashes = near.band_hashes(made, bands(config)[0])
        columns += [pa.array(hashes[:, band], pa.uint64()) for band in range(hashes.shape[1])]
    return pa.table(columns, schema=schema)
