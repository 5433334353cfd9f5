"""What a pod fetches: whole and as declared, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from workloads.triton import sync
from workloads.triton.sync import FetchError, ReleaseError, Wanted, fetch

pytestmark = pytest.mark.unit

FILES = {"engine/rank0.engine": b"weights", "tokenizer/tokenizer_config.json": b"{}"}
MANIFEST = json.dumps(
    {"gpu": "a10g", "files": {path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()}}
).encode()
WANTED = Wanted(
    release="r1",
    source="s3://models/chat/1/",
    digest=hashlib.sha256(MANIFEST).hexdigest(),
    gpu="a10g",
    shared=False,
)


class Store:
    """An object store with one release.

    Attributes:
        files: What is there.
        breaks_after: Files after which the connection breaks.
        reads: How often it was read.
    """

    def __init__(self) -> None:
        self.files = {**FILES, "manifest.json": MANIFEST}
        self.breaks_after: int | None = None
        self.reads = 0

    def __call__(self, source: str, folder: str) -> None:
        assert source == WANTED.source
        self.reads += 1
        for number, (path, data) in enumerate(self.files.items()):
            if number == self.breaks_after:
                raise ConnectionError("reset by peer")
            file = Path(folder) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)


@pytest.fixture
def store() -> Store:
    return Store()


def test_a_release_is_fetched_once(store: Store, tmp_path: Path):
    folder = fetch(WANTED, tmp_path, store)
    assert fetch(WANTED, tmp_path, store) == folder

    assert (folder / "engine" / "rank0.engine").read_bytes() == b"weights"
    assert store.reads == 1


@pytest.mark.parametrize("files", [0, 1, 2])
def test_a_fetch_that_breaks_leaves_nothing_that_looks_like_a_release(files: int, store: Store, tmp_path: Path):
    store.breaks_after = files
    with pytest.raises(FetchError, match="reset by peer"):
        fetch(WANTED, tmp_path, store)
    assert not (tmp_path / "releases" / "r1").exists()

    store.breaks_after = None
    assert (fetch(WANTED, tmp_path, store) / "manifest.json").exists()
    assert [one.name for one in (tmp_path / "releases").iterdir()] == ["r1"]


@pytest.mark.parametrize(
    ("path", "data", "said"),
    [
        ("engine/rank0.engine", b"weightz", "engine/rank0.engine is not the file of the manifest"),
        ("engine/rank0.engine", None, "lacks engine/rank0.engine"),
        ("manifest.json", None, "has no manifest.json"),
        ("manifest.json", MANIFEST + b" ", "declared is"),
    ],
)
def test_what_is_not_the_declared_release_is_refused(
    path: str, data: bytes | None, said: str, store: Store, tmp_path: Path
):
    if data is None:
        del store.files[path]
    else:
        store.files[path] = data

    with pytest.raises(ReleaseError, match=said):
        fetch(WANTED, tmp_path, store)
    assert not (tmp_path / "releases" / "r1").exists()


def test_an_engine_of_another_gpu_is_refused_even_where_the_program_knew_no_manifest(store: Store, tmp_path: Path):
    with pytest.raises(ReleaseError, match="built on a10g, this server has l4"):
        fetch(replace(WANTED, digest="", gpu="l4"), tmp_path, store)


def test_a_release_on_a_shared_file_system_is_read_where_it_is(store: Store, tmp_path: Path):
    shared = tmp_path / "shared"
    store(WANTED.source, str(shared))
    cache = tmp_path / "cache"

    folder = fetch(replace(WANTED, source=str(shared), shared=True), cache)

    assert folder.is_symlink()
    assert folder.resolve() == shared
    sync.keep_only(cache, set())
    assert (shared / "manifest.json").exists()


def test_an_upload_to_a_shared_file_system_that_has_not_ended_is_refused(store: Store, tmp_path: Path):
    shared = tmp_path / "shared"
    store(WANTED.source, str(shared))
    (shared / "engine" / "rank0.engine").unlink()

    with pytest.raises(ReleaseError, match=r"lacks engine/rank0\.engine"):
        fetch(replace(WANTED, source=str(shared), shared=True), tmp_path / "cache")


def test_the_pods_key_is_drawn_once_and_read_by_nobody_else(tmp_path: Path):
    key = sync.make_key(tmp_path)

    assert sync.make_key(tmp_path) == key
    assert len(key) >= 32
    assert stat.S_IMODE(os.stat(tmp_path / sync.KEY).st_mode) == 0o600
    (tmp_path / "another").mkdir()
    assert sync.make_key(tmp_path / "another") != key
