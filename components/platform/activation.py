"""Scale to zero: requests for a model without a server are held, and wake it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes.meta import v1 as meta
from pulumi_kubernetes.policy import v1 as policy

from components.charts import release
from components.platform.cold_start import LEAVE_SECONDS, ColdStartBudget, Timeouts, timeouts
from components.platform.mesh import plaintext_port
from components.platform.openings import LITELLM, SCRAPER, Namespace, Opening, Pods, team_namespace
from components.platform.placement import spread
from components.platform.site import Site

NAMESPACE: Final[Namespace] = "mlops-serving"
"""In the mesh, beside the models: they take requests from the mesh only. KEDA's own namespace is outside of it."""

API: Final = "http.keda.sh/v1beta1"
SCALING_API: Final = "keda.sh/v1alpha1"

PORT: Final = 8080
"""Where the activator takes requests."""

_CHART: Final = "keda-add-ons-http"
SERVICE: Final = f"{_CHART}-interceptor-proxy"
"""The activator's service."""

_GRPC_PORT: Final = 9090
_ADMIN_PORT: Final = 9090
_METRICS_PORT: Final = 2223
_SCALER_ADDRESS: Final = f"{_CHART}-external-scaler.{NAMESPACE}.svc.cluster.local:{_GRPC_PORT}"
_MODEL_PORTS: Final = (8000, 8001)  # vLLM and Triton HTTP; Triton gRPC
_USER: Final = 65532  # `nonroot` of the image's base


def _pods(component: str) -> Pods:
    return Pods(
        namespace=NAMESPACE,
        labels={"app.kubernetes.io/component": component, "app.kubernetes.io/part-of": _CHART},
    )


ACTIVATOR: Final = _pods("interceptor")
"""What stands in for a model while it has no server, and hands requests on while it has."""

_SCALER: Final = _pods("scaler")
_KEDA: Final = Pods(namespace="keda", labels={"app": "keda-operator"})


def openings(site: Site) -> tuple[Opening, ...]:
    """What the activator reaches, and who reaches it."""
    if not site.settings.serving.activation.enabled:
        return ()
    return (
        Opening(source=LITELLM, target=ACTIVATOR, ports=(PORT,), why="Calls of models that may have no server."),
        Opening(
            source=ACTIVATOR,
            target=Pods(namespace=NAMESPACE),
            ports=_MODEL_PORTS,
            why="Requests are handed on to the model's server.",
        ),
        *(
            Opening(
                source=ACTIVATOR,
                target=Pods(namespace=team_namespace(team.name)),
                ports=_MODEL_PORTS,
                why="The same for models of a team.",
            )
            for team in site.teams
        ),
        Opening(source=ACTIVATOR, target="api-server", ports=(443,), why="It watches routes and ready endpoints."),
        Opening(source=_SCALER, target="api-server", ports=(443,), why="It watches routes and the activator's pods."),
        Opening(source=_SCALER, target=ACTIVATOR, ports=(_ADMIN_PORT,), why="It counts requests that are under way."),
        Opening(source=_KEDA, target=_SCALER, ports=(_GRPC_PORT,), why="KEDA is told which models to wake."),
        Opening(source=SCRAPER, target=ACTIVATOR, ports=(_METRICS_PORT,), why="Metrics: requests, and how many wait."),
        Opening(source=SCRAPER, target=_SCALER, ports=(_METRICS_PORT,), why="Metrics: proxies that do not answer."),
    )


@dataclass(frozen=True, kw_only=True)
class ActivationArgs:
    """What scale to zero needs.

    Attributes:
        site: Where it is installed.
        autoscaling: ``Autoscaling.ready``: KEDA's definitions, and its webhook.
        mesh: ``Mesh.ready``: the activator is in the mesh.
    """

    site: Site
    autoscaling: Sequence[pulumi.Resource]
    mesh: Sequence[pulumi.Resource]


