"""Arguments of engine commands: paths are meant from where the user is."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.run import stack_of, with_whole_paths

pytestmark = pytest.mark.unit


def test_paths_of_policy_packs_become_whole_and_everything_else_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    given = ["preview", "--policy-pack", "policies", "--policy-pack-config=own.json", "--stack", "policies", "--diff"]
    assert with_whole_paths(given) == [
        "preview", "--policy-pack", str(tmp_path / "policies"), f"--policy-pack-config={tmp_path / 'own.json'}",
        "--stack", "policies", "--diff",
    ]  # fmt: skip


def test_the_stack_is_the_one_that_is_named():
    assert stack_of(["preview", "-s", "prod"]) == ("prod", True)
    assert stack_of(["preview", "--policy-pack", "policies"]) == ("dev", False)
