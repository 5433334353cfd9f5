"""The pack in a real engine: what a user sees, and how the command ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from world import SETTINGS

from sandbox.engine import Engine
from tests.engine.harness import ROOT, FullStack, Sandbox

pytestmark = [pytest.mark.policies, pytest.mark.engine]

PACK = str(ROOT / "policies")


@pytest.fixture
def sandbox(tmp_path: Path, engine: Engine) -> Iterator[Sandbox]:
    """A sandbox with a stack that declares quotas, and no control plane."""
    project = tmp_path / "program"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: probe\nruntime: python\n")
    made = Sandbox(project, tmp_path / "home", {"SANDBOX_CONTROL_PLANE": "off"})
    declare(made)
    yield made
    made.end()


def declare(sandbox: Sandbox, **changes: Any) -> None:
    config = {f"llmops:{key}": value for key, value in {**SETTINGS, "protect": "false", **changes}.items()}
    (sandbox.project / "Pulumi.dev.yaml").write_text(yaml.safe_dump({"config": config}))


_GROUP = """
    from pulumi_aws import eks
    eks.NodeGroup("{name}", cluster_name="c", node_role_arn="arn:aws:iam::123456789012:role/r",
        subnet_ids=["subnet-a"], instance_types=["g5.xlarge"], capacity_type="{capacity}", disk_size=50,
        labels={{"llmops/role": "gpu-training"}},
        scaling_config={{"min_size": 0, "desired_size": 0, "max_size": {most}}})
"""
_DATABASE = """
    from pulumi_aws import rds
    rds.Instance("open", instance_class="db.t4g.medium", engine="postgres", allocated_storage=20, username="u",
        manage_master_user_password=True, publicly_accessible=True, skip_final_snapshot=True)
"""
_DEPLOYMENT = """
    from pulumi_kubernetes.apps import v1 as apps
    apps.Deployment("bare", metadata={"name": "bare", "namespace": "default"}, spec={
        "selector": {"match_labels": {"app": "bare"}},
        "template": {"metadata": {"labels": {"app": "bare"}}, "spec": {
            "host_network": True, "containers": [{"name": "c", "image": "server:latest"}]}}})
"""
_BUCKET = """
    import pulumi
    from pulumi_aws import s3
    bucket = s3.Bucket("untagged", force_destroy=True)
    pulumi.export("tags", bucket.tags)
