"""Security groups of the stores: a port that only named groups reach."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
from pulumi_aws import ec2, vpc


def store_security_group(
    name: str,
    *,
    description: str,
    vpc_id: pulumi.Input[str],
    port: int,
    clients: Mapping[str, pulumi.Input[str]],
    opts: pulumi.ResourceOptions,
) -> ec2.SecurityGroup:
    """A group that admits ``clients`` (security groups by a short name) on TCP ``port``, and opens nothing itself.

    EC2 takes few signs in ``description``: no apostrophe, only ASCII (CreateSecurityGroup, API reference).
    """
    group = ec2.SecurityGroup(name, description=description, vpc_id=vpc_id, opts=opts)
    for client, client_group in clients.items():
        vpc.SecurityGroupIngressRule(
            f"{name}-{client}",
            description=f"{client} to port {port}",
            security_group_id=group.id,
            referenced_security_group_id=client_group,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            opts=opts,
        )
    return group
