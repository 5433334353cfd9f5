"""Identities: one service account, one role, what was granted, with the key beside it, and no more."""

from __future__ import annotations

import json
from fnmatch import fnmatch

import pulumi
import pytest
from aws_stack import HERE, KEY, OTHER_KEY, rendered, run, statements
from conftest import ACCOUNT, REGION, Recorder

from components.aws.identity import AwsIdentity, ClusterIssuer
from components.contract import (
    AuditLog,
    AuditLogGrant,
    DnsGrant,
    DnsZone,
    Identity,
    ObjectGrant,
    SecretGrant,
    SecretRef,
)

pytestmark = pytest.mark.unit
ISSUER = f"oidc.eks.{REGION}.amazonaws.com/id/EXAMPLE"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:llmops-test/mlflow-database-AbCdEf"


BACKUPS_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/9234abcd-12ab-34cd-56ef-1234567890ab"
ZONE = DnsZone(kind="route53", id="Z0123456789ABC", region=REGION)


def identity(boundary=None, dns=None) -> AwsIdentity:
    return AwsIdentity(
        account=HERE,
        issuer=ClusterIssuer(provider_arn=f"arn:aws:iam::{ACCOUNT}:oidc-provider/{ISSUER}", url=f"https://{ISSUER}"),
        bucket_arns={role: f"arn:aws:s3:::{role}" for role in ("mlflow", "models", "backups")},
        bucket_key_arns={"mlflow": KEY, "models": KEY, "backups": BACKUPS_KEY},
        secrets={"mlflow-database": SecretRef(key=pulumi.Output.from_input(SECRET), properties=("password",))},
        secrets_key_arn=OTHER_KEY,
        dns=dns,
        permissions_boundary_arn=boundary,
    )


def grant(*grants, boundary=None):
    giver: Identity = identity(boundary)  # the contract is what the platform calls
    parent = pulumi.ComponentResource("test:index:Parent", "parent")
    return giver.grant("mlflow", namespace="ml", service_account="mlflow-server", grants=grants, parent=parent)


def test_exactly_one_service_account_can_assume_the_role(recorded: Recorder):
    run(lambda: grant(ObjectGrant(bucket="mlflow", access="read")))
    (statement,) = json.loads(recorded.one("aws:iam/role:Role").inputs["assumeRolePolicy"])["Statement"]
    assert statement["Principal"] == {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{ISSUER}"}
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Condition"] == {
        "StringEquals": {
            f"{ISSUER}:sub": "system:serviceaccount:ml:mlflow-server",
            f"{ISSUER}:aud": "sts.amazonaws.com",
        }
    }


def test_the_service_account_is_told_its_role(recorded: Recorder):
    annotations: list[dict[str, str]] = []
    run(lambda: pulumi.Output.from_input(grant().annotations).apply(annotations.append))
    (annotation,) = annotations
    assert annotation == {"eks.amazonaws.com/role-arn": recorded.component_outputs["mlflow-identity"]["roleArn"]}


def test_a_pod_waits_for_the_permissions_and_not_only_for_the_role(recorded: Recorder):
    kinds: list[str] = []

    def program():
        ready = grant(SecretGrant(entries=["mlflow-database"])).ready
        kinds.extend(type(resource).__name__ for resource in ready)

    run(program)
    assert kinds == ["Role", "RolePolicy"]


def test_reading_objects_means_no_writing_and_a_key_that_only_decrypts(recorded: Recorder):
    policy = rendered(identity().statements([ObjectGrant(bucket="mlflow", access="read")]))
    allowed = {action for statement in policy.values() for action in statement["Action"]}
    assert allowed == {"s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:GetBucketLocation", "kms:Decrypt"}


