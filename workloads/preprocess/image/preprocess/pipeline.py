"""A run, from raw files to the dataset's manifest. What an earlier run has made is not made again."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from preprocess import duplicates, reading, records, sequences, tokens
from preprocess.config import Config
from preprocess.duplicates import Duplicates, firsts_of
from preprocess.errors import ConfigurationError, RefusedError
from preprocess.reading import Partition
from preprocess.records import SET_ASIDE, Records
from preprocess.runner import Runner
from preprocess.sequences import SIDES, Sequences
from workloads.artifacts import FileRecord, Manifest, assemble, find, key_of, point_to, publish
from workloads.artifacts.objects import join, objects

KIND: Final = "dataset"
SOURCES: Final = "sources.jsonl"

VERSION: Final = 1  # of what a dataset is; another one makes every dataset anew
_REPORTS: Final = "reports"
_LIBRARIES: Final = ("tokenizers", "transformers", "pyarrow", "ray")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Made:
    """Everything that a dataset is put together from, part by part."""

    parts: Sequence[Records]
    doubles: Duplicates
    sequences: Sequence[Sequences]

    @property
    def read(self) -> int:
        """Records that there were."""
        return sum(part.read for part in self.parts)

    @property
    def set_aside(self) -> Counter[str]:
        """Records that were set aside, by reason."""
        return sum((Counter(one.set_aside) for one in (*self.parts, *self.sequences)), Counter())

    @property
    def kept(self) -> int:
        """Records that are in the dataset."""
        return sum(numbers.get("records", 0) for one in self.sequences for numbers in one.sides.values())


def run(config: Config, runner: Runner) -> Manifest:
    """Make the dataset, or find that it is there.

    Raises:
        ConfigurationError: The tokenizer is not what the configuration says.
        RefusedError: The raw data is not fit for a dataset.
    """
    raw = reading.files(config)
    hashes = runner("raw files", functools.partial(reading.content_hash, work=config.work), raw)
    key = dataset_key(config, [(file.name, sha256) for file, sha256 in zip(raw, hashes, strict=True)])
    if (known := find(config.output, key)) is not None:
        _said("nothing to do: the dataset is there", {"url": known.url})
        _few_enough(_counts_of(known)["setAside"], _counts_of(known)["read"], config, known.url)
        point_to(known)
        return known
    _fit(config)
    split = [
        part for file, sha256 in zip(raw, hashes, strict=True) for part in reading.partitions(file, sha256, config)
    ]
    made = _make(split, config, runner)
    found = _assembled(key, made, config, [(file, sha256) for file, sha256 in zip(raw, hashes, strict=True)])
    point_to(found)
    _tidy(config, {part.key for part in (*made.parts, *made.sequences)} | {made.doubles.key}, raw)
    _said("done", {"url": found.url, "counts": found.facts["counts"]})
    return found


def dataset_key(config: Config, raw: Sequence[tuple[str, str]]) -> str:
    """The key of what comes of these raw files."""
    near = config.near_duplicates
    return key_of(
        {
            "kind": KIND,
            "version": VERSION,
            "stages": [records.VERSION, duplicates.VERSION, sequences.VERSION],
            "raw": [list(one) for one in raw],
            "partitionMib": config.partition_mib,
            "near": None if near is None else near.model_dump(),
            "records": config.records_inputs(),
            "sequences": config.sequences_inputs(),
        }
    )


def _fit(config: Config) -> None:
    """Refuse a tokenizer that cannot do what is asked, before anything is read."""
    found = tokens.load(config.tokenizer)
    if config.kind == "chat" and not found.has_template:
        raise ConfigurationError(f"tokenizer.url: {config.tokenizer.url} has no chat template; kind: chat needs one")
    if config.kind == "text" and config.pack and found.end is None:
        raise ConfigurationError(f"pack: {config.tokenizer.url} has no end token to put between records")


def _make(split: Sequence[Partition], config: Config, runner: Runner) -> _Made:
    parts = runner("records", functools.partial(records.make, config=config), split)
    _report("records", parts)
    if damaged := [part.damage for part in parts if part.damage]:
        raise RefusedError(f"{len(damaged)} files cannot be read to their end:\n" + "\n".join(damaged))
    _few_enough(_reasons(parts), sum(part.read for part in parts), config, _refusal(parts, (), config))
    doubles = duplicates.find_all(parts, config, runner)
    _said("duplicates", {"equal": len(doubles.equal), "near": len(doubles.near), "reused": doubles.reused})
    jobs = [
        sequences.Job(part, doubles.of(first, part.kept), config)
        for part, first in zip(parts, firsts_of(parts), strict=True)
    ]
    written = runner("sequences", sequences.make, jobs)
    _report("sequences", written)
    made = _Made(parts, doubles, written)
    _few_enough(dict(made.set_aside), made.read, config, _refusal(parts, written, config))
    if not any(one.sides.get("train", {}).get("sequences") for one in written):
        raise RefusedError(f"nothing to train on: of {made.read} records none is left for the side train")
    return made


def _assembled(key: str, made: _Made, config: Config, raw: Sequence[tuple[reading.RawFile, str]]) -> Manifest:
    """Put the dataset together, the manifest last."""
    counts = _counts(made)
    lost = counts["read"] - counts["kept"] - counts["equal"] - counts["near"] - sum(counts["setAside"].values())
    assert not lost, f"{lost} records are unaccounted for: {counts}"
    files: dict[str, tuple[str, FileRecord]] = {
        f"{side}/{at:05d}.parquet": (join(one.url, name), one.files[name])
        for at, one in enumerate(made.sequences)
        for side in SIDES
        if (name := f"{side}.parquet") in one.files
    }
    report = _published_report(key, made, config, raw)
    files |= {name: (join(report.url, name), record) for name, record in report.files.items()}
    return assemble(
        files,
        config.output,
        key,
        kind=KIND,
        parents={
            "raw": key_of({"raw": [[file.name, sha256] for file, sha256 in raw]}),
            "tokenizer": f"{config.tokenizer.url}@{config.tokenizer.revision}",
        },
        facts={
            "name": config.name,
            "counts": counts,
            "sides": _sides(made),
            "tokenizer": tokens.load(config.tokenizer).facts,
            "maxTokens": config.max_tokens,
            "packed": config.pack,
            "kind": config.kind,
            "trainOn": config.train_on,
            "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        },
    )


def _published_report(key: str, made: _Made, config: Config, raw: Sequence[tuple[reading.RawFile, str]]) -> Manifest:
    """Which records were set aside, and which files were read."""
    read = Counter[str]()
    for part in made.parts:
        read[part.part.name] += part.read
    with tempfile.TemporaryDirectory() as folder:
        _write_lines(Path(folder) / SET_ASIDE, _set_aside(made.parts, made.sequences))
        lines = (
            {"file": file.name, "sha256": sha256, "sizeBytes": file.size_bytes, "records": read[file.name]}
            for file, sha256 in raw
        )
        _write_lines(Path(folder) / SOURCES, lines)
        return publish(Path(folder), join(config.work, _REPORTS), key, kind="report", parents={}, facts={})


def _set_aside(parts: Sequence[Records], written: Sequence[Sequences]) -> Iterator[dict[str, Any]]:
    """Every record that was set aside, with the line of the whole file."""
    before = 0
    for at, part in enumerate(parts):
        before = before + parts[at - 1].lines if at and parts[at - 1].part.name == part.part.name else 0
        stages = [("records", part.url, part.set_aside)]
        if written:
            stages.append(("sequences", written[at].url, written[at].set_aside))
        for stage, url, reasons in stages:
            if not reasons:
                continue
            for line in objects(url).read(join(url, SET_ASIDE)).decode().splitlines():
                told = json.loads(line)
                yield {"file": part.part.name, **told, "line": before + told["line"], "stage": stage}


def _write_lines(path: Path, lines: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _refusal(parts: Sequence[Records], written: Sequence[Sequences], config: Config) -> str:
    """Write down what a run had set aside that is to be refused, and say where; nothing where it is not."""
    if _share(_total(parts, written), sum(part.read for part in parts)) <= config.max_bad_records:
        return ""
    key = key_of({"parts": [part.key for part in parts], "sequences": [one.key for one in written]})
    with tempfile.TemporaryDirectory() as folder:
        _write_lines(Path(folder) / SET_ASIDE, _set_aside(parts, written))
        made = publish(Path(folder), join(config.work, "refused"), key, kind="refusal", parents={}, facts={})
    return join(made.url, SET_ASIDE)


def _few_enough(reasons: dict[str, int], read: int, config: Config, where: str) -> None:
    share = _share(sum(reasons.values()), read)
    if share > config.max_bad_records:
        why = "\n".join(f"  {count} x {reason}" for reason, count in sorted(reasons.items(), key=lambda one: -one[1]))
        raise RefusedError(
            f"{sum(reasons.values())} of {read} records were set aside ({share:.2%}, and maxBadRecords is "
            f"{config.max_bad_records:.2%}):\n{why}\nEach with its file and line: {where}"
        )


def _share(bad: int, read: int) -> float:
    return bad / read if read else 0.0


def _total(parts: Sequence[Records], written: Sequence[Sequences]) -> int:
    return sum(sum(one.set_aside.values()) for one in (*parts, *written))


def _reasons(parts: Sequence[Records]) -> dict[str, int]:
    return dict(sum((Counter(part.set_aside) for part in parts), Counter[str]()))


def _counts(made: _Made) -> dict[str, Any]:
    return {
        "read": made.read,
        "kept": made.kept,
        "equal": len(made.doubles.equal),
        "near": len(made.doubles.near),
        "setAside": dict(sorted(made.set_aside.items())),
        "blankLines": sum(part.blank for part in made.parts),
        "tokensLeftOver": sum(one.left_over for one in made.sequences),
    }


def _counts_of(artifact: Manifest) -> dict[str, Any]:
    counts: Any = artifact.facts["counts"]
    return counts


def _sides(made: _Made) -> dict[str, Any]:
    found: dict[str, Counter[str]] = {}
    for one in made.sequences:
        for side, numbers in one.sides.items():
            found.setdefault(side, Counter()).update(numbers)
    return {side: dict(numbers) for side, numbers in sorted(found.items())}


def _tidy(config: Config, used: set[str], raw: Sequence[reading.RawFile]) -> None:
    """Remove what earlier runs had made and this one has not used: the next run would not either."""
    states = {f"{file.state}.json" for file in raw}
    store = objects(config.work)
    stale = [
        url
        for url in store.list(config.work)
        if not used & set(url.split("/")) and url.rpartition("/")[2] not in states
    ]
    # Manifests first: an artifact is gone before its files are.
    for url in sorted(stale, key=lambda one: not one.endswith("/manifest.json")):
        store.delete(url)
    if stale:
        _said("removed what is of no use any more", {"objects": len(stale)})


def _report(stage: str, made: Sequence[Records] | Sequence[Sequences]) -> None:
    reused = sum(one.reused for one in made)
    _said(stage, {"parts": len(made), "reused": reused, "made": len(made) - reused})


def _said(what: str, facts: dict[str, Any]) -> None:
    _log.info("%s", what, extra={"facts": facts})
