"""The EKS cluster: control plane, network plugin, and what runs on every node."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import pulumi
import pulumi_eks as eks
import pulumi_kubernetes as kubernetes
from pulumi_aws import cloudwatch, iam
from pulumi_aws import eks as aws_eks

from components.aws.addons import addon
from components.aws.identity import ClusterIssuer, trust
from components.contract import AccessRole, AuditLog
from components.settings.cluster import AccessSettings
from components.versions import AddonName

# Everything that a control plane can log (EKS user guide, "Send control plane logs to CloudWatch Logs").
_LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")

_POLICIES = {
    "cluster-admin": "AmazonEKSClusterAdminPolicy",
    "admin": "AmazonEKSAdminPolicy",
    "edit": "AmazonEKSEditPolicy",
    "view": "AmazonEKSViewPolicy",
}


def log_group(cluster: str) -> str:
    """Where the control plane of a cluster logs to."""
    return f"/aws/eks/{cluster}/cluster"


def audit_log(cluster: str, region: str) -> AuditLog:
    """The record of API calls: a stream for each API server, beside those of the control plane's other logs."""
    return AuditLog(kind="cloudwatch", place=log_group(cluster), prefix="kube-apiserver-audit-", region=region)


# Kubernetes groups that access entries put people into; the platform's roles are bound to them. EKS takes no group
# that begins with system:, eks:, aws:, amazon: or iam: (EKS user guide, "Create access entries").
ACCESS_GROUPS: Final[Mapping[AccessRole, str]] = {
    "platform-admin": "llmops:platform-admins",
    "ml-engineer": "llmops:ml-engineers",
    "viewer": "llmops:viewers",
}


def team_group(team: str) -> str:
    """Kubernetes group of a team's members."""
    return f"llmops:team-{team}"


@dataclass(frozen=True, kw_only=True)
class Access:
    """One IAM principal that may use the cluster.

    Attributes:
        principal_arn: Role or user.
        policy: A policy of EKS; None where groups say what it may do.
        namespaces: The policy holds only there; empty for the whole cluster.
        groups: Kubernetes groups that it is in.
    """

    principal_arn: str
    policy: Literal["cluster-admin", "admin", "edit", "view"] | None = None
    namespaces: Sequence[str] = ()
    groups: Sequence[str] = ()


def access(settings: AccessSettings) -> Access:
    """Turn a setting into an entry: a role of the platform is a group, and so is a team; the rest is EKS' own."""
    teams = tuple(team_group(team) for team in settings.teams)
    match settings.policy:
        case None:
            return Access(principal_arn=settings.principal_arn, groups=teams)
        case "platform-admin" | "ml-engineer" | "viewer" as role:
            return Access(principal_arn=settings.principal_arn, groups=(ACCESS_GROUPS[role], *teams))
        case policy:
            return Access(
                principal_arn=settings.principal_arn, policy=policy, namespaces=settings.namespaces, groups=teams
            )


@dataclass(frozen=True, kw_only=True)
class ClusterArgs:
    """What the cluster needs.

    Attributes:
        name: Name at EKS; plain, because the log group must exist under it before the cluster does.
        kubernetes_version: Minor version.
        vpc_id: Where it lives.
        subnet_ids: Two private subnets, in two zones, for the control plane's network interfaces. EKS takes no other
            zones later (EKS user guide, "VPC and subnet requirements"), so these must not follow the list of zones.
        service_cidr: Addresses of Kubernetes services.
        public_access_cidrs: Networks that may reach the API server from outside; empty makes it private.
        access: Who may use it, besides the principal that creates it.
        support: ``standard`` or ``extended`` support for old versions.
        addon_versions: Version of every add-on.
        secrets_key_arn: Key that envelops Kubernetes secrets.
        logs_key_arn: Key of the control plane's logs.
        log_retention_days: How long they are kept.
        protect: EKS refuses deletion.
    """

    name: str
    kubernetes_version: str
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    service_cidr: str
    public_access_cidrs: Sequence[str]
    access: Sequence[Access]
    support: Literal["standard", "extended"]
    addon_versions: Mapping[AddonName, str]
    secrets_key_arn: pulumi.Input[str]
    logs_key_arn: pulumi.Input[str]
    log_retention_days: int
    protect: bool


