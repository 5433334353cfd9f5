"""Programs of the data plane in environments of their own: heavy packages that the checkout does not need."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import paths

_HERE = Path(__file__).resolve().parent
_PATIENCE_SECONDS = 900


def environment(system: str, requirements: Path | None = None) -> Path:
    """A virtual environment with ``requirements-<system>.txt``; the test is skipped where it cannot be installed.

    It lies outside the checkout and is made once for each state of that file.

    Args:
        system: Name of the environment.
        requirements: Another file of pinned requirements, such as an image's own.
    """
    requirements = requirements or _HERE / f"requirements-{system}.txt"
    state = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = paths.cache_dir() / "data-plane" / f"{system}-{state}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other workers of the same run wait for the first
        if not (folder / "complete").exists():
            _install(requirements, folder)
        if not (folder / "compiled").exists():
            _compile(folder)
    return folder


def _compile(folder: Path) -> None:
    """Compile everything once: uv leaves that to the first import, and where PYTHONDONTWRITEBYTECODE is set to each.

    PyTorch and Transformers are loaded in a quarter of the time then. Files that no interpreter reads (templates, code
    of Python 2) are passed over.
    """
    subprocess.run(
        [folder / "bin" / "python", "-m", "compileall", "-q", "-j", "0", folder / "lib"],
        capture_output=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
    (folder / "compiled").touch()


def _install(requirements: Path, folder: Path) -> None:
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if not uv:
        pytest.skip("no uv to install the programs of the data plane with")
    shutil.rmtree(folder, ignore_errors=True)
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
        [uv, "pip", "install", "--quiet", "--no-deps", "--requirement", str(requirements)],
    ):
        done = subprocess.run(
            command,
            env={**os.environ, "VIRTUAL_ENV": str(folder)},
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"{requirements.name} cannot be installed: {done.stderr.strip()[-300:]}")
    (folder / "complete").touch()
