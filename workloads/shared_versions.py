"""Versions that images must share, because what one writes another reads; and those that may differ, and why.

A test holds every ``requirements.txt``, every base image and ``components/versions.py`` to this.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from components.platform.ray_jobs import PYTHON_VERSION, RAY_VERSION
from components.versions import IMAGES
from workloads.images import NAMES, ROOT, ImageName, folder


@dataclass(frozen=True, kw_only=True)
class Shared:
    """A package that several images must have in one version.

    Attributes:
        package: Its name.
        images: Which images; those of them that have it.
        version: What it must be; empty for whatever the others have.
        parts: How many numbers of the version must agree; 0 for all.
        why: What would break.
    """

    package: str
    images: tuple[ImageName, ...]
    version: str = ""
    parts: int = 0
    why: str


def _tag(image: str) -> str:
    return image.rpartition(":")[2]


MLFLOW: Final = _tag(IMAGES["mlflow"]).removeprefix("v").removesuffix("-full")
"""Version of the tracking server."""

TORCH: Final = _tag(IMAGES["pytorch"]).partition("-")[0]
"""Version of torch in runs whose code brings no image of its own."""

SHARED: Final = (
    Shared(
        package="ray",
        images=("preprocess", "retrieval"),
        version=RAY_VERSION,
        why="Drivers, heads and workers speak a protocol that changes with each release.",
    ),
    Shared(
        package="transformers",
        images=("preprocess", "training"),
        why="Chat templates are rendered by it: training would see other tokens than were counted.",
    ),
    Shared(
        package="tokenizers",
        images=("preprocess", "training"),
        why="The same text must become the same tokens.",
    ),
    Shared(
        package="safetensors",
        images=NAMES,
        parts=1,
        why="Weights are kept in its format, which is the same within a major version.",
    ),
    Shared(
        package="torch",
        images=("training",),
        version=TORCH,
        parts=2,
        why="A run may begin in one image and be repeated in the other; checkpoints hold pickled states of it.",
    ),
    Shared(
        package="mlflow-skinny",
        images=("training", "evaluation", "release", "preprocess"),
        version=MLFLOW,
        why="A client that is newer than the server asks for what it does not have.",
    ),
    Shared(
        package="cloudpickle",
        images=("training", "evaluation", "release"),
        parts=1,
        why="What one of them logs by pickling, another one loads.",
    ),
    Shared(
        package="numpy",
        images=("training", "evaluation", "preprocess"),
        parts=1,
        why="Arrays that were pickled by release 2 are not read by release 1.",
    ),
    Shared(
        package="pydantic",
        images=NAMES,
        parts=1,
        why="The program writes configurations that images check with models of the same rules.",
    ),
)
"""What must agree."""

PYTHON: Final[Mapping[ImageName, str]] = {
    "preprocess": PYTHON_VERSION,
    "retrieval": PYTHON_VERSION,
}
"""Python of images in which code is pickled between processes of different pods: that of Ray's image. The others run
alone, and hand on files only; each says its own in its base image."""

MAY_DIFFER: Final[Mapping[str, str]] = {
    "torch": (
        "Servers (vLLM 0.28, TensorRT-LLM 1.2.1) bring their own. Weights go from one to the other as safetensors, "
        "never as pickles."
    ),
    "transformers": (
        "Servers bring their own; TensorRT-LLM 1.2.1 pins 4.57.1. Release 5 of training writes config.json and "
        "tokenizer_config.json otherwise: workloads/compatibility.py writes them so that both read them."
    ),
    "fsspec": "Clients of object stores; what they write is the same.",
    "python": "Processes of different images exchange files and HTTP, never pickles, outside of Ray.",
}
"""What may differ between training and serving, and why that is safe."""

# The base image of engines is the server's own, to the tag: an engine is read by the version that built it alone.
ENGINE_BASE: Final = IMAGES["triton"]
RAY_BASE: Final = IMAGES["ray"]
_BASES: Final[Mapping[ImageName, str]] = {"engine": ENGINE_BASE, "preprocess": RAY_BASE, "retrieval": RAY_BASE}

_PIN: Final = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[\w,-]+\])?==([^\s;]+)(?:\s*;\s*(.*))?$")


def pins(name: ImageName, root: Path = ROOT) -> Mapping[str, tuple[str, ...]]:
    """Versions of an image's packages; several where the file names one for each version of Python."""
    found: dict[str, list[str]] = {}
    for line in (root / folder(name) / "requirements.txt").read_text().splitlines():
        if match := _PIN.match(line):
            found.setdefault(match[1].lower().replace("_", "-"), []).append(match[2])
    return {package: tuple(versions) for package, versions in found.items()}


def bases(name: ImageName, root: Path = ROOT) -> Sequence[str]:
    """Images that the Dockerfile builds on, with their arguments put in; stages of its own are left out."""
    arguments: dict[str, str] = {}
    stages: set[str] = set()
    found: list[str] = []
    for line in (root / folder(name) / "Dockerfile").read_text().splitlines():
        if match := re.match(r"ARG (\w+)=(\S+)", line):
            arguments[match[1]] = match[2]
        if match := re.match(r"FROM (?:--\S+ )*(\S+)(?: AS (\S+))?", line, re.IGNORECASE):
            image = re.sub(r"\$\{?(\w+)\}?", lambda one: arguments.get(one[1], one[0]), match[1])
            if image not in stages:
                found.append(image)
            if match[2]:
                stages.add(match[2])
    return found


def problems(root: Path = ROOT) -> Iterator[str]:
    """Where images differ that must not."""
    known = {name: pins(name, root) for name in NAMES}
    for one in SHARED:
        versions = {name: set(known[name][one.package]) for name in one.images if one.package in known[name]}
        wanted = {_cut(one.version, one.parts)} if one.version else set[str]()
        seen = {name: {_cut(version, one.parts) for version in found} for name, found in versions.items()}
        if wanted and any(found != wanted for found in seen.values()):
            yield f"{one.package} must be {one.version}: {_said(versions)}. {one.why}"
        elif len({frozenset(found) for found in seen.values()}) > 1:
            yield f"{one.package} differs: {_said(versions)}. {one.why}"
    for name, wanted_base in _BASES.items():
        for base in bases(name, root):
            if _canonical(base.partition("@")[0]) != _canonical(wanted_base):
                yield f"{name} is built on {base}; it must be built on {wanted_base}"


def unpinned(root: Path = ROOT) -> Iterator[str]:
    """Base images that are not named by digest."""
    for name in NAMES:
        for base in bases(name, root):
            if not re.search(r"@sha256:[0-9a-f]{64}$", base):
                yield f"{name}: {base}"


def _canonical(image: str) -> str:
    return image.removeprefix("docker.io/").removeprefix("library/")


def _cut(version: str, parts: int) -> str:
    numbers = version.partition("+")[0].split(".")
    return ".".join(numbers[:parts] if parts else numbers)


def _said(versions: Mapping[str, set[str]]) -> str:
    return ", ".join(f"{name} {' or '.join(sorted(found))}" for name, found in versions.items())
