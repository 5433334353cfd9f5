"""``eks:index:Cluster``: the control plane with its roles, groups, access, add-ons and OIDC provider."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes
from pulumi_aws import ec2, eks, iam

from sandbox.eks import access, addons
from sandbox.eks.automode import AutoMode, auto_mode, auto_mode_enabled
from sandbox.eks.inputs import ComponentError, Inputs, given, merged, section, sorted_json, truthy
from sandbox.eks.kubeconfig import default_credentials, kubeconfig
from sandbox.eks.roles import ServiceRole, role_arn
from sandbox.eks.security_groups import cluster_security_group, node_security_group
from sandbox.eks.storage import storage_classes
from sandbox.provider import CheckFailure

# Thumbprint of the root that signs oidc.eks.<region>.amazonaws.com (Starfield Services Root CA G2, EKS user guide). The
# real package asks the endpoint; IAM itself no longer checks it for EKS.
_OIDC_THUMBPRINT = "9e99a48a9960b14926bb7f3b02e22da2b0ab7280"

# Arguments that describe the default node group; without one they only pass through to ``core.nodeGroupOptions``.
_NODE_ARGUMENTS = {
    "nodeSubnetIds": "nodeSubnetIds",
    "nodeAssociatePublicIpAddress": "nodeAssociatePublicIpAddress",
    "instanceType": "instanceType",
    "nodePublicKey": "nodePublicKey",
    "nodeRootVolumeEncrypted": "nodeRootVolumeEncrypted",
    "nodeRootVolumeSize": "nodeRootVolumeSize",
    "nodeUserData": "nodeUserData",
    "minSize": "minSize",
    "maxSize": "maxSize",
    "desiredCapacity": "desiredCapacity",
    "nodeAmiId": "amiId",
    "gpu": "gpu",
    "version": "version",
}

_WORKER_POLICIES = ("AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonEC2ContainerRegistryReadOnly")


def failures(inputs: Mapping[str, Any]) -> Iterator[CheckFailure]:
    """Refuse what the real package refuses, and what is not emulated here."""
    if truthy(inputs.get("creationRoleProvider")):
        yield CheckFailure("creationRoleProvider", "only Node.js programs can use it; use providerCredentialOpts")
    if truthy(inputs.get("fargate")):
        yield CheckFailure("fargate", "not emulated by the sandbox")
    if truthy(inputs.get("instanceProfileName")):
        yield CheckFailure("instanceProfileName", "not emulated by the sandbox: it has no existing instance profiles")
    if not truthy(inputs.get("vpcId")):
        yield CheckFailure("vpcId", "required in the sandbox: its account has no default VPC")
    if not inputs.get("skipDefaultNodeGroup") and not auto_mode_enabled(inputs):
        yield CheckFailure(
            "skipDefaultNodeGroup",
            "must be true: the sandbox does not emulate the default, self-managed node group; add a ManagedNodeGroup",
        )
    if truthy(inputs.get("instanceRole")) and truthy(inputs.get("instanceRoles")):
        yield CheckFailure("instanceRole", "set only one of instanceRole and instanceRoles")
    if "subnetIds" in inputs and ("publicSubnetIds" in inputs or "privateSubnetIds" in inputs):
        yield CheckFailure("subnetIds", "set either subnetIds, or publicSubnetIds and privateSubnetIds")
    single = [name for name in _NODE_ARGUMENTS if name != "version" and truthy(inputs.get(name))]
    if truthy(inputs.get("nodeGroupOptions")) and single:
        yield CheckFailure("nodeGroupOptions", f"cannot be combined with {', '.join(single)}")
    if auto_mode_enabled(inputs) and not access.uses_entries(inputs.get("authenticationMode")):
        yield CheckFailure("autoMode", "needs authenticationMode API or API_AND_CONFIG_MAP")
    if inputs.get("endpointPublicAccess") is False and inputs.get("publicAccessCidrs") is not None:
        yield CheckFailure("publicAccessCidrs", "can only be set when endpointPublicAccess is true")
    yield from access.failures(inputs)
    yield from addons.cni_failures(section(inputs, "vpcCniOptions"), "vpcCniOptions.")


class Cluster(pulumi.ComponentResource):
    """The component; :meth:`state` holds what the program sees."""

    def __init__(self, name: str, inputs: Inputs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("eks:index:Cluster", name, None, opts)
        self._prefix = name
        self._inputs = inputs
        self._child = pulumi.ResourceOptions(parent=self)
        self._mode: str | None = inputs.get("authenticationMode")
        self._credentials = given(inputs, "providerCredentialOpts", default_credentials())
        self._partition = aws.get_partition_output(opts=pulumi.InvokeOutputOptions(parent=self)).partition
        self._subnet_ids = self._all_subnet_ids()

        service_role = self._service_role()
        self._security_group = self._control_plane_group()
        auto = auto_mode(name, inputs, self._partition, self._child)
        self._cluster = self._control_plane(service_role, auto)
        self._kube_proxy()
        user_kubeconfig = kubeconfig(self._cluster, self._credentials, with_profile=False)
        self._kubernetes = self._kubernetes_provider()
        instance_roles, node_role, profile = self._instance_roles()
        node_access = self._config_map(instance_roles) if access.uses_config_map(self._mode) else None
        entries, declared = self._access_entries(node_role)
        ready: list[pulumi.Resource] = [*entries, *([node_access] if node_access else [])]
        classes = storage_classes(
            name,
            inputs.get("storageClasses"),
            pulumi.ResourceOptions(parent=self, provider=self._kubernetes, depends_on=ready),
        )
        vpc_cni = self._vpc_cni(ready)
        self._coredns()
        oidc = self._oidc_provider() if truthy(inputs.get("createOidcProvider")) else None
        node_group, node_rule = self._node_group_security()

        options = self._node_group_options(profile, node_group, node_rule)
        core: Inputs = {
            "vpcId": inputs["vpcId"],
            "subnetIds": self._subnet_ids,
            "publicSubnetIds": given(inputs, "publicSubnetIds"),
            "privateSubnetIds": given(inputs, "privateSubnetIds"),
            "clusterSecurityGroup": self._security_group,
            "cluster": self._cluster,
            "endpoint": self._cluster.endpoint,
            "nodeGroupOptions": options,
            "kubeconfig": user_kubeconfig,
            "provider": self._kubernetes,
            "vpcCni": vpc_cni,
            "instanceRoles": instance_roles,
            "eksNodeAccess": node_access,
            "tags": inputs.get("tags"),
            "nodeSecurityGroupTags": inputs.get("nodeSecurityGroupTags"),
            "storageClasses": classes,
            "oidcProvider": oidc,
            "encryptionConfig": self._encryption(),
            "clusterIamRole": service_role.direct if service_role else inputs["serviceRole"],
            "accessEntries": declared,
            "autoModeNodeRoleName": auto.node_role_name,
        }
        own_group = self._cluster.vpc_config.apply(lambda vpc: vpc.cluster_security_group_id)
        issuer = self._cluster.identities.apply(_issuer)
        self._state: Inputs = {
            "kubeconfig": user_kubeconfig,
            "kubeconfigJson": user_kubeconfig.apply(lambda known: json.dumps(known, separators=(",", ":"))),
            "clusterSecurityGroup": self._security_group,
            "instanceRoles": instance_roles,
            "nodeSecurityGroup": node_group,
            "eksClusterIngressRule": node_rule,
            "eksCluster": self._cluster,
            "core": pulumi.Output.from_input({key: value for key, value in core.items() if value is not None}),
            "clusterSecurityGroupId": own_group if self._security_group is None else _group_id(self._security_group),
            "nodeSecurityGroupId": node_group.id if node_group else own_group,
            "clusterIngressRuleId": node_rule.security_group_rule_id if node_rule else "",
            "defaultNodeGroupAsgName": "",
            "fargateProfileId": "",
            "fargateProfileStatus": "",
            "oidcProviderArn": oidc.arn if oidc else "",
            "oidcProviderUrl": issuer,
            "oidcIssuer": issuer.apply(lambda url: url.replace("https://", "")),
            "autoModeNodeRoleName": auto.node_role_name,
        }
        self.register_outputs(self._state)

    def state(self) -> Inputs:
        """Outputs as the program sees them."""
        return self._state

    def _all_subnet_ids(self) -> Any:
        if "subnetIds" in self._inputs:
            return self._inputs["subnetIds"]
        public, private = given(self._inputs, "publicSubnetIds", []), given(self._inputs, "privateSubnetIds", [])
        return pulumi.Output.all(public, private).apply(lambda known: [*known[0], *known[1]])

    def _service_role(self) -> ServiceRole | None:
        if truthy(self._inputs.get("serviceRole")):
            return None
        return ServiceRole(
            f"{self._prefix}-eksRole",
            service="eks.amazonaws.com",
            description="Allows EKS to manage clusters on your behalf.",
            partition=self._partition,
            policies=("AmazonEKSClusterPolicy", *AutoMode.cluster_policies(self._inputs)),
            actions=("sts:AssumeRole", "sts:TagSession"),
            tags=self._inputs.get("tags"),
            opts=self._child,
        )

    def _skips_security_groups(self) -> bool:
        chosen = self._inputs.get("skipDefaultSecurityGroups")
        return auto_mode_enabled(self._inputs) if chosen is None else bool(chosen)

    def _control_plane_group(self) -> Any:
        if truthy(self._inputs.get("clusterSecurityGroup")):
            return self._inputs["clusterSecurityGroup"]
        if self._skips_security_groups():
            return None
        return cluster_security_group(self._prefix, self._inputs, self._child)

    def _encryption(self) -> Any:
        key = given(self._inputs, "encryptionConfigKeyArn")
        return None if key is None else {"provider": {"keyArn": key}, "resources": ["secrets"]}

    def _public_cidrs(self) -> Any:
        if not truthy(self._inputs.get("publicAccessCidrs")):
            return None
        public = self._inputs.get("endpointPublicAccess")

        def allowed(known: list[Any]) -> Any:
            if not known[1]:
                raise ComponentError("publicAccessCidrs can only be set when endpointPublicAccess is true")
            return known[0]

        return pulumi.Output.all(self._inputs["publicAccessCidrs"], True if public is None else public).apply(allowed)

    def _control_plane(self, service_role: ServiceRole | None, auto: AutoMode) -> eks.Cluster:
        inputs = self._inputs
        group = self._security_group
        self_managed = inputs.get("bootstrapSelfManagedAddons")
        vpc_config: Any = {
            "security_group_ids": None if group is None else [_group_id(group)],
            "subnet_ids": self._subnet_ids,
            "endpoint_private_access": inputs.get("endpointPrivateAccess"),
            "endpoint_public_access": inputs.get("endpointPublicAccess"),
            "public_access_cidrs": self._public_cidrs(),
        }
        return eks.Cluster(
            f"{self._prefix}-eksCluster",
            name=inputs.get("name"),
            role_arn=service_role.direct.arn if service_role else role_arn(inputs["serviceRole"]),
            compute_config=auto.compute,
            storage_config=auto.storage,
            kubernetes_network_config=auto.network,
            bootstrap_self_managed_addons=(False if auto.enabled else True if self_managed is None else self_managed),
            vpc_config=vpc_config,
            version=inputs.get("version"),
            enabled_cluster_log_types=inputs.get("enabledClusterLogTypes"),
            tags=merged({"Name": f"{self._prefix}-eksCluster"}, inputs.get("clusterTags"), inputs.get("tags")),
            encryption_config=self._encryption(),
            access_config=(
                {"authentication_mode": self._mode, "bootstrap_cluster_creator_admin_permissions": True}
                if self._mode
                else None
            ),
            upgrade_policy=inputs.get("upgradePolicy"),
            deletion_protection=inputs.get("deletionProtection"),
            opts=pulumi.ResourceOptions(
                parent=self,
                ignore_changes=[
                    "accessConfig.bootstrapClusterCreatorAdminPermissions",
                    "bootstrapSelfManagedAddons",
                ],
                depends_on=[role.resolved for role in (service_role, auto.node_role) if role],
            ),
        )

    def _kube_proxy(self) -> None:
        options = section(self._inputs, "kubeProxyAddonOptions")
        enabled = options.get("enabled")
        if auto_mode_enabled(self._inputs) if enabled is None else not enabled:
            return
        self._cluster_addon("kube-proxy", options)

    def _coredns(self) -> None:
        """CoreDNS needs nodes: without the default node group it is only added where the program asks for it."""
        options = section(self._inputs, "corednsAddonOptions")
        asked = options.get("enabled") is True or truthy(options.get("configurationValues"))
        if asked or (auto_mode_enabled(self._inputs) and options.get("enabled") is not False):
            self._cluster_addon("coredns", options)

    def _cluster_addon(self, addon: str, options: Inputs) -> None:
        eks.Addon(
            f"{self._prefix}-{addon}",
            cluster_name=self._cluster.name,
            addon_name=addon,
            preserve=True,
            tags=self._inputs.get("tags"),
            resolve_conflicts_on_create=given(options, "resolveConflictsOnCreate", "OVERWRITE"),
            resolve_conflicts_on_update=given(options, "resolveConflictsOnUpdate", "OVERWRITE"),
            addon_version=addons.addon_version(
                addon, options.get("version"), self._cluster.version, pulumi.InvokeOutputOptions(parent=self)
            ),
            configuration_values=sorted_json(given(options, "configurationValues")),
            opts=self._child,
        )

    def _kubernetes_provider(self) -> kubernetes.Provider:
        with_profile = kubeconfig(self._cluster, self._credentials, with_profile=True)
        return kubernetes.Provider(
            f"{self._prefix}-eks-k8s",
            kubeconfig=with_profile.apply(lambda known: json.dumps(known, separators=(",", ":"))),
            enable_config_map_mutable=self._inputs.get("enableConfigMapMutable"),
            opts=self._child,
        )

    def _instance_roles(self) -> tuple[pulumi.Output[list[Any]], Any, iam.InstanceProfile | None]:
        """Roles of the nodes, the default one among them, and the instance profile made for that one."""
        inputs = self._inputs
        if truthy(inputs.get("instanceRoles")):
            return pulumi.Output.from_input(inputs["instanceRoles"]), None, None
        if truthy(inputs.get("instanceRole")):
            role = pulumi.Output.from_input(inputs["instanceRole"])
            return role.apply(lambda known: [known]), role, None
        create = inputs.get("createInstanceRole")
        if not (create or (create is None and not inputs.get("skipDefaultNodeGroup"))):
            return pulumi.Output.from_input([]), None, None
        role = ServiceRole(
            f"{self._prefix}-instanceRole",
            service="ec2.amazonaws.com",
            partition=self._partition,
            policies=_WORKER_POLICIES,
            tags=inputs.get("tags"),
            opts=self._child,
        ).resolved
        profile = iam.InstanceProfile(
            f"{self._prefix}-instanceProfile", role=role.apply(lambda known: known.id), opts=self._child
        )
        return role.apply(lambda known: [known]), role, profile

    def _config_map(self, instance_roles: pulumi.Output[list[Any]]) -> kubernetes.core.v1.ConfigMap:
        return kubernetes.core.v1.ConfigMap(
            f"{self._prefix}-nodeAccess",
            api_version="v1",
            immutable=False,
            metadata={
                "name": "aws-auth",
                "namespace": "kube-system",
                "annotations": {"pulumi.com/patchForce": "true"},
            },
            data=access.aws_auth(instance_roles, self._inputs),
            opts=pulumi.ResourceOptions(parent=self, provider=self._kubernetes),
        )

    def _access_entries(self, node_role: Any) -> tuple[list[eks.AccessEntry], list[Inputs]]:
        if not access.uses_entries(self._mode):
            return [], []
        entries = section(self._inputs, "accessEntries")
        if node_role is not None:
            arn = role_arn(node_role)
            entries = {"defaultNodeGroupInstanceRole": {"principalArn": arn, "type": "EC2_LINUX"}, **entries}
        opts = pulumi.ResourceOptions(parent=self, depends_on=[self._cluster])
        return access.access_entries(self._prefix, self._cluster.name, entries, opts), list(entries.values())

    def _vpc_cni(self, ready: list[pulumi.Resource]) -> addons.VpcCniAddon | None:
        default = self._inputs.get("useDefaultVpcCni")
        if auto_mode_enabled(self._inputs) if default is None else default:
            return None
        options: Inputs = {
            **section(self._inputs, "vpcCniOptions"),
            "clusterName": self._cluster.name,
            "clusterVersion": self._cluster.version,
            "tags": self._inputs.get("tags"),
        }
        return addons.VpcCniAddon(
            f"{self._prefix}-vpc-cni",
            options,
            pulumi.ResourceOptions(parent=self, depends_on=ready, providers={"kubernetes": self._kubernetes}),
        )

    def _oidc_provider(self) -> iam.OpenIdConnectProvider:
        return iam.OpenIdConnectProvider(
            f"{self._prefix}-oidcProvider",
            client_id_lists=["sts.amazonaws.com"],
            url=self._cluster.identities.apply(_issuer),
            thumbprint_lists=[_OIDC_THUMBPRINT],
            opts=self._child,
        )

    def _node_group_security(self) -> tuple[ec2.SecurityGroup | None, ec2.SecurityGroupRule | None]:
        if self._skips_security_groups():
            return None, None
        return node_security_group(
            self._prefix,
            vpc_id=self._inputs["vpcId"],
            cluster_security_group_id=_group_id(self._security_group),
            cluster=self._cluster,
            tags=merged(self._inputs.get("nodeSecurityGroupTags"), self._inputs.get("tags")),
            opts=self._child,
        )

    def _node_group_options(self, profile: Any, group: Any, rule: Any) -> Inputs:
        chosen = section(self._inputs, "nodeGroupOptions") or {
            option: self._inputs.get(argument) for argument, option in _NODE_ARGUMENTS.items()
        }
        made = {"instanceProfile": profile, "nodeSecurityGroup": group, "clusterIngressRule": rule}
        return {key: value for key, value in {**chosen, **made}.items() if value is not None}


def _group_id(group: Any) -> pulumi.Output[str]:
    return pulumi.Output.from_input(group).apply(lambda known: known.id)


def _issuer(identities: Any) -> str:
    return identities[0].oidcs[0].issuer if identities and identities[0].oidcs else ""
