"""Load balancers, machines, disks and what is in the stack's network: Compute Engine.

GKE labels machines and disks. What its load balancers are made of has no label, but it is tied to the network: endpoint
groups and firewall rules are in it, and their names carry what the names of all other parts carry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from ops.leftovers.gcp.look import COMPUTE, Look, bare, last, texts
from ops.leftovers.model import Fate, Leftover

# Names that GKE gives to parts of load balancers, by who made them: the cluster's hash is in most of them, the load
# balancer's name in those of older controllers (kubernetes/ingress-gce, `pkg/utils/namer`; cloud-provider-gcp,
# `gce_loadbalancer_naming.go`).
_OF_CLUSTER: Final = (
    re.compile(r"k8s[12]-(?:cr-)?([a-z0-9]{8})-.+"),
    re.compile(r"k8s-ig--([0-9a-f]{8,})"),
    re.compile(r"k8s-([0-9a-f]{8,})-.+"),
    re.compile(r"k8s-\w+-.+--([0-9a-f]{8,})"),
)
_OF_BALANCER: Final = (re.compile(r"k8s-fw-(a[0-9a-f]{31})"), re.compile(r"k8s-(a[0-9a-f]{31})-http-hc"))
_SERVICE: Final = re.compile(r'"(?:networking\.gke|kubernetes)\.io/service-name":\s*"([^"]+)"')
_GKES: Final = "GKE, for a Service of the cluster"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A collection of Compute Engine's.

    Attributes:
        collection: As the API calls it.
        title: As people say it.
        command: Of gcloud.
        fate: What may be done with it.
        everywhere: Whether it is in zones and regions; else there is one list.
    """

    collection: str
    title: str
    command: str
    fate: Fate = "safe"
    everywhere: bool = True


KINDS: Final = (
    Kind(collection="instanceGroups", title="instance group", command="instance-groups unmanaged"),
    Kind(collection="instances", title="instance", command="instances"),
    Kind(collection="forwardingRules", title="forwarding rule", command="forwarding-rules"),
    Kind(collection="targetPools", title="target pool", command="target-pools"),
    Kind(collection="backendServices", title="backend service", command="backend-services"),
    Kind(collection="healthChecks", title="health check", command="health-checks"),
    Kind(collection="networkEndpointGroups", title="endpoint group", command="network-endpoint-groups"),
    Kind(collection="addresses", title="address", command="addresses"),
    Kind(collection="firewalls", title="firewall rule", command="firewall-rules", everywhere=False),
    Kind(collection="instanceTemplates", title="instance template", command="instance-templates", everywhere=False),
    Kind(collection="routers", title="router", command="routers"),
    Kind(collection="subnetworks", title="subnet", command="networks subnets"),
    Kind(collection="disks", title="volume", command="disks", fate="data"),
    Kind(collection="snapshots", title="snapshot", command="snapshots", fate="data", everywhere=False),
)
TIES: Final = ("networkEndpointGroups", "instanceGroups", "firewalls")
"""Collections that tie parts of load balancers to the network."""


class Compute:
    """Compute Engine as one look sees it; every collection is asked for once."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self._kept: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}

    def all(self, kind: Kind) -> list[tuple[str, Mapping[str, Any]]]:
        """Everything of a kind in the project: where, and what."""
        if kind.collection not in self._kept:
            url = f"{COMPUTE}/{self.look.project}/global/{kind.collection}"
            self._kept[kind.collection] = (
                list(self.look.everywhere(kind.collection))
                if kind.everywhere
                else [("global", one) for one in self.look.pages(url, "items")]
            )
        return self._kept[kind.collection]

    def find(self, kind: Kind) -> Iterator[Leftover]:
        """What is left of a kind."""
        for place, one in self.all(kind):
            if made_by := self._maker(kind, one):
                name, where = str(one["name"]), place.rpartition("/")[2]
                command = kind.command
                if kind.title == "instance group" and name.startswith("gke-"):
                    command = "instance-groups managed"
                scope = f" --{place.partition('/')[0].removesuffix('s')} {where}" if "/" in place else ""
                flag = " --global" if not scope and kind.everywhere else ""
                yield self.look.found(
                    kind.title,
                    name,
                    made_by,
                    f"gcloud compute {command} delete {name}{scope}{flag}",
                    region="" if where == "global" else where,
                    fate=kind.fate,
                    note=_service(one),
                )

    def _maker(self, kind: Kind, one: Mapping[str, Any]) -> str:
        if made_by := self.look.maker(one):
            return made_by
        if next(texts(one, "labels.stack"), None) is not None:
            return ""  # somebody else's, whatever its name is
        if kind.title not in ("forwarding rule", "target pool", "backend service", "health check", "address"):
            return ""
        name = str(one.get("name"))
        if name in self._balancers or any(
            match[1] in self._clusters for form in _OF_CLUSTER if (match := form.fullmatch(name))
        ):
            return _GKES
        groups = {bare(text) for text in texts(one, "backends.group")}
        if groups & self._groups:
            return _GKES
        nodes = (last(text) for text in texts(one, "instances"))
        cluster = self.look.record.cluster
        return _GKES if cluster and any(node.startswith(f"gke-{cluster[:20]}-") for node in nodes) else ""

    @cached_property
    def _tied(self) -> list[Mapping[str, Any]]:
        """What ties load balancers to the network."""
        return [
            one
            for kind in KINDS
            if kind.collection in TIES
            for _, one in self.all(kind)
            if any(bare(text) == self.look.network for text in texts(one, "network"))
        ]

    @cached_property
    def _groups(self) -> frozenset[str]:
        return frozenset(bare(str(one.get("selfLink"))) for one in self._tied if one.get("selfLink"))

    @cached_property
    def _clusters(self) -> frozenset[str]:
        """Hashes of the clusters in the network."""
        names = [str(one.get("name")) for one in self._tied]
        return frozenset(match[1] for name in names for form in _OF_CLUSTER if (match := form.fullmatch(name)))

    @cached_property
    def _balancers(self) -> frozenset[str]:
        """Names of load balancers that have a firewall rule in the network."""
        names = [str(one.get("name")) for one in self._tied]
        return frozenset(match[1] for name in names for form in _OF_BALANCER if (match := form.fullmatch(name)))


def _service(one: Mapping[str, Any]) -> str:
    """The Service that a part of a load balancer is for, as its description says."""
    found = _SERVICE.search(str(one.get("description", "")))
    return f"Service {found[1]}" if found else ""


def networks(look: Look) -> Iterator[Leftover]:
    """The network itself, and its peerings with Google's services."""
    for one in look.pages(f"{COMPUTE}/{look.project}/global/networks", "items"):
        if bare(str(one.get("selfLink") or look.network)) != look.network or one.get("name") != look.record.prefix:
            continue
        for peering in one.get("peerings") or ():
            name = str(peering["name"])
            yield look.found(
                "network peering",
                name,
                "it is in the stack's network",
                f"gcloud compute networks peerings delete {name} --network {one['name']}",
                note="Google refuses for days after the last database, cache or file system; it costs nothing",
            )
        yield look.found(
            "network",
            str(one["name"]),
            "this stack, by its name",
            f"gcloud compute networks delete {one['name']}",
        )
