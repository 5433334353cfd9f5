"""The sandbox's own commands: faults and the account, and how they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sandbox import cli, paths
from sandbox.store import Fault, Record, Store

pytestmark = pytest.mark.unit

VPC = "aws:ec2/vpc:Vpc"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The account of stack ``dev`` of an empty checkout."""
    (tmp_path / "Pulumi.dev.yaml").write_text("config: {}\n")
    monkeypatch.setattr(paths, "PROJECT", tmp_path)
    monkeypatch.setenv("SANDBOX_HOME", str(tmp_path / "home"))
    opened = Store(paths.StackPaths.of("dev").account)
    yield opened
    opened.close()


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, arguments)
    return result.exit_code, result.output


def test_a_fault_is_armed_as_it_was_asked_for(store: Store):
    code, _ = run("fault", "add", "--type", VPC, "--operation", "delete", "--error", "no", "--times", "3")
    assert code == 0
    (armed,) = store.faults()
    assert armed == Fault(type=VPC, operation="delete", error="no", remaining=3, number=armed.number)


@pytest.mark.parametrize("arguments", [("--operation", "explode", "--error", "no"), ("--type", VPC)])
def test_a_fault_that_could_never_strike_is_refused(store: Store, arguments: tuple[str, ...]):
    code, _ = run("fault", "add", *arguments)
    assert code == 1
    assert store.faults() == []


def test_clearing_lifts_quotas_too(store: Store):
    assert run("fault", "quota", "--type", VPC, "--most", "1")[0] == 0
    assert store.quotas() == {VPC: 1}
    assert run("fault", "clear")[0] == 0
    assert store.quotas() == {}


def test_the_account_is_changed_by_identifier_or_by_name(store: Store):
    urn = f"urn:pulumi:dev::probe::{VPC}::main"
    store.insert(Record(VPC, "vpc-1", urn, "us-east-1", {"tags": {}}, {"tags": {}, "arn": "arn"}))
    assert run("account", "set", "vpc-1", 'tags={"a": "b"}')[0] == 0
    assert run("account", "set", "main", "cidrBlock=10.0.0.0/16")[0] == 0
    (record,) = store.records()
    assert record.inputs == {"tags": {"a": "b"}, "cidrBlock": "10.0.0.0/16"}
    assert record.outputs == {**record.inputs, "arn": "arn"}
    code, listed = run("account", "list")
    assert code == 0
    assert "vpc-1" in listed
    assert run("account", "delete", "main")[0] == 0
    assert store.records() == []


def test_a_stack_that_does_not_exist_is_refused_and_not_made(store: Store):
    assert run("account", "list", "--stack", "staging")[0] == 1
    assert not (paths.home() / "stacks" / "staging").exists()
