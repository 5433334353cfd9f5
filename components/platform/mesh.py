"""The mesh: Istio in ambient mode, and who may be spoken to without it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.charts import release
from components.platform import telemetry
from components.platform.openings import GATEWAY, SCRAPER, Opening, Pods, team_namespace
from components.platform.placement import ON_DIFFERENT_NODES, selecting
from components.platform.site import Site
from components.settings.platform.mesh import MeshSettings

NAMESPACE: Final = "istio-system"
"""Istio's root namespace: what stands here holds for the whole mesh."""

AMBIENT: Final[Mapping[str, str]] = {"istio.io/dataplane-mode": "ambient"}
"""Label of namespaces, or of single pods, that are in the mesh."""

SECURITY_API: Final = "security.istio.io/v1"
NETWORKING_API: Final = "networking.istio.io/v1"

_TELEMETRY_API: Final = "telemetry.istio.io/v1"
_TRACER: Final = "otel"
_ISTIOD: Final = Pods(namespace=NAMESPACE, labels={"app": "istiod"})
_ZTUNNEL: Final = Pods(namespace=NAMESPACE, labels={"app": "ztunnel"})
_CNI: Final = Pods(namespace=NAMESPACE, labels={"k8s-app": "istio-cni-node"})
_XDS_PORT: Final = 15012
_CONFIGURED: Final = "Certificates and configuration."


def openings(site: Site) -> tuple[Opening, ...]:
    """What Istio reaches, and who reaches it.

    The tunnel between pods (15008) and probes of pods in the mesh are opened with every other opening, centrally.
    """
    return (
        Opening(
            source="control-plane",
            target=_ISTIOD,
            ports=(15017,),
            why="Istio's objects are validated, and the gateway's pods completed, before they are stored.",
        ),
        Opening(source=_ZTUNNEL, target=_ISTIOD, ports=(_XDS_PORT,), why=_CONFIGURED),
        Opening(source=GATEWAY, target=_ISTIOD, ports=(_XDS_PORT,), why=_CONFIGURED),
        Opening(source=_ISTIOD, target="api-server", ports=(443,), why="It watches services, pods and policies."),
        Opening(source=_CNI, target="api-server", ports=(443,), why="It learns which pods are in the mesh."),
        Opening(source=SCRAPER, target=_ISTIOD, ports=(15014,), why="Metrics of the control plane."),
        Opening(source=SCRAPER, target=_CNI, ports=(15014,), why="Metrics: pods that could not be taken in."),
        Opening(source=SCRAPER, target=_ZTUNNEL, ports=(15020,), why="Metrics of connections between pods."),
        *(Opening(source=pods, target=_ISTIOD, ports=(_XDS_PORT,), why=_CONFIGURED) for pods in _waypoints(site)),
        *_for_tokens(site),
        *telemetry.spans_from(site, GATEWAY, (telemetry.GRPC_PORT,)),
    )


def _waypoints(site: Site) -> tuple[Pods, ...]:
    """Proxies that stand in front of models, where models can be."""
    if not site.settings.mesh.waypoints:
        return ()
    labels = {"gateway.networking.k8s.io/gateway-class-name": "istio-waypoint"}
    rooms = ("mlops-serving", *(team_namespace(team.name) for team in site.teams))
    return tuple(Pods(namespace=room, labels=labels) for room in rooms)


def _for_tokens(site: Site) -> tuple[Opening, ...]:
    if not site.settings.gateway.enabled or site.settings.gateway.authentication.mode != "jwt":
        return ()
    return (Opening(source=_ISTIOD, target="internet", ports=(443,), why="It fetches the token issuer's keys."),)


@dataclass(frozen=True, kw_only=True)
class MeshArgs:
    """What the mesh needs.

    Attributes:
        site: Where it is installed.
    """

    site: Site


