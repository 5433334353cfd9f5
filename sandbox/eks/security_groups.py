"""Security groups of the control plane and of self-managed nodes."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi_aws import ec2, eks

from sandbox.eks.inputs import Inputs, given, merged


def cluster_security_group(name: str, inputs: Inputs, opts: pulumi.ResourceOptions) -> ec2.SecurityGroup:
    """Declare the group of the control plane's network interfaces, open to the internet outwards."""
    group = ec2.SecurityGroup(
        f"{name}-eksClusterSecurityGroup",
        vpc_id=inputs["vpcId"],
        revoke_rules_on_delete=True,
        tags=merged(
            {"Name": f"{name}-eksClusterSecurityGroup"}, inputs.get("clusterSecurityGroupTags"), inputs.get("tags")
        ),
        opts=opts,
    )
    ec2.SecurityGroupRule(
        f"{name}-eksClusterInternetEgressRule",
        description="Allow internet access.",
        type="egress",
        from_port=0,
        to_port=0,
        protocol="-1",
        cidr_blocks=["0.0.0.0/0"],
        security_group_id=group.id,
        opts=opts,
    )
    return group


def node_security_group(
    name: str,
    *,
    vpc_id: Any,
    cluster_security_group_id: Any,
    cluster: pulumi.Input[eks.Cluster],
    tags: Any,
    opts: pulumi.ResourceOptions,
) -> tuple[ec2.SecurityGroup, ec2.SecurityGroupRule]:
    """Declare the group of self-managed nodes and its rules; the rule returned lets nodes reach the API server."""
    cluster_name = pulumi.Output.from_input(cluster).apply(lambda known: known.name)
    own_tags = cluster_name.apply(
        lambda known: {"Name": f"{name}-nodeSecurityGroup", f"kubernetes.io/cluster/{known}": "owned"}
    )
    group = ec2.SecurityGroup(
        f"{name}-nodeSecurityGroup",
        vpc_id=vpc_id,
        revoke_rules_on_delete=True,
        tags=merged(own_tags, tags),
        opts=opts,
    )
    ec2.SecurityGroupRule(
        f"{name}-eksNodeIngressRule",
        description="Allow nodes to communicate with each other",
        type="ingress",
        from_port=0,
        to_port=0,
        protocol="-1",
        security_group_id=group.id,
        self=True,
        opts=opts,
    )
    ec2.SecurityGroupRule(
        f"{name}-eksNodeClusterIngressRule",
        description="Allow worker Kubelets and pods to receive communication from the cluster control plane",
        type="ingress",
        from_port=1025,
        to_port=65535,
        protocol="tcp",
        security_group_id=group.id,
        source_security_group_id=cluster_security_group_id,
        opts=opts,
    )
    ec2.SecurityGroupRule(
        f"{name}-eksExtApiServerClusterIngressRule",
        description=(
            "Allow pods running extension API servers on port 443 to receive communication from cluster control plane"
        ),
        type="ingress",
        from_port=443,
        to_port=443,
        protocol="tcp",
        security_group_id=group.id,
        source_security_group_id=cluster_security_group_id,
        opts=opts,
    )
    ec2.SecurityGroupRule(
        f"{name}-eksNodeInternetEgressRule",
        description="Allow internet access.",
        type="egress",
        from_port=0,
        to_port=0,
        protocol="-1",
        cidr_blocks=["0.0.0.0/0"],
        security_group_id=group.id,
        opts=opts,
    )
    rule = ec2.SecurityGroupRule(
        f"{name}-eksClusterIngressRule",
        description="Allow pods to communicate with the cluster API Server",
        type="ingress",
        from_port=443,
        to_port=443,
        protocol="tcp",
        security_group_id=cluster_security_group_id,
        source_security_group_id=group.id,
        opts=opts,
    )
    return group, rule


class NodeGroupSecurityGroup(pulumi.ComponentResource):
    """``eks:index:NodeGroupSecurityGroup``: the nodes' group by itself."""

    def __init__(self, name: str, inputs: Inputs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("eks:index:NodeGroupSecurityGroup", name, None, opts)
        control_plane = pulumi.Output.from_input(inputs["clusterSecurityGroup"])
        self._group, self._rule = node_security_group(
            name,
            vpc_id=inputs["vpcId"],
            cluster_security_group_id=control_plane.apply(lambda group: group.id),
            cluster=inputs["eksCluster"],
            tags=given(inputs, "tags"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})  # the real one registers none

    def state(self) -> Inputs:
        """Outputs as the program sees them."""
        return {"securityGroup": self._group, "securityGroupRule": self._rule}
