"""A sandbox of its own for every test: own program, own home, own account, and the real engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.engine import Engine
from tests.engine.harness import FullStack, Sandbox


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


@pytest.fixture(scope="session")
def dev(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FullStack]:
    yield from _full_stack("dev", tmp_path_factory)


@pytest.fixture(scope="session")
def prod(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FullStack]:
    yield from _full_stack("prod", tmp_path_factory)


def _full_stack(stack: str, factory: pytest.TempPathFactory) -> Iterator[FullStack]:
    full = FullStack(stack, factory.mktemp(stack))
    yield full
    full.stop()


@pytest.fixture(params=["dev", "prod"])
def full_stack(request: pytest.FixtureRequest) -> FullStack:
    """Each shipped stack in turn."""
    return request.getfixturevalue(request.param)
