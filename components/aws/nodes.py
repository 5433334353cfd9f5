"""Node groups: managed, autoscaled, from a launch template of our own.

``aws.eks.NodeGroup`` and not pulumi-eks' ``ManagedNodeGroup``: the latter makes a launch template of its own that can
carry neither our volume key nor tags, and takes the whole cluster as an argument where a name is enough.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_aws import ec2, eks, iam

from components.aws.policy import Statement, render, service_trust
from components.capacity.ec2 import CATALOGUE, MAX_PODS, shape_of
from components.contract import NodePool
from components.node_pools import node_pool
from components.settings.nodes import GPU_ROLES, NodeGroupSettings

# By this one cluster-autoscaler knows that a node will have GPUs although the device plugin has not registered any yet:
# it waits for them, instead of starting a second node for the same pod (its AWS provider, `GPULabel`).
AUTOSCALER_GPU_LABEL: Final = "k8s.amazonaws.com/accelerator"

# What a node may do: join, describe itself, pull images, also through the pull-through caches. Addresses for pods are
# the business of the network plugin's own role.
_NODE_POLICIES: Final = ("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly")

_EFFECTS: Final = {
    "NoSchedule": "NO_SCHEDULE",
    "NoExecute": "NO_EXECUTE",
    "PreferNoSchedule": "PREFER_NO_SCHEDULE",
}


class NodeRole(pulumi.ComponentResource):
    """The IAM role that all nodes share; pods have roles of their own and cannot reach this one."""

    arn: pulumi.Output[str]
    ready: tuple[pulumi.Resource, ...]
    """Its permissions; nodes join only with them, so node groups depend on these."""

    def __init__(self, name: str, permissions: Sequence[Statement], opts: pulumi.ResourceOptions | None = None) -> None:
        """Make the role; ``permissions`` are what this stack's nodes need beyond AWS's own node policies."""
        super().__init__("llmops:aws:NodeRole", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        role = iam.Role(
            f"{name}-role",
            description="Kubernetes nodes",
            assume_role_policy=service_trust("ec2.amazonaws.com"),
            opts=child,
        )
        self.ready = tuple(
            iam.RolePolicyAttachment(
                f"{name}-{policy}", role=role.name, policy_arn=f"arn:aws:iam::aws:policy/{policy}", opts=child
            )
            for policy in _NODE_POLICIES
        )
        if permissions:
            own = iam.RolePolicy(f"{name}-permissions", role=role.name, policy=render(permissions), opts=child)
            self.ready = (*self.ready, own)
        self.arn = role.arn
        self.register_outputs({"arn": self.arn})


@dataclass(frozen=True, kw_only=True)
class NodeGroupArgs:
    """What a node group needs.

    Attributes:
        settings: Size, types, role; plain.
        cluster_name: The cluster to join.
        kubernetes_version: Its version; the nodes follow an upgrade of the control plane.
        node_role_arn: Role of the nodes.
        subnet_ids: Private subnets of the group's zones.
        volume_key_arn: Key of the root volumes.
        tags: Tags of the instances and volumes, which default tags do not reach.
        after: What a node needs to become ready and must outlive it: routes, network plugin, permissions of its role.
            An argument, because children do not inherit a component's ``depends_on``.
    """

    settings: NodeGroupSettings
    cluster_name: pulumi.Input[str]
    kubernetes_version: str
    node_role_arn: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    volume_key_arn: pulumi.Input[str]
    tags: Mapping[str, str]
    after: Sequence[pulumi.Resource]


class NodeGroup(pulumi.ComponentResource):
    """Nodes of one kind; how many is the autoscaler's business between the two bounds."""

    pool: NodePool
    ready: tuple[pulumi.Resource, ...]
    """The nodes; for ``depends_on``."""

    def __init__(self, name: str, args: NodeGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:aws:NodeGroup", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        settings = args.settings
        self.pool = pool_of(settings)

        template = ec2.LaunchTemplate(
            f"{name}-template",
            description=f"Nodes of {settings.name}",
            update_default_version=True,
            block_device_mappings=[
                {
                    "device_name": "/dev/xvda",  # root device of the AL2023 images
                    "ebs": {
                        "volume_type": "gp3",
                        "volume_size": settings.root_volume_gib,
                        "encrypted": "true",
                        "kms_key_id": args.volume_key_arn,
                        "delete_on_termination": "true",
                    },
                }
            ],
            metadata_options={
                "http_endpoint": "enabled",
                "http_tokens": "required",
                "http_put_response_hop_limit": 1,  # pods do not reach the node's credentials
                "instance_metadata_tags": "disabled",
            },
            tag_specifications=[
                {"resource_type": kind, "tags": {"Name": f"{name}-node", **args.tags}}
                for kind in ("instance", "volume", "network-interface")
            ],
            user_data=user_data(settings),
            opts=child,
        )
        moved = settings.desired_size is not None
        group = eks.NodeGroup(
            f"{name}-group",
            cluster_name=args.cluster_name,
            version=args.kubernetes_version,
            node_role_arn=args.node_role_arn,
            subnet_ids=list(args.subnet_ids),
            ami_type="AL2023_x86_64_NVIDIA" if settings.role in GPU_ROLES else "AL2023_x86_64_STANDARD",
            capacity_type="SPOT" if self.pool.spot else "ON_DEMAND",
            instance_types=list(settings.instance_types),
            scaling_config={
                "min_size": settings.min_size,
                "max_size": settings.max_size,
                "desired_size": settings.min_size if settings.desired_size is None else settings.desired_size,
            },
            update_config={"max_unavailable_percentage": 33},
            labels=dict(self.pool.labels),
            taints=[
                {"key": taint.key, "value": taint.value, "effect": _EFFECTS[taint.effect]} for taint in self.pool.taints
            ],
            launch_template={"id": template.id, "version": template.latest_version.apply(str)},
            tags={"Name": name, **autoscaler_tags(self.pool)},
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=list(args.after),
                # Set once, then it is the autoscaler's, until the settings name a size.
                ignore_changes=None if moved else ["scalingConfig.desiredSize"],
            ),
        )
        self.ready = (group,)
        self.register_outputs({"nodeGroupArn": group.arn})


