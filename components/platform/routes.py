"""Routes from the gateway to services: hosts, paths, timeouts, retries, and backends that are set aside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.platform.gateway import NAME, NAMESPACE
from components.platform.mesh import NETWORKING_API
from components.platform.openings import GATEWAY, Opening, Pods
from components.platform.site import Site

# A request is sent again only where the backend has not begun with it: an answer costs seconds of a GPU, and a call may
# have effects. 503 is what a proxy or a model server says that takes no more.
_RETRY_ON = "connect-failure,refused-stream,reset-before-request,503"


@dataclass(frozen=True, kw_only=True)
class Ejection:
    """When a pod of a backend is set aside for a while.

    Attributes:
        consecutive_errors: Gateway errors (502, 503, 504, a broken connection) in a row.
        interval_seconds: How often pods are judged.
        ejection_seconds: How long a pod is set aside; the longer, the more often it was.
        max_percent: Share of the pods that may be set aside at once; one always may.
    """

    consecutive_errors: int = 5
    interval_seconds: int = 10
    ejection_seconds: int = 30
    max_percent: int = 50


@dataclass(frozen=True, kw_only=True)
class Backend:
    """One service behind the gateway.

    Attributes:
        namespace: Namespace of the service.
        service: Name of the service.
        port: Port of the service.
        timeout_seconds: From the whole request to the end of the answer; 0 for no limit, where answers are streams.
        connect_seconds: To open a connection.
        retries: How often a request that no pod has begun with is tried again, on another pod.
        ejection: When a pod is set aside; None for a service of one pod.
    """

    namespace: str
    service: str
    port: int
    timeout_seconds: float = 60
    connect_seconds: float = 5
    retries: int = 2
    ejection: Ejection | None = Ejection()

    @property
    def host(self) -> str:
        """The service as the mesh knows it."""
        return f"{self.service}.{self.namespace}.svc.cluster.local"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Which requests go to which service.

    Attributes:
        backend: Who answers.
        prefix: Beginning of the path; whole segments, so ``/v1`` does not match ``/v10``.
    """

    backend: Backend
    prefix: str = "/"


def opening(target: Pods, ports: Sequence[int], why: str) -> Opening:
    """The gateway's way to the pods of a backend, for the backend's own list of openings; ports are container ports."""
    return Opening(source=GATEWAY, target=target, ports=tuple(ports), why=why)


def route(
    name: str,
    *,
    host: str,
    rules: Sequence[Rule],
    site: Site,
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource],
) -> tuple[CustomResource, ...]:
    """Publish services on one host of the gateway.

    One call for each host: several routes of one host would be tried in no certain order.

    Args:
        name: Name of the route, its objects and its Pulumi resources.
        host: One label below the gateway's domain, such as ``api.llm.internal``.
        rules: Which path goes where; the longest prefix wins.
        site: Where the gateway is.
        parent: The component that publishes.
        after: ``Edge.ready``, so that nothing is published unguarded, and what stands behind the route.

    Raises:
        pulumi.RunError: The gateway's certificate does not hold the host, or two rules are for one prefix.
    """
    settings = site.settings.gateway
    if host.partition(".")[2] != settings.domain:
        raise pulumi.RunError(f"route {name}: host must be one label below {settings.domain}; got {host}")
    prefixes = [rule.prefix for rule in rules]
    if len(set(prefixes)) != len(prefixes):
        raise pulumi.RunError(f"route {name}: each prefix may stand once; got {', '.join(prefixes)}")
    options = pulumi.ResourceOptions(parent=parent, depends_on=[*site.namespaces[NAMESPACE], *after])
    backends = {(rule.backend.namespace, rule.backend.service): rule.backend for rule in rules}
    return (
        *(
            CustomResource(
                f"{name}-to-{namespace}-{service}",
                api_version=NETWORKING_API,
                kind="DestinationRule",
                metadata=meta.ObjectMetaArgs(name=f"{name}-{namespace}-{service}", namespace=NAMESPACE),
                spec=destination_of(backend),
                opts=options,
            )
            for (namespace, service), backend in sorted(backends.items())
        ),
        CustomResource(
            f"{name}-route",
            api_version=NETWORKING_API,
            kind="VirtualService",
            metadata=meta.ObjectMetaArgs(name=name, namespace=NAMESPACE),
            spec=virtual_service_of(host, rules, settings.hsts_days),
            opts=options,
        ),
    )


def virtual_service_of(host: str, rules: Sequence[Rule], hsts_days: int) -> dict[str, Any]:
    """Rules of a host as Istio takes them; it tries them in order, so the longest prefix comes first."""
    ordered = sorted(rules, key=lambda rule: (-len(rule.prefix), rule.prefix))
    return {"hosts": [host], "gateways": [NAME], "http": [_http_route(rule, hsts_days) for rule in ordered]}


def _http_route(rule: Rule, hsts_days: int) -> dict[str, Any]:
    backend = rule.backend
    found: dict[str, Any] = {
        "match": _match(rule.prefix),
        "retries": {"attempts": backend.retries, "retryOn": _RETRY_ON} if backend.retries else {"attempts": 0},
        "route": [{"destination": {"host": backend.host, "port": {"number": backend.port}}}],
    }
    if backend.timeout_seconds:  # none is Istio's default, and zero is refused
        found["timeout"] = f"{backend.timeout_seconds:g}s"
    if hsts_days:
        insist = {"strict-transport-security": f"max-age={hsts_days * 86400}"}
        found["headers"] = {"response": {"set": insist}}
    return found


def _match(prefix: str) -> list[dict[str, Any]]:
    if prefix == "/":
        return [{"uri": {"prefix": "/"}}]
    bare = prefix.rstrip("/")
    return [{"uri": {"exact": bare}}, {"uri": {"prefix": f"{bare}/"}}]


def destination_of(backend: Backend) -> dict[str, Any]:
    """How the gateway treats a service's pods; nobody else is told."""
    policy: dict[str, Any] = {
        "connectionPool": {"tcp": {"connectTimeout": f"{backend.connect_seconds:g}s"}},
        # Answers differ in length by orders of magnitude: the pod with the fewest open requests is the least busy.
        "loadBalancer": {"simple": "LEAST_REQUEST"},
    }
    if backend.ejection is not None:
        policy["outlierDetection"] = {
            "consecutiveGatewayErrors": backend.ejection.consecutive_errors,
            "consecutive5xxErrors": 0,  # 500 is the application's own word, and says nothing of the pod
            "interval": f"{backend.ejection.interval_seconds}s",
            "baseEjectionTime": f"{backend.ejection.ejection_seconds}s",
            "maxEjectionPercent": backend.ejection.max_percent,
        }
    return {"host": backend.host, "exportTo": ["."], "trafficPolicy": policy}
