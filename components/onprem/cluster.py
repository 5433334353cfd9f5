"""The existing cluster, as the contract has it."""

from __future__ import annotations

import ipaddress
from typing import Final

import pulumi
import pulumi_kubernetes as kubernetes
import yaml

from components import contract
from components.onprem.names import OBJECTS_PORT, STORES
from components.settings import Settings
from components.settings.nodes import GPU_ROLES
from components.settings.onprem import OnPremSettings

# Networks that are not the internet: private ones (RFC 1918), the shared space of providers (RFC 6598), link-local
# ones (RFC 3927).
_INSIDE: Final = ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")


def pools(settings: Settings) -> tuple[contract.NodePool, ...]:
    """Node groups; the servers are there, labelled and tainted by whoever runs the cluster."""
    return tuple(
        contract.NodePool(
            name=group.name,
            role=group.role,
            shapes=settings.shapes(group),
            min_size=group.min_size,
            max_size=group.max_size,
            spot=False,
            labels={
                contract.ROLE_LABEL: group.role,
                **({contract.GPU_MODEL_LABEL: settings.shapes(group)[0].gpu_model} if group.role in GPU_ROLES else {}),
            },
            taints=(contract.GPU_TAINT,) if group.role in GPU_ROLES else (),
        )
        for group in settings.node_groups
    )


# OpenShift's DNS operator, which listens where no privilege is needed.
_OPENSHIFT_DNS: Final = contract.DnsPods(
    namespace="openshift-dns", labels=(("dns.operator.openshift.io/daemonset-dns", "default"),), port=5353
)


def networks(settings: OnPremSettings) -> contract.Networks:
    """What the cluster's neighbours are called on the wire."""
    network = settings.network
    service = next(ipaddress.IPv4Network(network.service_cidr).hosts())
    port = network.api_server_port
    # Some network plugins judge a packet before the service's address is translated, and some afterwards.
    servers = tuple(contract.AddressRange(cidr=cidr, https_port=port) for cidr in network.api_server)
    anywhere = contract.AddressRange(cidr="0.0.0.0/0")
    nodes = tuple(contract.AddressRange(cidr=cidr) for cidr in network.nodes)
    internet = contract.AddressRange(cidr="0.0.0.0/0", excluding=_INSIDE)
    # A store in the data centre may have any private address but those of pods and services.
    inside = (network.pod_cidr, network.service_cidr)
    data_centre = contract.AddressRange(cidr="0.0.0.0/0", excluding=tuple(sorted(inside)))
    in_cluster = settings.objects.kind == "in-cluster"
    return contract.Networks(
        api_server=(contract.AddressRange(cidr=f"{service}/32"), *servers),
        # Nodes of the control plane, and on OpenShift its own network on every node.
        control_plane=tuple(contract.AddressRange(cidr=cidr) for cidr in network.api_server),
        nodes=nodes,
        load_balancers=tuple(contract.AddressRange(cidr=cidr) for cidr in network.load_balancers) or (anywhere,),
        stores=(),
        cloud_apis=() if in_cluster and settings.objects.backup is None else (data_centre,),
        internet=(internet,),
        store_pods=(contract.ServingPods(namespace=STORES),),
        cloud_api_pods=(contract.ServingPods(namespace=STORES, https_port=OBJECTS_PORT),) if in_cluster else (),
        dns=_OPENSHIFT_DNS if settings.openshift else contract.DnsPods(),
    )


def provider_of(name: str, kubeconfig: pulumi.Input[str], context: str, parent: pulumi.Resource) -> kubernetes.Provider:
    """Applies objects to the cluster."""
    return kubernetes.Provider(
        f"{name}-kubernetes",
        kubeconfig=kubeconfig,
        context=context or None,
        enable_server_side_apply=True,
        opts=pulumi.ResourceOptions(parent=parent),
    )


def endpoint(kubeconfig: str, context: str) -> str:
    """URL of the API server in a kubeconfig; empty where there is none."""
    try:
        found = yaml.safe_load(kubeconfig)
        named = context or found["current-context"]
        cluster = next(one["context"]["cluster"] for one in found["contexts"] if one["name"] == named)
        return next(str(one["cluster"]["server"]) for one in found["clusters"] if one["name"] == cluster)
    except (yaml.YAMLError, KeyError, TypeError, StopIteration):
        return ""


def without_credentials(kubeconfig: str) -> str:
    """The kubeconfig for people: where the cluster is and whom to trust, and nobody's credentials."""
    try:
        found = yaml.safe_load(kubeconfig)
        kept = {key: found[key] for key in ("apiVersion", "kind", "clusters", "contexts", "current-context")}
        return yaml.safe_dump({**kept, "users": [{"name": user["name"], "user": {}} for user in found["users"]]})
    except (yaml.YAMLError, KeyError, TypeError):
        return ""
