"""Network load balancers for services: GKE's own controller makes them, by annotations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from components.contract import Exposure, LoadBalancers

_ANNOTATIONS: Final[Mapping[Exposure, Mapping[str, str]]] = {
    # Internal passthrough, with subsetting as the cluster has it: nodes of the service, not of the whole cluster.
    "internal": {
        "networking.gke.io/load-balancer-type": "Internal",
        "networking.gke.io/internal-load-balancer-allow-global-access": "true",  # from other regions of the network
    },
    # External passthrough with a backend service: what GKE calls "RBS". The older kind has target pools.
    "internet-facing": {"cloud.google.com/l4-rbs": "enabled"},
}


def load_balancers() -> LoadBalancers:
    """How a service gets its load balancer; the controller is the cluster's, and outlives every service in it."""
    return LoadBalancers(annotations=_ANNOTATIONS, ready=())