class Cluster(pulumi.ComponentResource):
    """A control plane whose API server is private, or open to named networks only."""

    cluster_name: pulumi.Output[str]
    endpoint: pulumi.Output[str]
    kubeconfig: pulumi.Output[str]
    provider: kubernetes.Provider
    issuer: ClusterIssuer
    security_group_id: pulumi.Output[str]
    """The group of the control plane and of every node; pods send from it."""
    ready_for_nodes: tuple[pulumi.Resource, ...]
    """Add-ons without which a node does not become ready; for ``depends_on``."""

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:aws:Cluster", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        logs = cloudwatch.LogGroup(
            f"{name}-logs",
            # EKS writes to this name, and makes the group itself, without key or retention, where it is missing.
            name=log_group(args.name),
            retention_in_days=args.log_retention_days,
            kms_key_id=args.logs_key_arn,
            opts=child,
        )
        public = bool(args.public_access_cidrs)
        control_plane = eks.Cluster(
            name,
            name=args.name,
            version=args.kubernetes_version,
            vpc_id=args.vpc_id,
            subnet_ids=list(args.subnet_ids),
            kubernetes_service_ip_address_range=args.service_cidr,
            endpoint_private_access=True,
            endpoint_public_access=public,
            public_access_cidrs=list(args.public_access_cidrs) if public else None,
            authentication_mode=eks.AuthenticationMode.API,
            access_entries=access_entries(args.access),
            create_oidc_provider=True,
            encryption_config_key_arn=args.secrets_key_arn,
            enabled_cluster_log_types=list(_LOG_TYPES),
            upgrade_policy={"support_type": args.support.upper()},
            deletion_protection=args.protect,
            skip_default_node_group=True,
            skip_default_security_groups=True,  # the group that EKS makes is enough; pulumi-eks' own allow all egress
            # Every add-on is ours, pinned, and the same kind of resource; "use the default CNI" means "install none".
            bootstrap_self_managed_addons=False,
            use_default_vpc_cni=True,
            kube_proxy_addon_options={"enabled": False},
            coredns_addon_options={"enabled": False},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[logs]),  # no value flows from the log group
        )
        self.kubeconfig = control_plane.kubeconfig_json
        # Through the kubeconfig, and not a plain name: whoever reads it waits for the cluster.
        self.cluster_name = self.kubeconfig.apply(lambda _: args.name)
        self.endpoint = self.kubeconfig.apply(server)
        self.security_group_id = control_plane.cluster_security_group_id
        self.issuer = ClusterIssuer(provider_arn=control_plane.oidc_provider_arn, url=control_plane.oidc_provider_url)
        self.provider = kubernetes.Provider(
            f"{name}-kubernetes",
            kubeconfig=self.kubeconfig,
            cluster_identifier=args.name,  # another endpoint or certificate of the same cluster replaces nothing
            opts=child,
        )
        self.ready_for_nodes = self._node_addons(name, args)
        self.register_outputs(
            {
                "clusterName": self.cluster_name,
                "endpoint": self.endpoint,
                "kubeconfig": self.kubeconfig,
                "securityGroupId": self.security_group_id,
            }
        )

    def _node_addons(self, name: str, args: ClusterArgs) -> tuple[pulumi.Resource, ...]:
        """Add-ons that consist of a pod on every node; EKS calls them active before there is a node."""
        child = pulumi.ResourceOptions(parent=self)
        role = iam.Role(
            f"{name}-vpc-cni",
            description="Pods of kube-system/aws-node: addresses for pods",
            assume_role_policy=trust(self.issuer, "kube-system", "aws-node"),
            opts=child,
        )
        attachment = iam.RolePolicyAttachment(
            f"{name}-vpc-cni", role=role.name, policy_arn="arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy", opts=child
        )
        network_plugin = addon(
            f"{name}-vpc-cni",
            "vpc-cni",
            cluster_name=self.cluster_name,
            versions=args.addon_versions,
            role_arn=role.arn,
            configuration={
                "enableNetworkPolicy": "true",
                # A /28 at a time: a small node carries 110 pods, and a new pod rarely waits for an address.
                "env": {
                    "ENABLE_PREFIX_DELEGATION": "true",
                    "WARM_PREFIX_TARGET": "1",
                    # A new pod is open for the moment until its policies are loaded. The other mode, strict, closes
                    # every pod that no policy selects, EKS' own add-ons among them, before policies can exist.
                    "NETWORK_POLICY_ENFORCING_MODE": "standard",
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[attachment]),
        )
        others = [
            addon(f"{name}-{kind}", kind, cluster_name=self.cluster_name, versions=args.addon_versions, opts=child)
            for kind in ("kube-proxy", "eks-pod-identity-agent")
        ]
        return (network_plugin, *others)


def server(kubeconfig: str) -> str:
    """URL of the API server in a kubeconfig with one cluster."""
    return json.loads(kubeconfig)["clusters"][0]["cluster"]["server"]


def access_entries(access: Sequence[Access]) -> dict[str, eks.AccessEntryArgs]:
    """Access entries by a name that stays when the list is reordered, and differs where only the account does."""
    return {
        one.principal_arn.partition("::")[2].replace(":", "-").replace("/", "-"): eks.AccessEntryArgs(
            principal_arn=one.principal_arn,
            kubernetes_groups=list(one.groups) or None,
            access_policies={one.policy: _association(one.policy, one.namespaces)} if one.policy else {},
        )
        for one in access
    }


def _association(policy: str, namespaces: Sequence[str]) -> eks.AccessPolicyAssociationArgs:
    return eks.AccessPolicyAssociationArgs(
        policy_arn=f"arn:aws:eks::aws:cluster-access-policy/{_POLICIES[policy]}",
        access_scope=aws_eks.AccessPolicyAssociationAccessScopeArgs(
            type="namespace" if namespaces else "cluster", namespaces=list(namespaces) or None
        ),
    )
