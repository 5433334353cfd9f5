"""The Kubernetes cluster and its nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import pulumi
import pulumi_kubernetes as kubernetes

from components.capacity import NodeShape
from components.contract.networks import Networks

NodeRole = Literal["system", "cpu", "gpu-training", "gpu-inference"]
"""Rows of the architecture's node table."""

AccessRole = Literal["platform-admin", "ml-engineer", "viewer"]
"""Who people are to the platform; the cloud's sign-in puts them into a Kubernetes group for each."""


@dataclass(frozen=True, kw_only=True)
class Taint:
    """A Kubernetes taint as pods see it.

    Attributes:
        key: Such as ``nvidia.com/gpu``.
        value: Such as ``present``.
        effect: What happens to pods that do not tolerate it.
    """

    key: str
    value: str
    effect: Literal["NoSchedule", "NoExecute", "PreferNoSchedule"]


ROLE_LABEL: Final = "llmops/role"
"""Label of every node: its :data:`NodeRole`."""

GPU_MODEL_LABEL: Final = "llmops/gpu-model"
"""Label of every node with GPUs: their lower-case model, such as ``a10g``."""

# The taint that NVIDIA's own charts tolerate out of the box, and the one that GKE sets by itself.
GPU_TAINT: Final = Taint(key="nvidia.com/gpu", value="present", effect="NoSchedule")


@dataclass(frozen=True, kw_only=True)
class NodePool:
    """One autoscaled group of nodes, as the scheduler and the quota rules see it. Everything here is plain.

    Attributes:
        name: Name of the group, unique in the cluster.
        role: Row of the architecture's node table that it belongs to.
        shapes: What one node of each instance type offers to pods, in order of preference.
        min_size: Nodes kept when idle.
        max_size: Nodes at most.
        spot: Nodes may leave with two minutes' notice.
        labels: Node labels; select nodes by them.
        taints: Pods must tolerate these.
    """

    name: str
    role: NodeRole
    shapes: tuple[NodeShape, ...]
    min_size: int
    max_size: int
    spot: bool
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]


@dataclass(frozen=True, kw_only=True)
class AuditLog:
    """Where the record of calls of the Kubernetes API is kept. Everything here is plain.

    Attributes:
        kind: Which reader fits.
        place: The log group.
        prefix: What its streams' names begin with.
        region: Region of the place.
    """

    kind: Literal["cloudwatch"]
    place: str
    prefix: str
    region: str


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The Kubernetes cluster.

    Attributes:
        name: Its name at the cloud.
        kubernetes_version: Minor version such as ``1.35``; plain.
        endpoint: URL of the API server.
        kubeconfig: Kubeconfig without a credential in it (it runs the cloud's token helper); JSON.
        provider: Applies objects to this cluster.
        pools: Node groups, plain.
        default_storage_class: Encrypted block storage.
        snapshot_driver: CSI driver that can snapshot volumes of the default class.
        gpu_software: Who brings the NVIDIA driver and container toolkit: the node image, or the GPU Operator;
            ``provided`` is for an operator that the foundation installs, device plugin and metrics included.
        access_groups: Kubernetes group of everybody with a role; plain.
        team_groups: Kubernetes group of every team, by team; plain.
        networks: Addresses around the pods.
        audit_log: Where calls of the API are recorded; none where pods cannot read it.
        node_layout: Whose nodes these are, for software that works on the node itself and must know where its network's
            plugins lie; empty for the usual places.
        ready: Resources that must exist before pods can run (nodes, DNS, network plugin); for ``depends_on``.
    """

    name: pulumi.Output[str]
    kubernetes_version: str
    endpoint: pulumi.Output[str]
    kubeconfig: pulumi.Output[str]
    provider: kubernetes.Provider
    pools: tuple[NodePool, ...]
    default_storage_class: str
    snapshot_driver: str
    gpu_software: Literal["node-image", "operator", "provided"]
    access_groups: Mapping[AccessRole, str]
    team_groups: Mapping[str, str]
    networks: Networks
    audit_log: AuditLog | None = None
    node_layout: Literal["", "gke", "openshift"] = ""
    ready: tuple[pulumi.Resource, ...]
