"""What may talk to what: every namespace is closed in both directions, and each system names the ways it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Namespace = Literal[
    "argocd",
    "cert-manager",
    "external-secrets",
    "gpu-system",
    "istio-ingress",
    "istio-system",
    "keda",
    "mlops-data",
    "mlops-serving",
    "mlops-system",
    "mlops-training",
    "monitoring",
    "velero",
    "volcano-system",
]
"""Namespaces of the platform; teams have ``team-<name>`` beside them."""

Outside = Literal[
    "api-server", "control-plane", "load-balancers", "stores", "cloud-apis", "internet", "dns", "nodes", "anywhere"
]
"""Who is no pod of ours: the Kubernetes API as a target; the control plane as a caller of webhooks and aggregated APIs;
load balancers as callers; database, cache and shared files; the cloud's APIs (object store, secrets, tokens); the
internet; cluster DNS; nodes; anything at all."""


@dataclass(frozen=True, kw_only=True)
class Pods:
    """Pods of a namespace.

    Attributes:
        namespace: Name of the namespace.
        labels: Labels that select some of them; empty for all.
    """

    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


Peer = Pods | Outside


@dataclass(frozen=True, kw_only=True)
class Opening:
    """One way that is open.

    Where both ends are pods it opens the source's egress and the target's ingress; where one end is outside, the other
    end's direction. Between pods of the mesh the tunnel's port is opened too: the mesh carries the named ports in it.

    Attributes:
        source: Who connects.
        target: Who answers; at least one of the two is pods.
        ports: TCP ports of the target; container ports, not the service's. Empty for all.
        why: What would break without it.
    """

    source: Peer
    target: Peer
    ports: tuple[int, ...]
    why: str


SCRAPER = Pods(namespace="monitoring", labels={"app.kubernetes.io/name": "prometheus"})
"""Prometheus, which scrapes every system's metrics."""

GATEWAY = Pods(namespace="istio-ingress", labels={"istio": "ingress"})
"""The gateway, through which everything from outside comes."""
