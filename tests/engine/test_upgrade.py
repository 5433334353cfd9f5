"""The present program over the state of each release: nothing that holds data is replaced or deleted.

``tests/upgrade/<release>/<stack>.json.xz`` are what ``python -m ops upgrade record`` wrote when the release was made.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.upgrade import record
from ops.upgrade.cli import RELEASES
from sandbox.engine import Engine
from tests.engine.harness import ROOT, Sandbox

pytestmark = pytest.mark.engine

RECORDED = sorted(RELEASES.glob("*/*.json.xz"))
DATABASE = "aws:rds/instance:Instance"
SECRET = "1b47061264138c4ac30d75fd1eb44270"  # how the engine marks a secret value


@pytest.fixture
def upgraded(tmp_path: Path, engine: Engine) -> Iterator[Callable[..., tuple[int, dict[str, Any]]]]:
    """Imports a state as the stack's own, and plans the present program over it."""
    sandboxes: list[Sandbox] = []

    def plan(stack: str, state: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        sandbox = Sandbox(ROOT, tmp_path / "home", {"SANDBOX_CONTROL_PLANE": "off", "SANDBOX_SAVE": ""})
        sandboxes.append(sandbox)
        file = tmp_path / "state.json"
        file.write_text(json.dumps(state))
        sandbox.succeed("stack", "import", "--file", str(file), "-s", stack)
        command = [sys.executable, "-m", "ops", "upgrade", "plan", "--stack", stack, "--sandbox", "--offline", "--json"]
        done = subprocess.run(command, cwd=ROOT, env=sandbox.environment, capture_output=True, text=True, check=False)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    yield plan
    for sandbox in sandboxes:
        sandbox.end()


def test_a_release_has_left_its_state():
    assert RECORDED, "no release is recorded: the tests below would pass for nothing"


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}-{path.name.partition('.')[0]}")
def test_this_version_replaces_nothing_that_holds_data(path: Path, upgraded: Callable[..., Any]):
    state = record.load(path)
    code, plan = upgraded(path.name.partition(".")[0], state)
    assert plan["previewed"]
    lost = [one for one in plan["replaces"] if one["loses"]]
    assert lost == []
    assert (code, plan["objections"]) == (0, []), plan["objections"]


def test_a_change_that_replaces_the_database_is_refused_and_named(upgraded: Callable[..., Any]):
    """As if this version had encrypted the database with another key: the recorded one is not what the program says."""
    path = next(path for path in RECORDED if path.name == "dev.json.xz")
    state = record.load(path)
    (database,) = [one for one in state["deployment"]["resources"] if one["type"] == DATABASE]
    for side in ("inputs", "outputs"):
        database[side]["kmsKeyId"] = "arn:aws:kms:us-east-1:123456789012:key/the-key-before"
    code, plan = upgraded("dev", state)
    assert code == 1
    assert any(DATABASE in one and "the databases: kmsKeyId" in one for one in plan["objections"]), plan["objections"]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}-{path.name.partition('.')[0]}")
def test_a_recorded_state_holds_no_secret_and_no_time(path: Path):
    text = json.dumps(record.load(path))
    marks = ("ciphertext", "plaintext", "PRIVATE KEY", "secrets_providers", SECRET, '"modified"')
    assert [mark for mark in marks if mark in text] == []
