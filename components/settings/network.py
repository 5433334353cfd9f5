"""The network: addresses, zones, ways in and out."""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import Annotated, Literal

from pydantic import Field, field_validator

from components.settings.base import Cidr, LogDays, Section

Endpoint = Literal[
    "ecr.api", "ecr.dkr", "sts", "ec2", "kms", "logs", "secretsmanager", "elasticloadbalancing", "autoscaling"
]

ALL_ENDPOINTS: tuple[Endpoint, ...] = (
    "ecr.api",
    "ecr.dkr",
    "sts",
    "ec2",
    "kms",
    "logs",
    "secretsmanager",
    "elasticloadbalancing",
    "autoscaling",
)


class NetworkSettings(Section):
    """The VPC.

    Attributes:
        cidr: Addresses of the VPC, /16 to /20. A quarter of it is one private subnet: pods take their addresses there.
            A change replaces the VPC and all that stands in it.
        zones: Two or three availability zones by name; empty takes the first three of the region. Each takes its
            addresses by its place: add a third at the end, and do not reorder. A new zone replaces the node groups that
            name no zones.
        nat_gateways: ``single`` is cheaper; with ``per-zone`` the loss of a zone does not cut off the others.
        interface_endpoints: AWS services that nodes reach without the NAT gateway; each costs per zone and hour.
        flow_logs_retention_days: How long the VPC's flow logs are kept.
    """

    cidr: Cidr = "10.0.0.0/16"
    zones: Annotated[tuple[str, ...], Field(max_length=3)] = ()
    nat_gateways: Literal["single", "per-zone"] = "single"
    interface_endpoints: tuple[Endpoint, ...] = ALL_ENDPOINTS
    flow_logs_retention_days: LogDays = 30

    @field_validator("cidr")
    @classmethod
    def _size_is_what_a_vpc_and_its_pods_need(cls, value: str) -> str:
        if not 16 <= ipaddress.IPv4Network(value).prefixlen <= 20:
            raise ValueError(f"must be a /16 to /20 (a VPC is a /16 at most; below /20 pods run out); got {value}")
        return value

    @field_validator("cidr")
    @classmethod
    def _is_private(cls, value: str) -> str:
        network = ipaddress.IPv4Network(value)
        allowed = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
        if not any(network.subnet_of(ipaddress.IPv4Network(block)) for block in allowed):
            raise ValueError(f"must lie in {', '.join(allowed)}; got {value}")
        return value

    @field_validator("zones")
    @classmethod
    def _zones_are_two_or_three(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) == 1:
            raise ValueError("must name two or three zones, or none to take the region's first three; got 1")
        if twice := [zone for zone, count in Counter(value).items() if count > 1]:
            raise ValueError(f"must name each zone once; {', '.join(twice)} comes twice")
        return value

    @field_validator("interface_endpoints")
    @classmethod
    def _endpoints_are_named_once(cls, value: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
        if twice := [service for service, count in Counter(value).items() if count > 1]:
            raise ValueError(f"must name each service once; {', '.join(twice)} comes twice")
        return value
