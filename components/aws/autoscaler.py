"""Nodes on demand, by cluster-autoscaler: GKE has the like built in, EKS has not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
import pulumi_kubernetes as kubernetes

from components.aws.identity import ClusterIssuer, WorkloadIdentity, WorkloadIdentityArgs
from components.aws.policy import Account, Statement
from components.charts import release
from components.node_pools import GROUP_LABEL
from components.settings.platform.controllers import ClusterAutoscalerSettings
from components.versions import CLUSTER_AUTOSCALER

_NAME: Final = "cluster-autoscaler"
_NAMESPACE: Final = "kube-system"
_OWN_LABELS: Final = (
    GROUP_LABEL,
    "eks.amazonaws.com/sourceLaunchTemplateId",
    "eks.amazonaws.com/sourceLaunchTemplateVersion",
)
"""Labels in which any two groups differ."""


@dataclass(frozen=True, kw_only=True)
class ClusterAutoscalerArgs:
    """What the autoscaler needs.

    Attributes:
        account: Where the nodes live.
        cluster_name: The cluster; plain, because the groups that it may change are told by its name.
        kubernetes_version: Its version; the autoscaler's must be the same, or it reckons with another scheduler.
        issuer: Who signs the pods' tokens.
        provider: Applies objects to the cluster.
        node_selector: Where it runs.
        highly_available: Two replicas, one of which leads.
        settings: How eagerly nodes come and go.
        after: Every node group: on destroy the autoscaler goes first, or it would start nodes for evicted pods.
    """

    account: Account
    cluster_name: str
    kubernetes_version: str
    issuer: ClusterIssuer
    provider: kubernetes.Provider
    node_selector: Mapping[str, str]
    highly_available: bool
    settings: ClusterAutoscalerSettings
    after: Sequence[pulumi.Resource]


class ClusterAutoscaler(pulumi.ComponentResource):
    """Starts nodes for pods that fit nowhere, from zero too, and stops idle ones."""

    ready: tuple[pulumi.Resource, ...]
    """The autoscaler; for ``depends_on`` of what may need more nodes than there are."""

    def __init__(self, name: str, args: ClusterAutoscalerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(
            "llmops:aws:ClusterAutoscaler",
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
                statements=permissions(args.account, args.cluster_name),
            ),
            pulumi.ResourceOptions(parent=self),
        )
        autoscaler = release(
            name,
            "cluster-autoscaler",
            release_name=_NAME,
            namespace=_NAMESPACE,
            values=autoscaler_values(args, identity.role_arn),
            parent=self,
            after=[*args.after, *identity.ready],  # no value flows from nodes and permissions
        )
        self.ready = (autoscaler,)
        self.register_outputs({"roleArn": identity.role_arn})


def autoscaler_values(args: ClusterAutoscalerArgs, role_arn: pulumi.Input[str]) -> dict[str, Any]:
    """Values of the chart ``cluster-autoscaler``."""
    return {
        "fullnameOverride": _NAME,
        "awsRegion": args.account.region,
        # By the tags that EKS gives the Auto Scaling group of every managed node group.
        "autoDiscovery": {"clusterName": args.cluster_name},
        "image": {"tag": CLUSTER_AUTOSCALER[args.kubernetes_version]},
        "replicaCount": 2 if args.highly_available else 1,
        "rbac": {"serviceAccount": {"name": _NAME, "annotations": {"eks.amazonaws.com/role-arn": role_arn}}},
        "customArgs": arguments(args.settings),
        "dnsPolicy": "Default",  # the node's: nodes must come even when the cluster's own DNS waits for one
        "nodeSelector": dict(args.node_selector),
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app.kubernetes.io/instance": _NAME}},
            }
        ],
        # It keeps a picture of every node and pod, and of every instance type of the region.
        "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "600Mi"}},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "runAsGroup": 65534,
            "fsGroup": 65534,  # the token of its role is a file
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containerSecurityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }


def arguments(settings: ClusterAutoscalerSettings) -> list[str]:
    """Command-line arguments that differ from the program's own defaults."""
    idle = settings.scale_down_utilization_percent / 100
    return [
        f"--expander={settings.expander}",
        f"--scale-down-unneeded-time={settings.scale_down_unneeded_minutes}m",
        f"--scale-down-delay-after-add={settings.scale_down_delay_minutes}m",
        f"--scale-down-utilization-threshold={idle}",
        f"--scale-down-gpu-utilization-threshold={idle}",
        f"--max-node-provision-time={settings.max_node_provision_minutes}m",
        # Pods of every node take a quarter of the small system nodes; without them those would never look idle.
        "--ignore-daemonsets-utilization=true",
        # Nearly every pod has an emptyDir, for shared memory or for caches: no node would ever go.
        "--skip-nodes-with-local-storage=false",
        # Controllers may move; their disruption budgets say how. Jobs of Volcano, Ray and Kubeflow may not, by the
        # program's own default: a node with a pod of a custom controller stays until the pod is done.
        "--skip-nodes-with-system-pods=false",
        # Groups that differ only in zone grow side by side, although each has a name and a launch template of its own.
        "--balance-similar-node-groups=true",
        *(f"--balancing-ignore-label={label}" for label in _OWN_LABELS),
    ]


def permissions(account: Account, cluster_name: str) -> list[Statement]:
    """What the autoscaler may do: ask, and size the groups of this cluster."""
    place = f"{account.region}:{account.id}"
    return [
        Statement(
            sid="Ask",
            actions=(
                "autoscaling:DescribeAutoScalingGroups",
                "autoscaling:DescribeAutoScalingInstances",
                "autoscaling:DescribeScalingActivities",
                "autoscaling:DescribeTags",
                "ec2:DescribeInstanceTypes",
                "ec2:DescribeLaunchTemplateVersions",
            ),
            resources=("*",),  # AWS knows no resource for these questions
            conditions={"StringEquals": {"aws:RequestedRegion": account.region}},
        ),
        Statement(
            sid="AskOwnGroups",  # labels, taints and tags of a group without a node
            actions=("eks:DescribeNodegroup",),
            resources=(
                f"arn:{account.partition}:eks:{place}:nodegroup/{cluster_name}/*",
            ),  # every group of the cluster
        ),
        Statement(
            sid="SizeOwnGroups",
            actions=("autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"),
            # EKS names the groups when it makes them; the tags in the condition tell whose they are.
            resources=(f"arn:{account.partition}:autoscaling:{place}:autoScalingGroup:*:autoScalingGroupName/eks-*",),
            conditions={
                "StringEquals": {
                    "aws:ResourceTag/k8s.io/cluster-autoscaler/enabled": "true",
                    f"aws:ResourceTag/k8s.io/cluster-autoscaler/{cluster_name}": "owned",
                }
            },
        ),
    ]
