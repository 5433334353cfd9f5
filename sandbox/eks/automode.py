"""EKS Auto Mode: what it adds to a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from sandbox.eks.inputs import Inputs, section, truthy
from sandbox.eks.roles import ServiceRole


def auto_mode_enabled(inputs: Mapping[str, Any]) -> bool:
    """Whether the program turns Auto Mode on."""
    return bool(section(inputs, "autoMode").get("enabled"))


@dataclass(frozen=True, kw_only=True)
class AutoMode:
    """Parts of the cluster that Auto Mode decides.

    Attributes:
        enabled: Auto Mode is on.
        compute: Node pools and the nodes' role.
        storage: Block storage.
        network: Service network; also without Auto Mode, where the program sets one.
        node_role: Role of the nodes, where one is made.
    """

    enabled: bool
    compute: Any
    storage: Any
    network: Any
    node_role: ServiceRole | None

    @staticmethod
    def cluster_policies(inputs: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the policies that the cluster's role needs besides its usual one."""
        if not auto_mode_enabled(inputs):
            return ()
        return tuple(f"AmazonEKS{part}Policy" for part in ("Compute", "BlockStorage", "LoadBalancing", "Networking"))

    @property
    def node_role_name(self) -> pulumi.Input[str]:
        """Name of the nodes' role; empty without one."""
        return self.node_role.direct.name if self.node_role else ""


def auto_mode(name: str, inputs: Inputs, partition: pulumi.Output[str], opts: pulumi.ResourceOptions) -> AutoMode:
    """Declare the nodes' role where Auto Mode needs one, and return what the cluster must be told."""
    enabled = auto_mode_enabled(inputs)
    options = section(inputs, "autoMode")
    ranges = inputs.get("kubernetesServiceIpAddressRange")
    family = inputs.get("ipFamily")
    network = (
        pulumi.Output.all(ranges, family).apply(lambda known: _network(known[0], known[1] or "ipv4", balancing=enabled))
        if enabled or truthy(ranges) or truthy(family)
        else None
    )
    if not enabled:
        return AutoMode(enabled=False, compute=None, storage=None, network=network, node_role=None)
    role = None
    if options.get("createNodeRole") is not False:
        role = ServiceRole(
            f"{name}-nodeRole",
            service="ec2.amazonaws.com",
            partition=partition,
            policies=("AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly"),
            tags=inputs.get("tags"),
            opts=opts,
        )
    compute = pulumi.Output.all(wanted=options.get("computeConfig"), role=role.direct.arn if role else None).apply(
        _compute
    )
    # EKS takes the three settings together: all known, or all unknown.
    together = pulumi.Output.all(compute=compute, storage={"blockStorage": {"enabled": True}}, network=network)
    return AutoMode(
        enabled=True,
        compute=together.apply(lambda known: known["compute"]),
        storage=together.apply(lambda known: known["storage"]),
        network=together.apply(lambda known: known["network"]),
        node_role=role,
    )


def _compute(known: Inputs) -> Inputs:
    pools = ["general-purpose", "system"]
    return {"enabled": True, "nodeRoleArn": known["role"], "nodePools": pools, **section(known, "wanted")}


def _network(service_range: str | None, family: str, *, balancing: bool) -> Inputs:
    network: Inputs = {"ipFamily": family}
    if family == "ipv4" and service_range is not None:
        network["serviceIpv4Cidr"] = service_range
    if balancing:
        network["elasticLoadBalancing"] = {"enabled": True}
    return network
