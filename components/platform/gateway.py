"""The gateway: one load balancer, TLS, and the way to plain HTTP closed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.charts import release
from components.platform.certificates import CertManager
from components.platform.mesh import NETWORKING_API, Mesh
from components.platform.openings import GATEWAY, SCRAPER, Opening
from components.platform.site import Site

NAMESPACE: Final = "istio-ingress"

NAME: Final = "public"
"""Name of Istio's Gateway object; routes are bound to it."""

RELEASE: Final = "istio-ingress"
"""Name of the release, its Deployment and its Service. The chart makes the label ``istio: ingress`` of it."""

_CERTIFICATE: Final = "gateway-tls"

OPENINGS: Final[tuple[Opening, ...]] = (
    Opening(
        source="load-balancers", target=GATEWAY, ports=(80, 443), why="Requests, and health checks of their ports."
    ),
    Opening(source=GATEWAY, target="api-server", ports=(443,), why="It watches the Secret of its certificate."),
    Opening(source=SCRAPER, target=GATEWAY, ports=(15020,), why="Metrics: rates, errors and times of every backend."),
)
"""Who reaches the gateway. Its ways to backends are declared with their routes, by ``routes.opening``."""


@dataclass(frozen=True, kw_only=True)
class GatewayArgs:
    """What the gateway needs.

    Attributes:
        site: Where it is installed.
        mesh: Completes its pods and gives them certificates.
        certificates: Signs its certificate.
    """

    site: Site
    mesh: Mesh
    certificates: CertManager


class Gateway(pulumi.ComponentResource):
    """The way in: whatever is not routed gets 404, and plain HTTP is sent to HTTPS."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: GatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Gateway", name, None, opts)
        site = args.site
        domain = site.settings.gateway.domain
        certificate = args.certificates.certificate(
            f"{name}-certificate",
            namespace=NAMESPACE,
            secret_name=_CERTIFICATE,
            dns_names=[f"*.{domain}", domain],
            issuer=site.settings.certificates.issuer,
            parent=self,
            after=site.namespaces[NAMESPACE],
        )
        proxies = release(
            f"{name}-release",
            "istio-gateway",
            release_name=RELEASE,
            namespace=NAMESPACE,
            values=values(site),
            parent=self,
            # Without istiod the pods are not completed and cannot start. The load balancer's controller outlives the
            # service: it must take the load balancer away, or destroy waits for it for ever.
            after=[*site.namespaces[NAMESPACE], *args.mesh.ready, *site.foundation.load_balancers.ready],
        )
        entry = CustomResource(
            f"{name}-entry",
            api_version=NETWORKING_API,
            kind="Gateway",
            metadata=meta.ObjectMetaArgs(name=NAME, namespace=NAMESPACE),
            spec=entry_of(domain),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*args.mesh.ready, certificate]),
        )
        self.ready = (proxies, entry)
        self.register_outputs({})


def entry_of(domain: str) -> dict[str, Any]:
    """What the gateway listens to. Only routes of its own namespace can bind hosts: a team cannot take another's."""
    hosts = [f"./*.{domain}", f"./{domain}"]
    return {
        "selector": dict(GATEWAY.labels),
        "servers": [
            {
                "port": {"number": 443, "name": "https", "protocol": "HTTPS"},
                "hosts": hosts,
                "tls": {"mode": "SIMPLE", "credentialName": _CERTIFICATE, "minProtocolVersion": "TLSV1_2"},
            },
            {
                "port": {"number": 80, "name": "http", "protocol": "HTTP"},
                "hosts": hosts,
                "tls": {"httpsRedirect": True},
            },
        ],
    }


def values(site: Site) -> dict[str, Any]:
    """Values of the chart."""
    several = site.highly_available
    settings = site.settings.gateway
    return {
        "autoscaling": {"enabled": several, "minReplicas": site.replicas, "maxReplicas": settings.max_replicas},
        "replicaCount": site.replicas,
        "podDisruptionBudget": {"minAvailable": 1} if several else {},
        "topologySpreadConstraints": _SPREAD if several else [],
        "nodeSelector": site.system_nodes,
        # The limit of CPU sets the number of Envoy's worker threads; without one it is the number of the node's cores.
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"cpu": "2", "memory": "1Gi" if several else "512Mi"},
        },
        # The chart's own value, with the seccomp profile that the restricted Pod Security level asks for.
        "securityContext": {
            "seccompProfile": {"type": "RuntimeDefault"},
            "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
        },
        # A model answers for minutes, token by token. A pod that must go takes no new connections once the load
        # balancer has noticed, which takes it up to a minute, and then waits for the last answer.
        "terminationGracePeriodSeconds": 600,
        "env": {"EXIT_ON_ZERO_ACTIVE_CONNECTIONS": "true", "MINIMUM_DRAIN_DURATION": "60s"},
        "service": {
            "type": "LoadBalancer",
            "annotations": dict(site.foundation.load_balancers.annotations[settings.exposure]),
            "loadBalancerSourceRanges": list(settings.source_ranges),
            # Load balancers reach the pods themselves; the namespace's quota admits no ports of nodes.
            "allocateLoadBalancerNodePorts": False,
            # Not the status port of the chart's default: it would be open to whoever reaches the load balancer.
            "ports": [
                {"name": "http2", "port": 80, "protocol": "TCP", "targetPort": 80},
                {"name": "https", "port": 443, "protocol": "TCP", "targetPort": 443},
            ],
        },
    }


_SPREAD: Final[list[dict[str, Any]]] = [
    {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": unsatisfiable,
        "labelSelector": {"matchLabels": {"app": RELEASE}},
        "matchLabelKeys": ["pod-template-hash"],  # else a roll-out counts the old replicas too
    }
    for key, unsatisfiable in (
        ("kubernetes.io/hostname", "DoNotSchedule"),
        ("topology.kubernetes.io/zone", "ScheduleAnyway"),
    )
]
