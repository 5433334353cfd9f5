"""Ways in: what can be reached from outside, and from where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pulumi_policy import Severity
from pydantic import Field

from policies.registry import Context, Finding, PolicyConfig, Rule, fsbp
from policies.security.buckets import BUCKET, PARTS, Buckets
from policies.security.data import CLUSTER, DATABASE, TEMPLATE
from policies.view import Resource, at, is_true

VPC: Final = "aws:ec2/vpc:Vpc"
SUBNET: Final = "aws:ec2/subnet:Subnet"
GROUP: Final = "aws:ec2/securityGroup:SecurityGroup"
INGRESS: Final = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
RULE: Final = "aws:ec2/securityGroupRule:SecurityGroupRule"
DEFAULT_GROUP: Final = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
FLOW_LOG: Final = "aws:ec2/flowLog:FlowLog"
INSTANCE: Final = "aws:ec2/instance:Instance"

_ANYWHERE: Final = ("0.0.0.0/0", "::/0")
_SWITCHES: Final = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")


def _buckets_private(resources: Sequence[Resource], _context: Context) -> Iterator[Finding]:
    buckets = Buckets(resources)
    for bucket in buckets.all:
        if str(bucket.get("acl") or "").startswith("public"):
            yield Finding("acl must not be public", bucket)
        block = buckets.part(bucket, "access")
        if block is None:
            yield Finding("a BucketPublicAccessBlock must shut the bucket off", bucket)
        elif off := [name for name in _SWITCHES if not is_true(block.get(name))]:
            yield Finding(f"{', '.join(off)} of its BucketPublicAccessBlock must be true", bucket)


def _database_private(resource: Resource, _context: Context) -> Iterator[str]:
    if resource.get("publiclyAccessible") not in (False, None):
        yield "publiclyAccessible must be false"


def _api_endpoint(resource: Resource, context: Context) -> Iterator[str]:
    declared = context.settings.cluster.public_access_cidrs
    public = resource.get("vpcConfig", "endpointPublicAccess")
    cidrs = resource.items("vpcConfig", "publicAccessCidrs")
    if not is_true(resource.get("vpcConfig", "endpointPrivateAccess")):
        yield "endpointPrivateAccess must be true: nodes would reach the API server over the internet"
    if public is False:
        return
    if not declared:
        yield "endpointPublicAccess must be false: cluster.publicAccessCidrs names no network"
    elif wrong := [str(cidr) for cidr in cidrs if cidr not in declared] or ([] if cidrs else ["anywhere"]):
        yield f"the API server is open to {', '.join(wrong)}, cluster.publicAccessCidrs has {', '.join(declared)}"


def _metadata(resource: Resource, _context: Context) -> Iterator[str]:
    if resource.get("metadataOptions", "httpTokens") != "required":
        yield "metadataOptions.httpTokens must be required (IMDSv2)"
    hops = resource.get("metadataOptions", "httpPutResponseHopLimit")
    if hops != 1:
        yield "metadataOptions.httpPutResponseHopLimit must be 1, or pods reach the credentials of the node"


def _nodes_private(resource: Resource, _context: Context) -> Iterator[str]:
    if resource.type == SUBNET:
        if resource.get("mapPublicIpOnLaunch") not in (False, None):
            yield "mapPublicIpOnLaunch must be false: what needs a public address asks for one"
        return
    interfaces: list[Any] = [*resource.items("networkInterfaces"), resource.properties]
    if any(is_true(at(one, "associatePublicIpAddress")) for one in interfaces):
        yield "associatePublicIpAddress must be false: nodes stand in private subnets"


class OpenConfig(PolicyConfig):
    """What may be open to everybody.

    Attributes:
        ports: TCP ports.
    """

    ports: tuple[int, ...] = Field(default=())


def _closed(resource: Resource, context: Context) -> Iterator[str]:
    if resource.type == GROUP:
        rules: list[Any] = [
            (one, at(one, "cidrBlocks"), at(one, "ipv6CidrBlocks")) for one in resource.items("ingress")
        ]
    elif resource.type == INGRESS:
        rules = [(resource.properties, [resource.get("cidrIpv4")], [resource.get("cidrIpv6")])]
    else:
        inward = resource.get("type") == "ingress"
        rules = (
            [(resource.properties, resource.items("cidrBlocks"), resource.items("ipv6CidrBlocks"))] if inward else []
        )
    for rule, ipv4, ipv6 in rules:
        open_to = [cidr for cidr in (*(ipv4 or ()), *(ipv6 or ())) if cidr in _ANYWHERE]
        first, last = at(rule, "fromPort"), at(rule, "toPort")
        allowed = first == last and first in context.config.ports
        if open_to and not allowed:
            yield f"ports {first}-{last} are open to {', '.join(open_to)}; allowed to everybody: {_listed(context)}"


def _listed(context: Context) -> str:
    return ", ".join(map(str, context.config.ports)) or "none"


def _vpcs(resources: Sequence[Resource], _context: Context) -> Iterator[Finding]:
    for vpc in (resource for resource in resources if resource.type == VPC):
        mine = [resource for resource in resources if vpc.urn in resource.sources.get("vpcId", ())]
        groups = [resource for resource in mine if resource.type == DEFAULT_GROUP]
        if not groups or any(one.items("ingress") or one.items("egress") for one in groups):
            yield Finding("its default security group must be managed and have no rules", vpc)
        logs = [resource for resource in mine if resource.type == FLOW_LOG]
        if not any(one.get("trafficType") in ("ALL", "REJECT") for one in logs):
            yield Finding("a flow log must record at least what was rejected", vpc)


RULES: Final = (
    Rule(
        name="buckets-private", group="security", severity=Severity.CRITICAL, types=(BUCKET, *PARTS.values()),
        stack=_buckets_private, control=fsbp("S3.8"),
        description="No bucket can be made public.",
    ),
    Rule(
        name="database-private", group="security", severity=Severity.CRITICAL, types=(DATABASE,),
        resource=_database_private, control=fsbp("RDS.2"),
        description="Databases have no public address.",
    ),
    Rule(
        name="api-endpoint", group="security", severity=Severity.HIGH, types=(CLUSTER,), resource=_api_endpoint,
        control=fsbp("EKS.1"),
        description="The API server is reachable from the networks that cluster.publicAccessCidrs names, and no other.",
    ),
    Rule(
        name="imdsv2", group="security", severity=Severity.HIGH, types=(TEMPLATE, INSTANCE), resource=_metadata,
        control=fsbp("EC2.170"),
        description="Nodes serve metadata by IMDSv2 only, and not to pods.",
    ),
    Rule(
        name="nodes-private", group="security", severity=Severity.HIGH, types=(SUBNET, TEMPLATE, INSTANCE),
        resource=_nodes_private, control=fsbp("EC2.15"),
        description="Nodes have no public address, and no subnet gives them one.",
    ),
    Rule(
        name="security-groups-closed", group="security", severity=Severity.HIGH, types=(GROUP, INGRESS, RULE),
        resource=_closed, config=OpenConfig, control=fsbp("EC2.18"),
        description="No security group is open to everybody.",
    ),
    Rule(
        name="vpc-guarded", group="security", severity=Severity.MEDIUM, types=("aws:ec2/",), stack=_vpcs,
        control=fsbp("EC2.6"),
        description="Every VPC records its flows, and its default security group is empty.",
    ),
)  # fmt: skip
