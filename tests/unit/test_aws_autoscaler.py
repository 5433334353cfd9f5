"""The autoscaler: which groups it may size, and how it decides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import pytest
from aws_stack import HERE, rendered, run
from conftest import ACCOUNT, REGION, Recorder
from pulumi_aws import Provider, iam

from components import versions
from components.aws.autoscaler import (
    ClusterAutoscaler,
    ClusterAutoscalerArgs,
    arguments,
    autoscaler_values,
    permissions,
)
from components.aws.identity import ClusterIssuer
from components.aws.nodes import pool_of
from components.settings.nodes import NodeGroupSettings
from components.settings.platform.controllers import ClusterAutoscalerSettings

pytestmark = pytest.mark.unit


def args(**changes: Any) -> ClusterAutoscalerArgs:
    return replace(
        ClusterAutoscalerArgs(
            account=HERE,
            cluster_name="llmops-test",
            kubernetes_version="1.35",
            issuer=ClusterIssuer(provider_arn=f"arn:aws:iam::{ACCOUNT}:oidc-provider/issuer", url="https://issuer"),
            provider=kubernetes.Provider("cluster", kubeconfig="{}"),
            node_selector={"llmops/role": "system"},
            highly_available=True,
            settings=ClusterAutoscalerSettings(),
            after=[iam.Role("gpu-nodes", assume_role_policy="{}")],  # stands for a node group
        ),
        **changes,
    )


def values(**changes: Any) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    run(lambda: found.append(autoscaler_values(args(**changes), "role")))
    return found[0]


def test_only_groups_of_this_cluster_are_sized(recorded: Recorder):
    size = rendered(permissions(HERE, "llmops-test"))["SizeOwnGroups"]
    assert set(size["Action"]) == {
        "autoscaling:SetDesiredCapacity",
        "autoscaling:TerminateInstanceInAutoScalingGroup",
    }
    assert size["Condition"]["StringEquals"] == {
        "aws:ResourceTag/k8s.io/cluster-autoscaler/enabled": "true",
        "aws:ResourceTag/k8s.io/cluster-autoscaler/llmops-test": "owned",
    }


def test_every_resource_wildcard_is_a_question(recorded: Recorder):
    for sid, one in rendered(permissions(HERE, "llmops-test")).items():
        if "*" in one["Resource"]:
            assert all(":Describe" in action for action in one["Action"]), sid
            assert one["Condition"] == {"StringEquals": {"aws:RequestedRegion": REGION}}


def test_labels_and_taints_of_empty_groups_are_asked_of_this_clusters_groups_only(recorded: Recorder):
    ask = rendered(permissions(HERE, "llmops-test"))["AskOwnGroups"]
    assert ask["Resource"] == [f"arn:aws:eks:{REGION}:{ACCOUNT}:nodegroup/llmops-test/*"]


@pytest.mark.parametrize("minor", versions.KUBERNETES_SUPPORTED)
def test_the_autoscaler_reckons_with_the_scheduler_of_the_clusters_minor_version(minor: str, recorded: Recorder):
    assert values(kubernetes_version=minor)["image"]["tag"].startswith(f"v{minor}.")


def test_on_destroy_it_goes_before_the_node_groups_and_loses_its_permissions_last(recorded: Recorder):
    run(lambda: ClusterAutoscaler("scaler", args(), pulumi.ResourceOptions(provider=Provider("aws", region=REGION))))
    made = recorded.one("kubernetes:helm.sh/v3:Release")
    assert {"gpu-nodes", "scaler-role", "scaler-permissions"} <= made.depends_on
    assert made.provider == "cluster"


def test_nodes_come_even_when_the_clusters_dns_waits_for_one(recorded: Recorder):
    assert values()["dnsPolicy"] == "Default"


def test_a_node_goes_although_its_pods_have_scratch_space():
    """vLLM and Triton share memory through an emptyDir: a GPU node that once ran one would otherwise never go."""
    assert "--skip-nodes-with-local-storage=false" in arguments(ClusterAutoscalerSettings())


def test_settings_say_how_eagerly_nodes_go():
    settings = ClusterAutoscalerSettings.model_validate(
        {
            "expander": "random",
            "scaleDownUnneededMinutes": 30,
            "scaleDownDelayMinutes": 5,
            "scaleDownUtilizationPercent": 40,
            "maxNodeProvisionMinutes": 20,
        }
    )
    assert {
        "--expander=random",
        "--scale-down-unneeded-time=30m",
        "--scale-down-delay-after-add=5m",
        "--scale-down-utilization-threshold=0.4",
        "--scale-down-gpu-utilization-threshold=0.4",
        "--max-node-provision-time=20m",
    } <= set(arguments(settings))


def _cpu(name: str) -> NodeGroupSettings:
    return NodeGroupSettings.model_validate(
        {"name": name, "role": "cpu", "instanceTypes": ["m6i.2xlarge"], "maxSize": 4}
    )


def test_groups_that_differ_only_in_zone_are_alike_to_the_autoscaler():
    """Every group has labels of its own; one that were not left out would make any two groups different kinds."""
    pool = pool_of(_cpu("cpu"))
    other = pool_of(_cpu("cpu-b"))
    ignored = {
        one.partition("=")[2]
        for one in arguments(ClusterAutoscalerSettings())
        if one.startswith("--balancing-ignore-label=")
    }
    assert {key for key in pool.labels if pool.labels[key] != other.labels[key]} <= ignored
