"""Artifacts to and from an object store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from workloads.artifacts.keys import JSON
from workloads.artifacts.manifest import MANIFEST, FileRecord, Manifest, ManifestError, check_key, file_path
from workloads.artifacts.objects import Objects, beside, join, objects

_AT_ONCE: Final = 8  # transfers at a time: enough to fill a pod's network, few enough for its memory
_BLOCK: Final = 1 << 20
_T = TypeVar("_T")


class DamagedArtifactError(RuntimeError):
    """A file of an artifact is not what its manifest says."""


def find(base_url: str, key: str) -> Manifest | None:
    """The artifact of a key, or none where it is not there or not whole.

    Raises:
        ManifestError: There is a manifest, but it cannot be read.
    """
    url = join(base_url, check_key(key))
    try:
        return read(url)
    except FileNotFoundError:
        return None


def read(url: str) -> Manifest:
    """The manifest of an artifact that is known to be there; ``url`` is its folder.

    Raises:
        FileNotFoundError: There is none.
        ManifestError: There is a manifest, but it cannot be read.
    """
    address = url.rstrip("/")
    return Manifest.from_json(objects(address).read(join(address, MANIFEST)), address)


def publish(
    folder: Path,
    base_url: str,
    key: str,
    *,
    kind: str,
    parents: Mapping[str, str],
    facts: Mapping[str, JSON],
) -> Manifest:
    """Write every file of a folder as the artifact of a key; the manifest comes last.

    Where the artifact is whole already nothing is written, whatever the folder holds: its key says that it is the same.
    Two who publish the same key at the same time must have the same bytes; one manifest wins, and :func:`fetch` says
    so if they had not.

    Raises:
        ManifestError: The folder is empty, a name cannot be one of an artifact's files, or another kind is there.
    """
    if (known := find(base_url, key)) is not None:
        return _of_kind(known, kind)
    address = join(base_url, key)
    store = objects(address)
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    if not paths:
        raise ManifestError(f"{folder} has no files")
    for path in paths:
        file_path(path)
    records = dict(zip(paths, _together(hashed, [(folder / path,) for path in paths]), strict=True))
    found = Manifest(kind=kind, key=key, url=address, files=records, parents=dict(parents), facts=dict(facts))
    found.to_json()  # facts that have no JSON fail before anything is written
    _together(store.upload, [(folder / path, join(address, path)) for path in paths])
    return _sealed(store, found)


def assemble(
    sources: Mapping[str, tuple[str, FileRecord]],
    base_url: str,
    key: str,
    *,
    kind: str,
    parents: Mapping[str, str],
    facts: Mapping[str, JSON],
) -> Manifest:
    """As :func:`publish`, from objects of the same store that others have written: nothing of them passes through here.

    Args:
        sources: For each path of the artifact the URL of its content, and what the content is.
        base_url: Where artifacts lie.
        key: Its key.
        kind: What it is.
        parents: What it was made from.
        facts: What is worth knowing.

    Raises:
        ManifestError: Nothing is to be put together, or another kind is there.
    """
    if (known := find(base_url, key)) is not None:
        return _of_kind(known, kind)
    if not sources:
        raise ManifestError(f"{base_url}: nothing to put together")
    address = join(base_url, key)
    store = objects(address)
    records = {file_path(path): record for path, (_, record) in sorted(sources.items())}
    found = Manifest(kind=kind, key=key, url=address, files=records, parents=dict(parents), facts=dict(facts))
    found.to_json()
    _together(store.copy, [(url, join(address, path)) for path, (url, _) in sources.items()])
    return _sealed(store, found)


def fetch(url: str, folder: Path) -> Manifest:
    """Copy an artifact into a folder, and check every file; those that are there already and right are kept.

    Raises:
        FileNotFoundError: There is no artifact, or one of its files is gone.
        DamagedArtifactError: A file is not what the manifest says; it is not left in the folder.
    """
    found = read(url)
    store = objects(found.url)
    jobs = [(store, found, path, folder / path) for path in found.files]
    _together(_fetched, jobs)
    return found


def hashed(file: Path) -> FileRecord:
    """What a file is."""
    digest = hashlib.sha256()
    size = 0
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return FileRecord(size_bytes=size, sha256=digest.hexdigest())


def _sealed(store: Objects, made: Manifest) -> Manifest:
    """Write the manifest, which makes it an artifact; that of somebody faster stays."""
    if store.create(join(made.url, MANIFEST), made.to_json().encode()):
        return made
    return _of_kind(read(made.url), made.kind)


def _of_kind(found: Manifest, kind: str) -> Manifest:
    if found.kind != kind:
        raise ManifestError(f"{found.url}: is a {found.kind}, not a {kind}")
    return found


def _fetched(store: Objects, artifact: Manifest, path: str, target: Path) -> None:
    expected = artifact.files[path]
    if target.is_file() and target.stat().st_size == expected.size_bytes and hashed(target) == expected:
        return
    with beside(target) as part:
        store.download(join(artifact.url, path), part)
        if (got := hashed(part)) != expected:
            raise DamagedArtifactError(f"{join(artifact.url, path)}: {got}, and the manifest says {expected}")
        part.replace(target)


def _together(call: Callable[..., _T], jobs: Sequence[tuple[object, ...]]) -> list[_T]:
    """Every call's answer, in order; the first error ends it."""
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        running = [pool.submit(call, *job) for job in jobs]
        try:
            return [one.result() for one in running]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
