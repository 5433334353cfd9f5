"""Network policies, computed from the openings: few, named after the pods that they select."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from components.contract import AddressRange, Networks
from components.platform.openings import Opening, Outside, Peer, Pods

HBONE: Final = 15008
"""Port of the mesh's tunnel: ztunnel and the gateway carry every connection between pods of the mesh in it."""

PROBES: Final = AddressRange(cidr="169.254.7.127/32")
"""Where probes of pods in the mesh come from: its CNI rewrites the kubelet's address, so that ztunnel knows them."""

# They speak to the mesh through its tunnel although ztunnel does not carry them: the gateway is a proxy of its own.
_TUNNEL_CLIENTS: Final = frozenset({"istio-ingress"})
# The cluster's own namespace: it is not closed, the cloud keeps its parts there.
_OPEN_NAMESPACES: Final = frozenset({"kube-system"})
_HTTPS: Final = 443
_ANYWHERE: Final = AddressRange(cidr="0.0.0.0/0")

CLOSED: Final = "default-deny"
"""Name of the policy that closes a namespace."""

EVERY_POD: Final = "every-pod"
"""Name of the policy for all pods of a namespace."""

_PeerKey = tuple[str, tuple[tuple[str, str], ...]] | AddressRange
_Selector = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class PolicySpec:
    """One NetworkPolicy.

    Attributes:
        name: Its name in the namespace.
        spec: Its specification, as Kubernetes reads it.
        why: What each of its ways is for.
    """

    name: str
    spec: Mapping[str, Any]
    why: tuple[str, ...]


@dataclass
class _Ways:
    """Ways of the pods that one policy selects: ports by peer; no ports stand for all of them."""

    ingress: dict[_PeerKey, set[int]] = field(default_factory=lambda: defaultdict[_PeerKey, set[int]](set))
    egress: dict[_PeerKey, set[int]] = field(default_factory=lambda: defaultdict[_PeerKey, set[int]](set))
    all_ports: set[tuple[str, _PeerKey]] = field(default_factory=set[tuple[str, _PeerKey]])
    why: set[str] = field(default_factory=set[str])

    def add(self, direction: str, peer: _PeerKey, ports: Iterable[int]) -> None:
        wanted = set(ports)
        (self.ingress if direction == "ingress" else self.egress)[peer] |= wanted
        if not wanted:
            self.all_ports.add((direction, peer))


def network_policies(
    openings: Iterable[Opening], networks: Networks, namespaces: Iterable[str], mesh: Iterable[str]
) -> dict[str, tuple[PolicySpec, ...]]:
    """Policies of every namespace, in a fixed order.

    Args:
        openings: Ways that are open.
        networks: Addresses of what is no pod.
        namespaces: Namespaces to close.
        mesh: Those whose pods are in the mesh.

    Raises:
        ValueError: An opening names a namespace that is not there.
    """
    closed, in_mesh = frozenset(namespaces), frozenset(mesh)
    found: dict[str, dict[_Selector, _Ways]] = {name: defaultdict(_Ways) for name in closed}
    for name in closed:
        if name in in_mesh:
            ways = found[name][()]
            ways.add("ingress", PROBES, ())
            ways.why.add("probes of the kubelet, as the mesh rewrites them")
    for opening in openings:
        _open(opening, networks, found, in_mesh)
    return {name: tuple(_policies(found[name], networks)) for name in sorted(closed)}


def _open(
    opening: Opening, networks: Networks, found: Mapping[str, dict[_Selector, _Ways]], in_mesh: frozenset[str]
) -> None:
    source, target = opening.source, opening.target
    if not isinstance(source, Pods) and not isinstance(target, Pods):
        raise ValueError(f"an opening needs pods at one end; {source} and {target} are both outside")
    ports = set(opening.ports)
    if ports and _through_the_mesh(source, target, in_mesh):
        ports.add(HBONE)
    what = f"{_title(source)} -> {_title(target)} {', '.join(map(str, opening.ports)) or 'all ports'}: {opening.why}"
    ends: tuple[tuple[str, Peer, Peer], ...] = (("egress", source, target), ("ingress", target, source))
    for direction, own, peer in ends:
        if not isinstance(own, Pods) or own.namespace in _OPEN_NAMESPACES:
            continue
        if own.namespace not in found:
            raise ValueError(f"an opening names the namespace {own.namespace}, which nobody creates ({what})")
        ways = found[own.namespace][_selector(own)]
        ways.why.add(what)
        for key, https_port in _peers(peer, networks):
            ways.add(direction, key, {https_port if port == _HTTPS else port for port in ports})


def _through_the_mesh(source: Peer, target: Peer, in_mesh: frozenset[str]) -> bool:
    return (
        isinstance(source, Pods)
        and isinstance(target, Pods)
        and target.namespace in in_mesh
        and source.namespace in in_mesh | _TUNNEL_CLIENTS
    )


