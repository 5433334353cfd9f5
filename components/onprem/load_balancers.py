"""Addresses for services of type LoadBalancer: MetalLB, or what the cluster has; the twin of the cloud's controller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.charts import release
from components.contract import LoadBalancers
from components.onprem.names import BALANCERS
from components.onprem.rooms import Rooms
from components.settings.onprem import LoadBalancerSettings

_POOL: Final = "llmops"


@dataclass(frozen=True, kw_only=True)
class MetalLbArgs:
    """What MetalLB needs.

    Attributes:
        rooms: Namespaces.
        settings: Its addresses.
        node_selector: Nodes of its controller; its speakers run on all nodes.
    """

    rooms: Rooms
    settings: LoadBalancerSettings
    node_selector: Mapping[str, str]


class MetalLb(pulumi.ComponentResource):
    """Layer 2: one node at a time answers for an address, and another one takes over when it is gone."""

    result: LoadBalancers

    def __init__(self, name: str, args: MetalLbArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:onprem:MetalLb", name, None, opts)
        controller = release(
            f"{name}-release",
            "metallb",
            release_name="metallb",
            namespace=BALANCERS,
            values=values(args),
            parent=self,
            after=args.rooms.ready[BALANCERS],
        )
        after = pulumi.ResourceOptions(parent=self, depends_on=[controller])  # definitions and their webhook
        pool = CustomResource(
            f"{name}-pool",
            api_version="metallb.io/v1beta1",
            kind="IPAddressPool",
            metadata=meta.ObjectMetaArgs(name=_POOL, namespace=BALANCERS),
            # Only for services that name it: what else the cluster runs does not take the platform's addresses.
            spec={"addresses": list(args.settings.addresses), "autoAssign": False},
            opts=after,
        )
        announced = CustomResource(
            f"{name}-announcement",
            api_version="metallb.io/v1beta1",
            kind="L2Advertisement",
            metadata=meta.ObjectMetaArgs(name=_POOL, namespace=BALANCERS),
            spec={"ipAddressPools": [_POOL]},
            opts=after,
        )
        chosen = {"metallb.io/address-pool": _POOL}
        self.result = LoadBalancers(
            annotations={"internal": chosen, "internet-facing": chosen}, ready=(pool, announced)
        )
        self.register_outputs({})


def values(args: MetalLbArgs) -> dict[str, Any]:
    """Values of the chart; FRR is for BGP, which is not used."""
    small = {"requests": {"cpu": "25m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}
    return {
        "frrk8s": {"enabled": False},
        "controller": {"nodeSelector": dict(args.node_selector), "resources": small},
        "speaker": {"frr": {"enabled": False}, "resources": small, "tolerations": [{"operator": "Exists"}]},
    }


def existing(settings: LoadBalancerSettings) -> LoadBalancers:
    """What the cluster has."""
    return LoadBalancers(
        annotations={"internal": settings.internal_annotations, "internet-facing": settings.public_annotations},
        ready=(),
    )
