"""Alertmanager and amtool in the version of the chart.

Debian's are too old: Alertmanager reads the URL of a webhook from a file since 0.26.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sandbox import paths
from sandbox.toolchain import gobuild

VERSION = "0.34.0"
"""Of kube-prometheus-stack 88.5.3."""

OLDEST = (0, 26)

_PATH = "github.com/prometheus/alertmanager"
_INTERFACE = Path("ui") / "app" / "dist"


def program(name: str) -> Path:
    """``amtool`` or ``alertmanager``: new enough on PATH, else built; the test is skipped where neither can be had."""
    found = shutil.which(name)
    if found and _version(Path(found)) >= OLDEST:
        return Path(found)
    try:
        return _built() / name
    except gobuild.BuildError as error:
        pytest.skip(f"no {name} of at least {'.'.join(map(str, OLDEST))}: not on PATH; {error}")


def _version(path: Path) -> tuple[int, ...]:
    answer = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    numbers = re.search(r"version (\d+)\.(\d+)", answer.stdout + answer.stderr)
    return tuple(map(int, numbers.groups())) if numbers else ()


def _built() -> Path:
    cache = paths.cache_dir()
    source = cache / f"alertmanager-{VERSION}-source"
    if not (source / _INTERFACE / "index.html").exists():
        fetched = gobuild.downloaded(_PATH, f"v{VERSION}", print)
        shutil.rmtree(source, ignore_errors=True)
        shutil.copytree(fetched, source, copy_function=shutil.copyfile)
        for folder in (source, *(one for one in source.rglob("*") if one.is_dir())):
            folder.chmod(0o755)  # Go's cache is read-only
        # The user interface is built by a tool of its own, and is not in the module.
        (source / _INTERFACE).mkdir(parents=True)
        (source / _INTERFACE / "index.html").write_text("no user interface\n")
    module = gobuild.Module(go="1.25.0", requires={_PATH: f"v{VERSION}"}, replaces={_PATH: str(source)})
    packages = [f"{_PATH}/cmd/amtool", f"{_PATH}/cmd/alertmanager"]
    return gobuild.build("alertmanager", module, packages, cache, print)
