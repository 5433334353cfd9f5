"""The VPC: one subnet for nodes with ranges for pods and services, and the ways in and out."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import pulumi
from pulumi_gcp import compute, servicenetworking

PODS: Final = "pods"
SERVICES: Final = "services"
"""Names of the subnet's secondary ranges."""


@dataclass(frozen=True)
class NetworkPlan:
    """Addresses, cut from one network so that one setting decides them.

    Attributes:
        nodes: Nodes and internal load balancers; the first quarter.
        private_services: Cloud SQL, Memorystore and Filestore, which Google runs in a network of its own and peers; the
            third quarter.
        control_plane: The API server's own address and where it calls from; a /28 at the beginning of the last quarter.
    """

    nodes: str
    private_services: str
    control_plane: str


def plan(cidr: str) -> NetworkPlan:
    """Divide the network; the second quarter, and the rest of the last, are kept for what comes later."""
    nodes, _, services, rest = ipaddress.IPv4Network(cidr).subnets(prefixlen_diff=2)
    control_plane = next(rest.subnets(new_prefix=28))
    return NetworkPlan(nodes=str(nodes), private_services=str(services), control_plane=str(control_plane))


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """What the network needs.

    Attributes:
        prefix: ``<project>-<stack>``; begins the names.
        region: Where it is.
        cidr: /16 to /20; plain, because the ranges are cut from it.
        pod_cidr: Addresses of pods.
        service_cidr: Addresses of Kubernetes services.
        zones: How many zones the nodes stand in; the second and third have a NAT address each with ``per-zone``.
        nat_gateways: One address for all that goes out, or one for each zone. Cloud NAT itself has no zone that could
            fail: more addresses are more connections to one destination at once.
    """

    prefix: str
    region: str
    cidr: str
    pod_cidr: str
    service_cidr: str
    zones: Sequence[str]
    nat_gateways: Literal["single", "per-zone"]


class Network(pulumi.ComponentResource):
    """A VPC whose machines have private addresses only, and reach Google's APIs without leaving its network."""

    network_id: pulumi.Output[str]
    subnet_id: pulumi.Output[str]
    private_services_network_id: pulumi.Output[str]
    """The network, once Google's managed services can be given addresses in it."""
    private_services_range: pulumi.Output[str]
    plan: NetworkPlan
    ready: tuple[pulumi.Resource, ...]
    """What nodes need to reach the world; for ``depends_on``."""

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:gcp:Network", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.plan = plan(args.cidr)

        vpc = compute.Network(
            f"{name}-vpc",
            name=args.prefix,
            auto_create_subnetworks=False,
            routing_mode="REGIONAL",
            opts=child,
        )
        subnet = compute.Subnetwork(
            f"{name}-nodes",
            name=f"{args.prefix}-nodes",
            region=args.region,
            network=vpc.id,
            ip_cidr_range=self.plan.nodes,
            secondary_ip_ranges=[
                {"range_name": PODS, "ip_cidr_range": args.pod_cidr},
                {"range_name": SERVICES, "ip_cidr_range": args.service_cidr},
            ],
            private_ip_google_access=True,
            log_config={
                "aggregation_interval": "INTERVAL_10_MIN",  # shorter ones write many more records
                "flow_sampling": 0.5,
                "metadata": "EXCLUDE_ALL_METADATA",
            },
            opts=child,
        )
        nat = self._nat(name, args, vpc)
        reserved = compute.GlobalAddress(
            f"{name}-private-services",
            name=f"{args.prefix}-private-services",
            purpose="VPC_PEERING",
            address_type="INTERNAL",
            address=str(ipaddress.IPv4Network(self.plan.private_services).network_address),
            prefix_length=ipaddress.IPv4Network(self.plan.private_services).prefixlen,
            network=vpc.id,
            opts=child,
        )
        peering = servicenetworking.Connection(
            f"{name}-private-services",
            network=vpc.id,
            service="servicenetworking.googleapis.com",
            reserved_peering_ranges=[reserved.name],
            # The peering goes with the network. By itself it could not be deleted for days after the last database:
            # Google keeps the producer's side for so long.
            deletion_policy="ABANDON",
            opts=child,
        )
        self.network_id = vpc.id
        self.subnet_id = subnet.id
        self.private_services_network_id = peering.network
        self.private_services_range = pulumi.Output.all(reserved.name, peering.id).apply(lambda values: str(values[0]))
        self.ready = (nat,)
        self.register_outputs({"networkId": self.network_id, "subnetId": self.subnet_id})

    def _nat(self, name: str, args: NetworkArgs, vpc: compute.Network) -> compute.RouterNat:
        child = pulumi.ResourceOptions(parent=self)
        router = compute.Router(f"{name}-router", name=args.prefix, region=args.region, network=vpc.id, opts=child)
        count = len(args.zones) if args.nat_gateways == "per-zone" else 1
        addresses = [
            compute.Address(
                f"{name}-nat-{number}",
                name=f"{args.prefix}-nat-{number}",
                region=args.region,
                address_type="EXTERNAL",
                opts=child,
            )
            for number in range(count)
        ]
        return compute.RouterNat(
            f"{name}-nat",
            name=args.prefix,
            router=router.name,
            region=args.region,
            # Addresses of our own: others can let this stack in by them.
            nat_ip_allocate_option="MANUAL_ONLY",
            nat_ips=[address.self_link for address in addresses],
            source_subnetwork_ip_ranges_to_nat="ALL_SUBNETWORKS_ALL_IP_RANGES",
            # A node's many pods share its ports: 64, the default, are soon used up by pulls of images and models.
            enable_dynamic_port_allocation=True,
            min_ports_per_vm=256,
            max_ports_per_vm=8192,
            log_config={"enable": True, "filter": "ERRORS_ONLY"},
            opts=child,
        )


def allow_control_plane(
    name: str,
    *,
    prefix: str,
    network_id: pulumi.Input[str],
    control_plane: str,
    node_account: pulumi.Input[str],
    parent: pulumi.Resource,
) -> compute.Firewall:
    """Let the API server call webhooks and aggregated APIs on any port: GKE's own rule opens 443 and 10250 only.

    Which pods it reaches on which port, the network policies say.
    """
    return compute.Firewall(
        name,
        name=f"{prefix}-webhooks",
        description="Webhooks and aggregated APIs, from the control plane to pods",
        network=network_id,
        direction="INGRESS",
        source_ranges=[control_plane],
        target_service_accounts=[node_account],
        allows=[{"protocol": "tcp", "ports": ["1024-65535"]}],
        opts=pulumi.ResourceOptions(parent=parent),
    )
