"""Types of the code of our images. ``python -m tests.data_plane.pod_code_types`` checks against every package.

The tests check the same with the largest packages as strangers: to read Transformers alone, which imports thousands of
modules for a type checker, takes longer than all tests of a module.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast, get_args

from sandbox import paths
from tests.data_plane.environments import environment
from workloads.images import NAMES, ROOT, ImageName, folder

STRANGERS = (
    *("accelerate", "bitsandbytes", "datasets", "deepeval", "deepspeed", "langchain_core", "mlflow", "peft", "ragas"),
    *("ray", "torch", "transformers"),
)
"""Packages whose own types are not looked at in the tests: everything of them is ``Any``."""

_ANYTHING = "from typing import Any\n\ndef __getattr__(name: str) -> Any: ...\n"
_PATIENCE_SECONDS = 900


def check(name: ImageName, *, whole: bool) -> subprocess.CompletedProcess[str]:
    """Check the code of one image.

    Args:
        name: The image.
        whole: Against all of its packages; else without those of :data:`STRANGERS`.
    """
    place = ROOT / folder(name)
    python = environment(name, place / "requirements.txt") / "bin" / "python"
    with tempfile.TemporaryDirectory() as scratch:
        stubs = Path(scratch) / "stubs"
        stubs.mkdir()
        if not whole:
            for module in imported(place):
                if module.partition(".")[0] in STRANGERS:
                    _strange(stubs, module)
        settings = {
            "include": [str(place)],
            "extraPaths": [str(ROOT), str(place), *_beside(name)],
            "pythonVersion": "3.11",
            "typeCheckingMode": "standard",
            "stubPath": str(stubs),
        }
        (Path(scratch) / "pyrightconfig.json").write_text(json.dumps(settings))
        return subprocess.run(
            [
                *(str(Path(sys.executable).with_name("basedpyright")), "--pythonpath", str(python)),
                *("--project", scratch),
            ],
            env={**os.environ, "XDG_CACHE_HOME": str(paths.cache_dir())},
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )


def _beside(name: ImageName) -> list[str]:
    """Folders of other images whose packages are in this one too."""
    return [str(ROOT / folder("training"))] if name == "release" else []


def imported(place: Path) -> Iterator[str]:
    """Modules that a folder's files import, and names of theirs that may be modules."""
    for file in place.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (one.name for one in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module


def _strange(stubs: Path, module: str) -> None:
    """A module, and the packages above it, of which nothing is known."""
    place = stubs
    for part in module.split("."):
        place /= part
        place.mkdir(exist_ok=True)
        (place / "__init__.pyi").write_text(_ANYTHING)


def main(names: list[str]) -> int:
    """Check the named images, or all."""
    failed = 0
    for name in cast("list[ImageName]", names) or NAMES:
        if name not in get_args(ImageName):
            sys.exit(f"{name} is no image of ours; they are {', '.join(NAMES)}")
        done = check(name, whole=True)
        print(f"{name}:\n{done.stdout}{done.stderr}")
        failed += done.returncode != 0
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
