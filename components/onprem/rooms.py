"""Namespaces of the foundation's own: closed like the platform's, and there before anything of the platform is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import pulumi
from pulumi_kubernetes import core, networking
from pulumi_kubernetes.meta import v1 as meta

from components.contract import AddressRange, Networks
from components.onprem.names import (
    BALANCERS,
    CACHE_METRICS_PORT,
    CACHE_PORT,
    DATABASE_METRICS_PORT,
    DATABASE_PORT,
    METRICS_SERVER,
    OBJECTS_METRICS_PORT,
    OBJECTS_METRICS_PORT_OF_ONE,
    OBJECTS_PORT,
    OPERATORS,
    SECRETS,
    STORES,
)
from components.platform.namespaces import label_value
from components.platform.openings import SCRAPER

Level = Literal["restricted", "privileged"]

_PLATFORM: Final = {"app.kubernetes.io/part-of": "llmops"}
_STATUS_PORT: Final = 8000  # of PostgreSQL's instances, for the operator (CloudNativePG, "Networking")
_METRICS_PORTS: Final = (
    DATABASE_METRICS_PORT,
    CACHE_METRICS_PORT,
    OBJECTS_METRICS_PORT,
    OBJECTS_METRICS_PORT_OF_ONE,
)
_KUBELET_PORT: Final = 10250  # metrics-server's own port is the same
_WEBHOOK_PORTS: Final = (9443,)
# The settings size what runs here; nothing of it takes a GPU.
_HARD: Final = {"requests.nvidia.com/gpu": "0"}


@dataclass(frozen=True, kw_only=True)
class RoomsArgs:
    """What the namespaces need.

    Attributes:
        networks: Addresses around the pods.
        owner: Team that answers for the stack.
        cost_center: Who pays for it.
        balancers: Whether MetalLB gets a namespace.
        kubernetes_version: Pod Security is judged by the rules of this minor version.
        outside: Where an object store outside of the cluster is; backups of the database go there.
        metrics_server: Whether metrics-server runs beside the operators.
    """

    networks: Networks
    owner: str
    cost_center: str
    balancers: bool
    kubernetes_version: str
    outside: tuple[AddressRange, ...]
    metrics_server: bool


class Rooms(pulumi.ComponentResource):
    """The namespaces, each closed by default and without GPUs.

    Attributes:
        labels: What every namespace says of its owner and of whom its pods are admitted, by Pod Security level.
        names: Name of each namespace as an output of it: who uses it waits for it.
        ready: What must be there before something is put into a namespace, by its name.
    """

    labels: Mapping[Level, Mapping[str, str]]
    names: Mapping[str, pulumi.Output[str]]
    ready: Mapping[str, tuple[pulumi.Resource, ...]]

    def __init__(self, name: str, args: RoomsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:onprem:Rooms", name, None, opts)
        self.labels = {level: _labels(level, args) for level in get_args(Level)}
        levels: dict[str, Level] = {STORES: "restricted", SECRETS: "restricted", OPERATORS: "restricted"}
        if args.balancers:
            levels[BALANCERS] = "privileged"  # the speaker answers for addresses in the node's own network
        names: dict[str, pulumi.Output[str]] = {}
        ready: dict[str, tuple[pulumi.Resource, ...]] = {}
        for title, level in levels.items():
            room = core.v1.Namespace(
                f"{name}-{title}",
                metadata=meta.ObjectMetaArgs(name=title, labels=self.labels[level]),
                opts=pulumi.ResourceOptions(parent=self),
            )
            names[title] = room.metadata.name.apply(str)
            policies = [
                networking.v1.NetworkPolicy(
                    f"{name}-{title}-{policy}",
                    metadata=meta.ObjectMetaArgs(name=policy, namespace=names[title]),
                    spec=spec,
                    opts=pulumi.ResourceOptions(parent=self),
                )
                for policy, spec in policies_of(title, args).items()
            ]
            bound = core.v1.ResourceQuota(
                f"{name}-{title}-bound",
                metadata=meta.ObjectMetaArgs(name="bound", namespace=names[title]),
                spec=core.v1.ResourceQuotaSpecArgs(hard=_HARD),
                opts=pulumi.ResourceOptions(parent=self),
            )
            ready[title] = (room, *policies, bound)
        self.names, self.ready = names, ready
        self.register_outputs({"namespaces": sorted(names)})


def _labels(level: Level, args: RoomsArgs) -> dict[str, str]:
    prefix = "pod-security.kubernetes.io"
    minor = f"v{args.kubernetes_version}"
    return {
        "app.kubernetes.io/part-of": "llmops-foundation",
        "llmops/owner": label_value(args.owner),
        "llmops/cost-center": label_value(args.cost_center),
        **{f"{prefix}/{mode}": level for mode in ("enforce", "audit", "warn")},
        **{f"{prefix}/{mode}-version": minor for mode in ("enforce", "audit", "warn")},
    }


def policies_of(title: str, args: RoomsArgs) -> dict[str, Any]:
    """Network policies of one namespace, by name."""
    networks = args.networks
    closed: dict[str, Any] = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    inside: list[dict[str, Any]] = [{"podSelector": {}}]
    if title == SECRETS:
        return {"default-deny": closed}
    if title == BALANCERS:
        # Its speakers live in the node's network, which policies do not reach; the controller serves a webhook.
        return {
            "default-deny": closed,
            "ways": {
                "podSelector": {},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": _blocks(networks.control_plane), "ports": _ports(_WEBHOOK_PORTS)}],
                "egress": [*_dns(networks), *_api(networks)],
            },
        }
    if title == OPERATORS:
        return {
            "default-deny": closed,
            **({METRICS_SERVER: _of_metrics_server(networks)} if args.metrics_server else {}),
            "ways": {
                "podSelector": {},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [
                    {"from": _blocks(networks.control_plane), "ports": _ports(_WEBHOOK_PORTS)},
                    {"from": inside},
                ],
                "egress": [
                    *_dns(networks),
                    *_api(networks),
                    {"to": [_namespace(STORES)], "ports": _ports((DATABASE_PORT, _STATUS_PORT))},
                    {"to": inside},
                ],
            },
        }
    clients = {"namespaceSelector": {"matchLabels": _PLATFORM}}
    outside = [{"to": _blocks(args.outside), "ports": _ports((443,))}] if args.outside else []
    return {
        "default-deny": closed,
        "ways": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [clients], "ports": _ports((DATABASE_PORT, CACHE_PORT, OBJECTS_PORT))},
                {"from": [_namespace(OPERATORS)], "ports": _ports((DATABASE_PORT, _STATUS_PORT))},
                {"from": [_reader()], "ports": _ports(_METRICS_PORTS)},
                {"from": inside},
            ],
            # An instance of PostgreSQL asks the API server who of them leads.
            "egress": [*_dns(networks), *_api(networks), {"to": inside}, *outside],
        },
    }


def _of_metrics_server(networks: Networks) -> dict[str, Any]:
    """The control plane asks it, and it asks every kubelet; servers of the control plane have one too."""
    return {
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": METRICS_SERVER}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": _blocks(networks.control_plane), "ports": _ports((_KUBELET_PORT,))}],
        "egress": [{"to": _blocks((*networks.nodes, *networks.control_plane)), "ports": _ports((_KUBELET_PORT,))}],
    }


def _reader() -> dict[str, Any]:
    return {**_namespace(SCRAPER.namespace), "podSelector": {"matchLabels": dict(SCRAPER.labels)}}


def _dns(networks: Networks) -> list[dict[str, Any]]:
    dns = networks.dns
    ports = [{"protocol": protocol, "port": dns.port} for protocol in ("UDP", "TCP")]
    return [{"to": [{**_namespace(dns.namespace), "podSelector": {"matchLabels": dict(dns.labels)}}], "ports": ports}]


def _api(networks: Networks) -> list[dict[str, Any]]:
    return [{"to": _blocks([one]), "ports": _ports((one.https_port,))} for one in networks.api_server]


def _namespace(title: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": title}}}


def _blocks(ranges: Sequence[AddressRange]) -> list[dict[str, Any]]:
    return [
        {"ipBlock": {"cidr": one.cidr, **({"except": list(one.excluding)} if one.excluding else {})}} for one in ranges
    ]


def _ports(ports: Sequence[int]) -> list[dict[str, Any]]:
    return [{"protocol": "TCP", "port": port} for port in ports]
