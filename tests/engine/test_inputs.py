"""Inputs that the real provider would refuse are refused here, and changes that replace there replace here."""

from __future__ import annotations

import pytest

from tests.engine.conftest import Sandbox

pytestmark = pytest.mark.engine


def test_missing_unknown_and_wrong_inputs_are_refused_with_their_paths_and_nothing_is_created(sandbox: Sandbox):
    """The resources are registered without the SDK's classes, which would catch some of it before the engine."""
    sandbox.write(
        """
        import pulumi

        def register(kind, name, **inputs):
            pulumi.CustomResource(f"aws:{kind}", name, inputs)

        register("ec2/subnet:Subnet", "missing", cidrBlock="10.0.0.0/24")
        register("ec2/vpc:Vpc", "unknown", cidrBlock="10.0.0.0/16", colour="blue")
        register("ec2/vpc:Vpc", "wrong", cidrBlock=["10.0.0.0/16"], enableDnsSupport="yes please")
        register(
            "eks/nodeGroup:NodeGroup", "nested", clusterName="c", nodeRoleArn="arn:aws:iam::123456789012:role/r",
            subnetIds=["subnet-1", 2], scalingConfig={"minSize": 0, "maxSize": "many", "size": 1},
            taints=[{"key": "gpu", "effect": "NO_SCHEDULE"}, {"key": "spot"}],
        )
        register("ec2/nothing:Nothing", "nothing")
        """
    )
    answer = sandbox.pulumi("up", "--yes", "--skip-preview")
    assert answer.code != 0
    assert "Traceback" not in answer.text
    assert "defect in the sandbox" not in answer.text
    for name, line in {
        "missing": "vpcId: Missing required property",
        "unknown": "colour: An unexpected property",
        "wrong": "cidrBlock: expected string, got list",
        "wrong ": "enableDnsSupport: expected boolean, got string",
        "nested": "subnetIds[1]: expected string, got number",
        "nested ": "scalingConfig.maxSize: expected integer, got string",
        "nested  ": "scalingConfig.size: An unexpected property",
        "nested   ": "scalingConfig.desiredSize: Missing required property",
        "nested    ": "taints[1].effect: Missing required property",
        "nothing": "no resource type aws:ec2/nothing:Nothing",
    }.items():
        assert line in answer.text, f"{name.strip()}: {answer.text}"
    assert sandbox.account() == []


def test_a_changed_name_replaces_and_a_changed_tag_does_not(sandbox: Sandbox):
    program = """
        from pulumi_aws import s3
        s3.Bucket("bucket", bucket="{name}", tags={{"team": "{team}"}})
    """
    sandbox.write(program.format(name="first", team="a"))
    sandbox.up()
    sandbox.write(program.format(name="first", team="b"))
    assert "1 updated" in sandbox.up()
    (record,) = sandbox.account()
    assert (record.id, record.outputs["tagsAll"]) == ("first", {"team": "b"})
    sandbox.write(program.format(name="second", team="b"))
    assert "1 replaced" in sandbox.up()
    assert [record.id for record in sandbox.account()] == ["second"]
