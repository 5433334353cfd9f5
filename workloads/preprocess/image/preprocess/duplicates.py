"""Second stage: which records say what an earlier one says."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import url_to_fs
from numpy.typing import NDArray

from preprocess import near
from preprocess.config import Config
from preprocess.records import TABLE, Records, band_column, bands
from preprocess.runner import Runner
from workloads.artifacts import fetch, find, key_of, publish
from workloads.artifacts.objects import join

FOLDER: Final = "duplicates"

VERSION: Final = 1
_AT_ONCE: Final = 20_000_000  # records whose hashes one task sorts: about 1 GiB
_FILE: Final = "dropped.parquet"


@dataclass(frozen=True)
class Duplicates:
    """Numbers of the records that are left out, in order. Records are numbered through all parts.

    Attributes:
        key: Of the artifact.
        equal: Those that are equal to an earlier one.
        near: Those that are nearly so.
        reused: An earlier run had found them.
    """

    key: str
    equal: NDArray[np.int64]
    near: NDArray[np.int64]
    reused: bool

    def of(self, first: int, count: int) -> NDArray[np.int64]:
        """Rows of a part that are left out; ``first`` is the number of its first record."""
        found = np.union1d(_between(self.equal, first, count), _between(self.near, first, count))
        return found - first


@dataclass(frozen=True)
class _Search:
    """One task.

    Attributes:
        urls: Parts, in order.
        firsts: Number of the first record of each.
        share: Which of how many tasks it is; a record's hash says whose it is.
        band: Band to look at.
    """

    urls: tuple[str, ...]
    firsts: tuple[int, ...]
    share: tuple[int, int] = (0, 1)
    band: int = 0


def find_all(parts: Sequence[Records], config: Config, run: Runner) -> Duplicates:
    """The duplicates among all records; the first of equals is kept, by name of the file and line."""
    wanted = config.near_duplicates
    key = key_of(
        {
            "stage": FOLDER,
            "version": VERSION,
            "parts": [part.key for part in parts],
            "near": None if wanted is None else wanted.model_dump(),
        }
    )
    base = join(config.work, FOLDER)
    with tempfile.TemporaryDirectory() as folder:
        if (known := find(base, key)) is not None:
            fetch(known.url, Path(folder))
            table = pq.read_table(Path(folder) / _FILE)
            ids, is_near = table["record"].to_numpy(), table["near"].to_numpy()
            return Duplicates(key, ids[~is_near], ids[is_near], reused=True)
        equal, alike = _search(parts, config, run)
        ids = np.concatenate([equal, alike])
        is_near = np.repeat([False, True], [len(equal), len(alike)])
        pq.write_table(pa.table({"record": ids, "near": is_near}), Path(folder) / _FILE)
        publish(Path(folder), base, key, kind=FOLDER, parents={}, facts={"equal": len(equal), "near": len(alike)})
    return Duplicates(key, equal, alike, reused=False)


def firsts_of(parts: Sequence[Records]) -> list[int]:
    """Number of the first record of each part."""
    return np.cumsum([0, *(part.kept for part in parts)])[:-1].tolist()


def _search(parts: Sequence[Records], config: Config, run: Runner) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    urls, firsts = tuple(part.url for part in parts), tuple(firsts_of(parts))
    shares = 1 + sum(part.kept for part in parts) // _AT_ONCE
    jobs = [_Search(urls, firsts, share=(share, shares)) for share in range(shares)]
    equal = np.sort(np.concatenate([_NOTHING, *run("equal records", _equal, jobs)]))
    if config.near_duplicates is None:
        return equal, _NOTHING
    threshold = config.near_duplicates.threshold
    looks = [(_Search(urls, firsts, band=band), threshold) for band in range(bands(config)[0])]
    pairs = np.concatenate([np.empty((0, 2), np.int64), *run("near-duplicates", _alike, looks)])
    return equal, np.setdiff1d(near.later_ones(pairs), equal)


def _equal(job: _Search) -> NDArray[np.int64]:
    """Records of one share that are equal to an earlier one."""
    share, shares = job.share
    hashes: list[NDArray[np.uint64]] = []
    numbers: list[NDArray[np.int64]] = []
    for url, first in zip(job.urls, job.firsts, strict=True):
        some = _numbers(_column(url, "hash"), "<u8", 2)
        mine = some[:, 0] % np.uint64(shares) == share
        hashes.append(some[mine])
        numbers.append(first + np.flatnonzero(mine))
    every, ids = np.concatenate(hashes), np.concatenate(numbers)
    order = np.lexsort((every[:, 1], every[:, 0]))  # stable: the first of equals stays in front
    every, ids = every[order], ids[order]
    return ids[1:][(every[1:] == every[:-1]).all(axis=1)]


def _alike(job: tuple[_Search, float]) -> NDArray[np.int64]:
    """Pairs of records that agree in one band, and whose signatures are alike."""
    search, threshold = job
    values = [_column(url, band_column(search.band)).to_numpy() for url in search.urls]
    numbers = [first + np.arange(len(some)) for first, some in zip(search.firsts, values, strict=True)]
    ids = np.concatenate([_NOTHING, *numbers])
    groups = near.groups_of_equals(np.concatenate([np.empty(0, np.uint64), *values]))
    if not groups:
        return np.empty((0, 2), np.int64)
    members = np.unique(ids[np.concatenate(groups)])
    signatures = _signatures(search, members)
    pairs = [
        pair
        for group in groups
        for pair in near.similar_pairs(ids[group], signatures[np.searchsorted(members, ids[group])], threshold)
    ]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _signatures(search: _Search, members: NDArray[np.int64]) -> NDArray[np.uint32]:
    found: list[NDArray[np.uint32]] = []
    ends = [*search.firsts[1:], np.iinfo(np.int64).max]
    for url, first, end in zip(search.urls, search.firsts, ends, strict=True):
        rows = members[(members >= first) & (members < end)] - first
        if len(rows):
            column = _column(url, "signature")
            found.append(_numbers(column, "<u4", column.type.byte_width // 4)[rows])
    return np.concatenate(found)


def _column(url: str, name: str) -> Any:
    """One column of the records of a part; nothing else of them is read."""
    files, path = url_to_fs(join(url, TABLE))
    with files.open(path, "rb") as stream:
        return pq.read_table(stream, columns=[name])[name].combine_chunks()


def _numbers(column: Any, kind: str, width: int) -> NDArray[Any]:
    """A column of fixed width as rows of numbers, without a copy."""
    if not len(column):
        return np.empty((0, width), kind)
    flat = np.frombuffer(column.buffers()[1], dtype=kind)
    return flat[column.offset * width : (column.offset + len(column)) * width].reshape(-1, width)


def _between(ids: NDArray[np.int64], first: int, count: int) -> NDArray[np.int64]:
    return ids[np.searchsorted(ids, first) : np.searchsorted(ids, first + count)]


_NOTHING: Final = np.empty(0, np.int64)
