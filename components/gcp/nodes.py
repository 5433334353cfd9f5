"""Node pools: autoscaled, from zero where the settings say so, with disks under our key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_gcp import container, projects, serviceaccount

from components.capacity.gce import CATALOGUE, MAX_PODS, gpu_zones_of, shape_of
from components.contract import NodePool
from components.gcp.cluster import SCOPES
from components.gcp.project import Project, account_id
from components.node_pools import node_pool
from components.settings.nodes import NodeGroupSettings

# What a node may do: logs, metrics and what else GKE's parts on it need. Images are granted with their repositories.
_NODE_ROLES: Final = ("roles/container.defaultNodeServiceAccount",)

_EFFECTS: Final = {
    "NoSchedule": "NO_SCHEDULE",
    "NoExecute": "NO_EXECUTE",
    "PreferNoSchedule": "PREFER_NO_SCHEDULE",
}


class NodeAccount(pulumi.ComponentResource):
    """The service account that all nodes share; pods have accounts of their own and cannot reach this one."""

    email: pulumi.Output[str]
    member: pulumi.Output[str]
    ready: tuple[pulumi.Resource, ...]
    """Its permissions; nodes report for duty only with them."""

    def __init__(self, name: str, *, prefix: str, project: Project, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:gcp:NodeAccount", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        account = serviceaccount.Account(
            f"{name}-account", account_id=account_id(prefix, "nodes"), display_name="Kubernetes nodes", opts=child
        )
        self.email = account.email
        self.member = pulumi.Output.concat("serviceAccount:", account.email)
        self.ready = tuple(
            projects.IAMMember(
                f"{name}-{role.rpartition('.')[2]}", project=project.id, role=role, member=self.member, opts=child
            )
            for role in _NODE_ROLES
        )
        self.register_outputs({"email": self.email})


@dataclass(frozen=True, kw_only=True)
class NodeGroupArgs:
    """What a node pool needs.

    Attributes:
        settings: Size, type, role; plain.
        project: Where it is.
        cluster_name: The cluster to join.
        node_account: Account of the nodes.
        zones: Zones of the cluster's nodes.
        disk_key: Key of the boot disks.
        labels: Labels of machines and disks, which default labels do not reach.
        after: What a node needs to become ready and must outlive it: the way out, permissions of its account.
    """

    settings: NodeGroupSettings
    project: Project
    cluster_name: pulumi.Input[str]
    node_account: pulumi.Input[str]
    zones: Sequence[str]
    disk_key: pulumi.Input[str]
    labels: Mapping[str, str]
    after: Sequence[pulumi.Resource]


class NodeGroup(pulumi.ComponentResource):
    """Nodes of one kind; how many is the autoscaler's business between the two bounds."""

    pool: NodePool
    ready: tuple[pulumi.Resource, ...]
    """The nodes; for ``depends_on``."""

    def __init__(self, name: str, args: NodeGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:gcp:NodeGroup", name, None, opts)
        settings = args.settings
        self.pool = pool_of(settings)
        zones = zones_of(settings, args.zones, args.project.region)
        scarce = self.pool.spot or bool(self.pool.shapes[0].gpus)
        group = container.NodePool(
            f"{name}-pool",
            name=settings.name,
            cluster=args.cluster_name,
            location=args.project.region,
            node_locations=list(zones),
            # In each zone, and only to begin with; then it is the autoscaler's.
            initial_node_count=-(-settings.min_size // len(zones)),
            autoscaling={
                # Totals over all zones: the other kind of bounds counts for each zone.
                "total_min_node_count": settings.min_size,
                "total_max_node_count": settings.max_size,
                # Where there are machines to be had; balance is for what must survive a zone.
                "location_policy": "ANY" if scarce else "BALANCED",
            },
            max_pods_per_node=MAX_PODS,
            management={"auto_repair": True, "auto_upgrade": True},
            # One more node while a pool is upgraded; GPUs have no room in their quota for it, so one less.
            upgrade_settings=(
                {"strategy": "SURGE", "max_surge": 0, "max_unavailable": 1}
                if self.pool.shapes[0].gpus
                else {"strategy": "SURGE", "max_surge": 1, "max_unavailable": 0}
            ),
            network_config={"enable_private_nodes": True},
            node_config=node_config(args, self.pool),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=list(args.after),
                ignore_changes=["initialNodeCount"],
            ),
        )
        self.ready = (group,)
        self.register_outputs({"nodePoolId": group.id})


def zones_of(settings: NodeGroupSettings, zones: Sequence[str], region: str) -> tuple[str, ...]:
    """Zones of a pool: those that it names, else the cluster's; with GPUs only where there are any."""
    wanted = settings.zones or tuple(zones)
    if not CATALOGUE[settings.instance_types[0]].gpus:
        return wanted
    return tuple(zone for zone in wanted if zone in gpu_zones_of(region))


def pool_of(settings: NodeGroupSettings) -> NodePool:
    """What the layers above see of a pool; all of it known at preview."""
    gpu_model = CATALOGUE[settings.instance_types[0]].gpu_model
    shapes = tuple(shape_of(kind, settings.root_volume_gib) for kind in settings.instance_types)
    return node_pool(settings, shapes, gpu_model=gpu_model)


def node_config(args: NodeGroupArgs, pool: NodePool) -> container.NodePoolNodeConfigArgsDict:
    """One node: Container-Optimized OS, a disk under our key, no credentials within a pod's reach."""
    settings = args.settings
    kind = CATALOGUE[settings.instance_types[0]]
    config: container.NodePoolNodeConfigArgsDict = {
        "machine_type": kind.name,
        "image_type": "COS_CONTAINERD",
        "spot": pool.spot,
        "disk_type": "pd-balanced",
        "disk_size_gb": settings.root_volume_gib,
        "boot_disk_kms_key": args.disk_key,
        "service_account": args.node_account,
        "oauth_scopes": list(SCOPES),
        "labels": dict(pool.labels),
        # GKE sets the GPU's taint by itself, but only where the cluster has another pool already: said here it is
        # there whichever pool is first.
        "taints": [{"key": taint.key, "value": taint.value, "effect": _EFFECTS[taint.effect]} for taint in pool.taints],
        "resource_labels": dict(args.labels),
        "metadata": {"disable-legacy-endpoints": "true"},
        "workload_metadata_config": {"mode": "GKE_METADATA"},
        "shielded_instance_config": {"enable_secure_boot": True, "enable_integrity_monitoring": True},
        "gcfs_config": {"enabled": True},
        "gvnic": {"enabled": True},  # image streaming and models come faster
        "kubelet_config": {"insecure_kubelet_readonly_port_enabled": "FALSE"},
    }
    if kind.gpus:
        config["guest_accelerators"] = [
            {
                "type": kind.accelerator,
                "count": kind.gpus,
                "gpu_driver_installation_config": {"gpu_driver_version": "LATEST"},
            }
        ]
        # GKE's signed driver loads with secure boot only in its newest versions; without it, in all of them.
        config["shielded_instance_config"] = {"enable_secure_boot": False, "enable_integrity_monitoring": True}
    if kind.local_ssds:
        # One file system of all of them: images, logs and the model cache lie on it. Google encrypts it by itself; a
        # key of ours is not to be had for local SSDs.
        config["ephemeral_storage_local_ssd_config"] = {"local_ssd_count": kind.local_ssds}
    return config
