"""The cluster with its nodes, and the storage class that pods take their volumes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_kubernetes as kubernetes
from pulumi_kubernetes import storage

from components import contract
from components.gcp.addresses import networks
from components.gcp.cluster import Cluster, ClusterArgs, access_groups, team_groups
from components.gcp.keys import Keys
from components.gcp.network import Network, allow_control_plane
from components.gcp.nodes import NodeAccount, NodeGroup, NodeGroupArgs
from components.gcp.project import Project
from components.settings import Settings

STORAGE_CLASS: Final = "encrypted-balanced"
_BLOCK_DRIVER: Final = "pd.csi.storage.gke.io"


@dataclass(frozen=True, kw_only=True)
class ComputeArgs:
    """What the cluster is built from.

    Attributes:
        settings: The stack's settings.
        prefix: ``<project>-<stack>``; the cluster's name.
        project: Where it stands.
        keys: Keys of what it stores.
        network: Where it lives.
        account: The nodes' account.
        images: The nodes' permissions to pull images.
        labels: Labels of what default labels do not reach.
    """

    settings: Settings
    prefix: str
    project: Project
    keys: Keys
    network: Network
    account: NodeAccount
    images: tuple[pulumi.Resource, ...]
    labels: Mapping[str, str]


def build_compute(name: str, args: ComputeArgs, opts: pulumi.ResourceOptions) -> contract.Cluster:
    """Build the control plane, then its nodes, then the storage class; ``opts`` are those of every part."""
    settings, network = args.settings, args.network
    cluster = Cluster(
        f"{name}-cluster",
        ClusterArgs(
            name=args.prefix,
            project=args.project,
            kubernetes_version=settings.cluster.kubernetes_version,
            release_channel=settings.gcp.release_channel,
            network_id=network.network_id,
            subnet_id=network.subnet_id,
            zones=settings.zones,
            control_plane_cidr=network.plan.control_plane,
            public_access_cidrs=settings.cluster.public_access_cidrs,
            private_access_cidrs=(network.plan.nodes, settings.gcp.pod_cidr),
            security_group=settings.gcp.security_group,
            labels=args.labels,
            secrets_key=args.keys.ids["cluster"],
            disk_key=args.keys.ids["storage"],
            node_account=args.account.email,
            protect=settings.protect,
        ),
        opts,
    )
    webhooks = allow_control_plane(
        f"{name}-webhooks",
        prefix=args.prefix,
        network_id=network.network_id,
        control_plane=network.plan.control_plane,
        node_account=args.account.email,
        parent=cluster,
    )
    groups = [
        NodeGroup(
            f"{name}-{group.name}",
            NodeGroupArgs(
                settings=group,
                project=args.project,
                cluster_name=cluster.cluster_name,
                node_account=args.account.email,
                zones=settings.zones,
                disk_key=args.keys.ids["storage"],
                labels=args.labels,
                # Values flow only from the cluster: nodes also need the way out and their account's permissions.
                after=[*network.ready, *args.account.ready, *args.images],
            ),
            opts,
        )
        for group in settings.node_groups
    ]
    default = _storage_class(f"{name}-{STORAGE_CLASS}", args.keys.ids["storage"], cluster.provider, parent=cluster)
    return contract.Cluster(
        name=cluster.cluster_name,
        kubernetes_version=settings.cluster.kubernetes_version,
        endpoint=cluster.endpoint,
        kubeconfig=cluster.kubeconfig,
        provider=cluster.provider,
        pools=tuple(group.pool for group in groups),
        default_storage_class=STORAGE_CLASS,
        snapshot_driver=_BLOCK_DRIVER,
        gpu_software="node-image",
        access_groups=access_groups(settings.gcp.groups),
        team_groups=team_groups([team.name for team in settings.teams], settings.gcp.team_groups),
        node_layout="gke",
        networks=networks(network.plan, settings.cluster.service_cidr),
        # All pools: what comes next may need more nodes than the system's, and must be gone before them.
        ready=(*(resource for group in groups for resource in group.ready), default, webhooks),
    )


def _storage_class(
    name: str, key: pulumi.Input[str], provider: kubernetes.Provider, *, parent: pulumi.Resource
) -> storage.v1.StorageClass:
    # GKE marks its own standard-rwo as the default too; of two, the newest counts, and GKE's comes with the cluster.
    return storage.v1.StorageClass(
        name,
        metadata={"name": STORAGE_CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        provisioner=_BLOCK_DRIVER,
        parameters={"type": "pd-balanced", "disk-encryption-kms-key": key},
        volume_binding_mode="WaitForFirstConsumer",  # the volume follows the pod into its zone
        allow_volume_expansion=True,
        reclaim_policy="Delete",
        opts=pulumi.ResourceOptions(parent=parent, provider=provider),
    )
