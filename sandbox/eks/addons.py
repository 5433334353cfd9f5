"""Add-ons of EKS: any by name, and the VPC CNI with its many settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pulumi
from pulumi_aws import eks
from pulumi_kubernetes import apps

from sandbox.eks.inputs import ComponentError, Inputs, given, section, sorted_json, truthy
from sandbox.provider import CheckFailure

# Argument, variable of the aws-node container, value where the argument is not given. Later rows win: as in the real
# package, cniCustomNetworkCfg decides over customNetworkConfig.
_NODE_VARIABLES = (
    ("nodePortSupport", "AWS_VPC_CNI_NODE_PORT_SUPPORT", None),
    ("customNetworkConfig", "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", None),
    ("warmIpTarget", "WARM_IP_TARGET", None),
    ("warmPrefixTarget", "WARM_PREFIX_TARGET", None),
    ("enablePrefixDelegation", "ENABLE_PREFIX_DELEGATION", None),
    ("logLevel", "AWS_VPC_K8S_CNI_LOGLEVEL", "DEBUG"),
    ("logFile", "AWS_VPC_K8S_CNI_LOG_FILE", "/host/var/log/aws-routed-eni/ipamd.log"),
    ("vethPrefix", "AWS_VPC_K8S_CNI_VETHPREFIX", "eni"),
    ("eniMtu", "AWS_VPC_ENI_MTU", "9001"),
    ("eniConfigLabelDef", "ENI_CONFIG_LABEL_DEF", None),
    ("pluginLogLevel", "AWS_VPC_K8S_PLUGIN_LOG_LEVEL", "DEBUG"),
    ("pluginLogFile", "AWS_VPC_K8S_PLUGIN_LOG_FILE", "/var/log/aws-routed-eni/plugin.log"),
    ("enablePodEni", "ENABLE_POD_ENI", "false"),
    ("cniConfigureRpfilter", "AWS_VPC_K8S_CNI_CONFIGURE_RPFILTER", None),
    ("cniCustomNetworkCfg", "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "false"),
)


def addon_version(
    name: str, pinned: Any, kubernetes_version: Any, opts: pulumi.InvokeOutputOptions
) -> pulumi.Input[str]:
    """Return the pinned version of an add-on, else the newest that EKS has for the Kubernetes version."""
    if truthy(pinned):
        return pinned
    newest = eks.get_addon_version_output(
        addon_name=name, kubernetes_version=kubernetes_version, most_recent=True, opts=opts
    )
    return newest.version


class Addon(pulumi.ComponentResource):
    """``eks:index:Addon``: one managed add-on; it lies below its cluster."""

    addon: pulumi.Output[eks.Addon]

    def __init__(self, name: str, inputs: Inputs, opts: pulumi.ResourceOptions) -> None:
        cluster = inputs["cluster"]
        if isinstance(cluster, pulumi.Output):
            raise ComponentError(f'Addon "{name}": cluster must be the eks.Cluster itself, not an Output of it')
        below = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=cluster))
        super().__init__("eks:index:Addon", name, None, below)
        addon = eks.Addon(
            name,
            addon_name=inputs["addonName"],
            addon_version=inputs.get("addonVersion"),
            cluster_name=cluster.core.cluster.name,
            configuration_values=sorted_json(inputs.get("configurationValues")),
            preserve=inputs.get("preserve"),
            resolve_conflicts_on_create=inputs.get("resolveConflictsOnCreate"),
            resolve_conflicts_on_update=inputs.get("resolveConflictsOnUpdate"),
            service_account_role_arn=inputs.get("serviceAccountRoleArn"),
            tags=inputs.get("tags"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.addon = pulumi.Output.from_input(addon)
        self.register_outputs({})  # the real one registers none

    def state(self) -> Inputs:
        """Outputs as the program sees them."""
        return {"addon": self.addon}


class VpcCniAddon(pulumi.ComponentResource):
    """``eks:index:VpcCniAddon``: the VPC CNI add-on with its environment."""

    addon: pulumi.Output[eks.Addon]

    def __init__(self, name: str, inputs: Inputs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("eks:index:VpcCniAddon", name, None, opts)
        addon = eks.Addon(
            name,
            cluster_name=inputs["clusterName"],
            addon_name="vpc-cni",
            addon_version=addon_version(
                "vpc-cni",
                inputs.get("addonVersion"),
                inputs.get("clusterVersion"),
                pulumi.InvokeOutputOptions(parent=self),
            ),
            resolve_conflicts_on_create=given(inputs, "resolveConflictsOnCreate", "OVERWRITE"),
            resolve_conflicts_on_update=given(inputs, "resolveConflictsOnUpdate", "OVERWRITE"),
            preserve=True,
            configuration_values=sorted_json(_cni_values(inputs)),
            service_account_role_arn=inputs.get("serviceAccountRoleArn"),
            tags=inputs.get("tags"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.addon = pulumi.Output.from_input(addon)
        if truthy(inputs.get("securityContextPrivileged")):
            self._make_privileged(name, inputs["securityContextPrivileged"], addon)
        self.register_outputs({"addon": self.addon})

    def _make_privileged(self, name: str, privileged: Any, addon: eks.Addon) -> None:
        apps.v1.DaemonSetPatch(
            name,
            metadata={
                "name": "aws-node",
                "namespace": "kube-system",
                "annotations": {"pulumi.com/patchForce": "true"},
            },
            spec={
                "template": {
                    "spec": {"containers": [{"name": "aws-node", "security_context": {"privileged": privileged}}]}
                }
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[addon], retain_on_delete=True),
        )

    def state(self) -> Inputs:
        """Outputs as the program sees them."""
        return {"addon": self.addon}


def cni_failures(inputs: Mapping[str, Any], path: str = "") -> Iterator[CheckFailure]:
    """Refuse settings of the VPC CNI that exclude each other."""
    if truthy(inputs.get("externalSnat")) and truthy(inputs.get("cniExternalSnat")):
        yield CheckFailure(f"{path}externalSnat", "set only one of externalSnat and cniExternalSnat")


def version_failures(inputs: Mapping[str, Any]) -> Iterator[CheckFailure]:
    """Refuse a VPC CNI whose version cannot be told."""
    if not truthy(inputs.get("addonVersion")) and not truthy(inputs.get("clusterVersion")):
        yield CheckFailure("addonVersion", "set addonVersion, or clusterVersion to get the newest version for it")


def _cni_values(inputs: Inputs) -> pulumi.Output[Inputs]:
    variables: Inputs = {}
    for argument, variable, default in _NODE_VARIABLES:
        if truthy(inputs.get(argument)):
            variables[variable] = pulumi.Output.from_input(inputs[argument]).apply(_text)
        elif default is not None:
            variables[variable] = default
    snat = given(inputs, "externalSnat", given(inputs, "cniExternalSnat", False))
    variables["AWS_VPC_K8S_CNI_EXTERNALSNAT"] = pulumi.Output.from_input(snat).apply(_text)
    warm = inputs.get("warmEniTarget")
    variables["WARM_ENI_TARGET"] = pulumi.Output.from_input(1 if warm is None else warm).apply(_text)
    demux = pulumi.Output.from_input(given(inputs, "disableTcpEarlyDemux", False)).apply(_text)
    return pulumi.Output.all(
        values=given(inputs, "configurationValues", {}),
        network_policy=inputs.get("enableNetworkPolicy"),
        env=variables,
        init_env={"DISABLE_TCP_EARLY_DEMUX": demux},
    ).apply(lambda known: _merge_cni_values(**known))


def _merge_cni_values(values: Inputs, network_policy: bool | None, env: Inputs, init_env: Inputs) -> Inputs:
    """What the program writes in ``configurationValues`` wins over what its other arguments make of them."""
    defaults = {} if network_policy is None else {"enableNetworkPolicy": _text(network_policy)}
    init = section(values, "init")
    return {
        **defaults,
        **values,
        "env": {**env, **section(values, "env")},
        "init": {**init, "env": {**init_env, **section(init, "env")}},
    }


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
