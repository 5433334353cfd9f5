"""The VPC: addresses, subnets, and the ways in and out."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import pulumi
from pulumi_aws import cloudwatch, ec2, iam

from components.aws.policy import ANYONE, Account, Statement, render, service_trust


@dataclass(frozen=True, kw_only=True)
class ZonePlan:
    """Address ranges of one availability zone.

    Attributes:
        zone: Name of the zone.
        public: Load balancers and NAT gateways; a 64th of the VPC.
        private: Nodes and pods; a quarter of the VPC.
        isolated: Databases, without a way to the internet; a 256th of the VPC.
    """

    zone: str
    public: str
    private: str
    isolated: str


# EKS takes two zones for the control plane, and no other ones later (EKS user guide, "VPC and subnet requirements").
CONTROL_PLANE_ZONES: Final = 2


def plan(cidr: str, zones: Sequence[str]) -> list[ZonePlan]:
    """Divide a VPC: one quarter for each of up to three zones' private subnets, the last for everything else.

    The division does not depend on the number of zones, so that a third zone can be added without renumbering.
    """
    *private, rest = ipaddress.IPv4Network(cidr).subnets(prefixlen_diff=2)
    for_public, for_isolated = rest.subnets(prefixlen_diff=1)
    public, isolated = for_public.subnets(prefixlen_diff=3), for_isolated.subnets(prefixlen_diff=5)
    return [
        ZonePlan(zone=zone, public=str(one), private=str(two), isolated=str(three))
        for zone, one, two, three in zip(zones, public, private, isolated, strict=False)
    ]


# Endpoints for callers of our account only. STS is not among them: pods trade their token there before they are anyone.
_ACCOUNT_ONLY = ("ecr.api", "ecr.dkr", "ec2", "kms", "logs", "secretsmanager", "elasticloadbalancing", "autoscaling")


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """What the network needs.

    Attributes:
        account: Where it stands.
        cidr: Addresses of the VPC, /16 to /20; plain, because the subnets are cut from it.
        zones: Two or three availability zones by name.
        nat_gateways: One for all zones, or one in each.
        interface_endpoints: Services to reach without the NAT gateway, such as ``ecr.api``.
        cluster_name: The Kubernetes cluster that will live here; load balancers and autoscalers find subnets by it.
        flow_logs_retention_days: How long flow logs are kept.
        logs_key_arn: Key of the flow logs.
    """

    account: Account
    cidr: str
    zones: Sequence[str]
    nat_gateways: Literal["single", "per-zone"]
    interface_endpoints: Sequence[str]
    cluster_name: str
    flow_logs_retention_days: int
    logs_key_arn: pulumi.Input[str]


class Network(pulumi.ComponentResource):
    """A VPC over two or three zones, each with a public, a private and an isolated subnet."""

    vpc_id: pulumi.Output[str]
    zones: tuple[str, ...]
    plan: tuple[ZonePlan, ...]
    """Address ranges of the subnets, zone by zone; plain."""
    public_subnet_ids: list[pulumi.Output[str]]
    private_subnet_ids: list[pulumi.Output[str]]
    control_plane_subnet_ids: list[pulumi.Output[str]]
    """Private subnets of the first two zones, which stay when a third is added; nodes may be in all."""
    isolated_subnet_ids: list[pulumi.Output[str]]
    endpoint_security_group_id: pulumi.Output[str]
    ready: tuple[pulumi.Resource, ...]
    """What nodes need to reach the world: routes and endpoints; for ``depends_on``."""

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:aws:Network", name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        self.zones = tuple(args.zones)

        vpc = ec2.Vpc(
            f"{name}-vpc",
            cidr_block=args.cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,  # private names of the interface endpoints need it
            tags={"Name": name},
            opts=self._child,
        )
        self.vpc_id = vpc.id
        # The group that AWS makes with every VPC: adopted and emptied, so that nothing works by being forgotten.
        ec2.DefaultSecurityGroup(
            f"{name}-default-group",
            vpc_id=vpc.id,
            ingress=[],
            egress=[],
            tags={"Name": f"{name}-unused"},
            opts=self._child,
        )
        self._log_flows()

        self.plan = zones = tuple(plan(args.cidr, args.zones))
        cluster = {f"kubernetes.io/cluster/{args.cluster_name}": "shared"}
        outside = {**cluster, "kubernetes.io/role/elb": "1"}
        inside = {**cluster, "kubernetes.io/role/internal-elb": "1", "karpenter.sh/discovery": args.cluster_name}
        public = [self._subnet("public", z.zone, z.public, outside) for z in zones]
        private = [self._subnet("private", z.zone, z.private, inside) for z in zones]
        isolated = [self._subnet("isolated", z.zone, z.isolated, {}) for z in zones]
        self.public_subnet_ids = [subnet.id for subnet in public]
        self.private_subnet_ids = [subnet.id for subnet in private]
        self.control_plane_subnet_ids = self.private_subnet_ids[:CONTROL_PLANE_ZONES]
        self.isolated_subnet_ids = [subnet.id for subnet in isolated]

        private_tables, routes = self._route(public, private, isolated)
        self.endpoint_security_group_id, endpoints = self._endpoints(private, private_tables)
        self.ready = (*routes, *endpoints)
        self.register_outputs(
            {
                "vpcId": self.vpc_id,
                "zones": list(self.zones),
                "publicSubnetIds": self.public_subnet_ids,
                "privateSubnetIds": self.private_subnet_ids,
                "isolatedSubnetIds": self.isolated_subnet_ids,
                "endpointSecurityGroupId": self.endpoint_security_group_id,
            }
        )

    def private_subnets_in(self, zones: Sequence[str]) -> list[pulumi.Output[str]]:
        """Private subnets of some zones; of all when ``zones`` is empty."""
        return [
            subnet
            for zone, subnet in zip(self.zones, self.private_subnet_ids, strict=True)
            if not zones or zone in zones
        ]

    def _subnet(self, kind: str, zone: str, cidr: str, tags: Mapping[str, str]) -> ec2.Subnet:
        name = f"{self._name}-{kind}-{zone}"
        return ec2.Subnet(
            name,
            vpc_id=self.vpc_id,
            availability_zone=zone,
            cidr_block=cidr,
            map_public_ip_on_launch=False,
            tags={"Name": name, **tags},
            opts=self._child,
        )

    def _route(
        self, public: Sequence[ec2.Subnet], private: Sequence[ec2.Subnet], isolated: Sequence[ec2.Subnet]
    ) -> tuple[list[ec2.RouteTable], list[pulumi.Resource]]:
        """Public subnets to the internet, private ones through NAT, isolated ones nowhere."""
        gateway = ec2.InternetGateway(
            f"{self._name}-internet", vpc_id=self.vpc_id, tags={"Name": self._name}, opts=self._child
        )
        public_table = self._table("public")
        outward = ec2.Route(
            f"{self._name}-public-out",
            route_table_id=public_table.id,
            destination_cidr_block="0.0.0.0/0",
            gateway_id=gateway.id,
            opts=self._child,
        )
        isolated_table = self._table("isolated")
        for zone, inside, outside in zip(self.zones, isolated, public, strict=True):
            self._associate(f"isolated-{zone}", inside, isolated_table)
            self._associate(f"public-{zone}", outside, public_table)

        count = 1 if self._args.nat_gateways == "single" else len(self.zones)
        gateways = [self._nat(zone, subnet, outward) for zone, subnet in zip(self.zones[:count], public, strict=False)]
        tables: list[ec2.RouteTable] = []
        routes: list[pulumi.Resource] = [outward]
        for index, (zone, subnet) in enumerate(zip(self.zones, private, strict=True)):
            table = self._table(f"private-{zone}")
            tables.append(table)
            association = self._associate(f"private-{zone}", subnet, table)
            route = ec2.Route(
                f"{self._name}-private-{zone}-out",
                route_table_id=table.id,
                destination_cidr_block="0.0.0.0/0",
                nat_gateway_id=gateways[index % count].id,
                opts=self._child,
            )
            routes += [association, route]
        return tables, routes

    def _table(self, kind: str) -> ec2.RouteTable:
        name = f"{self._name}-{kind}"
        return ec2.RouteTable(name, vpc_id=self.vpc_id, tags={"Name": name}, opts=self._child)

    def _associate(self, kind: str, subnet: ec2.Subnet, table: ec2.RouteTable) -> ec2.RouteTableAssociation:
        return ec2.RouteTableAssociation(
            f"{self._name}-{kind}", subnet_id=subnet.id, route_table_id=table.id, opts=self._child
        )

    def _nat(self, zone: str, subnet: ec2.Subnet, outward: ec2.Route) -> ec2.NatGateway:
        name = f"{self._name}-nat-{zone}"
        address = ec2.Eip(name, domain="vpc", tags={"Name": name}, opts=self._child)
        return ec2.NatGateway(
            name,
            subnet_id=subnet.id,
            allocation_id=address.id,
            tags={"Name": name},
            # No value flows: a NAT gateway in a subnet without a way out would come up and not work.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[outward]),
        )

    def _endpoints(
        self, private: Sequence[ec2.Subnet], tables: Sequence[ec2.RouteTable]
    ) -> tuple[pulumi.Output[str], list[pulumi.Resource]]:
        """Ways to AWS services that bypass NAT: cheaper for images and data, and they hold when NAT does not."""
        args = self._args
        group = ec2.SecurityGroup(
            f"{self._name}-endpoints",
            vpc_id=self.vpc_id,
            description="HTTPS from the VPC to AWS services",
            ingress=[
                {
                    "description": "HTTPS",
                    "protocol": "tcp",
                    "from_port": 443,
                    "to_port": 443,
                    "cidr_blocks": [args.cidr],
                }
            ],
            egress=[],
            tags={"Name": f"{self._name}-endpoints"},
            opts=self._child,
        )
        # The S3 endpoint keeps its open policy: image layers, OS packages and public data sets lie in others'
        # buckets, fetched with others' signatures. What our roles may read is said in their own policies.
        s3 = ec2.VpcEndpoint(
            f"{self._name}-s3",
            vpc_id=self.vpc_id,
            service_name=f"com.amazonaws.{args.account.region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id for table in tables],
            tags={"Name": f"{self._name}-s3"},
            opts=self._child,
        )
        interfaces = [
            ec2.VpcEndpoint(
                f"{self._name}-{service.replace('.', '-')}",
                vpc_id=self.vpc_id,
                service_name=f"com.amazonaws.{args.account.region}.{service}",
                vpc_endpoint_type="Interface",
                subnet_ids=[subnet.id for subnet in private],
                security_group_ids=[group.id],
                private_dns_enabled=True,
                policy=render([_only(args.account)]) if service in _ACCOUNT_ONLY else None,
                tags={"Name": f"{self._name}-{service}"},
                opts=self._child,
            )
            for service in args.interface_endpoints
        ]
        return group.id, [s3, *interfaces]

    def _log_flows(self) -> None:
        """Record who talked to whom; without packets' contents."""
        args = self._args
        group = cloudwatch.LogGroup(
            f"{self._name}-flows",
            retention_in_days=args.flow_logs_retention_days,
            kms_key_id=args.logs_key_arn,
            opts=self._child,
        )
        role = iam.Role(
            f"{self._name}-flows",
            description="VPC flow logs to CloudWatch",
            assume_role_policy=service_trust("vpc-flow-logs.amazonaws.com"),
            opts=self._child,
        )
        write = Statement(
            sid="WriteFlows",
            actions=("logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"),
            resources=[pulumi.Output.concat(group.arn, ":*")],  # the streams of this group
        )
        find = Statement(
            sid="FindTheGroup",
            actions=("logs:DescribeLogGroups",),
            # Names only, of any group: it is a question about all of them (VPC user guide, "Flow logs IAM role").
            resources=[f"arn:{args.account.partition}:logs:{args.account.region}:{args.account.id}:log-group:*"],
        )
        permission = iam.RolePolicy(
            f"{self._name}-flows", role=role.name, policy=render([write, find]), opts=self._child
        )
        ec2.FlowLog(
            f"{self._name}-flows",
            vpc_id=self.vpc_id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            max_aggregation_interval=600,  # seconds, the API's default; 60 writes many more records
            tags={"Name": f"{self._name}-flows"},
            # No value flows: a flow log that may not write yet is reported as failed for minutes.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[permission]),
        )


def _only(account: Account) -> Statement:
    """Through this endpoint only identities of the account reach the service."""
    return Statement(
        sid="OwnAccount",
        principal=ANYONE,
        actions=("*",),  # what an identity may do is said by its own policy; this says whose identities
        resources=("*",),
        conditions={"StringEquals": {"aws:PrincipalAccount": account.id}},
    )
