"""KEDA: pods follow metrics, down to none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pulumi

from components.charts import release
from components.platform.openings import SCRAPER, Opening, Pods
from components.platform.placement import spread
from components.platform.site import Site

_NAMESPACE: Final = "keda"
# Name of each Deployment, which is also its pods' label `app`.
_OPERATOR: Final = "keda-operator"
_METRICS: Final = "keda-operator-metrics-apiserver"
_WEBHOOKS: Final = "keda-admission-webhooks"


def _pods(app: str) -> Pods:
    return Pods(namespace=_NAMESPACE, labels={"app": app})


OPENINGS: tuple[Opening, ...] = (
    Opening(
        source=Pods(namespace=_NAMESPACE),
        target="api-server",
        ports=(443,),
        why="All three watch their objects; the operator writes autoscalers and sets replicas from and to none.",
    ),
    Opening(
        source="control-plane",
        target=_pods(_METRICS),
        ports=(6443,),
        why="The aggregated API external.metrics.k8s.io, which the horizontal autoscaler reads.",
    ),
    Opening(
        source="control-plane",
        target=_pods(_WEBHOOKS),
        ports=(9443,),
        why="The API server asks before it stores a ScaledObject.",
    ),
    Opening(source=_pods(_METRICS), target=_pods(_OPERATOR), ports=(9666,), why="The operator holds the values."),
    Opening(source=_pods(_OPERATOR), target=SCRAPER, ports=(9090,), why="Triggers are queries to Prometheus."),
    Opening(source=SCRAPER, target=Pods(namespace=_NAMESPACE), ports=(8080,), why="Metrics: failing triggers."),
)
"""What KEDA needs to reach, and who reaches it."""


@dataclass(frozen=True, kw_only=True)
class AutoscalingArgs:
    """What KEDA needs.

    Attributes:
        site: Where it is installed.
    """

    site: Site


class Autoscaling(pulumi.ComponentResource):
    """KEDA; it owns the API of external metrics, of which a cluster has one."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: AutoscalingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Autoscaling", name, None, opts)
        keda = release(
            f"{name}-release",
            "keda",
            release_name="keda",
            namespace=_NAMESPACE,
            values=values(args.site),
            parent=self,
            after=args.site.namespaces[_NAMESPACE],
        )
        self.ready = (keda,)
        self.register_outputs({})


def values(site: Site) -> dict[str, Any]:
    """Values of the chart.

    Certificates are left to the operator, which makes and renews its own: so KEDA waits for no other system. The
    webhook keeps the chart's policy to let through what it cannot judge: scaling must be mendable while it is down. No
    cloud identity: no trigger reads a cloud's queue so far.

    Memory: the operator holds every ScaledObject, Deployment and Secret of its namespace. The chart limits CPU, and a
    default cannot be taken away; one core is far more than any of them uses.
    """
    several = site.highly_available
    kinds = [
        {"apiGroup": group, "kind": plural}
        for plural, _, group in (kind.partition(".") for kind in site.settings.autoscaling.scaled_kinds)
    ]
    return {
        "image": {"pullPolicy": "IfNotPresent"},  # the tag is a version
        "logging": {
            "operator": {"format": "json"},
            "metricServer": {"zapEncoder": "json"},
            "webhooks": {"format": "json"},
        },
        "operator": {"replicaCount": site.replicas},
        "metricsServer": {"replicaCount": site.replicas},
        "webhooks": {"replicaCount": site.replicas},
        "podDisruptionBudget": (
            {part: {"maxUnavailable": 1} for part in ("operator", "metricServer", "webhooks")} if several else {}
        ),
        "topologySpreadConstraints": (
            {
                "operator": spread({"app": _OPERATOR}),
                "metricsServer": spread({"app": _METRICS}),
                "webhooks": spread({"app": _WEBHOOKS}),
            }
            if several
            else {}
        ),
        "nodeSelector": site.system_nodes,
        "priorityClassName": "platform-critical",
        "enableServiceLinks": False,
        # Not every Secret of the cluster: credentials of triggers stand in KEDA's own namespace.
        "permissions": {"operator": {"restrict": {"secret": True}}, "metricServer": {"restrict": {"secret": True}}},
        # The chart's default is any kind of any group. Deployments and StatefulSets are always there.
        "rbac": {"enabledCustomScaledRefKinds": bool(kinds), **({"scaledRefKinds": kinds} if kinds else {})},
        "prometheus": {part: {"enabled": True} for part in ("operator", "metricServer", "webhooks")},
        "resources": {
            "operator": _resources(cpu="50m", memory="96Mi", limit="512Mi"),
            "metricServer": _resources(cpu="25m", memory="64Mi", limit="256Mi"),
            "webhooks": _resources(cpu="10m", memory="32Mi", limit="128Mi"),
        },
    }


def _resources(*, cpu: str, memory: str, limit: str) -> dict[str, Any]:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": limit}}
