"""Preflight, as far as it can be decided without an account."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from rich.console import Console

from components.aws.foundation import second_region_keys
from components.aws.keys import ALL_DOMAINS
from components.aws.registry import UPSTREAMS
from components.settings import parse
from ops.preflight import report, runner
from ops.preflight.aws import permissions
from ops.preflight.aws.account import Account, AwsError, action_of, tags_of
from ops.preflight.aws.needs import needs
from ops.preflight.aws.regions import Identity, backup_copies
from ops.preflight.aws.resources import KEY_DOMAINS, buckets, copied, names
from ops.preflight.model import EXIT_OK, EXIT_REFUSED, EXIT_UNKNOWN, Check, Finding, UnansweredError, exit_code
from ops.preflight.redaction import HIDDEN, redactor
from ops.preflight.target import Target, TargetError, read

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "123456789012"


def target(**more: Any) -> Target:
    settings = parse({"owner": "team", "costCenter": "center", **more})
    return Target(project="llmops", stack="test", settings=settings)


def check(subject: str, ask: Any) -> Check:
    return Check(group="quota", subject=subject, ask=ask)


def finding(answer: Any, subject: str = "thing", **more: Any) -> Finding:
    return Finding(group="quota", subject=subject, answer=answer, message="because", **more)


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        (["ok", "ok"], EXIT_OK),
        (["ok", "unknown"], EXIT_UNKNOWN),
        (["unknown", "refused", "ok"], EXIT_REFUSED),
        ([], EXIT_UNKNOWN),
    ],
)
def test_the_exit_code_says_the_worst_and_silence_is_not_ok(answers: list[Any], code: int):
    assert exit_code([finding(answer) for answer in answers]) == code


def test_what_hangs_is_unknown_and_holds_up_nobody_else():
    released = threading.Event()

    def hang() -> Iterable[Finding]:
        released.wait(30)
        return [finding("ok", "slow")]

    started = time.monotonic()
    found = runner.run(
        [check("slow", hang), *(check(f"quick {n}", lambda n=n: [finding("ok", f"quick {n}")]) for n in range(20))],
        timeout_seconds=2,
        workers=2,
    )
    waited = time.monotonic() - started
    released.set()

    assert waited < 30
    assert [one.subject for one in found] == ["slow", *(f"quick {n}" for n in range(20))]
    assert found[0].answer == "unknown"
    assert {one.answer for one in found[1:]} == {"ok"}


def test_a_check_that_breaks_is_unknown_and_says_how():
    def unanswered() -> Iterable[Finding]:
        raise UnansweredError("not allowed to look")

    def broken() -> Iterable[Finding]:
        raise KeyError("Quota")

    found = runner.run([check("a", unanswered), check("b", broken), check("c", list)], timeout_seconds=10)

    assert [one.answer for one in found] == ["unknown"] * 3
    assert [one.message for one in found[:2]] == ["not allowed to look", "the check itself failed: KeyError: 'Quota'"]


def test_needs_count_every_group_at_its_maximum_by_the_largest_type_and_the_purchase_option():
    groups = [
        {"name": "system", "role": "system", "instanceTypes": ["m6i.large"], "minSize": 1, "maxSize": 5},
        {"name": "serve", "role": "gpu-inference", "instanceTypes": ["g5.xlarge"], "maxSize": 3},
        {"name": "train", "role": "gpu-training", "capacity": "spot", "maxSize": 2,
         "instanceTypes": ["g5.xlarge", "g5.4xlarge"]},
    ]  # fmt: skip
    found = {need.code: need.amount for need in needs(target(nodeGroups=groups, workloads=[]).settings)}

    assert found["L-1216C47A"] == 5 * 2
    assert found["L-DB2E81BA"] == 3 * 4
    assert found["L-3819A6DF"] == 2 * 16
    assert "L-34B43A08" not in found, "no spot nodes without a GPU: that quota is not asked about"
    assert found["L-6D54EA21"] == 3


def test_a_nat_gateway_in_each_zone_needs_an_address_each_and_room_in_each_zone():
    zones = ["us-east-1a", "us-east-1b", "us-east-1c"]
    each = needs(target(network={"zones": zones, "natGateways": "per-zone"}).settings)
    one = needs(target(network={"zones": zones, "natGateways": "single"}).settings)

    assert [need.amount for need in each if need.code == "L-0263D0A3"] == [3]
    assert [need.place for need in each if need.code == "L-FE5A380F"] == zones
    assert [need.amount for need in one if need.code == "L-0263D0A3"] == [1]
    assert [need.place for need in one if need.code == "L-FE5A380F"] == zones[:1]


def test_copies_in_a_second_region_count_there():
    plain = needs(target().settings)
    copied = needs(target(aws={"drRegion": "us-west-2"}, objects={"replicate": True}).settings)

    assert {need.region for need in plain} == {"us-east-1"}
    assert [(need.code, need.amount) for need in copied if need.region == "us-west-2"] == [("L-C2F1777E", 2)]
    backups = needs(target(aws={"drRegion": "us-west-2"}, database={"replicateBackups": True}).settings)
    assert [(need.code, need.amount) for need in backups if need.region == "us-west-2"] == [("L-C2F1777E", 1)]
    bucket = {need.code: need.amount for need in copied}["L-DC2B2D3D"]
    assert bucket == {need.code: need.amount for need in plain}["L-DC2B2D3D"] + 3


# What the program names itself, by type and property of the golden graphs. Names with a random part cannot be taken.
NAMED = {
    "aws:budgets/budget:Budget": "name",
    "aws:cloudwatch/logGroup:LogGroup": "name",
    "aws:ecr/pullThroughCacheRule:PullThroughCacheRule": "ecrRepositoryPrefix",
    "aws:ecr/repository:Repository": "name",
    "aws:eks/cluster:Cluster": "name",
    "aws:kms/alias:Alias": "name",
    "aws:rds/instance:Instance": "identifier",
    "aws:s3/bucket:Bucket": "bucket",
    "aws:secretsmanager/secret:Secret": "name",
}
# Making these a second time is no error, and they hold nothing.
IDEMPOTENT = {"aws:sns/topic:Topic"}


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_every_name_that_the_shipped_stacks_take_is_asked_about_and_no_other(stack: str):
    graph = yaml.load((ROOT / "tests" / "golden" / f"{stack}.yaml").read_text(), yaml.CSafeLoader)
    wanted = read(stack)
    taken: set[tuple[str, str]] = set()
    for key, resource in graph.items():
        kind = key.split(" ", 1)[0]
        named = {
            name: value
            for name, value in (resource.get("inputs") or {}).items()
            if isinstance(value, str) and name in ("name", "bucket", "identifier", "ecrRepositoryPrefix")
        }
        own = [value for value in named.values() if wanted.prefix in value and kind.startswith("aws:")]
        if own and kind in NAMED:
            taken.add((kind, named[NAMED[kind]]))
        elif own and "bucket" not in named:
            assert kind in IDEMPOTENT, f"{kind} has a name of its own, and preflight asks about none of that kind"

    account = next(name.split("-us-")[0].split("-data-")[1] for kind, name in taken if "-data-" in name)
    asked = {
        *(("aws:s3/bucket:Bucket", name) for name in buckets(wanted, account)),
        *(("aws:budgets/budget:Budget", name) for name in names(wanted, "budget")),
        *(("aws:cloudwatch/logGroup:LogGroup", name) for name in names(wanted, "logGroup")),
        *(("aws:ecr/pullThroughCacheRule:PullThroughCacheRule", name) for name in names(wanted, "cacheRule")),
        *(("aws:ecr/repository:Repository", name) for name in names(wanted, "repository")),
        *(("aws:eks/cluster:Cluster", name) for name in names(wanted, "cluster")),
        *(("aws:kms/alias:Alias", name) for name in names(wanted, "alias")),
        *(("aws:rds/instance:Instance", name) for name in names(wanted, "database")),
        *(("aws:secretsmanager/secret:Secret", name) for name in names(wanted, "secret")),
    }
    assert asked == taken


@pytest.mark.parametrize("replicate", [True, False])
@pytest.mark.parametrize("backups", [True, False, None])
def test_what_is_asked_about_in_the_second_region_is_what_the_foundation_makes_there(
    replicate: bool, backups: bool | None
):
    given = target(
        aws={"drRegion": "us-west-2"}, objects={"replicate": replicate}, database={"replicateBackups": backups}
    )
    assert copied(given.settings) == second_region_keys(given.settings)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ([{"RegionName": "us-east-1", "SupportsDBInstanceAutomatedBackupsReplication": True}], "ok"),
        ([{"RegionName": "us-east-1", "SupportsDBInstanceAutomatedBackupsReplication": False}], "refused"),
        ([], "refused"),
    ],
)
def test_a_pair_of_regions_between_which_rds_copies_no_backups_is_refused(answer: list[Any], verdict: str):
    asked: list[tuple[Any, ...]] = []

    class Rds:
        def call(self, *words: str, **parameters: str) -> dict[str, Any]:
            asked.append((*words, parameters))
            return {"SourceRegions": answer}

    (finding,) = backup_copies(cast("Account", Rds()), "us-east-1", "us-west-2").ask()
    assert finding.answer == verdict
    assert asked == [("rds", "describe_source_regions", "us-west-2", {"RegionName": "us-east-1"})]


def test_key_domains_and_paths_of_image_caches_are_those_of_the_foundation():
    secret = f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:ecr-pullthroughcache/x"
    given = {one.host: "" if one.anonymous else secret for one in UPSTREAMS}

    assert set(KEY_DOMAINS) == set(ALL_DOMAINS)
    assert set(names(target(registry={"upstreams": given}), "cacheRule")) == {
        f"llmops-test/{one.path}" for one in UPSTREAMS
    }


class Simulated:
    """An account whose IAM answers as it is told."""

    def __init__(self, *results: dict[str, Any]) -> None:
        self.results = results
        self.asked: list[dict[str, Any]] = []

    def call(self, service: str, operation: str, region: str, /, **parameters: Any) -> dict[str, Any]:
        if operation == "get_role":
            return {"Role": {"Arn": f"arn:aws:iam::{ACCOUNT}:role/delivery/{parameters['RoleName']}"}}
        raise AwsError("DryRunOperation", "", region, "")

    def pages(self, service: str, operation: str, key: str, region: str, /, **parameters: Any) -> Any:
        self.asked.append(parameters)
        return iter(
            {**result, "EvalActionName": action} for action in parameters["ActionNames"] for result in self.results
        )


def simulate(account: Simulated, arn: str = f"arn:aws:sts::{ACCOUNT}:assumed-role/deployer/me@example.org") -> Finding:
    asked = next(iter(permissions.checks(account, target(), Identity(ACCOUNT, arn))))
    return runner.run([asked], timeout_seconds=30)[0]


@pytest.mark.parametrize(
    ("result", "answer", "words"),
    [
        ({"EvalDecision": "allowed"}, "ok", "all allowed"),
        ({"EvalDecision": "implicitDeny"}, "refused", "not allowed: ec2:CreateVpc"),
        ({"EvalDecision": "implicitDeny", "MissingContextValues": ["aws:RequestTag/team"]}, "unknown", "conditions"),
        ({"EvalDecision": "explicitDeny", "MissingContextValues": ["aws:SourceIp"]}, "refused", "not allowed"),
        (
            {
                "EvalDecision": "implicitDeny",
                "OrganizationsDecisionDetail": {"AllowedByOrganizations": False},
            },
            "refused",
            "service control policy",
        ),
        (
            {
                "EvalDecision": "implicitDeny",
                "PermissionsBoundaryDecisionDetail": {"AllowedByPermissionsBoundary": False},
            },
            "refused",
            "permissions boundary",
        ),
    ],
)
def test_what_iams_simulation_says_becomes_one_of_three_answers(result: dict[str, Any], answer: str, words: str):
    found = simulate(Simulated(result))

    assert found.answer == answer
    assert words in found.message


def test_the_role_behind_a_session_is_simulated_with_its_path():
    account = Simulated({"EvalDecision": "allowed"})
    simulate(account)

    assert account.asked[0]["PolicySourceArn"] == f"arn:aws:iam::{ACCOUNT}:role/delivery/deployer"


def test_a_federated_session_cannot_be_simulated_and_is_unknown():
    assert simulate(Simulated(), f"arn:aws:sts::{ACCOUNT}:federated-user/somebody").answer == "unknown"


def test_no_credential_session_or_encoded_refusal_is_printed():
    redact = redactor(account=ACCOUNT, secrets=["wJalrXUtnFEMI"])
    text = (
        f"arn:aws:sts::{ACCOUNT}:assumed-role/deployer/me@example.org AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI "
        "Encoded authorization failure message: 4GIOHlTkIaWHQD0Q0m6XSnuUMCm"
    )

    shown = redact(text)

    for hidden in (ACCOUNT, "me@example.org", "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI", "4GIOHlTkIaWHQD0Q0m6XSnuUMCm"):
        assert hidden not in shown
    assert f"assumed-role/deployer/{HIDDEN}" in shown


def test_an_error_names_the_iam_action_that_is_missing():
    assert str(AwsError("AccessDenied", action_of("s3", "HeadBucket"), "us-east-1", "no")) == (
        "not allowed to look: s3:ListBucket in us-east-1"
    )
    assert action_of("efs", "DescribeFileSystems") == "elasticfilesystem:DescribeFileSystems"


def test_tags_are_read_in_every_form_that_aws_has():
    forms = [
        {"stack": "a"},
        [{"Key": "stack", "Value": "a"}],
        [{"TagKey": "stack", "TagValue": "a"}],
        [{"key": "stack", "value": "a"}],
    ]
    assert [tags_of(form) for form in forms] == [{"stack": "a"}] * 4
    assert tags_of(None) == {}


def test_the_report_shows_remedies_whole_and_on_lines_of_their_own():
    line = "aws service-quotas request-service-quota-increase " + "--desired-value 48 " * 10
    shown = io.StringIO()
    findings = [finding("refused", "GPU", remedy=line), finding("ok", "fine"), finding("unknown", "what")]
    report.show(Console(file=shown, width=80), "dev", findings, every=False)

    assert f"  {line}".rstrip() in [one.rstrip() for one in shown.getvalue().splitlines()]
    assert "fine" not in shown.getvalue()
    assert shown.getvalue().rstrip().endswith("dev: 1 ok, 1 refused, 1 unknown")


def test_the_summary_for_a_workflow_has_only_what_is_not_ok_and_breaks_no_table():
    text = report.markdown("dev", [finding("refused", "a|b"), finding("ok", "fine")])

    assert "| refused | a\\|b | because |" in text
    assert "fine" not in text


def test_settings_that_cannot_work_are_refused_with_every_problem(tmp_path: Path):
    (tmp_path / "Pulumi.yaml").write_text("name: llmops\n")
    (tmp_path / "Pulumi.odd.yaml").write_text(
        "config:\n  llmops:owner: 1234\n  llmops:protect: false\n  other:key: x\n"
    )

    with pytest.raises(TargetError, match=r"Pulumi.odd.yaml is refused:\n  costCenter: must be set"):
        read("odd", tmp_path)
    with pytest.raises(TargetError, match="the checkout has odd"):
        read("none", tmp_path)


def test_a_stack_is_read_as_the_engine_would_hand_it_over(tmp_path: Path):
    (tmp_path / "Pulumi.yaml").write_text("name: llmops\n")
    (tmp_path / "Pulumi.odd.yaml").write_text(
        "config:\n  llmops:owner: 1234\n  llmops:costCenter: 7\n  llmops:protect: false\n"
        "  llmops:keyDeletionDays: 7\n  llmops:aws:\n    accountId: 12\n"
    )

    settings = read("odd", tmp_path).settings

    assert (settings.owner, settings.cost_center, settings.protect) == ("1234", "7", False)
    assert settings.aws.account_id == "000000000012"


def test_without_credentials_preflight_says_so_and_ends_with_two(tmp_path: Path):
    environment = {"PATH": "/usr/bin", "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    ended = subprocess.run(
        [sys.executable, "-m", "ops", "preflight", "--stack", "dev", "--json"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ended.returncode == 2
    assert "no usable AWS credentials" in ended.stderr
    assert ended.stdout == ""


def test_help_loads_no_cloud_sdk():
    program = (
        "import sys, ops.preflight.cli as cli, json\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert not {"boto3", "botocore", "pulumi_aws"} & set(json.loads(answer.stdout))
