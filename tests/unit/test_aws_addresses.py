"""Addresses around the pods: what network policies call the neighbours, held against the network itself."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from components.aws.addresses import networks
from components.aws.network import plan
from components.contract import AddressRange, Networks

pytestmark = pytest.mark.unit

ZONES = ["us-east-1a", "us-east-1b", "us-east-1c"]
VPC = "10.0.0.0/16"


def of(zones: list[str] = ZONES, *, services: str = "172.20.0.0/16", endpoints: bool = True) -> Networks:
    return networks(plan(VPC, zones), services, interface_endpoints=endpoints)


def reached(address: str, ranges: tuple[AddressRange, ...]) -> bool:
    """Whether a policy that names ``ranges`` opens the way to ``address``."""
    return any(
        IPv4Address(address) in IPv4Network(one.cidr)
        and not any(IPv4Address(address) in IPv4Network(part) for part in one.excluding)
        for one in ranges
    )


@pytest.mark.parametrize("services", ["172.20.0.0/16", "10.100.0.0/20"])
def test_the_api_server_is_the_first_service_address_and_its_own_interfaces(services: str):
    server = of(services=services).api_server
    first = str(IPv4Network(services)[1])
    assert reached(first, server)
    assert reached("10.0.0.10", server), "its interface in the first private subnet"
    assert not reached(str(IPv4Network(services)[2]), server)


def test_a_third_zone_brings_nodes_but_no_control_plane():
    three, two = of(), of(ZONES[:2])
    assert three.control_plane == two.control_plane
    assert reached("10.0.128.10", three.nodes)
    assert not reached("10.0.128.10", three.control_plane)


def test_stores_are_reached_where_they_are_and_pods_are_not_reached_by_that():
    zones = plan(VPC, ZONES)
    stores = of().stores
    assert all(reached(str(IPv4Network(zone.isolated)[10]), stores) for zone in zones)
    assert not any(reached(str(IPv4Network(zone.private)[10]), stores) for zone in zones)


def test_the_internet_is_everything_but_ourselves_and_the_nodes_metadata_service():
    internet = of().internet
    assert reached("52.216.0.1", internet)
    for inside in ("10.0.0.10", "10.99.0.1", "172.20.0.10", "192.168.1.1", "100.64.0.1", "169.254.169.254"):
        assert not reached(inside, internet), inside


def test_the_clouds_apis_answer_on_public_addresses_and_at_interface_endpoints_where_there_are_some():
    assert reached("52.216.0.1", of().cloud_apis), "S3 answers on public addresses behind its gateway endpoint too"
    assert reached("10.0.64.10", of().cloud_apis), "an interface endpoint in a private subnet"
    assert not reached("10.0.64.10", of(endpoints=False).cloud_apis)
    assert not reached("169.254.169.254", of().cloud_apis)


def test_load_balancers_bring_the_addresses_of_their_clients():
    balancers = of().load_balancers
    assert reached("203.0.113.7", balancers), "a client on the internet"
    assert reached("192.168.7.7", balancers), "a client in an office behind a VPN"
