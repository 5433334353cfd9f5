"""Copying what is on the list, piece by piece; what is done stays done."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

from components.mirrors import image as mirrored
from components.settings.air_gap import AirGapSettings
from components.versions import CHARTS
from ops.mirror.collect import Needs

Kind = Literal["image", "chart", "tree", "model"]
_TIMEOUT_SECONDS: Final = 3600

Run = Callable[[Sequence[str]], str]
"""Runs a program and returns what it prints."""


class CopyError(Exception):
    """One piece could not be copied."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One thing to copy.

    Attributes:
        kind: What it is.
        source: Its public name.
        target: Where it goes.
    """

    kind: Kind
    source: str
    target: str


def pieces(needs: Needs, air_gap: AirGapSettings) -> list[Piece]:
    """Everything on the list with the place where it goes, in a fixed order."""
    found = [Piece(kind="image", source=name, target=mirrored(air_gap, name)) for name in sorted(needs.images)]
    for title, version in sorted(needs.charts):
        chart = CHARTS[title]
        place = f"{chart.repository.rstrip('/')}/{chart.name}:{version}"
        found.append(Piece(kind="chart", source=place, target=f"{air_gap.charts}/{chart.name}:{version}"))
    for address, commit in sorted(needs.trees):
        path = address.removeprefix("https://")
        found.append(Piece(kind="tree", source=f"{address}@{commit}", target=f"{air_gap.git}/{path}"))
    for source in sorted(needs.models):
        name, _, revision = source.removeprefix("hf://").partition("@")
        target = f"{air_gap.models}/{name}/{revision or 'main'}"
        found.append(Piece(kind="model", source=source, target=target))
    return found


class Lock:
    """What has been copied, with its digest; a file that is written after each piece."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done: dict[str, dict[str, str]] = {}
        if path.exists():
            self._done = cast("dict[str, Any]", json.loads(path.read_text()))["done"]

    def has(self, piece: Piece) -> bool:
        """Whether the piece lies where it is to go."""
        return self._done.get(piece.source, {}).get("target") == piece.target

    def add(self, piece: Piece, digest: str) -> None:
        """Note a piece; the file is whole at any moment."""
        self._done[piece.source] = {"kind": piece.kind, "target": piece.target, "digest": digest}
        text = json.dumps({"done": dict(sorted(self._done.items()))}, indent=2) + "\n"
        unfinished = self._path.with_suffix(".unfinished")
        unfinished.write_text(text)
        unfinished.replace(self._path)

    def digest(self, source: str) -> str:
        """Digest of a copied image; empty where it is not copied."""
        return self._done.get(source, {}).get("digest", "")


def run(command: Sequence[str]) -> str:
    """Run a program.

    Raises:
        CopyError: It failed; with what it said.
    """
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        raise CopyError(f"{command[0]} did not end within {_TIMEOUT_SECONDS} s") from None
    if answer.returncode != 0:
        raise CopyError(answer.stderr.strip() or f"{command[0]} ended with {answer.returncode}")
    return answer.stdout.strip()


def missing_tools(kinds: set[Kind]) -> list[str]:
    """Programs that have to be installed first, for pieces of these kinds."""
    found: list[str] = []
    if "image" in kinds and not (shutil.which("skopeo") or shutil.which("crane")):
        found.append("skopeo or crane (images)")
    if "chart" in kinds and not shutil.which("helm"):
        found.append("helm (charts)")
    if "tree" in kinds and not shutil.which("git"):
        found.append("git (repositories)")
    if "model" in kinds and not (shutil.which("hf") and shutil.which("aws")):
        found.append("hf and aws (models)")
    return found


def copy(piece: Piece, work: Path, run: Run = run) -> str:
    """Copy one piece and return its digest.

    Images go by digest: the tag is resolved once, and what is copied is what was resolved. Every architecture is taken.

    Raises:
        CopyError: It could not be copied.
    """
    match piece.kind:
        case "image":
            return _image(piece, run)
        case "chart":
            return _chart(piece, work, run)
        case "tree":
            return _tree(piece, work, run)
        case "model":
            folder = work / "model"
            shutil.rmtree(folder, ignore_errors=True)
            name, _, revision = piece.source.removeprefix("hf://").partition("@")
            run(["hf", "download", name, "--revision", revision or "main", "--local-dir", str(folder)])
            run(["aws", "s3", "sync", "--only-show-errors", str(folder), piece.target])
            shutil.rmtree(folder, ignore_errors=True)
            return revision


def _image(piece: Piece, run: Run) -> str:
    name = piece.source.partition("@")[0]
    if shutil.which("skopeo"):
        pinned = piece.source.partition("@")[2]
        digest = pinned or run(["skopeo", "inspect", "--format", "{{.Digest}}", f"docker://{name}"])
        bare = name.rsplit(":", 1)[0] if ":" in name.rsplit("/", 1)[-1] else name
        target = piece.target.partition("@")[0]
        run(["skopeo", "copy", "--all", f"docker://{bare}@{digest}", f"docker://{target}"])
        return digest
    digest = run(["crane", "digest", piece.source])
    run(["crane", "copy", piece.source, piece.target.partition("@")[0]])
    return digest


def _chart(piece: Piece, work: Path, run: Run) -> str:
    place, _, version = piece.source.rpartition(":")
    repository, _, name = place.rpartition("/")
    if place.startswith("oci://"):
        run(["helm", "pull", place, "--version", version, "--destination", str(work)])
    else:
        run(["helm", "pull", name, "--repo", repository, "--version", version, "--destination", str(work)])
    archive = next(iter(sorted(work.glob(f"{name}-*.tgz"))), None)
    if archive is None:
        raise CopyError(f"helm pulled no archive of {name}")
    said = run(["helm", "push", str(archive), piece.target.rpartition(":")[0].rpartition("/")[0]])
    archive.unlink()
    return next((word for word in said.split() if word.startswith("sha256:")), "")


def _tree(piece: Piece, work: Path, run: Run) -> str:
    address, _, commit = piece.source.rpartition("@")
    folder = work / "tree"
    shutil.rmtree(folder, ignore_errors=True)
    run(["git", "clone", "--bare", "--quiet", address, str(folder)])
    run(["git", "-C", str(folder), "cat-file", "-e", f"{commit}^{{commit}}"])
    # Branches and tags: a host refuses the references of pull requests.
    refs = ("refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*")
    run(["git", "-C", str(folder), "push", "--quiet", piece.target, *refs])
    shutil.rmtree(folder, ignore_errors=True)
    return commit