class Activation(pulumi.ComponentResource):
    """KEDA's HTTP add-on: proxies that hold requests, and the scaler that tells KEDA of them."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: ActivationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Activation", name, None, opts)
        site = args.site
        room = site.namespaces[NAMESPACE]
        asked: list[pulumi.Resource] = []
        if site.settings.mesh.enabled:
            # KEDA is outside of the mesh and has no identity in it. It learns here how many requests there are.
            asked.append(
                plaintext_port(
                    f"{name}-scaler",
                    namespace=NAMESPACE,
                    labels=_SCALER.labels,
                    ports=[_GRPC_PORT],
                    parent=self,
                    after=[*room, *args.mesh],
                )
            )
        proxies = release(
            f"{name}-release",
            _CHART,
            release_name="activation",
            namespace=NAMESPACE,
            values=values(site),
            parent=self,
            after=[*room, *args.autoscaling, *args.mesh, *asked],
        )
        budget = disruption_budget(f"{name}-scaler", _SCALER, site=site, parent=self, after=room)
        self.ready = (proxies, *budget)
        self.register_outputs({})


def disruption_budget(
    name: str, pods: Pods, *, site: Site, parent: pulumi.Resource, after: Sequence[pulumi.Resource]
) -> tuple[pulumi.Resource, ...]:
    """A budget for pods to which their chart gives none; only where there are several of them."""
    if not site.highly_available:
        return ()
    return (
        policy.PodDisruptionBudget(
            f"{name}-budget",
            metadata=meta.ObjectMetaArgs(name=name, namespace=pods.namespace),
            spec=policy.PodDisruptionBudgetSpecArgs(
                max_unavailable=1, selector=meta.LabelSelectorArgs(match_labels=dict(pods.labels))
            ),
            opts=pulumi.ResourceOptions(parent=parent, depends_on=list(after)),
        ),
    )


def values(site: Site) -> dict[str, Any]:
    """Values of the chart.

    Its operator is left out: it serves ``HTTPScaledObject``, which is on its way out, and for an ``InterceptorRoute``
    only writes that it has seen it. The chart limits CPU, and a default cannot be taken away; a core is more than they
    use.

    A proxy that must go hands on what it holds first, so it may take as long as the stack's cold start to leave.
    """
    several = site.highly_available
    settings = site.settings.serving
    waits = own_timeouts(site)
    return {
        "operator": {"replicas": 0},
        "logging": {part: {"format": "json"} for part in ("interceptor", "scaler")},
        "interceptor": {
            "pullPolicy": "IfNotPresent",  # the tag is a version
            "replicas": {"min": site.replicas, "max": max(site.replicas, settings.activation.max_replicas)},
            "scaledObject": {"pollingInterval": 15},
            # For routes that name no limits; ours do.
            "readinessTimeout": f"{waits.activation}s",
            "responseHeaderTimeout": f"{waits.answer}s",
            "shutdownDelay": f"{LEAVE_SECONDS}s",
            "drainTimeout": f"{waits.activator_drain}s",
            "terminationGracePeriodSeconds": waits.activator_grace,
            "pdb": {"enabled": several},
            **_placed(site, "interceptor"),
            "resources": _resources(cpu="50m", memory="96Mi", limit="512Mi"),
        },
        "scaler": {
            "pullPolicy": "IfNotPresent",
            "replicas": site.replicas,
            "pendingRequestsInterceptor": settings.activation.requests_per_proxy,
            **_placed(site, "scaler"),
            "resources": _resources(cpu="25m", memory="48Mi", limit="128Mi"),
        },
        # What the restricted level asks for beyond the chart's own values.
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "podSecurityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def own_timeouts(site: Site) -> Timeouts:
    """Timeouts of the stack's own cold start, for what all models share."""
    settings = site.settings.serving
    return timeouts(
        ColdStartBudget.of(settings.cold_start),
        answer_seconds=settings.answer_seconds,
        idle_seconds=settings.activation.idle_minutes * 60,
    )


def _placed(site: Site, component: str) -> dict[str, Any]:
    return {
        "nodeSelector": site.system_nodes,
        # The chart adds no selector.
        "topologySpreadConstraints": spread(_pods(component).labels) if site.highly_available else [],
    }


def _resources(*, cpu: str, memory: str, limit: str) -> dict[str, Any]:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": "1", "memory": limit}}


def hosts(name: str, namespace: str) -> tuple[str, ...]:
    """Names under which a model is called; the first is the one that we give out."""
    return (f"{name}.{namespace}.svc.cluster.local", f"{name}.{namespace}.svc", f"{name}.{namespace}")


def alias_target() -> str:
    """What a model's name points to: the activator, which knows the model by the name under which it is called."""
    return f"{SERVICE}.{NAMESPACE}.svc.cluster.local"


def route_of(*, name: str, namespace: str, target: str, concurrency: int, waits: Timeouts) -> dict[str, Any]:
    """What the activator does with requests for one model.

    Args:
        name: Name of the model.
        namespace: Its namespace.
        target: Service of its server, on port 80.
        concurrency: Requests under way for which one server is enough.
        waits: Timeouts of the model.
    """
    return {
        "target": {"service": target, "port": 80},
        "rules": [{"hosts": list(hosts(name, namespace))}],
        "scalingMetric": {"concurrency": {"targetValue": concurrency}},
        "timeouts": {
            "readiness": f"{waits.activation}s",
            "responseHeader": f"{waits.answer}s",
            "request": f"{waits.request}s",
        },
    }


def requests_trigger(route: str) -> dict[str, Any]:
    """Wakes a model at its first request, and keeps as many servers as its requests need."""
    return {"type": "external-push", "metadata": {"scalerAddress": _SCALER_ADDRESS, "interceptorRoute": route}}


def metric_trigger(url: str, query: str, per_server: float) -> dict[str, Any]:
    """Adds servers by what they report; it cannot wake a model, because nothing reports while it has none."""
    return {
        "type": "prometheus",
        "metadata": {"serverAddress": url, "query": query, "threshold": f"{per_server:g}", "activationThreshold": "0"},
    }


def scaled_object_of(
    *, target: str, fewest: int, most: int, triggers: Sequence[Mapping[str, Any]], waits: Timeouts
) -> dict[str, Any]:
    """How KEDA scales a Deployment.

    Args:
        target: Name of the Deployment.
        fewest: Replicas at least; 0 for scale to zero.
        most: Replicas at most.
        triggers: What they follow; the one that asks for most replicas counts.
        waits: Timeouts of the model.
    """
    return {
        "scaleTargetRef": {"name": target},
        "minReplicaCount": fewest,
        "maxReplicaCount": most,
        "cooldownPeriod": waits.cooldown,
        # A new model starts once, before anybody calls it: that it can is known when it is deployed.
        "initialCooldownPeriod": waits.cooldown,
        "advanced": {
            # KServe made the Deployment and deletes it; what it had before KEDA is nothing to go back to.
            "restoreToOriginalReplicaCount": False,
            "horizontalPodAutoscalerConfig": {
                "behavior": {
                    "scaleDown": {"stabilizationWindowSeconds": waits.scale_down_window},
                    "scaleUp": {
                        "policies": [
                            {"type": "Percent", "value": 100, "periodSeconds": waits.scale_up_period},
                            {"type": "Pods", "value": 1, "periodSeconds": waits.scale_up_period},
                        ]
                    },
                }
            },
        },
        "triggers": [dict(trigger) for trigger in triggers],
    }
