"""Our own images: what goes into each, and the tag that follows from it. ``python -m workloads.images`` lists them."""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:  # the image workflow runs this module without the program's packages
    import pulumi

    from components.platform.site import Site

ImageName = Literal["preprocess", "training", "evaluation", "retrieval", "engine", "release"]
"""Images by what is in them; also the names of their repositories."""

NAMES: Final[tuple[ImageName, ...]] = get_args(ImageName)

ROOT: Final = Path(__file__).resolve().parent.parent

TAG_DIGITS: Final = 12
"""Hexadecimal digits of a tag: 48 bits, so that two contents with one tag are not to be feared."""

_ARTIFACTS: Final = "workloads/artifacts"

# What an image has besides its own folder and the artifacts library. Folders are taken without their subfolders.
_MORE: Final[Mapping[ImageName, tuple[str, ...]]] = {
    "evaluation": (
        "workloads/evaluation/__init__.py",
        "workloads/evaluation/cases.py",
        "workloads/evaluation/gate.py",
    ),
    "training": (
        "workloads/compatibility.py",
        "workloads/evaluation/__init__.py",
        "workloads/evaluation/cases.py",
    ),
    "engine": (
        "workloads/compatibility.py",
        "workloads/models/__init__.py",
        "workloads/models/smoke_pod.py",
        "workloads/triton/__init__.py",
        "workloads/triton/built.py",
        "workloads/triton/config.py",
        "workloads/triton/export.py",
        "workloads/triton/loader.py",
        "workloads/triton/manifest.py",
        "workloads/triton/pipeline.py",
        "workloads/triton/sync.py",
    ),
    "release": (
        "workloads/evaluation/__init__.py",
        "workloads/evaluation/gate.py",
        "workloads/training/image/finetune/__init__.py",
        "workloads/training/image/finetune/config.py",
        "workloads/triton/__init__.py",
        "workloads/triton/built.py",
    ),
}


def folder(name: ImageName) -> str:
    """The image's own folder, which holds its Dockerfile; below the root of the checkout."""
    return f"workloads/{name}/image"


def sources(name: ImageName, root: Path = ROOT) -> Sequence[str]:
    """Every file that the image is built from, sorted, below the root of the checkout; all of its build context.

    Raises:
        FileNotFoundError: The image has no Dockerfile, or a file that it needs is not there.
    """
    own = folder(name)
    if not (root / own / "Dockerfile").is_file():
        raise FileNotFoundError(f"{own}/Dockerfile is not there: image {name} cannot be built")
    found = {"workloads/__init__.py", *_below(root, own)}
    found |= {path for path in _below(root, _ARTIFACTS) if path.endswith(".py")}
    for path in _MORE.get(name, ()):
        if not (root / path).is_file():
            raise FileNotFoundError(f"{path} is not there: image {name} needs it")
        found.add(path)
    return sorted(found)


def _below(root: Path, place: str) -> Iterator[str]:
    for path in (root / place).rglob("*"):
        # What Python and editors leave behind is no part of an image.
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
            yield path.relative_to(root).as_posix()


@functools.cache
def content_tag(name: ImageName, root: Path = ROOT) -> str:
    """The tag: the first digits of a hash over names and contents of all sources. The same files, the same tag.

    Raises:
        FileNotFoundError: As :func:`sources`.
    """
    digest = hashlib.sha256()
    for path in sources(name, root):
        content = hashlib.sha256((root / path).read_bytes()).hexdigest()
        digest.update(f"{path}\0{content}\n".encode())
    return digest.hexdigest()[:TAG_DIGITS]


def reference(site: Site, name: ImageName) -> pulumi.Output[str]:
    """The image as pods name it: the stack's own repository, whose tags never move, and the content's tag.

    Raises:
        pulumi.RunError: The registry has no such repository.
    """
    import pulumi  # noqa: PLC0415 - see above

    repository = site.foundation.registry.repositories.get(name)
    if repository is None:
        raise pulumi.RunError(f"registry.repositories has no {name}, which our own image needs; add it")
    return pulumi.Output.concat(repository, ":", content_tag(name))


def lay_out(name: ImageName, target: Path, root: Path = ROOT) -> None:
    """Copy the build context into an empty folder: a build sees what the tag was made from, and nothing else."""
    for path in sources(name, root):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, target / path)


def main(arguments: Sequence[str] | None = None) -> int:
    """List our images with tag and Dockerfile, or lay out the build context of one."""
    parser = argparse.ArgumentParser(prog="python -m workloads.images", description=main.__doc__)
    parser.add_argument("name", nargs="?", choices=NAMES, help="only this one")
    parser.add_argument("--context", type=Path, help="copy its build context into this folder, which must be empty")
    parser.add_argument("--json", action="store_true", help="as a JSON list, for the image workflow")
    given = parser.parse_args(arguments)
    if given.context:
        if not given.name:
            parser.error("--context needs the name of an image")
        given.context.mkdir(parents=True, exist_ok=True)
        if any(given.context.iterdir()):
            parser.error(f"{given.context} is not empty")
        lay_out(given.name, given.context)
    try:
        rows = [
            {"name": name, "tag": content_tag(name), "dockerfile": f"{folder(name)}/Dockerfile"}
            for name in ((given.name,) if given.name else NAMES)
        ]
    except FileNotFoundError as missing:
        print(missing, file=sys.stderr)
        return 1
    if given.json:
        print(json.dumps(rows))
    else:
        for row in rows:
            print(f"{row['name']:<12} {row['tag']} {row['dockerfile']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