class Mesh(pulumi.ComponentResource):
    """Istio's four parts, strict mTLS for every pod of the mesh, and what it tells of the traffic."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: MeshArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Mesh", name, None, opts)
        site = args.site
        base = release(
            f"{name}-base",
            "istio-base",
            release_name="istio-base",
            namespace=NAMESPACE,
            # Accounts for other clusters' control planes; there are none.
            values={"global": {"istioNamespace": NAMESPACE, "enableReaderRBAC": False}},
            parent=self,
            after=site.namespaces[NAMESPACE],
        )
        defined = [base]
        if site.settings.mesh.waypoints:
            defined.append(
                release(
                    f"{name}-gateway-api",
                    "gateway-crds",
                    release_name="gateway-api",
                    namespace=NAMESPACE,
                    values={"crds": {"gatewayAPI": {"enabled": True, "channel": "standard"}}},
                    parent=self,
                    after=site.namespaces[NAMESPACE],
                )
            )
        istiod = release(
            f"{name}-istiod",
            "istiod",
            release_name="istiod",
            namespace=NAMESPACE,
            values=istiod_values(site),
            parent=self,
            after=defined,  # the definitions that it watches
        )
        cni = release(
            f"{name}-cni",
            "istio-cni",
            release_name="istio-cni",
            namespace=NAMESPACE,
            values=cni_values(site),
            parent=self,
            after=[istiod],  # for upgrades: an agent may be older than the control plane, and not newer
        )
        ztunnel = release(
            f"{name}-ztunnel",
            "ztunnel",
            release_name="ztunnel",
            namespace=NAMESPACE,
            values=ztunnel_values(site),
            parent=self,
            after=[cni],  # ready only with its socket; and the last to be upgraded
        )
        # Validated by istiod, which is also who acts on them.
        child = pulumi.ResourceOptions(parent=self, depends_on=[istiod])
        strict = CustomResource(
            f"{name}-strict",
            api_version=SECURITY_API,
            kind="PeerAuthentication",
            metadata=meta.ObjectMetaArgs(name="default", namespace=NAMESPACE),
            spec={"mtls": {"mode": "STRICT"}},
            opts=child,
        )
        reports = CustomResource(
            f"{name}-telemetry",
            api_version=_TELEMETRY_API,
            kind="Telemetry",
            metadata=meta.ObjectMetaArgs(name="mesh-default", namespace=NAMESPACE),
            spec=telemetry_of(site.settings.mesh, traced=telemetry.traced(site)),
            opts=child,
        )
        self.ready = (istiod, ztunnel, strict, reports)
        self.register_outputs({})


def plaintext_port(
    name: str,
    *,
    namespace: str,
    labels: Mapping[str, str],
    ports: Sequence[int],
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource],
) -> CustomResource:
    """Let callers from outside of the mesh reach some ports of pods in the mesh; their other ports stay strict.

    For what the API server calls: webhooks and aggregated APIs. It has no certificate of the mesh, and speaks TLS with
    the pod itself. Better still is to leave such pods out of the mesh. In ambient mode Istio reads ports only from a
    policy with a selector, outside of its root namespace: such a one is made.

    Args:
        name: Name of the Pulumi resource.
        namespace: Where the pods are.
        labels: Which pods; at least one label.
        ports: Container ports.
        parent: The system's component.
        after: The mesh, and the namespace.
    """
    if not labels or namespace == NAMESPACE:
        raise pulumi.RunError(
            f"{name}: ports are opened for labelled pods outside of {NAMESPACE}; Istio ignores others"
        )
    return CustomResource(
        name,
        api_version=SECURITY_API,
        kind="PeerAuthentication",
        metadata=meta.ObjectMetaArgs(name=name, namespace=namespace),
        spec={
            "selector": {"matchLabels": dict(labels)},
            "mtls": {"mode": "STRICT"},
            "portLevelMtls": {str(port): {"mode": "PERMISSIVE"} for port in ports},
        },
        opts=pulumi.ResourceOptions(parent=parent, depends_on=list(after)),
    )


def telemetry_of(settings: MeshSettings, *, traced: bool) -> dict[str, Any]:
    """What proxies tell. The gateway is the only one that reads HTTP; ztunnel logs connections by itself.

    Every request is reported: the collector keeps those that failed or were slow, and that is known when they are over.
    """
    tracing: dict[str, Any] = {"disableSpanReporting": True}
    if traced:
        tracing = {"providers": [{"name": _TRACER}], "randomSamplingPercentage": 100}
    logs: dict[str, Any] = {"providers": [{"name": "envoy"}]} if settings.access_logs else {"disabled": True}
    return {"accessLogging": [logs], "tracing": [tracing]}


def mesh_config(*, traced: bool) -> dict[str, Any]:
    """Istio's ``meshConfig``, where it differs from the default."""
    config: dict[str, Any] = {"accessLogEncoding": "JSON", "accessLogFormat": json.dumps(_ACCESS_LOG)}
    if traced:
        provider = {"service": telemetry.HOST, "port": telemetry.GRPC_PORT}
        config["extensionProviders"] = [{"name": _TRACER, "opentelemetry": provider}]
    return config


