"""What the sandbox knows of a resource type, it reads from the installed SDK."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.schema import UnknownTypeError, resource_schema, violations
from sandbox.values import UNKNOWN, Secret

pytestmark = pytest.mark.unit

GROUP = "aws:eks/nodeGroup:NodeGroup"
VALID: dict[str, Any] = {
    "clusterName": "main",
    "nodeRoleArn": "arn:aws:iam::123456789012:role/nodes",
    "subnetIds": ["subnet-1"],
    "scalingConfig": {"desiredSize": 0, "maxSize": 1, "minSize": 0},
}


def _refused(**changes: Any) -> list[tuple[str, str]]:
    return violations(resource_schema(GROUP).inputs, {**VALID, **changes})


def test_types_required_properties_and_outputs_are_those_of_the_sdk():
    schema = resource_schema(GROUP)
    assert schema.inputs["scalingConfig"].required
    assert not schema.inputs["taints"].required
    assert schema.inputs["taints"].type.element is not None
    assert schema.inputs["taints"].type.element.fields["effect"].required
    assert schema.inputs["labels"].type.kind == "map"
    assert schema.outputs["arn"].required
    assert "arn" not in schema.inputs


def test_a_type_that_the_sdk_does_not_have_is_refused():
    with pytest.raises(UnknownTypeError, match="no resource type aws:ec2/nothing:Nothing"):
        resource_schema("aws:ec2/nothing:Nothing")


def test_valid_inputs_pass():
    assert _refused() == []


@pytest.mark.parametrize(
    ("changes", "path", "reason"),
    [
        ({"clusterName": None}, "clusterName", "Missing required property"),
        ({"subnets": ["subnet-1"]}, "subnets", "An unexpected property"),
        ({"subnetIds": "subnet-1"}, "subnetIds", "expected list, got string"),
        ({"subnetIds": ["subnet-1", 7]}, "subnetIds[1]", "expected string, got number"),
        ({"scalingConfig": [1]}, "scalingConfig", "expected object, got list"),
        ({"scalingConfig": {"minSize": 0, "maxSize": 1}}, "scalingConfig.desiredSize", "Missing required property"),
        ({"taints": [{"effect": "NO_EXECUTE", "key": "a", "for": 1}]}, "taints[0].for", "An unexpected property"),
        ({"labels": {"a": 1}}, "labels.a", "expected string, got number"),
        ({"diskSize": True}, "diskSize", "expected integer, got boolean"),
        ({"diskSize": 1.5}, "diskSize", "expected integer, got number"),
        ({"forceUpdateVersion": "yes"}, "forceUpdateVersion", "expected boolean, got string"),
        ({"labels": Secret({"a": 1})}, "labels.a", "expected string, got number"),
    ],
)
def test_a_wrong_input_is_refused_with_its_path(changes: dict[str, Any], path: str, reason: str):
    ((found, why),) = _refused(**changes)
    assert found == path
    assert why.startswith(reason)


def test_every_problem_is_found_at_once():
    paths = [path for path, _ in _refused(clusterName=None, subnetIds=[1, 2], colour="blue")]
    assert paths == ["clusterName", "subnetIds[0]", "subnetIds[1]", "colour"]


@pytest.mark.parametrize("value", [UNKNOWN, Secret(UNKNOWN), [UNKNOWN], ["subnet-1", Secret("subnet-2")]])
def test_what_is_unknown_or_secret_passes_where_a_value_would(value: Any):
    assert _refused(subnetIds=value) == []


def test_a_policy_may_be_text_or_an_object():
    inputs = resource_schema("aws:iam/role:Role").inputs
    assert violations(inputs, {"assumeRolePolicy": "{}"}) == []
    assert violations(inputs, {"assumeRolePolicy": {"Version": "2012-10-17"}}) == []
    assert violations(inputs, {"assumeRolePolicy": 1}) == [("assumeRolePolicy", "expected string, got number")]
