"""What the tests of network policies share: every system's openings, and a pod for each that they name."""

from __future__ import annotations

import importlib
import ipaddress
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

import components.platform
from components.aws.addresses import networks
from components.aws.network import plan
from components.platform.namespaces import ROOMS
from components.platform.network_policies import manifests, network_policies
from components.platform.openings import Opening, Pods, common_openings, team_namespace
from components.platform.reach import Endpoint, Host, Pod
from components.platform.site import Site
from components.settings import parse

TEAMS = ("nlp", "search")

_DOCUMENT = yaml.safe_load((Path(__file__).parents[2] / "Pulumi.prod.yaml").read_text())
_PROD = parse({key.removeprefix("llmops:"): value for key, value in _DOCUMENT["config"].items()})
_ZONE, *_ = _ZONES = plan(_PROD.network.cidr, _PROD.zones)
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


def declared(place: Site) -> list[Opening]:
    """Openings of all systems that are there, found as the platform's authors write them down."""
    found: list[Opening] = []
    for module in pkgutil.iter_modules(components.platform.__path__):
        if module.name == "openings":
            continue
        loaded = importlib.import_module(f"components.platform.{module.name}")
        of_site = getattr(loaded, "openings", None)
        found += getattr(loaded, "OPENINGS", ()) or (of_site(place) if of_site else ())
    return found


def everything(place: Site) -> list[Opening]:
    return [*common_openings(TEAMS, internet=True), *declared(place)]


def emitted(openings: Iterable[Opening]) -> list[dict[str, Any]]:
    rooms = {name: room.mesh for name, room in ROOMS.items()} | {team_namespace(team): True for team in TEAMS}
    mesh = [name for name, meshed in rooms.items() if meshed]
    return manifests(network_policies(openings, NETWORKS, rooms, mesh))


def title(pods: Pods) -> str:
    labels = ",".join(value for _, value in sorted(pods.labels.items()))
    return f"{pods.namespace}/{labels}" if labels else f"{pods.namespace}/*"


def pods_of(openings: Sequence[Opening]) -> dict[str, Endpoint]:
    """A pod for everybody that an opening names, and in each namespace one that no opening names."""
    named = [end for opening in openings for end in (opening.source, opening.target) if isinstance(end, Pods)]
    dns = Pods(namespace="kube-system", labels={"k8s-app": "kube-dns"})
    rest = [Pods(namespace=name) for name in (*ROOMS, *map(team_namespace, TEAMS))]
    return {title(pods): Pod(namespace=pods.namespace, labels=pods.labels) for pods in (*rest, *named, dns)}