def pool_of(settings: NodeGroupSettings) -> NodePool:
    """What the layers above see of a group; all of it known at preview."""
    gpu_model = CATALOGUE[settings.instance_types[0]].gpu_model
    shapes = tuple(shape_of(kind, settings.root_volume_gib) for kind in settings.instance_types)
    return node_pool(settings, shapes, gpu_model=gpu_model, gpu_labels={AUTOSCALER_GPU_LABEL: gpu_model})


def autoscaler_tags(pool: NodePool) -> dict[str, str]:
    """What cluster-autoscaler must be told about a node while there is none.

    It asks EKS for the labels, taints and tags of a managed node group (its AWS provider, ``DescribeNodegroup``), so
    that the Auto Scaling group needs no tags of its own. Resources stand in tags: no instance type tells the disk, and
    of CPU and memory the autoscaler would take all that the instance has, what the node keeps for itself included, and
    start nodes that the pod then does not fit. A group that always has a node needs none of it: the autoscaler copies
    that one.
    """
    if pool.min_size:
        return {}
    smallest = pool.shapes[0]
    resources = {
        "cpu": f"{smallest.cpu_millicores}m",
        "memory": f"{smallest.memory_mib}Mi",
        "ephemeral-storage": f"{smallest.ephemeral_storage_gib}Gi",
    }
    if smallest.gpus:
        resources["nvidia.com/gpu"] = str(smallest.gpus)
    return {f"k8s.io/cluster-autoscaler/node-template/resources/{key}": value for key, value in resources.items()}


def node_config(settings: NodeGroupSettings) -> dict[str, Any]:
    """Configuration for nodeadm, which EKS merges with its own part (cluster, endpoint, certificate)."""
    kinds = [CATALOGUE[kind] for kind in settings.instance_types]
    spec: dict[str, Any] = {
        # Both: the expression also sets what the kubelet reserves for itself, the plain value is the last word.
        "kubelet": {"maxPodsExpression": str(MAX_PODS), "config": {"maxPods": MAX_PODS}}
    }
    if all(kind.instance_store_gb for kind in kinds):
        # One striped file system under /mnt/k8s-disks/0; images and the model cache lie on it.
        spec["instance"] = {"localStorage": {"strategy": "RAID0"}}
    return {"apiVersion": "node.eks.aws/v1alpha1", "kind": "NodeConfig", "spec": spec}


def user_data(settings: NodeGroupSettings) -> str:
    """The same as a base64 MIME document; JSON is YAML."""
    boundary = "NODECONFIG"
    document = "\n".join(
        (
            "MIME-Version: 1.0",
            f'Content-Type: multipart/mixed; boundary="{boundary}"',
            "",
            f"--{boundary}",
            "Content-Type: application/node.eks.aws",
            "",
            json.dumps(node_config(settings), sort_keys=True),
            "",
            f"--{boundary}--",
            "",
        )
    )
    return base64.b64encode(document.encode()).decode()
