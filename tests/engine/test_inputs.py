"""Inputs that the real provider would refuse are refused here, and changes that replace there replace here."""

from __future__ import annotations

import pytest

from tests.engine.harness import Sandbox

pytestmark = pytest.mark.engine


def test_missing_unknown_and_wrong_inputs_are_refused_with_their_paths_and_nothing_is_created(sandbox: Sandbox):
    """Registered without the SDK's classes, which would catch some of it before the engine."""
    sandbox.write(
        """
        import pulumi

        pulumi.CustomResource("aws:eks/nodeGroup:NodeGroup", "group", {
            "nodeRoleArn": "arn:aws:iam::123456789012:role/r",
            "subnetIds": ["subnet-1", 2],
            "scalingConfig": {"minSize": 0, "maxSize": "many", "size": 1},
            "taints": [{"key": "gpu", "effect": "NO_SCHEDULE"}, {"key": "spot"}],
            "diskSize": [20],
            "colour": "blue",
        })
        """
    )
    answer = sandbox.pulumi("up", "--yes", "--skip-preview")
    assert answer.code != 0
    assert "Traceback" not in answer.text
    assert "defect in the sandbox" not in answer.text
    for path, reason in {
        "clusterName": "Missing required property",
        "subnetIds[1]": "expected string, got number",
        "scalingConfig.maxSize": "expected integer, got string",
        "scalingConfig.size": "An unexpected property",
        "scalingConfig.desiredSize": "Missing required property",
        "taints[1].effect": "Missing required property",
        "diskSize": "expected integer, got list",
        "colour": "An unexpected property",
    }.items():
        lines = [line for line in answer.text.splitlines() if f"property {path} value" in line]
        assert any(reason in line for line in lines), f"{path}: {reason} is not in:\n{answer.text}"
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
