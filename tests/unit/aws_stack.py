"""What the tests of the AWS components share: an account, well-formed ARNs, and a program that runs to its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pulumi
from conftest import ACCOUNT, REGION, Recorder
from pulumi.runtime.rpc import _special_secret_sig, _special_sig_key

from components.aws.policy import Account, Statement, render

HERE = Account(id=ACCOUNT, partition="aws", region=REGION)
ABROAD = Account(id=ACCOUNT, partition="aws", region="us-west-2")
PREFIX = "llmops-test"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OTHER_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0234abcd-12ab-34cd-56ef-1234567890ab"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:alarms"


def run(program: Callable[[], Any]) -> None:
    """Run ``program`` under the mocks of ``recorded`` until every resource is registered."""

    def whole() -> None:
        program()  # its result is dropped: the test runner would take it for an output to wait for

    pulumi.runtime.test(whole)()


def statements(recorded: Recorder, type_: str, name: str | None = None) -> dict[str, dict[str, Any]]:
    """Statements of a registered policy by their Sid."""
    return by_sid(recorded.one(type_, name).inputs["policy"])


def rendered(policy: list[Statement] | tuple[Statement, ...]) -> dict[str, dict[str, Any]]:
    """Statements of a policy as AWS will read them, by their Sid."""
    documents: list[str] = []
    run(lambda: render(policy).apply(documents.append))
    return by_sid(documents[0])


def hidden(value: Any) -> str:
    """What is inside a secret; fails where it reaches the engine in the open."""
    assert isinstance(value, dict), "not marked as a secret"
    assert value[_special_sig_key] == _special_secret_sig
    return value["value"]


def by_sid(document: str) -> dict[str, dict[str, Any]]:
    parsed = json.loads(document)
    assert parsed["Version"] == "2012-10-17"
    found = {statement["Sid"]: statement for statement in parsed["Statement"]}
    assert len(found) == len(parsed["Statement"]), "two statements have the same Sid"
    return found
