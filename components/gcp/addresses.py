"""Addresses around the pods, as network policies name them; read off the network plan."""

from __future__ import annotations

import ipaddress
from typing import Final

from components.contract import AddressRange, Networks, ServingPods
from components.gcp.network import NetworkPlan

# Networks that are not the internet: private ones (RFC 1918), the shared space of providers (RFC 6598), and link-local
# ones (RFC 3927). VPC, pods and services lie in them; the settings see to it.
_INSIDE: Final = ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")

METADATA: Final = "169.254.169.254/32"
"""GKE's metadata server, on port 80: it hands a pod the token of its identity. With Dataplane V2 policies judge this
address (GKE, "Authenticate to Google Cloud APIs from GKE workloads")."""


def networks(plan: NetworkPlan, service_cidr: str) -> Networks:
    """What the cluster's neighbours are called on the wire."""
    internet = AddressRange(cidr="0.0.0.0/0", excluding=_INSIDE)
    nodes = AddressRange(cidr=plan.nodes)
    control_plane = AddressRange(cidr=plan.control_plane)
    service = next(ipaddress.IPv4Network(service_cidr).hosts())
    return Networks(
        # Dataplane V2 judges a packet after the service's address is translated; the service's own is for clients
        # inside the tunnel of the mesh.
        api_server=(AddressRange(cidr=f"{service}/32"), control_plane),
        control_plane=(control_plane,),
        nodes=(nodes,),
        # Google's network load balancers keep their clients' addresses, so requests come from anywhere.
        load_balancers=(AddressRange(cidr="0.0.0.0/0"),),
        stores=(AddressRange(cidr=plan.private_services),),
        # Private Google Access leaves the public addresses of Google's APIs as they are.
        cloud_apis=(internet, AddressRange(cidr=METADATA, https_port=80)),
        internet=(internet,),
        # The control plane calls through a proxy whose ends are pods on the nodes, konnectivity-agent.
        control_plane_pods=(ServingPods(namespace="kube-system"),),
        dns_caches=("node-local-dns",),
    )
