"""Credentials: one entry for each purpose, values that nobody sees, and none that is made up."""

from __future__ import annotations

import json

import pulumi
import pytest
from aws_stack import KEY, PREFIX, hidden, run
from conftest import Recorder

from components.aws.secrets import Secrets, SecretsArgs, SecretVault, keep
from components.credentials import CATALOGUE, Credential, Generated, supplied

pytestmark = pytest.mark.unit
VAULT = SecretVault(prefix=PREFIX, kms_key_arn=KEY, recovery_window_days=0)


def secrets():
    return Secrets("secrets", SecretsArgs(vault=VAULT, more=(supplied("openai", "API key of OpenAI.", "key"),)))


def documents(recorded: Recorder) -> dict[str, dict[str, str]]:
    versions = recorded.of("aws:secretsmanager/secretVersion:SecretVersion")
    return {name.removeprefix("secrets-"): json.loads(hidden(v.inputs["secretString"])) for name, v in versions.items()}


def test_every_credential_has_an_encrypted_entry_named_after_the_stack(recorded: Recorder):
    run(secrets)
    entries = recorded.of("aws:secretsmanager/secret:Secret")
    purposes = {credential.purpose for credential in CATALOGUE} | {"openai"}
    assert {entry.inputs["name"] for entry in entries.values()} == {f"{PREFIX}/{purpose}" for purpose in purposes}
    assert {entry.inputs["kmsKeyId"] for entry in entries.values()} == {KEY}
    assert set(recorded.component_outputs["secrets"]["entries"]) == purposes


def test_without_a_recovery_window_the_stack_can_be_destroyed_and_built_again(recorded: Recorder):
    """A deleted secret keeps its name until its recovery window ends."""
    run(secrets)
    entries = recorded.of("aws:secretsmanager/secret:Secret").values()
    assert {entry.inputs["recoveryWindowInDays"] for entry in entries} == {0}


def test_each_document_has_exactly_the_properties_that_its_readers_are_told(recorded: Recorder):
    run(secrets)
    told = {credential.purpose: set(credential.properties) for credential in CATALOGUE if not credential.supplied}
    assert {purpose: set(document) for purpose, document in documents(recorded).items()} == told


def test_keys_of_the_gateway_start_as_the_gateway_insists(recorded: Recorder):
    run(secrets)
    assert documents(recorded)["litellm-master-key"]["key"] == "sk-not-a-real-password"
    assert documents(recorded)["litellm-salt-key"]["key"] == "sk-not-a-real-password"


def test_argo_cd_gets_the_hash_that_it_stores_beside_the_password_that_people_type(recorded: Recorder):
    run(secrets)
    document = documents(recorded)["argocd-admin"]
    assert document["password"] == "not-a-real-password"
    assert document["passwordHash"] == "$2a$"


def test_what_only_the_operator_knows_starts_empty_and_not_with_a_placeholder(recorded: Recorder):
    run(secrets)
    assert "openai" not in documents(recorded)
    assert "huggingface-token" not in documents(recorded)


def test_values_are_secret_all_the_way(recorded: Recorder):
    seen: list[bool] = []

    async def look(outputs: list[pulumi.Output[str]]) -> None:
        for output in outputs:
            seen.append(await output.is_secret())

    def program():
        parent = pulumi.ComponentResource("test:index:Parent", "parent")
        credential = Credential(
            purpose="p",
            description="d",
            generated={"password": Generated(bcrypt_as="hash"), "key": Generated(prefix="sk-")},
        )
        kept = keep("x", credential, VAULT, parent=parent)
        document = pulumi.Output.json_dumps(kept.values)
        pulumi.Output.from_input(look([*kept.values.values(), document]))

    run(program)
    assert seen == [True, True, True, True]


def test_a_reader_learns_the_entry_only_once_it_has_a_value(recorded: Recorder):
    """Otherwise External Secrets would find an entry without a value and wait for its next interval."""
    recorded.outputs["aws:secretsmanager/secretVersion:SecretVersion"] = {"arn": "the-version"}
    run(secrets)
    entries = recorded.component_outputs["secrets"]["entries"]
    assert entries["grafana-admin"] == "the-version"
    assert entries["huggingface-token"] != "the-version"


def test_purposes_are_unique():
    purposes = [credential.purpose for credential in CATALOGUE]
    assert len(purposes) == len(set(purposes))


def test_a_credential_is_generated_or_supplied_but_not_both():
    with pytest.raises(ValueError, match="both: either generated"):
        Credential(purpose="both", description="", generated={"a": Generated()}, supplied=("b",))
    with pytest.raises(ValueError, match="neither: either generated"):
        Credential(purpose="neither", description="")


def test_a_hash_of_half_a_value_is_refused():
    with pytest.raises(ValueError, match="no bcrypt hash"):
        Generated(prefix="sk-", bcrypt_as="hash")
