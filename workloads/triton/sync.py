"""A release, brought to the pod's own disk: whole and as declared, or not at all. Runs in the pod."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
KEY = "key"
_LEFTOVERS = ".incoming-"

Download = Callable[[str, str], object]
"""Fetches everything below a URL into a folder."""


class ReleaseError(Exception):
    """What was fetched is not what was declared; fetching it again would not help."""


class FetchError(Exception):
    """It could not be fetched; later it may be."""


@dataclass(frozen=True)
class Wanted:
    """A release that is wanted, from the file that the program wrote.

    Attributes:
        release: Its name: the beginning of its digest, and of how it is run.
        source: URL of the object store, or a folder on a shared file system.
        digest: SHA-256 of its manifest; empty where the program knows none.
        gpu: Model of the GPUs of this server.
        shared: The source is a folder that all servers mount: it is read where it is.
    """

    release: str
    source: str
    digest: str
    gpu: str
    shared: bool

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Wanted:
        """Read it."""
        return cls(
            release=document["release"],
            source=document["source"],
            digest=document["digest"],
            gpu=document["gpu"],
            shared=document["shared"],
        )


def fetch(wanted: Wanted, cache: Path, download: Download | None = None) -> Path:
    """The folder of a release, fetched if it is not there.

    Everything is fetched beside it, checked, and given its name at the end, in one step: whoever sees the folder sees
    all of it. What an interrupted attempt left is thrown away.

    Raises:
        FetchError: The source cannot be read.
        ReleaseError: The files are not those of the manifest, or the manifest is not the declared one.
    """
    folder = cache / "releases" / wanted.release
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f"{_LEFTOVERS}*"):
        shutil.rmtree(left)
    if folder.exists():
        return folder
    if wanted.shared:
        source = Path(wanted.source)
        check(wanted, source, contents=False)
        staged = folder.parent / f"{_LEFTOVERS}{wanted.release}"
        staged.mkdir()
        link = staged / "link"
        link.symlink_to(source, target_is_directory=True)
        link.rename(folder)
        staged.rmdir()
        return folder
    staged = folder.parent / f"{_LEFTOVERS}{wanted.release}"
    staged.mkdir()
    began = time.monotonic()
    try:
        (download or _download)(wanted.source, str(staged))
    except Exception as error:  # each store has exceptions of its own, and they are all the same here
        raise FetchError(f"{wanted.source}: {error}") from error
    check(wanted, staged, contents=True)
    staged.rename(folder)
    print(f"release {wanted.release} fetched in {time.monotonic() - began:.0f} s", flush=True)
    return folder


def check(wanted: Wanted, folder: Path, *, contents: bool) -> None:
    """Whether a folder holds the declared release.

    Args:
        wanted: The release.
        folder: What is there.
        contents: Read every byte. On a shared file system only presence is looked at: each server would read gigabytes
            there before it starts, and who may write there may write later too.

    Raises:
        ReleaseError: It does not.
    """
    try:
        written = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise ReleaseError(
            f"{wanted.source} has no {MANIFEST}: it is no release, or its upload has not ended"
        ) from None
    digest = hashlib.sha256(written).hexdigest()
    if wanted.digest and digest != wanted.digest:
        raise ReleaseError(f"{wanted.source} holds release {digest[:12]}, declared is {wanted.digest[:12]}")
    manifest = json.loads(written)
    if manifest["gpu"] != wanted.gpu:
        raise ReleaseError(f"the engine was built on {manifest['gpu']}, this server has {wanted.gpu}")
    files: Mapping[str, str] = manifest["files"]
    if missing := sorted(path for path in files if not (folder / path).is_file()):
        raise ReleaseError(f"{wanted.source} lacks {', '.join(missing[:5])}")
    if not contents:
        return
    for path, expected in files.items():
        with (folder / path).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                raise ReleaseError(f"{wanted.source}: {path} is not the file of the manifest")


def keep_only(cache: Path, releases: set[str]) -> None:
    """Free the disk of releases that are served no more."""
    for folder in (cache / "releases").glob("[!.]*"):
        if folder.name not in releases:
            if folder.is_symlink():
                folder.unlink()
            else:
                shutil.rmtree(folder)


def make_key(cache: Path) -> str:
    """The pod's own key for loading and unloading models; made once, and known in this pod only."""
    path = cache / KEY
    if not path.exists():
        partial = path.with_suffix(".new")
        partial.touch(mode=0o600)
        partial.write_text(secrets.token_urlsafe(32))
        partial.rename(path)
    return path.read_text()


def _download(source: str, folder: str) -> object:
    # In the image that this runs in, and nowhere else.
    reader = importlib.import_module("kserve_storage").Storage
    return reader.download(source, folder)


def main() -> int:
    """What runs before the server starts."""
    cache = Path(os.environ["CACHE"])
    make_key(cache)
    try:
        fetch(Wanted.of(json.loads(Path(os.environ["RELEASE"]).read_text())), cache)
    except (FetchError, ReleaseError) as failed:
        print(f"failed: {failed}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
