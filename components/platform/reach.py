"""Who may reach whom, read off network policies as they are in the cluster: nothing here knows how they were made."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, cast

Manifest: TypeAlias = Mapping[str, Any]
Direction = Literal["ingress", "egress"]

_PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
_LAST_PORT: Final = 65535


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A pod, as far as policies look at it.

    Attributes:
        namespace: Where it runs.
        labels: Its labels.
        address: Its address, where rules about addresses shall be held against it as well; the network plugin decides
            whether they apply to pods.
    """

    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    address: str = ""


@dataclass(frozen=True, kw_only=True)
class Host:
    """Something that is no pod of the cluster.

    Attributes:
        address: Its address.
    """

    address: str


Endpoint: TypeAlias = Pod | Host
PortRange: TypeAlias = tuple[str, int, int]
"""Protocol, first port, last port."""

EVERYTHING: Final[frozenset[PortRange]] = frozenset((protocol, 1, _LAST_PORT) for protocol in _PROTOCOLS)


@dataclass(frozen=True, kw_only=True)
class Way:
    """That one may reach the other.

    Attributes:
        source: Name of who connects.
        target: Name of who answers.
        ports: On which ports of the target.
    """

    source: str
    target: str
    ports: tuple[PortRange, ...]

    @property
    def words(self) -> str:
        """The ports for people."""
        if frozenset(self.ports) == EVERYTHING:
            return "all"
        return ", ".join(_words(one) for one in self.ports)


def reach(policies: Iterable[Manifest], endpoints: Mapping[str, Endpoint]) -> tuple[Way, ...]:
    """Every way between two endpoints, in the order of their names.

    A way is open when the policies that select its source let it out and those that select its target let it in. A pod
    that no policy selects for a direction is open in it. What is no pod knows no policies; between two of those there
    is nothing to say.
    """
    known = list(policies)
    ways: list[Way] = []
    for source_name, source in sorted(endpoints.items()):
        for target_name, target in sorted(endpoints.items()):
            if source_name == target_name and isinstance(source, Host):
                continue
            if isinstance(source, Host) and isinstance(target, Host):
                continue
            out = allowed(known, source, target, "egress") if isinstance(source, Pod) else EVERYTHING
            into = allowed(known, target, source, "ingress") if isinstance(target, Pod) else EVERYTHING
            if ports := _common(out, into):
                ways.append(Way(source=source_name, target=target_name, ports=ports))
    return tuple(ways)


def allowed(policies: Iterable[Manifest], pod: Pod, peer: Endpoint, direction: Direction) -> frozenset[PortRange]:
    """What the policies that select ``pod`` let pass between it and ``peer`` in one direction."""
    word, key = ("Ingress", "from") if direction == "ingress" else ("Egress", "to")
    selecting = [
        policy["spec"]
        for policy in policies
        if policy["metadata"]["namespace"] == pod.namespace
        and word in _types(policy["spec"])
        and _matches(policy["spec"].get("podSelector") or {}, pod.labels)
    ]
    if not selecting:
        return EVERYTHING
    open_ports: set[PortRange] = set()
    for spec in selecting:
        for rule in spec.get(direction) or ():
            if not rule.get(key) or any(_is(one, peer, pod.namespace) for one in rule[key]):
                open_ports |= _ports(rule)
    return frozenset(open_ports)


def _types(spec: Manifest) -> list[str]:
    """What the API server takes for a policy that names no types."""
    return spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])


def _is(rule: Manifest, peer: Endpoint, own_namespace: str) -> bool:
    if block := rule.get("ipBlock"):
        return bool(peer.address) and _contains(block, peer.address)
    if not isinstance(peer, Pod):
        return False
    if (namespaces := rule.get("namespaceSelector")) is not None:
        if not _matches(namespaces, {"kubernetes.io/metadata.name": peer.namespace}):
            return False
    elif peer.namespace != own_namespace:
        return False
    return _matches(rule.get("podSelector") or {}, peer.labels)


def _contains(block: Manifest, address: str) -> bool:
    one = ipaddress.ip_address(address)
    return one in ipaddress.ip_network(block["cidr"]) and not any(
        one in ipaddress.ip_network(left_out) for left_out in block.get("except") or ()
    )


def _matches(selector: Manifest, labels: Mapping[str, str]) -> bool:
    wanted = cast("Mapping[str, str]", selector.get("matchLabels") or {})
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_expression(one, labels) for one in selector.get("matchExpressions") or ())


def _expression(one: Manifest, labels: Mapping[str, str]) -> bool:
    has = one["key"] in labels
    match one["operator"]:
        case "In":
            return has and labels[one["key"]] in one["values"]
        case "NotIn":
            return not has or labels[one["key"]] not in one["values"]
        case "Exists":
            return has
        case "DoesNotExist":
            return not has
        case other:
            raise ValueError(f"no such operator of a label selector: {other}")


def _ports(rule: Manifest) -> set[PortRange]:
    if not rule.get("ports"):
        return set(EVERYTHING)
    found: set[PortRange] = set()
    for one in rule["ports"]:
        protocol, first = str(one.get("protocol", "TCP")), one.get("port")
        if isinstance(first, str) and not first.isdigit():
            raise ValueError(f"a named port cannot be judged without its pod: {first}")
        if first is None:
            found.add((protocol, 1, _LAST_PORT))
        else:
            found.add((protocol, int(first), int(one.get("endPort", first))))
    return found


def _common(one: Iterable[PortRange], other: Iterable[PortRange]) -> tuple[PortRange, ...]:
    """Ports that are in both, without overlaps."""
    both = sorted(
        (protocol, max(first, begin), min(last, end))
        for protocol, first, last in one
        for kind, begin, end in other
        if protocol == kind and max(first, begin) <= min(last, end)
    )
    merged: list[PortRange] = []
    for protocol, first, last in both:
        if merged and merged[-1][0] == protocol and first <= merged[-1][2]:
            merged[-1] = (protocol, merged[-1][1], max(last, merged[-1][2]))
        else:
            merged.append((protocol, first, last))
    return tuple(merged)


def _words(one: PortRange) -> str:
    protocol, first, last = one
    ports = "all" if (first, last) == (1, _LAST_PORT) else str(first) if first == last else f"{first}-{last}"
    return ports if protocol == "TCP" else f"{ports}/{protocol}"
