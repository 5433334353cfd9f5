"""Keys: who may use them, and how they end."""

from __future__ import annotations

import pytest
from aws_stack import ABROAD, HERE, PREFIX, rendered, run, statements
from conftest import ACCOUNT, REGION, Recorder

from components.aws.keys import ALL_DOMAINS, Keys, KeysArgs, key_policy

pytestmark = pytest.mark.unit


def keys(domains=ALL_DOMAINS, account=HERE):
    return Keys(
        "keys", KeysArgs(prefix=PREFIX, account=account, deletion_window_days=30, protect=True, domains=domains)
    )


def test_every_domain_has_a_key_that_rotates_and_that_no_destroy_can_take_along(recorded: Recorder):
    run(keys)
    made = recorded.of("aws:kms/key:Key")
    assert set(made) == {f"keys-{domain}" for domain in ALL_DOMAINS}
    for key in made.values():
        assert key.inputs["enableKeyRotation"] is True
        assert key.inputs["deletionWindowInDays"] == 30
        assert key.protect


def test_aliases_carry_project_and_stack_so_that_two_stacks_share_an_account(recorded: Recorder):
    run(keys)
    aliases = {alias.inputs["name"] for alias in recorded.of("aws:kms/alias:Alias").values()}
    assert aliases == {f"alias/{PREFIX}-{domain}" for domain in ALL_DOMAINS}


def test_a_second_region_gets_only_the_keys_it_asks_for(recorded: Recorder):
    run(lambda: keys(domains=("objects",), account=ABROAD))
    assert set(recorded.of("aws:kms/key:Key")) == {"keys-objects"}


@pytest.mark.parametrize("domain", ALL_DOMAINS)
def test_the_account_can_always_administer_a_key(domain, recorded: Recorder):
    administers = rendered(key_policy(domain, HERE))["AccountAdministers"]
    assert administers["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    assert administers["Action"] == ["kms:*"]


@pytest.mark.parametrize("domain", [d for d in ALL_DOMAINS if d not in ("storage", "logs")])
def test_no_service_is_let_in_by_a_key_policy_that_does_not_need_one(domain, recorded: Recorder):
    assert set(rendered(key_policy(domain, HERE))) == {"AccountAdministers"}


@pytest.mark.parametrize("domain", ALL_DOMAINS)
def test_whoever_is_not_the_account_itself_is_bound_by_a_condition(domain, recorded: Recorder):
    for sid, statement in rendered(key_policy(domain, HERE)).items():
        if sid != "AccountAdministers":
            assert statement["Condition"], sid


def test_auto_scaling_may_start_nodes_with_encrypted_volumes_before_its_role_exists(recorded: Recorder):
    """KMS refuses a principal that does not exist; in a fresh account the role comes with the first group."""
    policy = rendered(key_policy("storage", HERE))
    role = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    for sid in ("AutoScalingUses", "AutoScalingAttachesVolumes"):
        assert policy[sid]["Condition"]["StringEquals"] == {"kms:CallerAccount": ACCOUNT, "aws:PrincipalArn": role}
    assert policy["AutoScalingAttachesVolumes"]["Action"] == ["kms:CreateGrant"]
    assert policy["AutoScalingAttachesVolumes"]["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": "true"}


def test_the_logs_key_serves_log_groups_and_topics_of_this_account_and_region_only(recorded: Recorder):
    run(lambda: keys(domains=("logs",)))
    policy = statements(recorded, "aws:kms/key:Key")
    assert policy["LogGroupsEncrypt"]["Principal"] == {"Service": f"logs.{REGION}.amazonaws.com"}
    assert policy["LogGroupsEncrypt"]["Condition"] == {
        "ArnLike": {"kms:EncryptionContext:aws:logs:arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:*"}
    }
    assert policy["AlarmsPublish"]["Condition"] == {
        "ArnLike": {"kms:EncryptionContext:aws:sns:topicArn": f"arn:aws:sns:{REGION}:{ACCOUNT}:*"}
    }
