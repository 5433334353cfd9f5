"""Checkpoints in the object store: whole or not there, the newest found again, old ones removed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from workloads.artifacts import FileRecord, Manifest, fetch, find, hashed, key_of
from workloads.artifacts.manifest import MANIFEST
from workloads.artifacts.objects import join, objects

from . import say

_KIND: Final = "checkpoint"
_AT_ONCE: Final = 8  # as many transfers at a time as artifacts have
_A = TypeVar("_A")
_B = TypeVar("_B")

Gather = Callable[[Any], Sequence[Any]]
"""Hands over one value of this process, and gives those of all."""


class Checkpoints:
    """The checkpoints of one run; every process has one of these, and all call its methods together."""

    def __init__(self, base_url: str, run: str, *, keep: int) -> None:
        """Name the checkpoints.

        Args:
            base_url: Folder of checkpoints.
            run: Key of what comes out: only a run that makes the same goes on from them.
            keep: How many are kept.
        """
        self._url, self._run, self._keep = join(base_url, run), run, keep

    def latest(self) -> Manifest | None:
        """The newest that is whole."""
        found = self._whole()
        return found[-1] if found else None

    def save(self, folder: Path, step: int, *, uploads: bool, first: bool, gather: Gather) -> None:
        """Write what the nodes' folders hold as one checkpoint; its manifest comes last, when every node is done.

        Args:
            folder: This node's files.
            step: Steps that were made.
            uploads: This process is its node's first, and sends the node's files.
            first: This process is the first of all, and writes the manifest.
            gather: Every process's value; it also makes all wait for all.
        """
        gather(None)  # the others of this node have written their files
        key = key_of({"run": self._run, "step": step})
        address = join(self._url, key)
        store = objects(address)
        records: dict[str, FileRecord] = {}
        if uploads:
            paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
            records = dict(zip(paths, side_by_side(hashed, [folder / path for path in paths]), strict=True))
            side_by_side(lambda path: store.upload(folder / path, join(address, path)), paths)
        files: dict[str, FileRecord] = {}
        for part in gather(records):
            if twice := sorted(path for path, record in part.items() if files.get(path, record) != record):
                raise RuntimeError(f"two nodes wrote different files: {', '.join(twice)}")
            files.update(part)
        if first:
            manifest = Manifest(
                kind=_KIND, key=key, url=address, files=files, parents={"run": self._run}, facts={"step": step}
            )
            store.create(join(address, MANIFEST), manifest.to_json().encode())
            say.info("checkpoint", step=step, files=len(files), mib=manifest.size_bytes >> 20)
            for old in self._whole()[: -self._keep]:
                for name in (MANIFEST, *old.files):  # the manifest first: what is left of it is no checkpoint
                    store.delete(join(old.url, name))
        gather(None)  # nobody goes on, and is perhaps interrupted, before it is whole

    def restore(self, found: Manifest, folder: Path) -> Path:
        """Get a checkpoint, every file checked."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        fetch(found.url, folder)
        return folder

    def clear(self) -> None:
        """Remove everything of this run, halves too."""
        store = objects(self._url)
        # Manifests first, so that an interruption leaves no checkpoint with missing files.
        for url in sorted(store.list(self._url), key=lambda one: not one.endswith(f"/{MANIFEST}")):
            store.delete(url)

    def _whole(self) -> list[Manifest]:
        ends = f"/{MANIFEST}"
        keys = [
            url.removesuffix(ends).rpartition("/")[2]
            for url in objects(self._url).list(self._url)
            if url.endswith(ends)
        ]
        found = [one for key in keys if (one := find(self._url, key)) is not None]
        return sorted((one for one in found if one.kind == _KIND), key=step_of)


def step_of(found: Manifest) -> int:
    """Steps that had been made."""
    step = found.facts["step"]
    assert isinstance(step, int)
    return step


def side_by_side(call: Callable[[_A], _B], jobs: Iterable[_A]) -> list[_B]:
    """Every call's answer, in order; transfers wait for the network, not for each other."""
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        return list(pool.map(call, jobs))


def facts_of(found: Manifest | None) -> Mapping[str, Any]:
    """What is told of where a run goes on."""
    return {} if found is None else {"step": step_of(found), "checkpoint": found.key[:12]}
