"""Network load balancers for services, by the AWS Load Balancer Controller: GKE has the like built in, EKS has not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

import pulumi
import pulumi_kubernetes as kubernetes

from components.aws.identity import ClusterIssuer, WorkloadIdentity, WorkloadIdentityArgs
from components.aws.policy import Account, Condition, Statement
from components.charts import release
from components.contract import Exposure, LoadBalancers

_NAME: Final = "aws-load-balancer-controller"
_NAMESPACE: Final = "kube-system"
_ANNOTATION: Final = "service.beta.kubernetes.io/aws-load-balancer-"

# The controller puts this tag, with the cluster's name, on everything that it makes; by it we tell what it may change.
_TAG: Final = "elbv2.k8s.aws/cluster"

LONGEST_IDLE_SECONDS: Final = 6000
"""How long a network load balancer can be told to keep a connection without a byte (ELB, "Listener attributes")."""

# Every AWS call of the controller on the way of a network load balancer (its source, v3.5.0). What it has for
# application load balancers, certificates, WAF, Shield and Cognito is neither switched on nor allowed.
_QUESTIONS: Final = (
    "ec2:DescribeAvailabilityZones",
    "ec2:DescribeInstances",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeRouteTables",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "elasticloadbalancing:DescribeListenerAttributes",
    "elasticloadbalancing:DescribeListeners",
    "elasticloadbalancing:DescribeLoadBalancerAttributes",
    "elasticloadbalancing:DescribeLoadBalancers",
    "elasticloadbalancing:DescribeRules",
    "elasticloadbalancing:DescribeTags",
    "elasticloadbalancing:DescribeTargetGroupAttributes",
    "elasticloadbalancing:DescribeTargetGroups",
    "elasticloadbalancing:DescribeTargetHealth",
)


@dataclass(frozen=True, kw_only=True)
class LoadBalancerControllerArgs:
    """What the controller needs.

    Attributes:
        account: Where the load balancers live.
        cluster_name: The cluster; plain, because what the controller may touch is told by its name.
        vpc_id: Where they live; told, because pods cannot ask the node's metadata service.
        node_security_group_id: The group of nodes and pods; load balancers are let in there.
        issuer: Who signs the pods' tokens.
        provider: Applies objects to the cluster.
        node_selector: Where it runs.
        highly_available: Two replicas, one of which leads.
        tags: Tags of what it makes, which default tags do not reach.
        after: Nodes and DNS.
    """

    account: Account
    cluster_name: str
    vpc_id: pulumi.Input[str]
    node_security_group_id: pulumi.Input[str]
    issuer: ClusterIssuer
    provider: kubernetes.Provider
    node_selector: Mapping[str, str]
    highly_available: bool
    tags: Mapping[str, str]
    after: Sequence[pulumi.Resource]


class LoadBalancerController(pulumi.ComponentResource):
    """Makes a network load balancer for each service that asks for one, and removes it with the service."""

    result: LoadBalancers

    def __init__(self, name: str, args: LoadBalancerControllerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(
            "llmops:aws:LoadBalancerController",
            name,
            None,
            pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(providers=[args.provider])),
        )
        identity = WorkloadIdentity(
            name,
            WorkloadIdentityArgs(
                issuer=args.issuer,
                namespace=_NAMESPACE,
                service_account=_NAME,
                statements=permissions(
                    args.account, args.cluster_name, vpc_id=args.vpc_id, node_group_id=args.node_security_group_id
                ),
            ),
            pulumi.ResourceOptions(parent=self),
        )
        controller = release(
            name,
            "aws-load-balancer-controller",
            release_name=_NAME,
            namespace=_NAMESPACE,
            values=controller_values(args, identity.role_arn),
            parent=self,
            # No value flows from the permissions, nor from nodes and DNS; on destroy they outlive the controller, which
            # needs them to remove what it made.
            after=[*args.after, *identity.ready],
        )
        self.result = LoadBalancers(annotations=service_annotations(), ready=(controller,))
        self.register_outputs({"roleArn": identity.role_arn})


def controller_values(args: LoadBalancerControllerArgs, role_arn: pulumi.Input[str]) -> dict[str, Any]:
    """Values of the chart ``aws-load-balancer-controller``."""
    return {
        "clusterName": args.cluster_name,
        "region": args.account.region,
        "vpcId": args.vpc_id,
        "replicaCount": 2 if args.highly_available else 1,
        "podDisruptionBudget": {"maxUnavailable": 1},  # the chart makes one for two replicas only
        "serviceAccount": {"name": _NAME, "annotations": {"eks.amazonaws.com/role-arn": role_arn}},
        "nodeSelector": dict(args.node_selector),
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
        },
        "defaultTags": dict(args.tags),
        "defaultTargetType": "ip",
        # The certificate of its webhooks lasts ten years; a new one with each upgrade would break those in flight.
        "keepTLSSecret": True,
        # With it no service of any kind could be made while the controller is away. Services say themselves whose they
        # are, by the annotation `type`.
        "enableServiceMutatorWebhook": False,
        # Requests come in through one gateway: no application load balancers, and Gateway objects are the mesh's.
        "createIngressClassResource": False,
        "webhookConfig": {"disableIngressValidation": True},
        "enableShield": False,
        "enableWaf": False,
        "enableWafv2": False,
        "controllerConfig": {"featureGates": {"ALBGatewayAPI": False, "NLBGatewayAPI": False}},
    }


def service_annotations() -> dict[Exposure, Mapping[str, str]]:
    """Annotations of a service of type LoadBalancer, by who may reach it."""
    return {exposure: _annotations(exposure) for exposure in get_args(Exposure)}


def _annotations(exposure: Exposure) -> dict[str, str]:
    values = {
        "type": "external",  # this controller's; without it the old one inside the control plane answers as well
        "nlb-target-type": "ip",  # straight to the pods, which have addresses of the VPC
        "scheme": exposure,
        # A zone whose last target is gone still answers. What crosses zones is paid for.
        "attributes": "load_balancing.cross_zone.enabled=true",
        # A request that waits for a model to start has no byte to show for up to half an hour; the load balancer's own
        # 350 seconds would cut it off. This is the longest that it knows.
        "listener-attributes.TCP-443": f"tcp.idle_timeout.seconds={LONGEST_IDLE_SECONDS}",
        # Pods see their clients' addresses, as behind Google's load balancers, and need no PROXY protocol, which a
        # health check would have to speak as well. The price: a pod cannot reach, through the load balancer, a target
        # on its own node (ELB, "Client IP preservation"); inside the cluster use the service's name.
        "target-group-attributes": "preserve_client_ip.enabled=true",
        # Whether a port answers. Whether a pod is ready is Kubernetes' business: the controller takes out those that
        # are not.
        "healthcheck-protocol": "tcp",
        "healthcheck-port": "traffic-port",
        "healthcheck-interval": "10",  # seconds
        "healthcheck-timeout": "6",  # seconds
        "healthcheck-healthy-threshold": "2",
        "healthcheck-unhealthy-threshold": "2",
    }
    return {f"{_ANNOTATION}{key}": value for key, value in values.items()}


def permissions(
    account: Account, cluster_name: str, *, vpc_id: pulumi.Input[str], node_group_id: pulumi.Input[str]
) -> list[Statement]:
    """What the controller may do: ask, make what carries the cluster's tag, change only that, and let it into nodes."""
    new: Condition = {"StringEquals": {f"aws:RequestTag/{_TAG}": cluster_name}}
    own: Condition = {"StringEquals": {f"aws:ResourceTag/{_TAG}": cluster_name}}
    # Its own things get other tags, never another cluster's: the tag that says whose they are stays out of the request.
    own_tags: Condition = {**own, "Null": {f"aws:RequestTag/{_TAG}": "true"}}
    ec2 = f"arn:{account.partition}:ec2:{account.region}:{account.id}"
    elb = f"arn:{account.partition}:elasticloadbalancing:{account.region}:{account.id}"
    # Names and numbers of what it makes are known only then, hence the wildcards; the tags in the conditions tell.
    groups = [f"{ec2}:security-group/*"]
    balancers, targets, listeners = f"{elb}:loadbalancer/net/*", f"{elb}:targetgroup/*", f"{elb}:listener/net/*"
    return [
        Statement(
            sid="Ask",
            actions=_QUESTIONS,
            resources=("*",),  # AWS knows no resource for these questions
            conditions={"StringEquals": {"aws:RequestedRegion": account.region}},
        ),
        Statement(
            sid="FirstOfAccount",
            actions=("iam:CreateServiceLinkedRole",),
            resources=(
                f"arn:{account.partition}:iam::{account.id}:role/aws-service-role/elasticloadbalancing.amazonaws.com/"
                "AWSServiceRoleForElasticLoadBalancing",
            ),
            conditions={"StringEquals": {"iam:AWSServiceName": "elasticloadbalancing.amazonaws.com"}},
        ),
        Statement(
            sid="MakeGroupsHere",
            actions=("ec2:CreateSecurityGroup",),
            resources=[pulumi.Output.concat(f"{ec2}:vpc/", vpc_id)],
        ),
        Statement(sid="MakeGroups", actions=("ec2:CreateSecurityGroup",), resources=groups, conditions=new),
        Statement(
            sid="TagNewGroups",
            actions=("ec2:CreateTags",),
            resources=groups,
            conditions={"StringEquals": {**new["StringEquals"], "ec2:CreateAction": "CreateSecurityGroup"}},
        ),
        Statement(sid="TagGroups", actions=("ec2:CreateTags", "ec2:DeleteTags"), resources=groups, conditions=own_tags),
        Statement(
            sid="ChangeGroups",
            actions=(
                "ec2:AuthorizeSecurityGroupIngress",
                "ec2:RevokeSecurityGroupIngress",
                "ec2:DeleteSecurityGroup",
            ),
            resources=groups,
            conditions=own,
        ),
        Statement(
            sid="LetIntoNodes",
            actions=("ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"),
            resources=[pulumi.Output.concat(f"{ec2}:security-group/", node_group_id)],
        ),
        Statement(
            sid="MakeBalancers",
            actions=("elasticloadbalancing:CreateLoadBalancer", "elasticloadbalancing:CreateTargetGroup"),
            resources=(balancers, targets),
            conditions=new,
        ),
        Statement(
            sid="TagNewBalancers",
            actions=("elasticloadbalancing:AddTags",),
            resources=(balancers, targets, listeners),
            conditions={
                "StringEquals": {
                    **new["StringEquals"],
                    "elasticloadbalancing:CreateAction": [
                        "CreateLoadBalancer",
                        "CreateTargetGroup",
                        "CreateListener",
                    ],
                }
            },
        ),
        Statement(
            sid="TagBalancers",
            actions=("elasticloadbalancing:AddTags", "elasticloadbalancing:RemoveTags"),
            resources=(balancers, targets, listeners),
            conditions=own_tags,
        ),
        Statement(
            sid="ChangeBalancers",
            actions=(
                "elasticloadbalancing:CreateListener",
                "elasticloadbalancing:DeleteListener",
                "elasticloadbalancing:DeleteLoadBalancer",
                "elasticloadbalancing:DeleteTargetGroup",
                "elasticloadbalancing:DeregisterTargets",
                "elasticloadbalancing:ModifyListener",
                "elasticloadbalancing:ModifyListenerAttributes",
                "elasticloadbalancing:ModifyLoadBalancerAttributes",
                "elasticloadbalancing:ModifyTargetGroup",
                "elasticloadbalancing:ModifyTargetGroupAttributes",
                "elasticloadbalancing:RegisterTargets",
                "elasticloadbalancing:SetIpAddressType",
                "elasticloadbalancing:SetSecurityGroups",
                "elasticloadbalancing:SetSubnets",
            ),
            resources=(balancers, targets, listeners),
            conditions=own,
        ),
    ]
