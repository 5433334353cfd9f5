"""The cluster with its nodes, and what must run on it before anything else can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components import contract
from components.aws.addons import Addons, AddonsArgs
from components.aws.addresses import networks
from components.aws.autoscaler import ClusterAutoscaler, ClusterAutoscalerArgs
from components.aws.cluster import ACCESS_GROUPS, Cluster, ClusterArgs, access, audit_log, team_group
from components.aws.identity import ClusterIssuer
from components.aws.keys import Keys
from components.aws.load_balancers import (
    LoadBalancerController,
    LoadBalancerControllerArgs,
    service_annotations,
)
from components.aws.network import Network
from components.aws.nodes import NodeGroup, NodeGroupArgs, NodeRole
from components.aws.objects import Objects
from components.aws.policy import Account
from components.aws.registry import pull_through_permissions
from components.buckets import key_domain
from components.settings import Settings


@dataclass(frozen=True, kw_only=True)
class ComputeArgs:
    """What the cluster is built from.

    Attributes:
        settings: The stack's settings.
        prefix: ``<project>-<stack>``; the cluster's name.
        account: Where it stands.
        keys: Keys of what it stores.
        network: Where it lives.
        objects: Buckets that pods may mount.
        tags: Tags of what default tags do not reach: instances, volumes, load balancers.
    """

    settings: Settings
    prefix: str
    account: Account
    keys: Keys
    network: Network
    objects: Objects
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Compute:
    """What was built.

    Attributes:
        cluster: The cluster, as the contract has it.
        load_balancers: How services get load balancers.
        issuer: Who signs the pods' tokens.
        security_group_id: The group that nodes and pods send from.
    """

    cluster: contract.Cluster
    load_balancers: contract.LoadBalancers
    issuer: ClusterIssuer
    security_group_id: pulumi.Output[str]


def build_compute(name: str, args: ComputeArgs, opts: pulumi.ResourceOptions) -> Compute:
    """Build the control plane, then its nodes, then what runs on them; ``opts`` are those of every part."""
    settings, network = args.settings, args.network
    cluster = Cluster(
        f"{name}-cluster",
        ClusterArgs(
            name=args.prefix,
            kubernetes_version=settings.cluster.kubernetes_version,
            vpc_id=network.vpc_id,
            subnet_ids=network.control_plane_subnet_ids,
            service_cidr=settings.cluster.service_cidr,
            public_access_cidrs=settings.cluster.public_access_cidrs,
            access=[access(one) for one in settings.cluster.access],
            support=settings.cluster.support,
            addon_versions=settings.cluster.addons,
            secrets_key_arn=args.keys.arns["cluster"],
            logs_key_arn=args.keys.arns["logs"],
            log_retention_days=settings.cluster.log_retention_days,
            protect=settings.protect,
        ),
        opts,
    )
    groups = _node_groups(name, args, cluster, opts)
    on_system_nodes = {contract.ROLE_LABEL: "system"}
    system = next(group for group in groups if group.pool.role == "system" and group.pool.min_size)
    addons = Addons(
        f"{name}-addons",
        AddonsArgs(
            cluster_name=cluster.cluster_name,
            provider=cluster.provider,
            issuer=cluster.issuer,
            versions=settings.cluster.addons,
            system_node_labels=on_system_nodes,
            storage_key_arn=args.keys.arns["storage"],
            volume_tags=args.tags,
            mounted_bucket_arns=[args.objects.arns["models"]],
            objects_key_arn=args.keys.arns[key_domain("models")],
            nodes=system.ready,
        ),
        opts,
    )
    controllers = settings.platform.controllers
    autoscaled: tuple[pulumi.Resource, ...] = ()
    if controllers.cluster_autoscaler.enabled:
        autoscaled = ClusterAutoscaler(
            f"{name}-autoscaler",
            ClusterAutoscalerArgs(
                account=args.account,
                cluster_name=args.prefix,
                kubernetes_version=settings.cluster.kubernetes_version,
                issuer=cluster.issuer,
                provider=cluster.provider,
                node_selector=on_system_nodes,
                highly_available=settings.platform.highly_available,
                settings=controllers.cluster_autoscaler,
                after=[resource for group in groups for resource in group.ready],
            ),
            opts,
        ).ready
    load_balancers = contract.LoadBalancers(annotations=service_annotations(), ready=())
    if controllers.load_balancer_controller.enabled:
        load_balancers = LoadBalancerController(
            f"{name}-load-balancers",
            LoadBalancerControllerArgs(
                account=args.account,
                cluster_name=args.prefix,
                vpc_id=network.vpc_id,
                node_security_group_id=cluster.security_group_id,
                issuer=cluster.issuer,
                provider=cluster.provider,
                node_selector=on_system_nodes,
                highly_available=settings.platform.highly_available,
                tags=args.tags,
                after=[*system.ready, addons.dns],
            ),
            opts,
        ).result
    return Compute(
        cluster=contract.Cluster(
            name=cluster.cluster_name,
            kubernetes_version=settings.cluster.kubernetes_version,
            endpoint=cluster.endpoint,
            kubeconfig=cluster.kubeconfig,
            provider=cluster.provider,
            pools=tuple(group.pool for group in groups),
            default_storage_class=addons.default_storage_class,
            snapshot_driver=addons.snapshot_driver,
            gpu_software="node-image",
            access_groups=ACCESS_GROUPS,
            team_groups={team.name: team_group(team.name) for team in settings.teams},
            networks=networks(
                network.plan,
                settings.cluster.service_cidr,
                interface_endpoints=bool(settings.network.interface_endpoints),
            ),
            audit_log=audit_log(args.prefix, args.account.region),
            # With the autoscaler: what comes next may need more nodes than there are, and must be gone before it.
            ready=(*addons.ready, *autoscaled),
        ),
        load_balancers=load_balancers,
        issuer=cluster.issuer,
        security_group_id=cluster.security_group_id,
    )


def _node_groups(name: str, args: ComputeArgs, cluster: Cluster, opts: pulumi.ResourceOptions) -> list[NodeGroup]:
    settings, network = args.settings, args.network
    node_role = NodeRole(f"{name}-nodes", pull_through_permissions(args.prefix, args.account), opts)
    # Values flow only from the cluster: nodes also need routes, their permissions and the network plugin.
    waits = [*network.ready, *node_role.ready, *cluster.ready_for_nodes]
    return [
        NodeGroup(
            f"{name}-{group.name}",
            NodeGroupArgs(
                settings=group,
                cluster_name=cluster.cluster_name,
                kubernetes_version=settings.cluster.kubernetes_version,
                node_role_arn=node_role.arn,
                subnet_ids=network.private_subnets_in(group.zones),
                volume_key_arn=args.keys.arns["storage"],
                tags=args.tags,
                after=waits,
            ),
            opts,
        )
        for group in settings.node_groups
    ]