# Istio's own fields, without those of connections that it does not have here, and the trace: from a line to its trace.
_ACCESS_LOG: Final[Mapping[str, str]] = {
    "start_time": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration": "%DURATION%",
    "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    "user_agent": "%REQ(USER-AGENT)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "trace_id": "%TRACE_ID%",
    "authority": "%REQ(:AUTHORITY)%",
    "route_name": "%ROUTE_NAME%",
    "upstream_cluster": "%UPSTREAM_CLUSTER%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
}


def istiod_values(site: Site) -> dict[str, Any]:
    """Values of istiod: it serves a few hundred pods, so a fraction of the chart's 500m and 2 GiB will do."""
    several = site.highly_available
    return {
        "profile": "ambient",
        "global": {"istioNamespace": NAMESPACE, "logAsJson": True, "enableReaderRBAC": False, **_openshift(site)},
        # On OpenShift the chart would look for ztunnel in kube-system, and give certificates to no other.
        **({"trustedZtunnelNamespace": NAMESPACE} if _openshift(site) else {}),
        "autoscaleEnabled": several,
        "autoscaleMin": site.replicas,
        "autoscaleMax": 5,
        "replicaCount": site.replicas,
        "resources": {
            "requests": {"cpu": "200m" if several else "50m", "memory": "512Mi" if several else "256Mi"},
            "limits": {"memory": "1Gi"},
        },
        "seccompProfile": {"type": "RuntimeDefault"},
        "nodeSelector": site.system_nodes,
        "topologySpreadConstraints": [selecting(ON_DIFFERENT_NODES, {"app": "istiod"})] if several else [],
        "meshConfig": mesh_config(traced=telemetry.traced(site)),
    }


def cni_values(site: Site) -> dict[str, Any]:
    """Values of the CNI agent, which runs on every node and only works when pods come and go."""
    layout = site.foundation.cluster.node_layout
    return {
        "profile": "ambient",
        # Where a node keeps the plugins of its network, if not in the usual place.
        "global": {"logAsJson": True, **({"platform": layout} if layout else {})},
        "resources": {"requests": {"cpu": "25m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
    }


def ztunnel_values(site: Site) -> dict[str, Any]:
    """Values of ztunnel, which carries the traffic of its node's pods.

    The chart's 512 MiB are for 200,000 pods in the cluster or 100,000 connections on the node. There is no limit of
    CPU: it would slow down every pod of the node at once.
    """
    openshift = _openshift(site)
    return {
        **({"global": openshift} if openshift else {}),  # SELinux confines even what is privileged
        "istioNamespace": NAMESPACE,
        "logAsJson": True,
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
    }


def _openshift(site: Site) -> dict[str, str]:
    """The platform as the charts' ``global`` wants it, where that is OpenShift."""
    return {"platform": "openshift"} if site.foundation.cluster.node_layout == "openshift" else {}
