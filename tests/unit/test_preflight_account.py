"""Preflight against a server that answers as AWS does: quotas low, high, missing; names taken; nothing allowed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.preflight import cli
from ops.preflight.aws.needs import needs
from ops.preflight.model import EXIT_OK, EXIT_REFUSED, EXIT_UNKNOWN, Finding, exit_code
from ops.preflight.target import Target, read
from tests.unit.moto_account import ACCOUNT, REGION, World, acting_as, acting_as_administrator, served

pytestmark = pytest.mark.unit

GPU, SPOT_GPU, STANDARD = "L-DB2E81BA", "L-3819A6DF", "L-1216C47A"
VPCS = "L-F678F1CE"
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
OWN = {"stack": "llmops-dev"}


@pytest.fixture(scope="module")
def server() -> Iterator[World]:
    with served() as world:
        yield world


@pytest.fixture
def world(server: World) -> World:
    server.reset()
    return server


@pytest.fixture(scope="module")
def dev() -> Target:
    return read("dev")


def ask(world: World, target: Target, *groups: str) -> list[Finding]:
    with acting_as_administrator(world):
        return cli.answers(target, groups, timeout_seconds=120)


def about(findings: list[Finding], text: str) -> Finding:
    (found,) = [one for one in findings if text in one.subject]
    return found


def test_quotas_with_room_are_ok_and_the_run_ends_with_zero(world: World, dev: Target):
    world.allow(dev, times=2)  # the account's default VPC takes one of two

    findings = ask(world, dev, "quota")

    assert [one.message for one in findings if one.answer != "ok"] == []
    assert len(findings) == len(needs(dev.settings))
    assert exit_code(findings) == EXIT_OK


def test_a_low_quota_is_refused_with_the_request_that_raises_it(world: World, dev: Target):
    world.allow(dev, times=2)
    world.quotas[REGION, "ec2", GPU] = 0

    findings = ask(world, dev, "quota")
    refused = about(findings, GPU)

    assert refused.answer == "refused"
    assert refused.message.startswith("needs 8, the quota is 0")
    assert refused.remedy.endswith("--region us-east-1 --service-code ec2 --quota-code L-DB2E81BA --desired-value 8")
    assert refused.link == "https://us-east-1.console.aws.amazon.com/servicequotas/home/services/ec2/quotas/L-DB2E81BA"
    assert [one for one in findings if one.answer == "refused"] == [refused]
    assert exit_code(findings) == EXIT_REFUSED


def test_a_quota_without_an_applied_value_is_unknown_even_where_the_default_would_do(world: World, dev: Target):
    world.allow(dev, times=2)
    del world.quotas[REGION, "ec2", SPOT_GPU]
    world.defaults["ec2", SPOT_GPU] = 100000

    findings = ask(world, dev, "quota")
    missing = about(findings, SPOT_GPU)

    assert missing.answer == "unknown"
    assert "default is 100000" in missing.message
    assert exit_code(findings) == EXIT_UNKNOWN


def test_what_others_run_is_taken_off_the_quota_and_what_the_stack_runs_is_not(world: World, dev: Target):
    world.allow(dev)
    world.quotas[REGION, "vpc", VPCS] = 2
    world.quotas[REGION, "ec2", STANDARD] = 104 + 8  # what dev needs, and four m6i.large of others
    run(world, "m6i.large", 5, OWN)
    run(world, "m6i.large", 4, {"stack": "llmops-other"})
    run(world, "g5.xlarge", 1, {"stack": "llmops-other"})  # counts against another quota
    assert about(ask(world, dev, "quota"), STANDARD).answer == "ok"

    run(world, "m6i.large", 1, {})
    refused = about(ask(world, dev, "quota"), STANDARD)

    assert refused.answer == "refused"
    assert refused.figures == {"needed": 104, "limit": 112, "usedByOthers": 10, "usedByStack": 10}
    assert refused.remedy.endswith("--desired-value 114")


def test_the_stacks_own_vpc_needs_no_second_place(world: World, dev: Target):
    world.allow(dev)
    world.quotas[REGION, "vpc", VPCS] = 2
    ec2 = world.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    assert about(ask(world, dev, "quota"), VPCS).answer == "refused"

    ec2.create_tags(Resources=[vpc], Tags=[{"Key": "stack", "Value": "llmops-dev"}])

    assert about(ask(world, dev, "quota"), VPCS).answer == "ok"


def test_a_request_that_is_under_way_is_said_with_the_refusal(world: World, dev: Target):
    world.allow(dev)
    world.quotas[REGION, "ec2", GPU] = 4
    world.pending[GPU] = 64

    assert "an increase to 64 is asked for" in about(ask(world, dev, "quota"), GPU).message


def test_an_instance_type_that_a_zone_lacks_is_refused_with_the_zones_that_have_it(world: World, dev: Target):
    settings = dev.settings.model_copy(
        update={"network": dev.settings.network.model_copy(update={"zones": ("us-east-1a", "us-east-1e")})}
    )

    refused = about(ask(world, Target(project="llmops", stack="dev", settings=settings), "offer"), "of gpu-inference")

    assert refused.answer == "refused"
    assert refused.message == "us-east-1e has no g5.2xlarge"
    assert refused.remedy == "nodeGroups[3].zones: [us-east-1a]"


def test_a_zone_that_the_account_does_not_have_is_refused(world: World, dev: Target):
    settings = dev.settings.model_copy(
        update={"network": dev.settings.network.model_copy(update={"zones": ("us-east-1a", "us-east-1z")})}
    )

    refused = about(ask(world, Target(project="llmops", stack="dev", settings=settings), "region"), "zones")

    assert (refused.answer, refused.remedy) == ("refused", "set network.zones")
    assert "us-east-1z" in refused.message


def test_another_account_than_the_settings_name_is_refused(world: World, dev: Target):
    settings = dev.settings.model_copy(
        update={"aws": dev.settings.aws.model_copy(update={"account_id": "999999999999"})}
    )

    refused = about(ask(world, Target(project="llmops", stack="dev", settings=settings), "account"), "account")

    assert refused.answer == "refused"
    assert ACCOUNT in refused.message
    assert "999999999999" in refused.message


def test_names_are_free_in_an_empty_account(world: World, dev: Target):
    findings = ask(world, dev, "name")

    assert {one.answer for one in findings} == {"ok"}
    assert len(findings) > 30


def test_taken_names_are_refused_each_with_a_remedy_and_the_stacks_own_are_not(world: World, dev: Target):
    ours = f"llmops-dev-data-{ACCOUNT}-us-east-1"
    theirs = f"llmops-dev-models-{ACCOUNT}-us-east-1"
    s3 = world.client("s3")
    for bucket in (ours, theirs):
        s3.create_bucket(Bucket=bucket)
    s3.put_bucket_tagging(Bucket=ours, Tagging={"TagSet": pairs(OWN)})
    secrets = world.client("secretsmanager")
    secrets.create_secret(Name="llmops-dev/grafana-admin", SecretString="x", Tags=pairs(OWN))
    secrets.create_secret(Name="llmops-dev/mlflow-admin", SecretString="x", Tags=pairs(OWN))
    secrets.delete_secret(SecretId="llmops-dev/mlflow-admin", RecoveryWindowInDays=30)
    # Made by EKS after a destroy, and so without tags.
    world.client("logs").create_log_group(logGroupName="/aws/eks/llmops-dev/cluster")
    world.client("rds").create_db_instance(
        DBInstanceIdentifier="llmops-dev-postgres", Engine="postgres", DBInstanceClass="db.t4g.medium",
        AllocatedStorage=20, MasterUsername="platform", MasterUserPassword="password", Tags=pairs({"stack": "other"}),
    )  # fmt: skip
    world.client("ecr").create_repository(repositoryName="llmops-dev/serving")
    kms = world.client("kms")
    key = kms.create_key(Tags=[{"TagKey": "stack", "TagValue": "llmops-dev"}])["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/llmops-dev-logs", TargetKeyId=key)
    world.cache_rules.add("llmops-dev/quay")

    findings = ask(world, dev, "name")
    refused = {one.subject for one in findings if one.answer == "refused"}

    assert refused == {
        f"bucket {theirs}",
        "secret llmops-dev/mlflow-admin",
        "log group /aws/eks/llmops-dev/cluster",
        "database llmops-dev-postgres",
        "repository llmops-dev/serving",
        "pull-through cache rule llmops-dev/quay",
    }
    assert all(one.remedy for one in findings if one.answer == "refused")
    assert "recovery window" in about(findings, "mlflow-admin").message
    assert about(findings, ours).message == "this stack's own"
    assert about(findings, "grafana-admin").message == "this stack's own"
    assert about(findings, "alias/llmops-dev-logs").message == "this stack's own"


def test_an_administrator_may_do_everything_and_dry_runs_create_nothing(world: World, dev: Target):
    before = len(world.client("ec2").describe_vpcs()["Vpcs"])

    findings = ask(world, dev, "permission")

    assert [one for one in findings if one.answer != "ok"] == []
    assert {one.subject for one in findings} >= {"network", "roles", "dry run: make a VPC"}
    assert len(world.client("ec2").describe_vpcs()["Vpcs"]) == before
    assert world.client("ec2").describe_addresses()["Addresses"] == []


def test_actions_that_a_policy_leaves_out_or_denies_are_named(world: World, dev: Target):
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            EVERYTHING["Statement"][0],
            {"Effect": "Deny", "Action": ["iam:PassRole", "iam:CreateServiceLinkedRole"], "Resource": "*"},
            {"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::llmops-dev-*"},
        ],
    }
    with acting_as(world, policy, enforced=False, path="/delivery/"):
        findings = cli.answers(dev, ["permission"], timeout_seconds=120)

    assert {one.subject for one in findings if one.answer == "refused"} == {"roles", "service-linked roles", "buckets"}
    assert about(findings, "service-linked roles").message == "not allowed: iam:CreateServiceLinkedRole"
    roles = next(one for one in findings if one.subject == "roles")
    assert roles.message == "not allowed: iam:PassRole"


def test_a_dry_run_that_ec2_refuses_is_refused(world: World, dev: Target):
    statements: list[Any] = [
        EVERYTHING["Statement"][0],
        {"Effect": "Deny", "Action": "ec2:AllocateAddress", "Resource": "*"},
    ]
    with acting_as(world, {"Version": "2012-10-17", "Statement": statements}, enforced=True):
        findings = cli.answers(dev, ["permission"], timeout_seconds=120)

    assert about(findings, "dry run: take an address").answer == "refused"
    assert about(findings, "dry run: make a VPC").answer == "ok"


def test_who_may_ask_nothing_gets_unknown_and_never_ok(world: World, dev: Target):
    world.allow(dev, times=2)
    nothing = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
    with acting_as(world, nothing, enforced=True):
        findings = cli.answers(dev, cli.GROUPS, timeout_seconds=120)

    # Whose credentials they are STS says to everybody; EC2's dry runs are an answer, not a question.
    silent = [one for one in findings if one.group != "account" and not one.subject.startswith("dry run")]
    assert {one.answer for one in silent} == {"unknown"}
    assert about(findings, GPU).message == "not allowed to look: servicequotas:GetServiceQuota in us-east-1"
    assert exit_code(findings) == EXIT_REFUSED


def test_the_documented_policy_is_all_that_preflight_needs(world: World, dev: Target):
    """The policy in docs/preflight.md, enforced by moto: nothing may be unknown for want of a permission."""
    world.allow(dev, times=2)
    populate(world)
    text = (Path(__file__).resolve().parents[2] / "docs" / "preflight.md").read_text()
    policy = json.loads(text.split("```json")[1].split("```")[0])

    with acting_as(world, policy, enforced=True):
        findings = cli.answers(dev, cli.GROUPS, timeout_seconds=120)

    assert [one.message for one in findings if one.answer == "unknown"] == []


def test_the_command_prints_json_without_the_accounts_number_and_without_the_session(
    world: World, dev: Target, capsys: pytest.CaptureFixture[str]
):
    world.allow(dev, times=2)
    with acting_as_administrator(world), pytest.raises(SystemExit) as ended:
        cli.preflight(stack="dev", only=["account", "name"], timeout=120, mask_account=True, json_output=True)
    printed = capsys.readouterr().out
    told = json.loads(printed)

    assert ended.value.code == EXIT_OK
    assert told["counts"]["ok"] == len(told["findings"])
    assert ACCOUNT not in printed
    assert "somebody@example.org" not in printed


def run(world: World, kind: str, count: int, tags: dict[str, str]) -> None:
    tagged = [{"ResourceType": "instance", "Tags": pairs(tags)}] if tags else []
    ec2 = world.client("ec2")
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    ec2.run_instances(ImageId=image, InstanceType=kind, MinCount=count, MaxCount=count, TagSpecifications=tagged)


def populate(world: World) -> None:
    """Something of this stack's own of each kind that is looked at a second time where it exists."""
    run(world, "m6i.large", 1, OWN)
    world.client("s3").create_bucket(Bucket=f"llmops-dev-data-{ACCOUNT}-us-east-1")
    world.client("s3").put_bucket_tagging(Bucket=f"llmops-dev-data-{ACCOUNT}-us-east-1", Tagging={"TagSet": pairs(OWN)})
    world.client("logs").create_log_group(logGroupName="/aws/eks/llmops-dev/cluster", tags=OWN)
    world.client("ecr").create_repository(repositoryName="llmops-dev/serving", tags=pairs(OWN))
    kms = world.client("kms")
    key = kms.create_key(Tags=[{"TagKey": "stack", "TagValue": "llmops-dev"}])["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/llmops-dev-logs", TargetKeyId=key)


def pairs(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