def test_writing_objects_brings_the_key_to_encrypt_them(recorded: Recorder):
    policy = rendered(identity().statements([ObjectGrant(bucket="mlflow", access="read-write")]))
    assert {"s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"} <= set(policy["Objects0"]["Action"])
    assert policy["ObjectKey0"]["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]


def test_the_key_serves_this_bucket_only_and_through_s3_only(recorded: Recorder):
    key = rendered(identity().statements([ObjectGrant(bucket="mlflow", access="read")]))["ObjectKey0"]
    assert key["Resource"] == [KEY]
    assert key["Condition"] == {
        "StringEquals": {"kms:ViaService": f"s3.{REGION}.amazonaws.com"},
        "StringLike": {"kms:EncryptionContext:aws:s3:arn": ["arn:aws:s3:::mlflow", "arn:aws:s3:::mlflow/*"]},
    }


def test_backups_come_with_their_own_key_and_without_that_of_the_data(recorded: Recorder):
    policy = rendered(identity().statements([ObjectGrant(bucket="backups", access="read-write")]))
    assert policy["ObjectKey0"]["Resource"] == [BACKUPS_KEY]
    assert KEY not in json.dumps(policy)


def test_a_domain_is_proven_by_text_records_under_the_label_of_acme_and_by_nothing_else(recorded: Recorder):
    policy = rendered(identity(dns=ZONE).statements([DnsGrant()]))
    assert {action for one in policy.values() for action in one["Action"]} == {
        "route53:ChangeResourceRecordSets",
        "route53:GetChange",
    }
    change = policy["DnsProof0"]
    assert change["Resource"] == ["arn:aws:route53:::hostedzone/Z0123456789ABC"]
    assert change["Condition"]["ForAllValues:StringEquals"] == {
        "route53:ChangeResourceRecordSetsRecordTypes": ["TXT"],
        "route53:ChangeResourceRecordSetsActions": ["UPSERT", "DELETE"],
    }
    (name,) = change["Condition"]["ForAllValues:StringLike"]["route53:ChangeResourceRecordSetsNormalizedRecordNames"]
    assert fnmatch("_acme-challenge.llm.example.com", name)
    assert not fnmatch("llm.example.com", name)
    assert not fnmatch("www._acme-challenge.example.com", name)


def test_a_dns_grant_without_a_zone_says_which_setting_is_missing(recorded: Recorder):
    with pytest.raises(pulumi.RunError, match=r"aws\.hostedZoneId"):
        identity().statements([DnsGrant()])


def test_a_prefix_limits_objects_and_listing_alike(recorded: Recorder):
    policy = rendered(identity().statements([ObjectGrant(bucket="models", access="read", prefix="triton/")]))
    assert policy["Objects0"]["Resource"] == ["arn:aws:s3:::models/triton/*"]
    assert policy["List0"]["Condition"] == {"StringLike": {"s3:prefix": "triton/*"}}


def test_a_tool_that_lists_the_bucket_sees_all_names_and_reads_below_its_prefix_only(recorded: Recorder):
    wanted = ObjectGrant(bucket="models", access="read", prefix="triton/", lists_bucket=True)
    policy = rendered(identity().statements([wanted]))
    assert policy["Objects0"]["Resource"] == ["arn:aws:s3:::models/triton/*"]
    assert not policy["List0"].get("Condition")


def test_secrets_are_granted_one_by_one_with_their_key(recorded: Recorder):
    policy = rendered(identity().statements([SecretGrant(entries=["mlflow-database"])]))
    assert policy["Secrets0"]["Resource"] == [SECRET]
    assert policy["SecretKey0"]["Resource"] == [OTHER_KEY]
    assert policy["SecretKey0"]["Condition"]["StringEquals"] == {
        "kms:ViaService": f"secretsmanager.{REGION}.amazonaws.com",
        "kms:EncryptionContext:SecretARN": [SECRET],
    }


def test_several_grants_stand_side_by_side_in_one_policy(recorded: Recorder):
    run(
        lambda: grant(
            ObjectGrant(bucket="mlflow", access="read-write"),
            ObjectGrant(bucket="models", access="read", prefix="triton/"),
            SecretGrant(entries=["mlflow-database"]),
        )
    )
    policy = statements(recorded, "aws:iam/rolePolicy:RolePolicy")
    assert {"Objects0", "ObjectKey0", "Objects1", "ObjectKey1", "Secrets2", "SecretKey2"} <= set(policy)
    for sid, statement in policy.items():
        assert "*" not in statement["Resource"], sid


def test_an_identity_without_grants_has_a_role_and_no_permissions(recorded: Recorder):
    run(grant)
    assert recorded.of("aws:iam/role:Role")
    assert not recorded.of("aws:iam/rolePolicy:RolePolicy")


def test_an_unknown_entry_is_refused_with_those_that_exist(recorded: Recorder):
    with pytest.raises(pulumi.RunError, match="no secret entry mlflow-db; there are mlflow-database"):
        identity().statements([SecretGrant(entries=["mlflow-db"])])


def test_a_permissions_boundary_reaches_every_role(recorded: Recorder):
    boundary = f"arn:aws:iam::{ACCOUNT}:policy/boundary"
    run(lambda: grant(boundary=boundary))
    assert recorded.one("aws:iam/role:Role").inputs["permissionsBoundary"] == boundary


def test_the_record_of_api_calls_is_read_from_one_log_group_and_nothing_else():
    log = AuditLog(kind="cloudwatch", place="/aws/eks/llmops-test/cluster", prefix="audit-", region=REGION)
    (statement,) = identity().statements([AuditLogGrant(log=log)])
    group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/eks/llmops-test/cluster"
    assert list(statement.actions) == ["logs:FilterLogEvents"]
    assert list(statement.resources) == [group, f"{group}:*"]
