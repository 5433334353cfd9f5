"""Addresses around the pods."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class AddressRange:
    """Addresses as network policies name them; plain.

    Attributes:
        cidr: Such as ``10.0.0.0/16``.
        excluding: Parts of it that are left out.
        https_port: Port that answers there instead of 443; policies see the port behind a service's address.
    """

    cidr: str
    excluding: tuple[str, ...] = ()
    https_port: int = 443


@dataclass(frozen=True, kw_only=True)
class ServingPods:
    """Pods that stand in for a service of a cloud; policies cannot name pods by address. Everything here is plain.

    Attributes:
        namespace: Where they run.
        https_port: Port of theirs that answers for 443.
    """

    namespace: str
    https_port: int = 443


@dataclass(frozen=True, kw_only=True)
class DnsPods:
    """Pods that answer for cluster DNS. Everything here is plain.

    Attributes:
        namespace: Where they run.
        labels: What selects them there.
        port: Port that they listen on.
    """

    namespace: str = "kube-system"
    labels: tuple[tuple[str, str], ...] = (("k8s-app", "kube-dns"),)
    port: int = 53


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Addresses of what is no pod: network policies open the way to and from them. Everything here is plain.

    Attributes:
        api_server: The Kubernetes API as pods address it, and as the network sees it.
        control_plane: Where the API server calls webhooks and aggregated APIs from.
        nodes: Nodes; kubelet probes come from there.
        load_balancers: Where requests and health checks of load balancers come from.
        stores: The database and the cache; shared files are mounted by nodes, not by pods.
        cloud_apis: Object store, secret store, token service and the cloud's other APIs.
        internet: Everything outside.
        store_pods: Pods that are database and cache, where these run in the cluster.
        cloud_api_pods: Pods that answer for the cloud's APIs, such as an object store in the cluster.
        dns: Pods of cluster DNS.
        control_plane_pods: Pods through which the control plane calls, where it does not call itself.
        dns_caches: Values of the label ``k8s-app`` of pods in ``kube-system`` that answer DNS before the cluster's own.
    """

    api_server: tuple[AddressRange, ...]
    control_plane: tuple[AddressRange, ...]
    nodes: tuple[AddressRange, ...]
    load_balancers: tuple[AddressRange, ...]
    stores: tuple[AddressRange, ...]
    cloud_apis: tuple[AddressRange, ...]
    internet: tuple[AddressRange, ...]
    store_pods: tuple[ServingPods, ...] = ()
    cloud_api_pods: tuple[ServingPods, ...] = ()
    dns: DnsPods = DnsPods()
    control_plane_pods: tuple[ServingPods, ...] = ()
    dns_caches: tuple[str, ...] = ()
