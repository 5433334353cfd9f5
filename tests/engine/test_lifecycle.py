"""A stack from the first preview to the end, on the real engine."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.engine.harness import ROOT, Sandbox

pytestmark = pytest.mark.engine

PROGRAM = """
    import pulumi, pulumi_kubernetes as k8s, pulumi_random as random
    from pulumi_aws import Provider, ec2, s3, secretsmanager

    west = Provider("west", region="us-west-2", default_tags={"tags": {"owner": "tests"}})
    vpc = ec2.Vpc("vpc", cidr_block="10.0.0.0/16", tags={"Name": "main"})
    subnets = [ec2.Subnet(f"subnet-{i}", vpc_id=vpc.id, cidr_block=f"10.0.{i}.0/24") for i in range(2)]
    bucket = s3.Bucket("bucket", opts=pulumi.ResourceOptions(provider=west))
    password = random.RandomPassword("password", length=40, special=False)
    secret = secretsmanager.Secret("secret")
    secretsmanager.SecretVersion("version", secret_id=secret.id, secret_string=password.result)
    namespace = k8s.core.v1.Namespace("namespace", metadata={"name": "probe"})
    k8s.core.v1.Secret("credentials", metadata={"name": "credentials", "namespace": namespace.metadata.name},
                       string_data={"password": password.result})
    pulumi.export("vpc", vpc.id)
    pulumi.export("bucketArn", bucket.arn)
    pulumi.export("password", password.result)
"""
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"  # how the engine's JSON shows a value that only exists later


def test_a_stack_comes_up_stays_as_it_is_and_leaves_nothing_behind(sandbox: Sandbox):
    """The whole life of a stack: up, up again, refresh and destroy."""
    sandbox.write(PROGRAM)
    sandbox.up()
    first = sandbox.state()
    assert sandbox.outputs()["vpc"] == first["vpc"]["id"]
    assert ":s3:::bucket-" in sandbox.outputs()["bucketArn"]
    of_aws = {resource["id"] for resource in first.values() if resource["type"].startswith("aws:")}
    assert {record.id for record in sandbox.account()} == of_aws
    assert len(of_aws) == 6
    assert len(sandbox.recorded_objects()) == 2

    sandbox.up("--expect-no-changes")
    sandbox.succeed("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    assert {name: resource["id"] for name, resource in sandbox.state().items() if resource["custom"]} == {
        name: resource["id"] for name, resource in first.items() if resource["custom"]
    }

    sandbox.destroy()
    assert (sandbox.state(), sandbox.account(), sandbox.recorded_objects()) == ({}, [], [])


def test_a_preview_leaves_unknown_what_only_the_cloud_can_tell_and_creates_nothing(sandbox: Sandbox):
    sandbox.write(PROGRAM)
    answer = sandbox.run("--quiet", "--", "pulumi", "preview", "--json")
    assert answer.code == 0, answer.text
    inputs: dict[str, dict[str, Any]] = {}
    for step in json.loads(answer.stdout)["steps"]:
        inputs[step["urn"].rsplit("::", 1)[1]] = step["newState"].get("inputs") or {}
    assert inputs["subnet-0"]["vpcId"] == UNKNOWN
    assert inputs["subnet-0"]["cidrBlock"] == "10.0.0.0/24"
    assert inputs["version"]["secretString"] == inputs["version"]["secretId"] == UNKNOWN
    assert inputs["vpc"]["tags"] == {"Name": "main"}
    assert inputs["credentials"]["metadata"]["namespace"] == "probe"
    assert (sandbox.account(), sandbox.recorded_objects()) == ([], [])


def test_two_stacks_that_come_up_at_once_do_not_disturb_each_other(sandbox: Sandbox):
    shutil.copy(sandbox.project / "Pulumi.dev.yaml", sandbox.project / "Pulumi.other.yaml")
    sandbox.write(
        """
        import pulumi
        from pulumi_aws import s3
        for i in range(5):
            s3.Bucket(f"bucket-{i}", bucket=f"{pulumi.get_stack()}-{i}")
        """
    )
    both = [sandbox.start("--", "pulumi", "up", "--yes", "--skip-preview", "-s", stack) for stack in ("dev", "other")]
    for process in both:
        stdout, stderr = process.communicate()
        assert process.returncode == 0, stdout + stderr
    sandbox.destroy("-s", "dev")
    assert sandbox.account("dev") == []
    assert sorted(record.id for record in sandbox.account("other")) == [f"other-{i}" for i in range(5)]
    assert {f"bucket-{i}" for i in range(5)} <= sandbox.state("other").keys()


def test_a_run_writes_nothing_that_git_tracks(sandbox: Sandbox):
    """The engine would write its salt into the stack file; the sandbox gives it a copy, without foreign secrets."""
    (sandbox.project / "Pulumi.dev.yaml").write_text(
        "secretsprovider: awskms://alias/pulumi\nencryptedkey: AQICAHg=\n"
        "config:\n  probe:token:\n    secure: v1:abc:def\n  probe:name: plain\n"
    )
    sandbox.write(
        """
        import pulumi
        config = pulumi.Config()
        pulumi.export("values", [config.require("token"), config.require("name")])
        """
    )
    shutil.copy(ROOT / ".gitignore", sandbox.project)
    _git(sandbox.project, "init", "--quiet")
    _git(sandbox.project, "add", "--all")
    _git(sandbox.project, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "-m", "tracked")

    inside = Sandbox(sandbox.project, sandbox.project / ".sandbox", sandbox.variables)
    said = inside.up()
    assert "probe:token is encrypted with a key that the sandbox does not have" in said
    assert inside.outputs()["values"] == ["sandbox", "plain"]
    assert _git(sandbox.project, "status", "--porcelain", "--untracked-files=all") == ""
    assert (inside.home / "passphrase").stat().st_mode & 0o077 == 0


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


def test_a_stack_that_does_not_exist_is_named_with_those_that_do(sandbox: Sandbox):
    answer = sandbox.pulumi("up", "--yes", "-s", "staging")
    assert answer.code == 1
    assert answer.stderr.strip() == "sandbox: there is no stack 'staging': the checkout has dev"
