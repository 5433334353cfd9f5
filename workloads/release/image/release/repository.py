"""The model repository that Triton's loader reads: an engine's files, and the engine's own manifest last."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from release.config import Sync
from workloads.artifacts import fetch
from workloads.artifacts.objects import join, objects
from workloads.triton import built

FOLDER = "release"
"""Where a built engine's artifact has the release: its own manifest has the same name as the artifact's."""


class RepositoryError(Exception):
    """What is there is another release than the one that was asked for."""


def is_whole(url: str) -> bool:
    """Whether a release is there: its manifest is written last."""
    try:
        objects(url).read(join(url, built.FILE))
    except FileNotFoundError:
        return False
    return True


def sync(config: Sync) -> dict[str, str]:
    """Copy, manifest last. Doing it again changes nothing.

    Raises:
        RepositoryError: Another release has that name, or the engine's files are not those of its manifest.
    """
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as place:
        folder = Path(place)
        fetch(config.engine, folder)  # every file is checked
        release = folder / FOLDER
        text = (release / built.FILE).read_bytes()
        manifest: dict[str, Any] = json.loads(text)
        for path, expected in manifest["files"].items():
            if built.sha256(release / path) != expected:
                raise RepositoryError(f"{config.engine}: {path} is not the file of the engine's manifest")
        store = objects(config.release)
        target = join(config.release, built.FILE)
        try:
            there = store.read(target)
        except FileNotFoundError:
            there = b""
        if there:
            return _same(there, text, config.release)
        for path in sorted(manifest["files"]):
            store.upload(release / path, join(config.release, path))
        if not store.create(target, text):
            return _same(store.read(target), text, config.release)
    return {"release": config.release}


def _same(there: bytes, wanted: bytes, url: str) -> dict[str, str]:
    if there != wanted:
        raise RepositoryError(f"{url} holds another release; nothing was changed")
    return {"release": url}
