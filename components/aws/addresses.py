"""Addresses around the pods, as network policies name them; read off the network plan."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Final

from components.aws.network import CONTROL_PLANE_ZONES, ZonePlan
from components.contract import AddressRange, Networks

# Networks that are not the internet: private ones (RFC 1918), the shared space of providers (RFC 6598), and link-local
# ones, where the node's metadata service answers (RFC 3927). VPC and services lie in them; the settings see to it.
_INSIDE: Final = ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")


def networks(zones: Sequence[ZonePlan], service_cidr: str, *, interface_endpoints: bool) -> Networks:
    """What the cluster's neighbours are called on the wire.

    Args:
        zones: The network plan.
        service_cidr: Addresses of Kubernetes services; the API server has the first.
        interface_endpoints: Some of AWS's APIs answer on addresses inside the private subnets.
    """
    private = _ranges(zone.private for zone in zones)
    # EKS puts the API server's own interfaces there, wherever its endpoint is reached from.
    control_plane = private[:CONTROL_PLANE_ZONES]
    internet = AddressRange(cidr="0.0.0.0/0", excluding=_INSIDE)
    service = next(ipaddress.IPv4Network(service_cidr).hosts())
    return Networks(
        # The network plugin judges a packet as the pod sends it, before the service's address is translated, and
        # where a client names the endpoint itself, afterwards.
        api_server=(AddressRange(cidr=f"{service}/32"), *control_plane),
        control_plane=control_plane,
        nodes=private,
        # Load balancers keep their clients' addresses, so requests come from wherever the load balancer is open to.
        load_balancers=(AddressRange(cidr="0.0.0.0/0"),),
        # Not where the mount targets of the shared files are: nodes mount those, in their own network namespace.
        stores=_ranges(zone.isolated for zone in zones),
        # S3 and what has no interface endpoint answer on public addresses, whatever the way there.
        cloud_apis=(*private, internet) if interface_endpoints else (internet,),
        internet=(internet,),
    )


def _ranges(cidrs: Iterable[str]) -> tuple[AddressRange, ...]:
    return tuple(AddressRange(cidr=cidr) for cidr in cidrs)
