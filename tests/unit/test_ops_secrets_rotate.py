"""``python -m ops secrets rotate``: the edit of the stack's file, what has two values, and a value that is supplied."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ops.secrets import cli, edit
from ops.secrets.store import SecretsManager
from ops.stack import Stack
from tests.unit.test_ops_secrets import amazon as amazon  # noqa: PLC0414 a fixture, with its account
from tests.unit.test_ops_secrets import random_in_state, rotation

pytestmark = pytest.mark.unit


def always(answer: Any) -> Callable[..., Any]:
    """A function that gives one answer to everything."""

    def answered(*_: Any, **__: Any) -> Any:
        return answer

    return answered


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A stack whose state has first values; its file."""
    outputs = {"cloud": "aws", "region": "us-east-1", "secrets": dict.fromkeys(_PURPOSES, "arn")}
    drawn = [random_in_state(f"secrets-{purpose}-value", None) for purpose in _PURPOSES]
    monkeypatch.setattr(Stack, "read", always(Stack("org/llmops/dev", False, outputs)))
    monkeypatch.setattr(cli, "stack_export", always({"deployment": {"resources": drawn}}))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text("config:\n  llmops:owner: ml\n")
    return file


_PURPOSES = ("mlflow-database", "litellm-salt-key", "cache-auth", "huggingface-token", "database-admin")


def rotated(*arguments: str, given: str = "") -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, ["rotate", *arguments, "--stack", "org/llmops/dev"], input=given)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_without_yes_the_edit_is_shown_and_not_made(stack: Path):
    before = stack.read_text()
    code, text = rotated("mlflow-database")
    assert (code, "+      mlflow-database: 2" in text, stack.read_text()) == (0, True, before)


def test_the_edit_is_made_once_and_then_waits_for_up(stack: Path):
    assert rotated("mlflow-database", "--yes")[0] == 0
    assert edit.rotation_of(stack.read_text()).generations == {"mlflow-database": 2}
    code, text = rotated("mlflow-database", "--yes")
    assert (code, "pulumi up" in text) == (2, True)
    assert edit.rotation_of(stack.read_text()).generations == {"mlflow-database": 2}
    code, text = rotated("mlflow-database", "--activate", "--yes")
    assert (code, "`pulumi up` first" in text) == (2, True)


def test_what_can_have_two_values_overlaps_until_it_is_finished(stack: Path, monkeypatch: pytest.MonkeyPatch):
    assert rotated("cache-auth", "--yes")[0] == 0
    assert edit.rotation_of(stack.read_text()) == rotation(("cache-auth",), cache_auth=2)
    up = {"deployment": {"resources": [random_in_state("c-cache-auth-token-b", 2)]}}
    monkeypatch.setattr(cli, "stack_export", always(up))
    assert rotated("cache-auth", "--yes")[0] == 2, "not a third value while two are accepted"
    assert rotated("cache-auth", "--finish", "--yes")[0] == 0
    assert edit.rotation_of(stack.read_text()) == rotation(cache_auth=2)


@pytest.mark.parametrize(
    ("purpose", "told"),
    [("litellm-salt-key", "no way to decrypt"), ("database-admin", "every seven days"), ("none", "has no credential")],
)
def test_what_is_not_rotated_here_says_why(stack: Path, purpose: str, told: str):
    before = stack.read_text()
    code, text = rotated(purpose, "--yes")
    assert code != 0
    assert told in " ".join(text.split())
    assert stack.read_text() == before


def test_a_supplied_value_comes_from_standard_input_and_is_never_shown(
    stack: Path, amazon: tuple[Any, dict[str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    client, arns = amazon
    written = SecretsManager(client, {"huggingface-token": arns["token"]})
    monkeypatch.setattr(cli, "store_of", always(written))
    config = tmp_path / "kubeconfig"
    script = tmp_path / "kubectl"
    script.write_text("#!/bin/sh\necho '{\"items\": []}'\n")
    script.chmod(0o755)
    monkeypatch.setenv("KUBECTL", str(script))
    monkeypatch.setattr("ops.stack.pulumi", always(""))
    code, text = rotated("huggingface-token", "--yes", given="hf_unmistakable\n")
    assert code == 0, text
    assert written.read("huggingface-token") == {"token": "hf_unmistakable"}
    assert "unmistakable" not in text
    assert not config.exists()
