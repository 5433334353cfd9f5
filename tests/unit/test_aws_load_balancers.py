"""Load balancers: what the controller is told, and what it may touch."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import pytest
from aws_stack import HERE, rendered, run, statements
from conftest import ACCOUNT, REGION, Recorder
from platform_site import site
from pulumi_aws import Provider, iam

from components.aws.identity import ClusterIssuer
from components.aws.load_balancers import (
    LoadBalancerController,
    LoadBalancerControllerArgs,
    controller_values,
    permissions,
    service_annotations,
)
from components.platform.activation import own_timeouts

pytestmark = pytest.mark.unit

RELEASE = "kubernetes:helm.sh/v3:Release"
TAG = "elbv2.k8s.aws/cluster"
ELB = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}"


def args(**changes: Any) -> LoadBalancerControllerArgs:
    return replace(
        LoadBalancerControllerArgs(
            account=HERE,
            cluster_name="llmops-test",
            vpc_id="vpc-1",
            node_security_group_id="sg-nodes",
            issuer=ClusterIssuer(provider_arn=f"arn:aws:iam::{ACCOUNT}:oidc-provider/issuer", url="https://issuer"),
            provider=kubernetes.Provider("cluster", kubeconfig="{}"),
            node_selector={"llmops/role": "system"},
            highly_available=True,
            tags={"stack": "llmops-test"},
            after=[iam.Role("nodes", assume_role_policy="{}")],  # stands for nodes: any resource to wait for
        ),
        **changes,
    )


def controller(**changes: Any) -> LoadBalancerController:
    aws = pulumi.ResourceOptions(provider=Provider("aws", region=REGION))
    return LoadBalancerController("balancers", args(**changes), aws)


def allowed(action: str, resource: str, **conditions: str) -> bool:
    """Whether the controller may do that; conditions are given as IAM keys with ``_`` before the tag."""
    for one in rendered(permissions(HERE, "llmops-test", vpc_id="vpc-1", node_group_id="sg-nodes")).values():
        if action not in one["Action"] or not any(fnmatchcase(resource, pattern) for pattern in one["Resource"]):
            continue
        needed = one.get("Condition", {})
        equal = all(
            conditions.get(key) in (value if isinstance(value, list) else [value])
            for key, value in needed.get("StringEquals", {}).items()
        )
        absent = all((key not in conditions) == (value == "true") for key, value in needed.get("Null", {}).items())
        if equal and absent:
            return True
    return False


OURS = {f"aws:ResourceTag/{TAG}": "llmops-test"}
NEIGHBOURS = {f"aws:ResourceTag/{TAG}": "llmops-other"}
BALANCER = f"{ELB}:loadbalancer/net/k8s-gateway/0123456789abcdef"
GROUP = f"arn:aws:ec2:{REGION}:{ACCOUNT}:security-group"


def test_only_what_carries_the_clusters_tag_is_changed(recorded: Recorder):
    for action in ("DeleteLoadBalancer", "SetSecurityGroups", "CreateListener", "ModifyLoadBalancerAttributes"):
        assert allowed(f"elasticloadbalancing:{action}", BALANCER, **OURS)
        assert not allowed(f"elasticloadbalancing:{action}", BALANCER, **NEIGHBOURS)
        assert not allowed(f"elasticloadbalancing:{action}", BALANCER)
    assert allowed("ec2:DeleteSecurityGroup", f"{GROUP}/sg-1", **OURS)
    assert not allowed("ec2:DeleteSecurityGroup", f"{GROUP}/sg-1", **NEIGHBOURS)


def test_what_is_made_carries_the_clusters_tag_from_the_start(recorded: Recorder):
    for action, resource in (
        ("elasticloadbalancing:CreateLoadBalancer", BALANCER),
        ("elasticloadbalancing:CreateTargetGroup", f"{ELB}:targetgroup/k8s-gateway/0123456789abcdef"),
        ("ec2:CreateSecurityGroup", f"{GROUP}/*"),
    ):
        assert allowed(action, resource, **{f"aws:RequestTag/{TAG}": "llmops-test"})
        assert not allowed(action, resource), "untagged"
        assert not allowed(action, resource, **{f"aws:RequestTag/{TAG}": "llmops-other"})


def test_nothing_of_others_becomes_ours_by_a_tag(recorded: Recorder):
    """Whoever may set the tag on anything may then delete anything."""
    claim = {f"aws:RequestTag/{TAG}": "llmops-test"}
    assert not allowed("elasticloadbalancing:AddTags", BALANCER, **claim)
    assert not allowed("elasticloadbalancing:AddTags", BALANCER, **claim, **NEIGHBOURS)
    assert not allowed("ec2:CreateTags", f"{GROUP}/sg-1", **claim)
    created = {"elasticloadbalancing:CreateAction": "CreateLoadBalancer"}
    assert allowed("elasticloadbalancing:AddTags", BALANCER, **claim, **created)


def test_of_groups_that_it_did_not_make_only_the_nodes_own_is_opened(recorded: Recorder):
    assert allowed("ec2:AuthorizeSecurityGroupIngress", f"{GROUP}/sg-nodes")
    assert not allowed("ec2:AuthorizeSecurityGroupIngress", f"{GROUP}/sg-database")
    assert not allowed("ec2:DeleteSecurityGroup", f"{GROUP}/sg-nodes")


def test_application_load_balancers_cannot_be_made(recorded: Recorder):
    tagged = {f"aws:RequestTag/{TAG}": "llmops-test"}
    assert not allowed("elasticloadbalancing:CreateLoadBalancer", f"{ELB}:loadbalancer/app/any/0123", **tagged)


def test_every_resource_wildcard_is_a_question(recorded: Recorder):
    for sid, one in rendered(permissions(HERE, "llmops-test", vpc_id="vpc-1", node_group_id="sg-nodes")).items():
        if "*" in one["Resource"]:
            assert all(":Describe" in action for action in one["Action"]), sid
            assert one["Condition"] == {"StringEquals": {"aws:RequestedRegion": REGION}}


def test_the_controller_waits_for_nodes_and_permissions_and_so_outlives_neither(recorded: Recorder):
    run(controller)
    made = recorded.one(RELEASE)
    assert {"nodes", "balancers-role", "balancers-permissions"} <= made.depends_on
    assert made.provider == "cluster"
    assert recorded.one("aws:iam/role:Role", "balancers-role").provider == "aws"
    assert made.inputs["namespace"] == "kube-system"
    assert statements(recorded, "aws:iam/rolePolicy:RolePolicy")


def test_services_wait_for_the_controller_so_that_it_can_remove_their_load_balancers(recorded: Recorder):
    kinds: list[str] = []
    run(lambda: kinds.extend(type(one).__name__ for one in controller().result.ready))
    assert kinds == ["Release"]


def test_the_controller_asks_neither_the_metadata_service_nor_stands_in_the_way_of_other_services(recorded: Recorder):
    values: list[dict[str, Any]] = []
    run(lambda: values.append(controller_values(args(), "arn:aws:iam::123456789012:role/balancers")))
    (told,) = values
    assert (told["region"], told["vpcId"], told["clusterName"]) == (REGION, "vpc-1", "llmops-test")
    assert told["enableServiceMutatorWebhook"] is False
    assert told["defaultTags"] == {"stack": "llmops-test"}


def test_two_replicas_where_the_platform_is_highly_available(recorded: Recorder):
    counts: list[int] = []

    def program():
        counts.append(controller_values(args(), "role")["replicaCount"])
        counts.append(controller_values(args(highly_available=False, provider=None, after=()), "role")["replicaCount"])

    run(program)
    assert counts == [2, 1]


def test_an_internal_service_never_faces_the_internet():
    prefix = "service.beta.kubernetes.io/aws-load-balancer-"
    told = service_annotations()
    assert told["internal"][f"{prefix}scheme"] == "internal"
    assert told["internet-facing"][f"{prefix}scheme"] == "internet-facing"
    for texts in told.values():
        assert all(key.startswith(prefix) for key in texts)
        assert all(isinstance(value, str) for value in texts.values()), "Kubernetes takes texts only"
        assert texts[f"{prefix}type"] == "external"


def test_a_held_request_outlives_every_hop_before_the_load_balancer_gives_it_up():
    """With the shipped cold start and the longest answer that settings allow."""
    waits: list[int] = []
    run(lambda: waits.append(own_timeouts(site({"serving": {"answerSeconds": 3600}})).idle))
    told = service_annotations()["internal"]["service.beta.kubernetes.io/aws-load-balancer-listener-attributes.TCP-443"]
    assert int(told.removeprefix("tcp.idle_timeout.seconds=")) >= waits[0]
