"""What the tests of network policies share: the openings of production, and a pod for everybody that they name."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from components.aws.addresses import networks
from components.aws.network import plan
from components.platform.namespaces import ROOMS
from components.platform.network_policies import manifests, network_policies
from components.platform.openings import Opening, Pods, common_openings, team_namespace
from components.platform.platform import openings
from components.platform.reach import Endpoint, Host, Pod
from components.platform.site import Site
from components.settings import parse

TEAMS = ("nlp", "search")

_DOCUMENT = yaml.safe_load((Path(__file__).parents[2] / "Pulumi.prod.yaml").read_text())
_PROD = parse({key.removeprefix("llmops:"): value for key, value in _DOCUMENT["config"].items()})
_ZONE, *_ = _ZONES = plan(_PROD.network.cidr, _PROD.zones)
PLATFORM: Mapping[str, Any] = _DOCUMENT["config"].get("llmops:platform", {})
NETWORKS = networks(_ZONES, _PROD.cluster.service_cidr, interface_endpoints=True)
"""Those of production."""


def _one_of(cidr: str) -> str:
    return str(ipaddress.IPv4Network(cidr)[77])


POD_ADDRESS = _one_of(_ZONE.private)
HOSTS: Mapping[str, Host] = {
    "API server's service": Host(address=NETWORKS.api_server[0].cidr.removesuffix("/32")),
    "private subnet": Host(address=POD_ADDRESS),
    "public subnet": Host(address=_one_of(_ZONE.public)),
    "stores' subnet": Host(address=_one_of(_ZONE.isolated)),
    "internet": Host(address="198.51.100.7"),
    "kubelet's probes": Host(address="169.254.7.127"),
}
"""One address of everything that is no pod."""


def everything(place: Site) -> list[Opening]:
    return [*common_openings(TEAMS, internet=True), *openings(place)]


def emitted(ways: Iterable[Opening]) -> list[dict[str, Any]]:
    rooms = {name: room.mesh for name, room in ROOMS.items()} | {team_namespace(team): True for team in TEAMS}
    mesh = [name for name, meshed in rooms.items() if meshed]
    return manifests(network_policies(ways, NETWORKS, rooms, mesh))


def title(pods: Pods) -> str:
    labels = ",".join(value for _, value in sorted(pods.labels.items()))
    return f"{pods.namespace}/{labels}" if labels else f"{pods.namespace}/*"


def pods_of(ways: Sequence[Opening]) -> dict[str, Endpoint]:
    """A pod for everybody that an opening names, and in each namespace one that no opening names."""
    named = [end for way in ways for end in (way.source, way.target) if isinstance(end, Pods)]
    dns = Pods(namespace="kube-system", labels={"k8s-app": "kube-dns"})
    rest = [Pods(namespace=name) for name in (*ROOMS, *map(team_namespace, TEAMS))]
    return {title(pods): Pod(namespace=pods.namespace, labels=pods.labels) for pods in (*rest, *named, dns)}
