"""The GKE cluster: a private control plane, and what GKE runs on every node for us."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import pulumi
import pulumi_kubernetes as kubernetes
from pulumi_gcp import container

from components.contract import AccessRole
from components.gcp.network import PODS, SERVICES
from components.gcp.project import Project

SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
"""What a node's tokens may be for; what they may do is said by the roles of its account."""

# Kubernetes groups where the settings name no Google group: nobody is in them.
NO_GROUPS: Final[Mapping[AccessRole, str]] = {
    "platform-admin": "llmops:platform-admins",
    "ml-engineer": "llmops:ml-engineers",
    "viewer": "llmops:viewers",
}


def access_groups(groups: Mapping[AccessRole, str]) -> dict[AccessRole, str]:
    """Kubernetes group of everybody with a role: with Google Groups for RBAC, the group's address."""
    return {role: groups.get(role, nobody) for role, nobody in NO_GROUPS.items()}


def team_groups(teams: Sequence[str], groups: Mapping[str, str]) -> dict[str, str]:
    """The same for teams."""
    return {team: groups.get(team, f"llmops:team-{team}") for team in teams}


@dataclass(frozen=True, kw_only=True)
class ClusterArgs:
    """What the cluster needs.

    Attributes:
        name: Name at GKE, at most 40 characters.
        project: Where it lives.
        kubernetes_version: Minor version; the control plane is at least this.
        release_channel: Channel of its upgrades.
        network_id: Where it lives.
        subnet_id: Subnet of the nodes, with the ranges of pods and services.
        zones: Zones of the nodes; the control plane itself is in three.
        control_plane_cidr: A /28 for the API server.
        public_access_cidrs: Networks that may reach the API server from outside; empty makes it private.
        private_access_cidrs: Networks of the VPC that may reach it besides the nodes.
        security_group: Google group that holds every group which Kubernetes may know; empty for none.
        labels: Labels of the cluster, by which costs are told.
        secrets_key: Key that envelops Kubernetes secrets.
        disk_key: Key of the boot disk of the node that GKE starts with and takes away.
        node_account: Account of that node.
        protect: Pulumi and GKE refuse deletion.
    """

    name: str
    project: Project
    kubernetes_version: str
    release_channel: Literal["RAPID", "REGULAR", "STABLE", "EXTENDED"]
    network_id: pulumi.Input[str]
    subnet_id: pulumi.Input[str]
    zones: Sequence[str]
    control_plane_cidr: str
    public_access_cidrs: Sequence[str]
    private_access_cidrs: Sequence[str]
    security_group: str
    labels: Mapping[str, str]
    secrets_key: pulumi.Input[str]
    disk_key: pulumi.Input[str]
    node_account: pulumi.Input[str]
    protect: bool


