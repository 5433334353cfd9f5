"""Sequences of a prepared dataset that was not learned from. Only the files of one split are fetched."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workloads.artifacts import Manifest, current, hashed, read
from workloads.artifacts.configuration import ConfigError
from workloads.artifacts.objects import join, objects

from .config import HeldOut


@dataclass(frozen=True)
class Held:
    """One sequence.

    Attributes:
        id: Named by its tokens, so that it is the same in every dataset and every run.
        tokens: Its tokens.
        labels: The same, and -100 where a token does not count for the loss.
    """

    id: str
    tokens: list[int]
    labels: list[int]


def dataset(wanted: HeldOut) -> Manifest:
    """The dataset that is meant.

    Raises:
        ConfigError: There is none, or it has no such split.
    """
    try:
        found = read(wanted.data)
    except FileNotFoundError:
        found = current(wanted.data)
    if found is None:
        raise ConfigError(f"heldOut.data: {wanted.data} has no manifest: the dataset is not there, or is not whole")
    if not _files(found, wanted.split):
        raise ConfigError(f"heldOut.split: {found.url} has nothing below {wanted.split}/; prepare it with such a share")
    return found


def sequences(found: Manifest, wanted: HeldOut, folder: Path) -> list[Held]:
    """The sequences that are taken: the same ones each time."""
    from pyarrow import parquet  # noqa: PLC0415 - only here

    rows: list[dict[str, Any]] = []
    for path in _files(found, wanted.split):
        target = folder / path.replace("/", "-")
        objects(found.url).download(join(found.url, path), target)
        if hashed(target) != found.files[path]:
            raise ConfigError(f"heldOut.data: {join(found.url, path)} is not the file of the manifest")
        rows.extend(parquet.read_table(target).to_pylist())
        target.unlink()
    return taken(named((row["input_ids"], row.get("labels") or row["input_ids"]) for row in rows), wanted.max_sequences)


def named(rows: Iterable[tuple[list[int], list[int]]]) -> list[Held]:
    """Sequences with names; the same tokens twice are two."""
    seen: Counter[str] = Counter()
    found: list[Held] = []
    for tokens, labels in rows:
        name = hashlib.sha256(repr((tokens, labels)).encode()).hexdigest()[:16]
        seen[name] += 1
        found.append(Held(name if seen[name] == 1 else f"{name}-{seen[name]}", tokens, labels))
    return found


def taken(found: Sequence[Held], most: int) -> list[Held]:
    """Those whose names come first, in the order of their names."""
    ordered = sorted(found, key=lambda one: one.id)
    return ordered[:most] if most else ordered


def _files(found: Manifest, split: str) -> list[str]:
    return sorted(path for path in found.files if path.startswith(f"{split}/") and path.endswith(".parquet"))
