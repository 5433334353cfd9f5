"""A sandbox of its own for every test: own program, own home, own account, and the real engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.engine import Engine
from tests.engine.harness import Sandbox


@pytest.fixture
def sandbox(tmp_path: Path, engine: Engine) -> Iterator[Sandbox]:
    """A sandbox with an empty program and a stack ``dev``; no control plane, for its tests are elsewhere."""
    project = tmp_path / "program"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: probe\nruntime: python\n")
    (project / "Pulumi.dev.yaml").write_text("config: {}\n")
    made = Sandbox(project, tmp_path / "home", {"SANDBOX_CONTROL_PLANE": "off"})
    made.write("")
    yield made
    made.end()
