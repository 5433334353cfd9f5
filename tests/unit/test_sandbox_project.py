"""Copies of the stack files, so that no run writes what git tracks."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sandbox import paths, project
from sandbox.engine import Engine
from sandbox.run import stack_of

pytestmark = pytest.mark.unit


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("name: probe\nruntime: {name: python, options: {virtualenv: .venv}}\n")
    (folder / "Pulumi.dev.yaml").write_text(
        "encryptionsalt: theirs\nsecretsprovider: awskms://key\nconfig:\n  probe:a: {secure: v1:x}\n  probe:b: {c: 1}\n"
    )
    (folder / "Pulumi.prod.yaml").write_text("")
    monkeypatch.setattr(paths, "PROJECT", folder)
    monkeypatch.setenv("SANDBOX_HOME", str(tmp_path / "home"))
    return folder


def test_the_copy_has_the_settings_but_no_secrets_provider_of_the_user(checkout: Path):
    prepared = project.prepare("dev")
    assert (prepared.name, prepared.stand_ins) == ("probe", ("probe:a",))
    copy = yaml.safe_load((prepared.folder / "Pulumi.dev.yaml").read_text())
    assert copy == {"config": {"probe:a": "sandbox", "probe:b": {"c": 1}}}
    described = yaml.safe_load((prepared.folder / "Pulumi.yaml").read_text())
    assert (described["main"], described["runtime"]) == (str(checkout), "python")


def test_the_sandboxs_own_salt_survives_a_change_of_the_settings(checkout: Path):
    copy = project.prepare("dev").folder / "Pulumi.dev.yaml"
    copy.write_text("encryptionsalt: ours\nconfig: {}\n")
    (checkout / "Pulumi.dev.yaml").write_text("config: {probe:b: new}\n")
    project.prepare("dev")
    assert yaml.safe_load(copy.read_text()) == {"config": {"probe:b": "new"}, "encryptionsalt": "ours"}


def test_a_stack_without_settings_is_a_stack(checkout: Path):
    assert project.prepare("prod").stand_ins == ()


def test_an_unknown_stack_is_named_with_those_that_exist(checkout: Path):
    with pytest.raises(project.ProjectError, match=r"no stack 'staging': the checkout has dev, prod"):
        project.prepare("staging")
    assert not (paths.home() / "stacks" / "staging").exists()


def test_the_engine_gets_nothing_of_the_users_pulumi_or_aws_account(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PULUMI_ACCESS_TOKEN", "theirs")
    monkeypatch.setenv("PULUMI_BACKEND_URL", "https://api.example.com")
    monkeypatch.setenv("AWS_PROFILE", "production")
    env = project.environment(Engine(tmp_path / "pulumi", (tmp_path,), "here"), "aws:1")
    assert not {"PULUMI_ACCESS_TOKEN", "AWS_PROFILE"} & env.keys()
    assert env["PULUMI_BACKEND_URL"].startswith(f"file://{paths.home()}/state?")
    passphrase = Path(env["PULUMI_CONFIG_PASSPHRASE_FILE"])
    assert passphrase.stat().st_mode & 0o077 == 0
    assert len(passphrase.read_text()) >= 24


@pytest.mark.parametrize(("asked", "once"), [(None, True), ("", True), ("each", False)])
def test_the_state_is_saved_once_unless_each_step_is_asked_for(
    asked: str | None, once: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SANDBOX_HOME", str(tmp_path))
    monkeypatch.delenv("SANDBOX_SAVE", raising=False)
    if asked is not None:
        monkeypatch.setenv("SANDBOX_SAVE", asked)
    env = project.environment(Engine(tmp_path / "pulumi", (tmp_path,), "here"), "aws:1")
    assert ("PULUMI_SKIP_CHECKPOINTS" in env) is once


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["up"], ("dev", False)),
        (["up", "-s", "prod"], ("prod", True)),
        (["up", "--stack", "prod", "--yes"], ("prod", True)),
        (["--stack=prod", "up"], ("prod", True)),
    ],
)
def test_the_stack_is_taken_from_the_engines_own_arguments(arguments: list[str], expected: tuple[str, bool]):
    assert stack_of(arguments) == expected