"""


@pytest.mark.parametrize(
    ("program", "policies"),
    [
        pytest.param(
            _GROUP.format(name="many", capacity="SPOT", most=5),
            {"gpu-quota": "nodes may grow to 5 a10g GPUs, the quota is 4: lower maxSize of many, or raise quotas.gpus"},
            id="quotas",
        ),
        pytest.param(
            _GROUP.format(name="dear", capacity="ON_DEMAND", most=1),
            {"training-on-spot": "nodes of role gpu-training must be SPOT, capacityType is ON_DEMAND"},
            id="money",
        ),
        pytest.param(
            _DATABASE,
            {
                "database-private": "publiclyAccessible must be false",
                "database-encrypted": "storageEncrypted must be true",
            },
            id="security",
        ),
        pytest.param(
            _DEPLOYMENT,
            {
                "pod-privileges": "hostNetwork must not be set",
                "images-pinned": "image server:latest of container c of spec.template.spec has no fixed tag",
                "pod-resources": "lacks requests.cpu, requests.memory, limits.memory",
            },
            id="kubernetes",
        ),
    ],
)
def test_a_preview_that_breaks_a_policy_fails_and_says_what_to_do(
    sandbox: Sandbox, program: str, policies: dict[str, str]
):
    sandbox.write(program)
    answer = sandbox.pulumi("preview", "--policy-pack", PACK)
    assert answer.code != 0
    said = _unwrapped(answer.stdout)
    for name, words in policies.items():
        assert f"[mandatory] [severity: {_severity(name)}] {name} " in said
        assert words in said
    assert "error: preview failed" in said
    assert "Traceback" not in answer.text


def _unwrapped(text: str) -> str:
    return " ".join(text.split())


def _severity(name: str) -> str:
    from world import rule

    return rule(name).severity.value


def test_without_the_pack_the_same_preview_passes(sandbox: Sandbox):
    sandbox.write(_DATABASE)
    assert sandbox.pulumi("preview").code == 0


def test_an_update_refuses_a_resource_before_it_exists(sandbox: Sandbox):
    """Also where the preview is skipped: a rule over one resource is asked before that resource is created."""
    sandbox.write(_DATABASE)
    answer = sandbox.pulumi("up", "--yes", "--skip-preview", "--policy-pack", PACK)
    assert answer.code != 0
    assert "publiclyAccessible must be false" in answer.stdout
    assert sandbox.account() == []


def test_missing_tags_are_added_and_the_user_is_told(sandbox: Sandbox):
    sandbox.write(_BUCKET)
    # What else a bare bucket lacks is not this test's business.
    lax = sandbox.project / "lax.json"
    names = ("buckets-encrypted", "buckets-tls", "buckets-private", "buckets-kept")
    lax.write_text(json.dumps({name: {"enforcementLevel": "disabled"} for name in names}))
    answer = sandbox.pulumi(
        "up", "--yes", "--skip-preview", "--policy-pack", PACK, "--policy-pack-config", str(lax)
    )  # fmt: skip
    assert answer.code == 0, answer.text
    assert "[remediate]" in answer.stdout
    assert sandbox.outputs()["tags"] == {"owner": "ml-platform", "cost-center": "ml-test"}


def test_a_configuration_of_ones_own_must_fit_the_schema(sandbox: Sandbox):
    sandbox.write("")
    wrong = sandbox.project / "wrong.json"
    wrong.write_text(json.dumps({"keys-kept": {"deletionDays": 3}}))
    answer = sandbox.pulumi("preview", "--policy-pack", PACK, "--policy-pack-config", str(wrong))
    assert answer.code != 0
    assert "deletionDays" in answer.text


def test_a_path_to_the_pack_is_meant_from_where_the_user_is(sandbox: Sandbox):
    """The engine runs in a copy of the project; a relative path would lead nowhere there."""
    (sandbox.project / "pack").symlink_to(PACK)
    sandbox.write(_DATABASE)
    answer = sandbox.pulumi("preview", "--policy-pack=pack")
    assert "publiclyAccessible must be false" in answer.stdout, answer.text


def test_settings_that_cannot_work_are_reported_once_by_the_program_and_not_as_a_broken_pack(sandbox: Sandbox):
    sandbox.write("from components.settings import load_settings\nload_settings()\n")
    declare(sandbox, quotas={"gpus": {"h1000": 1}})
    answer = sandbox.pulumi("preview", "--policy-pack", PACK)
    assert answer.code != 0
    assert "quotas.gpus: must name models of a10g, l4, l40s; got h1000" in _unwrapped(answer.stdout)
    assert "Traceback" not in answer.text


def test_the_shipped_stacks_pass_with_every_document_known(every_stack: FullStack):
    """After an update nothing is unknown any more, so that every policy has judged everything."""
    (summary,) = every_stack.events("summaryEvent")
    assert summary["PolicyPacks"], "the pack did not run"
    said = every_stack.events("policyEvent")
    assert [one for one in said if one["enforcementLevel"] == "mandatory"] == []
    assert [one for one in said if one["policyName"] == "iam-judged-later"] == []
    assert every_stack.events("policyRemediationEvent") == [], "the program itself must set its tags and labels"


_FIRST_PREVIEW = """
import pulumi
import pulumi_kubernetes as kubernetes
import pulumi_random as random
from pulumi_kubernetes.core.v1 import Namespace, ResourceQuota

later = random.RandomId("later", byte_length=4).hex.apply(lambda text: f"{{}}#{text}")
cluster = kubernetes.Provider("cluster", kubeconfig=later)  # known only when the cluster is there
options = pulumi.ResourceOptions(provider=cluster)
Namespace("room", metadata={"name": "room"}, opts=options)
ResourceQuota(
    "bound",
    metadata={"name": "bound", "namespace": NAMESPACE},
    spec={"hard": {"requests.nvidia.com/gpu": "0"}},
    opts=options,
)
"""


@pytest.mark.parametrize(("namespace", "bounded"), [("room", True), ("another", False)])
def test_the_first_preview_judges_objects_of_a_cluster_that_does_not_exist_yet(
    sandbox: Sandbox, namespace: str, bounded: bool
):
    """The engine knows no outputs of them then; the policies go by what the program asks for."""
    sandbox.write(_FIRST_PREVIEW.replace("NAMESPACE", repr(namespace)))
    answer = sandbox.pulumi("preview", "--policy-pack", PACK)
    assert answer.code != 0  # the namespace lacks more than this
    assert "namespaces-closed" in answer.stdout
    assert ("namespaces-bounded" not in answer.stdout) is bounded
