"""``eks:index:ManagedNodeGroup``: nodes that EKS manages, with a launch template where one is needed."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import pulumi
import pulumi_eks
from pulumi_aws import ec2, eks, ssm

from sandbox.eks.access import uses_entries
from sandbox.eks.images import ami_type_for, image_of, operating_system
from sandbox.eks.inputs import ComponentError, Inputs, given, truthy
from sandbox.eks.roles import role_arn
from sandbox.eks.userdata import Join, user_data
from sandbox.provider import CheckFailure

_USER_DATA = ("bootstrapExtraArgs", "kubeletExtraArgs", "bottlerocketSettings", "nodeadmExtraOptions")
_LAUNCH_TEMPLATE = (*_USER_DATA, "enableIMDSv2", "userData", "amiId", "enableEfaSupport")
_NOT_EMULATED = ("bottlerocketSettings", "enableEfaSupport", "placementGroupAvailabilityZone")


def failures(inputs: Mapping[str, Any]) -> Iterator[CheckFailure]:
    """Refuse what the real package refuses, and what is not emulated here."""
    for name in _NOT_EMULATED:
        if inputs.get(name) is not None:
            yield CheckFailure(name, "not emulated by the sandbox")
    roles = [name for name in ("nodeRole", "nodeRoleArn") if truthy(inputs.get(name))]
    if len(roles) != 1:
        yield CheckFailure("nodeRole", "set one of nodeRole and nodeRoleArn")
    for name in ("gpu", "amiType"):
        if truthy(inputs.get("amiId")) and truthy(inputs.get(name)):
            yield CheckFailure("amiId", f"cannot be combined with {name}")
    chosen = [name for name in _LAUNCH_TEMPLATE if inputs.get(name) is not None]
    if truthy(inputs.get("launchTemplate")) and chosen:
        yield CheckFailure("launchTemplate", f"cannot be combined with {', '.join(chosen)}; put them into the template")
    written = [name for name in _USER_DATA if inputs.get(name) is not None]
    if truthy(inputs.get("userData")) and written:
        yield CheckFailure("userData", f"cannot be combined with {', '.join(written)}; put them into userData")


class ManagedNodeGroup(pulumi.ComponentResource):
    """The component; its node group carries the same name."""

    node_group: pulumi.Output[eks.NodeGroup]

    def __init__(self, name: str, inputs: Inputs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("eks:index:ManagedNodeGroup", name, None, opts)
        self._inputs = inputs
        self._core = pulumi.Output.from_input(inputs["cluster"]).apply(
            lambda known: known.core if isinstance(known, pulumi_eks.Cluster) else known
        )
        self._cluster = self._core.apply(lambda core: _part(core, "cluster"))
        arn = inputs["nodeRoleArn"] if truthy(inputs.get("nodeRoleArn")) else role_arn(inputs["nodeRole"])
        self._require_role_in_cluster(arn)

        own_image = any(inputs.get(name) is not None for name in _USER_DATA) or any(
            truthy(inputs.get(name)) for name in ("userData", "amiId")
        )
        template = None
        if any(inputs.get(argument) is not None for argument in _LAUNCH_TEMPLATE):
            template = self._launch_template(name, own_image=own_image)
        scaling: Any = pulumi.Output.from_input(inputs.get("scalingConfig")).apply(_scaling)
        group = eks.NodeGroup(
            name,
            ami_type=None if own_image else self._ami_type(),
            capacity_type=inputs.get("capacityType"),
            cluster_name=self._cluster_name(),
            disk_size=None if template else inputs.get("diskSize"),
            force_update_version=inputs.get("forceUpdateVersion"),
            instance_types=inputs.get("instanceTypes"),
            labels=inputs.get("labels"),
            launch_template=_reference(template) if template else inputs.get("launchTemplate"),
            node_group_name=inputs.get("nodeGroupName"),
            node_group_name_prefix=inputs.get("nodeGroupNamePrefix"),
            node_role_arn=arn,
            release_version=None if own_image else inputs.get("releaseVersion"),
            remote_access=inputs.get("remoteAccess"),
            scaling_config=scaling,
            subnet_ids=self._subnet_ids(),
            tags=inputs.get("tags"),
            taints=inputs.get("taints"),
            version=None if own_image else self._kubernetes_version(),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=self._core.apply(_nodes_may_join),
                ignore_changes=["scalingConfig.desiredSize"] if inputs.get("ignoreScalingChanges") else None,
            ),
        )
        self.node_group = pulumi.Output.from_input(group)
        self.register_outputs(self.state())

    def state(self) -> Inputs:
        """Outputs as the program sees them."""
        return {"nodeGroup": self.node_group, "placementGroupName": ""}

    def _cluster_name(self) -> Any:
        return given(self._inputs, "clusterName", self._cluster.apply(lambda cluster: cluster.name))

    def _kubernetes_version(self) -> Any:
        """The cluster's, unless a launch template decides by its image."""
        if truthy(self._inputs.get("version")) or truthy(self._inputs.get("launchTemplate")):
            return self._inputs.get("version")
        return self._cluster.apply(lambda cluster: cluster.version)

    def _subnet_ids(self) -> Any:
        if self._inputs.get("subnetIds") is not None:
            return self._inputs["subnetIds"]
        return self._core.apply(
            lambda core: _part(core, "subnetIds") or _part(core, "privateSubnetIds") or _part(core, "publicSubnetIds")
        )

    def _require_role_in_cluster(self, role_arn: Any) -> None:
        """Without access entries, nodes can only join with a role that ``aws-auth`` names."""
        mode = self._cluster.apply(lambda cluster: cluster.access_config).apply(
            lambda config: config.authentication_mode if config else None
        )
        known_arns = self._core.apply(_instance_role_arns)

        def check(known: list[Any]) -> None:
            if not uses_entries(known[0]) and known[2] not in known[1]:
                raise ComponentError("nodeRole: is none of the cluster's instanceRoles, so its nodes could not join")

        pulumi.Output.all(mode, known_arns, role_arn).apply(check)

    def _ami_type(self) -> Any:
        inputs = self._inputs
        if inputs.get("amiType") is not None or inputs.get("operatingSystem") is None:
            return inputs.get("amiType")
        return self._derived_ami_type(inputs["operatingSystem"])

    def _derived_ami_type(self, system: Any) -> pulumi.Output[str]:
        inputs = self._inputs
        return pulumi.Output.all(system, given(inputs, "instanceTypes", []), inputs.get("gpu")).apply(
            lambda known: ami_type_for(known[0], known[1], gpu=bool(known[2]))
        )

    def _launch_template(self, name: str, *, own_image: bool) -> ec2.LaunchTemplate:
        inputs = self._inputs
        system = pulumi.Output.all(inputs.get("amiType"), inputs.get("operatingSystem")).apply(
            lambda known: operating_system(known[0], known[1])
        )
        disks: Any = None
        if truthy(inputs.get("diskSize")):
            # Bottlerocket keeps images and pods on its second disk.
            device = system.apply(lambda known: "/dev/xvdb" if known == "Bottlerocket" else "/dev/xvda")
            disks = [{"device_name": device, "ebs": {"volume_size": inputs["diskSize"]}}]
        metadata: Any = None
        if (required := inputs.get("enableIMDSv2")) is not None:
            metadata = {
                "http_tokens": "required" if required else "optional",
                "http_put_response_hop_limit": 2,
                "http_endpoint": "enabled",
            }
        return ec2.LaunchTemplate(
            f"{name}-launchTemplate",
            block_device_mappings=disks,
            user_data=self._user_data(system) if own_image else None,
            metadata_options=metadata,
            image_id=given(inputs, "amiId", None if not own_image else self._recommended_image(system)),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _user_data(self, system: pulumi.Output[str]) -> pulumi.Output[str]:
        inputs = self._inputs
        cluster = self._cluster
        return pulumi.Output.all(
            system=system,
            own=inputs.get("userData"),
            name=self._cluster_name(),
            endpoint=cluster.apply(lambda known: known.endpoint),
            authority=cluster.apply(lambda known: known.certificate_authority).apply(lambda known: known.data),
            service_cidr=cluster.apply(lambda known: known.kubernetes_network_config).apply(_service_cidr),
            labels=given(inputs, "labels", {}),
            taints=given(inputs, "taints", []),
            kubelet_arguments=given(inputs, "kubeletExtraArgs", ""),
            bootstrap_arguments=given(inputs, "bootstrapExtraArgs", ""),
            sections=given(inputs, "nodeadmExtraOptions", []),
        ).apply(_encoded)

    def _recommended_image(self, system: pulumi.Output[str]) -> pulumi.Output[str]:
        inputs = self._inputs
        ami_type = given(inputs, "amiType", self._derived_ami_type(system))
        version = given(inputs, "version", self._cluster.apply(lambda cluster: cluster.version))
        parameter = pulumi.Output.all(ami_type, version).apply(
            lambda known: image_of(known[0]).parameter.format(known[1])
        )
        return ssm.get_parameter_output(name=parameter, opts=pulumi.InvokeOutputOptions(parent=self)).value


_ATTRIBUTES = {
    "cluster": "cluster",
    "instanceRoles": "instance_roles",
    "subnetIds": "subnet_ids",
    "privateSubnetIds": "private_subnet_ids",
    "publicSubnetIds": "public_subnet_ids",
    "eksNodeAccess": "eks_node_access",
}


def _part(core: Any, name: str) -> Any:
    """A part of a cluster's core, read back from a cluster or handed over by the program as it is."""
    return getattr(core, _ATTRIBUTES[name]) if isinstance(core, pulumi_eks.outputs.CoreData) else core.get(name)


def _instance_role_arns(core: Any) -> pulumi.Output[list[str]]:
    roles: list[Any] = _part(core, "instanceRoles") or []
    return pulumi.Output.all(*(role.arn for role in roles))


def _nodes_may_join(core: Any) -> list[Any]:
    config_map = _part(core, "eksNodeAccess")
    return [] if config_map is None else [config_map]


def _reference(template: ec2.LaunchTemplate) -> Any:
    return {"id": template.id, "version": template.latest_version.apply(str)}


def _scaling(wanted: Inputs | None) -> dict[str, int]:
    sizes = {key: value for key, value in (wanted or {}).items() if value is not None}
    return {"desiredSize": 2, "minSize": 1, "maxSize": 2, **sizes}


def _service_cidr(network: Any) -> str:
    return network.service_ipv6_cidr if network.ip_family == "ipv6" else network.service_ipv4_cidr


def _encoded(known: Inputs) -> str:
    system, own = known.pop("system"), known.pop("own")
    return base64.b64encode((own or user_data(system, Join(**known))).encode()).decode()
