"""Inputs of the pulumi-eks components, held against the installed SDK before anything is constructed."""

from __future__ import annotations

from typing import Any

import pulumi_eks
import pytest

from sandbox.eks import cluster, nodes
from sandbox.eks.arguments import refused
from sandbox.values import UNKNOWN, Secret

pytestmark = pytest.mark.unit

SIGNATURE = "4dabf18193072939515e22adb298388d"


def reference(urn_type: str) -> dict[str, Any]:
    return {SIGNATURE: "5cf8f73096256a8f31e491e813e4eb8e", "urn": f"urn:pulumi:dev::p::{urn_type}::x", "id": "x"}


def late(**value: Any) -> dict[str, Any]:
    return {SIGNATURE: "d0e6a833031e9bbcd3f4e8bde6ca49a4", **value}


def problems(arguments: type, inputs: dict[str, Any]) -> dict[str, str]:
    return {failure.property: failure.reason for failure in refused(arguments, inputs)}


def test_every_mistake_is_reported_with_its_path():
    found = problems(
        pulumi_eks.ClusterArgs,
        {
            "versoin": "1.33",
            "skipDefaultNodeGroup": "yes",
            "subnetIds": ["subnet-1", 2],
            "authenticationMode": "IAM",
            "accessEntries": {"ops": {"accessPolicies": {"all": {"accessScope": {}}}}},
        },
    )
    assert found.pop("versoin").startswith("no such argument; there are accessEntries, authenticationMode")
    assert found == {
        "skipDefaultNodeGroup": "must be a boolean; got 'yes'",
        "subnetIds[1]": "must be a string; got 2",
        "authenticationMode": "must be one of CONFIG_MAP, API, API_AND_CONFIG_MAP; got 'IAM'",
        "accessEntries.ops.principalArn": "required",
        "accessEntries.ops.accessPolicies.all.accessScope.type": "required",
        "accessEntries.ops.accessPolicies.all.policyArn": "required",
    }


@pytest.mark.parametrize("value", [UNKNOWN, late(), late(value="1.33", dependencies=[]), Secret("1.33"), "1.33", None])
def test_what_is_late_secret_or_left_out_passes(value: Any):
    assert problems(pulumi_eks.ClusterArgs, {"version": value}) == {}


def test_a_late_value_is_checked_once_it_is_known():
    assert problems(pulumi_eks.ClusterArgs, {"version": late(value=7)}) == {"version": "must be a string; got 7"}


def test_a_union_admits_each_of_its_members_and_nothing_else():
    assert problems(pulumi_eks.ClusterArgs, {"storageClasses": "gp2"}) == {}
    assert problems(pulumi_eks.ClusterArgs, {"storageClasses": {"fast": {"type": "io1"}}}) == {}
    assert problems(pulumi_eks.ClusterArgs, {"storageClasses": {"fast": {}}}) == {
        "storageClasses.fast.type": "required"
    }
    assert problems(pulumi_eks.ClusterArgs, {"storageClasses": 3}) == {
        "storageClasses": "must be a string or an object; got 3"
    }


def test_a_resource_must_be_of_the_type_that_is_asked_for():
    role, bucket = reference("aws:iam/role:Role"), reference("aws:s3/bucket:Bucket")
    assert problems(pulumi_eks.ClusterArgs, {"serviceRole": role}) == {}
    assert problems(pulumi_eks.ClusterArgs, {"serviceRole": bucket}) == {
        "serviceRole": "must be a resource of type aws Role; got a resource"
    }


def test_the_taints_of_a_node_group_are_checked_against_the_types_of_the_aws_sdk():
    inputs = {"cluster": reference("eks:index:Cluster"), "taints": [{"key": "gpu", "efect": "NO_SCHEDULE"}]}
    assert set(problems(pulumi_eks.ManagedNodeGroupArgs, inputs)) == {"taints[0].efect", "taints[0].effect"}


def test_a_cluster_that_the_sandbox_can_construct_is_not_refused():
    inputs = {"vpcId": "vpc-1", "skipDefaultNodeGroup": True, "privateSubnetIds": ["subnet-1"]}
    assert list(cluster.failures(inputs)) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"vpcId": None}, "vpcId"),
        ({"skipDefaultNodeGroup": False}, "skipDefaultNodeGroup"),
        ({"fargate": True}, "fargate"),
        ({"creationRoleProvider": {"role": {}}}, "creationRoleProvider"),
        ({"subnetIds": ["subnet-2"]}, "subnetIds"),
        ({"instanceRole": {"a": 1}, "instanceRoles": [{"a": 1}]}, "instanceRole"),
        ({"endpointPublicAccess": False, "publicAccessCidrs": []}, "publicAccessCidrs"),
        ({"accessEntries": {"ops": {"principalArn": "arn"}}}, "accessEntries"),
        ({"authenticationMode": "API", "roleMappings": [{}]}, "roleMappings"),
        ({"autoMode": {"enabled": True}}, "autoMode"),
        ({"vpcCniOptions": {"externalSnat": True, "cniExternalSnat": True}}, "vpcCniOptions.externalSnat"),
        ({"nodeGroupOptions": {"gpu": True}, "minSize": 1}, "nodeGroupOptions"),
    ],
)
def test_a_cluster_is_refused_for_what_the_real_package_refuses_or_the_sandbox_lacks(change: Any, named: str):
    inputs = {"vpcId": "vpc-1", "skipDefaultNodeGroup": True, "privateSubnetIds": ["subnet-1"]}
    assert [failure.property for failure in cluster.failures(inputs | change)] == [named]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({}, []),
        ({"nodeRole": {"a": 1}}, ["nodeRole"]),
        ({"nodeRoleArn": None}, ["nodeRole"]),
        ({"enableEfaSupport": True}, ["enableEfaSupport"]),
        ({"amiId": "ami-1", "gpu": True}, ["amiId"]),
        ({"launchTemplate": {"id": "lt-1"}, "enableIMDSv2": False}, ["launchTemplate"]),
        ({"userData": "#!", "kubeletExtraArgs": "--a"}, ["userData"]),
    ],
)
def test_a_node_group_is_refused_for_arguments_that_exclude_each_other(change: Any, named: list[str]):
    inputs = {"nodeRoleArn": "arn:aws:iam::123456789012:role/nodes"}
    assert [failure.property for failure in nodes.failures(inputs | change)] == named