class Cluster(pulumi.ComponentResource):
    """A regional control plane whose API server is private, or open to named networks only."""

    cluster_name: pulumi.Output[str]
    endpoint: pulumi.Output[str]
    kubeconfig: pulumi.Output[str]
    provider: kubernetes.Provider

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:gcp:Cluster", name, None, opts)
        if len(args.name) > 40:  # GKE API, projects.locations.clusters
            raise pulumi.RunError(f"cluster name {args.name} has {len(args.name)} characters, GKE allows 40")
        public = bool(args.public_access_cidrs)
        control_plane = container.Cluster(
            name,
            name=args.name,
            location=args.project.region,
            node_locations=list(args.zones),
            resource_labels=dict(args.labels),
            deletion_protection=args.protect,
            min_master_version=args.kubernetes_version,
            release_channel={"channel": args.release_channel},
            maintenance_policy={
                "recurring_window": {  # weekends, 02:00 to 10:00 UTC: GKE wants 48 hours in 32 days
                    "start_time": "2026-01-03T02:00:00Z",
                    "end_time": "2026-01-03T10:00:00Z",
                    "recurrence": "FREQ=WEEKLY;BYDAY=SA,SU",
                }
            },
            network=args.network_id,
            subnetwork=args.subnet_id,
            networking_mode="VPC_NATIVE",
            ip_allocation_policy={
                "cluster_secondary_range_name": PODS,
                "services_secondary_range_name": SERVICES,
            },
            datapath_provider="ADVANCED_DATAPATH",  # network policies are enforced by it, from a pod's first packet
            enable_intranode_visibility=True,  # flow logs see pods of one node, too
            enable_l4_ilb_subsetting=True,
            private_cluster_config={
                "enable_private_nodes": True,
                "enable_private_endpoint": not public,
                "master_ipv4_cidr_block": args.control_plane_cidr,
            },
            master_authorized_networks_config={
                "gcp_public_cidrs_access_enabled": False,  # or any machine in Google's cloud could knock
                "cidr_blocks": [
                    {"cidr_block": cidr, "display_name": f"settings-{number}"}
                    for number, cidr in enumerate((*args.private_access_cidrs, *args.public_access_cidrs))
                ],
            },
            authenticator_groups_config={"security_group": args.security_group} if args.security_group else None,
            enable_legacy_abac=False,
            master_auth={"client_certificate_config": {"issue_client_certificate": False}},
            workload_identity_config={"workload_pool": args.project.workload_pool},
            database_encryption={"state": "ENCRYPTED", "key_name": args.secrets_key},
            enable_shielded_nodes=True,
            security_posture_config={"mode": "BASIC", "vulnerability_mode": "VULNERABILITY_DISABLED"},
            logging_config={
                # Audit logs of the Kubernetes API go to Cloud Audit Logs whatever is set here. What workloads write is
                # collected by the platform's own logs.
                "enable_components": ["SYSTEM_COMPONENTS", "APISERVER", "CONTROLLER_MANAGER", "SCHEDULER"]
            },
            monitoring_config={
                "enable_components": ["SYSTEM_COMPONENTS", "APISERVER", "CONTROLLER_MANAGER", "SCHEDULER"],
                "managed_prometheus": {"enabled": False},  # the platform has its own
            },
            cost_management_config={"enabled": True},
            addons_config={
                "dns_cache_config": {"enabled": True},
                "gce_persistent_disk_csi_driver_config": {"enabled": True},
                "gcp_filestore_csi_driver_config": {"enabled": True},
                "gcs_fuse_csi_driver_config": {"enabled": True},
                "horizontal_pod_autoscaling": {"disabled": False},
                "http_load_balancing": {"disabled": False},  # its controller makes the groups behind load balancers
            },
            gateway_api_config={"channel": "CHANNEL_DISABLED"},  # the mesh brings the definitions, in its own version
            cluster_autoscaling={
                "enabled": False,  # no pools of GKE's own choice; those of the settings scale all the same
                "autoscaling_profile": "OPTIMIZE_UTILIZATION",  # idle nodes go early
            },
            node_pool_defaults={
                "node_config_defaults": {
                    "gcfs_config": {"enabled": True},  # image streaming: a container starts before its image is there
                    "insecure_kubelet_readonly_port_enabled": "FALSE",
                }
            },
            # GKE makes no cluster without a pool; ours are resources of their own.
            remove_default_node_pool=True,
            initial_node_count=1,
            node_config=first_node(args),
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=args.protect,
                # The pool that it describes is gone; GKE answers with the first of the others.
                ignore_changes=["nodeConfig", "initialNodeCount"],
            ),
        )
        self.cluster_name = control_plane.name
        self.kubeconfig = pulumi.Output.json_dumps(
            pulumi.Output.all(
                control_plane.name, control_plane.endpoint, control_plane.master_auth.cluster_ca_certificate
            ).apply(lambda values: kubeconfig(str(values[0]), str(values[1]), str(values[2])))
        )
        self.endpoint = control_plane.endpoint.apply(lambda address: f"https://{address}")
        self.provider = kubernetes.Provider(
            f"{name}-kubernetes",
            kubeconfig=self.kubeconfig,
            cluster_identifier=args.name,  # another endpoint or certificate of the same cluster replaces nothing
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs(
            {"clusterName": self.cluster_name, "endpoint": self.endpoint, "kubeconfig": self.kubeconfig}
        )


def first_node(args: ClusterArgs) -> container.ClusterNodeConfigArgsDict:
    """The node that is there for minutes: small, and no less safe than those that stay."""
    return {
        "machine_type": "e2-small",
        "disk_size_gb": 30,
        "disk_type": "pd-standard",
        "boot_disk_kms_key": args.disk_key,
        "service_account": args.node_account,
        "oauth_scopes": list(SCOPES),
        "shielded_instance_config": {"enable_secure_boot": True, "enable_integrity_monitoring": True},
        "workload_metadata_config": {"mode": "GKE_METADATA"},
    }


def kubeconfig(name: str, endpoint: str, authority: str) -> dict[str, Any]:
    """Kubeconfig without a credential: Google's own plugin gets a token of whoever runs it."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": f"https://{endpoint}", "certificate-authority-data": authority}}
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
        "users": [
            {
                "name": name,
                "user": {
                    "exec": {
                        "apiVersion": "client.authentication.k8s.io/v1beta1",
                        "command": "gke-gcloud-auth-plugin",
                        "installHint": "gcloud components install gke-gcloud-auth-plugin",
                        "provideClusterInfo": True,
                    }
                },
            }
        ],
    }