def _peers(peer: Peer, networks: Networks) -> tuple[tuple[_PeerKey, int], ...]:
    """Each with the port that stands behind its 443: policies are judged after a service's port was translated."""
    if isinstance(peer, Pods):
        return (((peer.namespace, _selector(peer)), _HTTPS),)
    if peer == "dns":
        return (((networks.dns.namespace, tuple(sorted(networks.dns.labels))), _HTTPS),)
    pods = {
        "stores": networks.store_pods,
        "cloud-apis": networks.cloud_api_pods,
        "control-plane": networks.control_plane_pods,
    }.get(peer, ())
    return (
        *((one, one.https_port) for one in ranges(peer, networks)),
        *(((one.namespace, ()), one.https_port) for one in pods),
    )


def ranges(outside: Outside, networks: Networks) -> tuple[AddressRange, ...]:
    """Addresses of what is no pod; DNS has none, because it is pods of ``kube-system``."""
    if outside == "anywhere":
        return (_ANYWHERE,)
    if outside == "dns":
        return ()
    return {
        "api-server": networks.api_server,
        "control-plane": networks.control_plane,
        "load-balancers": networks.load_balancers,
        "stores": networks.stores,
        "cloud-apis": networks.cloud_apis,
        "internet": networks.internet,
        "nodes": networks.nodes,
    }[outside]


def _policies(selected: Mapping[_Selector, _Ways], networks: Networks) -> Iterable[PolicySpec]:
    yield PolicySpec(
        name=CLOSED, spec={"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}, why=("nothing, in or out",)
    )
    names = {CLOSED}
    for selector in sorted({(), *selected}):
        ways = selected.get(selector, _Ways())
        egress = _rules("egress", ways)
        if not selector:
            egress = [_dns_rule(networks), *egress]
        spec: dict[str, Any] = {"podSelector": _label_selector(selector), "policyTypes": []}
        if ingress := _rules("ingress", ways):
            spec["policyTypes"].append("Ingress")
            spec["ingress"] = ingress
        if egress:
            spec["policyTypes"].append("Egress")
            spec["egress"] = egress
        name = _name(selector, names)
        names.add(name)
        yield PolicySpec(name=name, spec=spec, why=(*(() if selector else ("DNS",)), *sorted(ways.why)))


def _rules(direction: str, ways: _Ways) -> list[dict[str, Any]]:
    """One rule for each set of ports, with everybody who has it."""
    by_ports: dict[tuple[int, ...], list[_PeerKey]] = defaultdict(list)
    for peer, ports in (ways.ingress if direction == "ingress" else ways.egress).items():
        by_ports[() if (direction, peer) in ways.all_ports else tuple(sorted(ports))].append(peer)
    key = "from" if direction == "ingress" else "to"
    rules: list[dict[str, Any]] = []
    for ports, peers in sorted(by_ports.items()):
        rule: dict[str, Any] = {key: [_peer_spec(peer) for peer in sorted(peers, key=_order)]}
        if ports:
            rule["ports"] = [{"protocol": "TCP", "port": port} for port in ports]
        rules.append(rule)
    return rules


def _dns_rule(networks: Networks) -> dict[str, Any]:
    dns = networks.dns
    ports = [{"protocol": protocol, "port": dns.port} for protocol in ("UDP", "TCP")]
    answering = (tuple(sorted(dns.labels)), *((("k8s-app", cache),) for cache in networks.dns_caches))
    return {"to": [_peer_spec((dns.namespace, selector)) for selector in answering], "ports": ports}


def _peer_spec(peer: _PeerKey) -> dict[str, Any]:
    if isinstance(peer, AddressRange):
        excluding = {"except": list(peer.excluding)} if peer.excluding else {}
        return {"ipBlock": {"cidr": peer.cidr, **excluding}}
    namespace, selector = peer
    spec: dict[str, Any] = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    if selector:
        spec["podSelector"] = _label_selector(selector)
    return spec


def _order(peer: _PeerKey) -> tuple[str, str, str]:
    if isinstance(peer, AddressRange):
        return ("address", peer.cidr, ",".join(peer.excluding))
    return ("pods", peer[0], str(peer[1]))


def _selector(pods: Pods) -> _Selector:
    return tuple(sorted(pods.labels.items()))


def _label_selector(selector: _Selector) -> dict[str, Any]:
    return {"matchLabels": dict(selector)} if selector else {}


def _name(selector: _Selector, taken: set[str]) -> str:
    """The values of the labels; the keys too where two policies would have the same name."""
    if not selector:
        return EVERY_POD
    short = _slug(value for _, value in selector)
    return short if short not in taken else _slug(part for pair in selector for part in pair)


def _slug(parts: Iterable[str]) -> str:
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")[:63].strip("-")


def _title(peer: Peer) -> str:
    if not isinstance(peer, Pods):
        return peer
    labels = ",".join(value for _, value in _selector(peer))
    return f"{peer.namespace}/{labels}" if labels else peer.namespace


def manifests(policies: Mapping[str, Sequence[PolicySpec]]) -> list[dict[str, Any]]:
    """The same as Kubernetes objects."""
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": policy.name, "namespace": namespace},
            "spec": policy.spec,
        }
        for namespace, specs in policies.items()
        for policy in specs
    ]
