"""``python -m ops drift``: what somebody did, what comes by itself, and what is said about each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ops.drift import text
from ops.drift.classify import Drift, Drifted, classify
from ops.drift.cli import app

pytestmark = pytest.mark.unit

URN = "urn:pulumi:dev::llmops::"
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:abc"}


def step(op: str, type_: str, name: str, old: dict[str, Any], new: dict[str, Any], *paths: str) -> dict[str, Any]:
    return {
        "op": op,
        "urn": f"{URN}{type_}::{name}",
        "oldState": {"inputs": old, "outputs": old},
        "newState": {"inputs": new, "outputs": new},
        "detailedDiff": {path: {"kind": "update"} for path in paths} or None,
    }


def drift(*steps: dict[str, Any], errors: tuple[str, ...] = ()) -> Drift:
    told = [{"severity": "error", "message": one} for one in errors]
    return classify({"steps": list(steps), "diagnostics": told}, "dev")


def only(*steps: dict[str, Any]) -> Drifted:
    (found,) = drift(*steps).resources
    return found


GROUP = "aws:eks/nodeGroup:NodeGroup"
DATABASE = "aws:rds/instance:Instance"
WEBHOOK = "kubernetes:admissionregistration.k8s.io/v1:ValidatingWebhookConfiguration"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"


def sizes(desired: int, most: int) -> dict[str, Any]:
    return {"scalingConfig": {"desiredSize": desired, "maxSize": most}}


def test_the_autoscalers_number_of_nodes_is_noise_and_a_moved_limit_beside_it_is_not():
    grown = only(step("update", GROUP, "cpu", sizes(0, 4), sizes(3, 4), "scalingConfig.desiredSize"))
    assert not grown.is_real
    assert grown.remedy == "none"
    moved = only(
        step("update", GROUP, "cpu", sizes(0, 4), sizes(3, 40), "scalingConfig.desiredSize", "scalingConfig.maxSize")
    )
    assert [one.path for one in moved.real] == ["scalingConfig.maxSize"]
    assert moved.remedy == "adopt-or-up"


def test_what_the_program_does_not_declare_is_real_and_up_would_leave_it():
    opened = only(step("update", DATABASE, "database", {}, {"publiclyAccessible": True}, "publiclyAccessible"))
    assert opened.remedy == "by-hand"
    closed = {"publiclyAccessible": False}
    declared = only(step("update", DATABASE, "database", closed, {"publiclyAccessible": True}, "publiclyAccessible"))
    assert declared.remedy == "adopt-or-up"


def test_data_that_is_gone_comes_first_and_is_restored_and_the_rest_is_made_again():
    found = drift(
        step(
            "update",
            DATABASE,
            "other",
            {"backupRetentionPeriod": 7},
            {"backupRetentionPeriod": 0},
            "backupRetentionPeriod",
        ),
        step("delete", "aws:ec2/subnet:Subnet", "subnet", {}, {}),
        step("delete", "aws:s3/bucket:Bucket", "models", {}, {}),
        step("refresh", "aws:ec2/vpc:Vpc", "vpc", {}, {}),
    )
    assert [(one.name, one.remedy) for one in found.resources] == [
        ("models", "restore"),
        ("subnet", "up"),
        ("other", "adopt-or-up"),
    ]
    assert found.compared == 4
    page = text.render(found)
    assert page.index("Data that is gone") < page.index("the objects") < page.index("What to do") < page.index("subnet")
    assert "2 gone and 1 changed of 4 resources" in page


def test_replicas_are_an_autoscalers_unless_the_program_names_their_number():
    one, three = {"spec": {"replicas": 1}}, {"spec": {"replicas": 3}}
    assert not only(step("update", DEPLOYMENT, "web", {"spec": {}}, three, "spec.replicas")).is_real
    assert only(step("update", DEPLOYMENT, "web", one, three, "spec.replicas")).is_real


@pytest.mark.parametrize(
    ("type_", "path", "noise"),
    [
        ("kubernetes:core/v1:ConfigMap", "metadata.resourceVersion", True),
        ("kubernetes:core/v1:ConfigMap", "metadata.managedFields[0].time", True),
        ("kubernetes:core/v1:ConfigMap", 'data["values.yaml"]', False),
        (DEPLOYMENT, "status.readyReplicas", True),
        (DEPLOYMENT, 'metadata.annotations["deployment.kubernetes.io/revision"]', True),
        (DEPLOYMENT, 'metadata.annotations["owner"]', False),
        (DEPLOYMENT, "spec.template.spec.containers[0].image", False),
        (WEBHOOK, "webhooks[2].clientConfig.caBundle", True),
        (WEBHOOK, "webhooks[2].failurePolicy", False),
        ("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole", "rules[0].verbs[0]", False),
        ("aws:iam/role:Role", "assumeRolePolicy", False),
        (DATABASE, "latestRestorableTime", True),
        (DATABASE, "deletionProtection", False),
        ("gcp:container/nodePool:NodePool", "nodeCount", True),
        ("gcp:container/nodePool:NodePool", "autoscaling.maxNodeCount", False),
    ],
)  # fmt: skip
def test_what_controllers_write_is_noise_and_what_people_write_is_not(type_: str, path: str, noise: bool):
    assert only(step("update", type_, "one", {}, {}, path)).is_real is not noise


def test_a_secret_that_differs_is_named_and_not_shown():
    old, new = {"secretString": {**SECRET}}, {"secretString": {**SECRET, "ciphertext": "v1:other"}}
    found = only(step("update", "aws:secretsmanager/secretVersion:SecretVersion", "key", old, new, "secretString"))
    assert found.is_real
    assert "v1:" not in text.render(
        drift(step("update", "aws:secretsmanager/secretVersion:SecretVersion", "key", old, new, "secretString"))
    )
    assert (found.real[0].expected, found.real[0].found) == ("[secret]", "[secret]")


def called(tmp_path: Path, content: dict[str, Any], *arguments: str) -> Any:
    file = tmp_path / "refresh.json"
    file.write_text(json.dumps(content))
    return CliRunner().invoke(app, ["--stack", "org/llmops/dev", "--refresh", str(file), *arguments])


def test_exit_codes_tell_drift_from_noise_and_from_a_comparison_that_failed(tmp_path: Path):
    grown = step("update", GROUP, "cpu", sizes(0, 4), sizes(3, 4), "scalingConfig.desiredSize")
    gone = step("delete", "aws:ec2/subnet:Subnet", "subnet", {}, {})
    assert called(tmp_path, {"steps": [grown]}).exit_code == 0
    assert called(tmp_path, {"steps": [grown, gone]}).exit_code == 1
    failed = called(tmp_path, {"steps": [gone], "diagnostics": [{"severity": "error", "message": "no credentials"}]})
    assert failed.exit_code == 2
    assert "no credentials" in failed.stdout
    assert called(tmp_path, {"deployment": {}}).exit_code == 2
    assert CliRunner().invoke(app, []).exit_code == 2


def test_json_and_the_written_page_say_the_same(tmp_path: Path):
    page = tmp_path / "drift.md"
    gone = step("delete", "aws:ec2/subnet:Subnet", "subnet", {}, {})
    answer = called(tmp_path, {"steps": [gone]}, "--json", "--markdown", str(page))
    told = json.loads(answer.stdout)
    assert told["stack"] == "dev"
    assert told["real"] == 1
    assert told["resources"][0]["what"] in page.read_text()
