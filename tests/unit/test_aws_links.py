"""The role that signs links: it reads artifacts by name, for twelve hours, and nothing else."""

from __future__ import annotations

import json

import pytest
from aws_stack import HERE, KEY, rendered, run
from conftest import ACCOUNT, Recorder

from components.aws.links import ArtifactLinks, ArtifactLinksArgs, permissions_of
from workloads.artifacts.links import MAX_SECONDS

pytestmark = pytest.mark.unit
MODELS = "arn:aws:s3:::models"


def links():
    return ArtifactLinks("links", ArtifactLinksArgs(account=HERE, bucket_arns=[MODELS], kms_key_arn=KEY))


def test_the_role_is_lent_for_as_long_as_a_link_lasts_and_by_this_account_only(recorded: Recorder):
    run(links)
    role = recorded.one("aws:iam/role:Role").inputs
    assert role["maxSessionDuration"] == MAX_SECONDS
    (statement,) = json.loads(role["assumeRolePolicy"])["Statement"]
    assert statement["Principal"] == {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    assert "Resource" not in statement  # IAM refuses one in a trust policy


def test_the_role_reads_objects_and_lists_and_writes_nothing(recorded: Recorder):
    policy = rendered(permissions_of([MODELS], KEY, "us-east-1"))
    assert {action for statement in policy.values() for action in statement["Action"]} == {
        "s3:GetObject",
        "kms:Decrypt",
    }
    assert policy["ReadArtifacts"]["Resource"] == [f"{MODELS}/*"]
    assert policy["DecryptArtifacts"]["Condition"] == {
        "StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"},
        "StringLike": {"kms:EncryptionContext:aws:s3:arn": [MODELS, f"{MODELS}/*"]},
    }


def test_the_roles_name_is_known_once_it_has_its_permissions(recorded: Recorder):
    run(links)
    assert recorded.component_outputs["links"]["roleArn"]
