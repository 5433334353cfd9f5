"""The network, everything about it that can be decided without a cloud."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import replace
from itertools import combinations

import pulumi
import pytest

from components.aws.network import Network, NetworkArgs, plan
from components.aws.policy import Account
from components.settings.network import ALL_ENDPOINTS

pytestmark = pytest.mark.unit

ZONES = ["us-east-1a", "us-east-1b", "us-east-1c"]
ARGS = NetworkArgs(
    account=Account(id="123456789012", partition="aws", region="us-east-1"),
    cidr="10.0.0.0/16",
    zones=ZONES,
    nat_gateways="per-zone",
    interface_endpoints=ALL_ENDPOINTS,
    cluster_name="llmops-test",
    flow_logs_retention_days=30,
    logs_key_arn="arn:aws:kms:us-east-1:123456789012:key/logs",
)


@pytest.mark.parametrize("prefix", range(16, 21))
@pytest.mark.parametrize("count", [2, 3])
def test_subnets_lie_in_the_vpc_and_do_not_overlap(prefix: int, count: int):
    vpc = ipaddress.IPv4Network(f"10.0.0.0/{prefix}")
    zones = plan(str(vpc), ZONES[:count])
    subnets = [ipaddress.IPv4Network(cidr) for z in zones for cidr in (z.public, z.private, z.isolated)]
    assert len(subnets) == 3 * count
    assert all(subnet.subnet_of(vpc) for subnet in subnets)
    assert not any(one.overlaps(other) for one, other in combinations(subnets, 2))
    assert all(subnet.prefixlen <= 28 for subnet in subnets), "a subnet of AWS is a /28 at least"


def test_pods_get_a_quarter_of_the_vpc_in_each_zone():
    assert [z.private for z in plan("10.0.0.0/16", ZONES)] == ["10.0.0.0/18", "10.0.64.0/18", "10.0.128.0/18"]


def test_a_third_zone_renumbers_nothing():
    assert plan("10.0.0.0/16", ZONES)[:2] == plan("10.0.0.0/16", ZONES[:2])


def test_a_third_zone_changes_nothing_for_the_control_plane(recorded):
    """EKS keeps the zones that a cluster was created with; another one fails the update."""
    three = recorded.run(lambda: Network("three", ARGS))
    two = recorded.run(lambda: Network("two", replace(ARGS, zones=ZONES[:2])))

    assert len(two.control_plane_subnet_ids) == len(three.control_plane_subnet_ids) == 2
    assert two.control_plane_subnet_ids == two.private_subnet_ids
    assert three.control_plane_subnet_ids == three.private_subnet_ids[:2]


def test_each_zone_has_a_nat_gateway_of_its_own_when_asked(recorded):
    recorded.run(lambda: Network("network", ARGS))

    assert len(recorded.of("aws:ec2/natGateway:NatGateway")) == 3
    routes = recorded.of("aws:ec2/route:Route")
    for zone in ZONES:
        assert routes[f"network-private-{zone}-out"].inputs["natGatewayId"] == f"network-nat-{zone}-id"


def test_one_nat_gateway_serves_all_zones_when_asked(recorded):
    recorded.run(lambda: Network("network", replace(ARGS, nat_gateways="single")))

    recorded.one("aws:ec2/natGateway:NatGateway", "network-nat-us-east-1a")
    routes = recorded.of("aws:ec2/route:Route")
    for zone in ZONES:
        assert routes[f"network-private-{zone}-out"].inputs["natGatewayId"] == "network-nat-us-east-1a-id"


def test_isolated_subnets_have_no_way_out(recorded):
    recorded.run(lambda: Network("network", ARGS))

    associations = recorded.of("aws:ec2/routeTableAssociation:RouteTableAssociation").values()
    tables = {a.inputs["routeTableId"] for a in associations if "isolated" in a.inputs["subnetId"]}
    assert tables == {"network-isolated-id"}
    routed = {route.inputs["routeTableId"] for route in recorded.of("aws:ec2/route:Route").values()}
    assert "network-isolated-id" not in routed
    s3 = recorded.one("aws:ec2/vpcEndpoint:VpcEndpoint", "network-s3")
    assert "network-isolated-id" not in s3.inputs["routeTableIds"]


def test_the_group_that_comes_with_the_vpc_lets_nothing_in_or_out(recorded):
    recorded.run(lambda: Network("network", ARGS))

    group = recorded.one("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup")
    assert group.inputs["ingress"] == []
    assert group.inputs["egress"] == []


def test_load_balancers_and_autoscalers_find_their_subnets_by_tag(recorded):
    recorded.run(lambda: Network("network", ARGS))

    for name, subnet in recorded.of("aws:ec2/subnet:Subnet").items():
        tags = subnet.inputs["tags"]
        assert ("kubernetes.io/role/elb" in tags) == ("public" in name)
        assert ("kubernetes.io/role/internal-elb" in tags) == ("private" in name)
        assert ("karpenter.sh/discovery" in tags) == ("private" in name)
        assert subnet.inputs["mapPublicIpOnLaunch"] is False


def test_endpoints_serve_the_private_subnets_under_the_services_own_names(recorded):
    recorded.run(lambda: Network("network", ARGS))

    endpoints = recorded.of("aws:ec2/vpcEndpoint:VpcEndpoint")
    assert len(endpoints) == len(ALL_ENDPOINTS) + 1
    secrets = endpoints["network-secretsmanager"].inputs
    assert secrets["serviceName"] == "com.amazonaws.us-east-1.secretsmanager"
    assert secrets["privateDnsEnabled"] is True
    assert secrets["subnetIds"] == [f"network-private-{zone}-id" for zone in ZONES]
    (statement,) = json.loads(secrets["policy"])["Statement"]
    assert statement["Condition"] == {"StringEquals": {"aws:PrincipalAccount": "123456789012"}}


def test_pods_can_trade_their_tokens_through_the_sts_endpoint(recorded):
    """AssumeRoleWithWebIdentity has no principal yet, so a condition on the caller's account would refuse it."""
    recorded.run(lambda: Network("network", ARGS))

    assert "policy" not in recorded.one("aws:ec2/vpcEndpoint:VpcEndpoint", "network-sts").inputs


def test_flow_logs_are_encrypted_kept_for_a_time_and_written_by_a_role_for_nothing_else(recorded):
    recorded.run(lambda: Network("network", ARGS))

    group = recorded.one("aws:cloudwatch/logGroup:LogGroup").inputs
    assert group["retentionInDays"] == 30
    assert group["kmsKeyId"] == ARGS.logs_key_arn
    write, find = json.loads(recorded.one("aws:iam/rolePolicy:RolePolicy").inputs["policy"])["Statement"]
    assert all(resource.endswith("network-flows:*") for resource in write["Resource"])
    assert find["Action"] == ["logs:DescribeLogGroups"], "the service looks for its group before it writes"
    assert recorded.one("aws:ec2/flowLog:FlowLog").inputs["trafficType"] == "ALL"


def test_a_group_may_be_confined_to_some_zones(recorded):
    found: list[str] = []

    def program() -> None:
        one = Network("network", ARGS).private_subnets_in(["us-east-1b"])
        pulumi.Output.all(*one).apply(found.extend)

    recorded.run(program)
    assert found == ["network-private-us-east-1b-id"]
