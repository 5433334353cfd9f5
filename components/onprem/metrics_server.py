"""metrics-server: what containers use right now, for autoscalers and ``kubectl top``; a cloud's cluster brings it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes import core
from pulumi_kubernetes.meta import v1 as meta

from components.charts import release
from components.contract import ROLE_LABEL
from components.onprem.authority import Authority
from components.onprem.names import METRICS_SERVER, OPERATORS
from components.onprem.rooms import Rooms
from components.settings.onprem import MetricsServerSettings

_TLS_SECRET: Final = "metrics-server-tls"
_KUBELET_CA: Final = "kubelet-ca"
_KUBELET_CA_PATH: Final = "/etc/llmops-kubelet-ca"
_CA_FILE: Final = "ca.crt"


@dataclass(frozen=True, kw_only=True)
class MetricsServerArgs:
    """What metrics-server needs from its surroundings.

    Attributes:
        rooms: Namespaces.
        authority: Signs its certificate; the API server asks nobody whom it does not know.
        settings: How it knows kubelets.
        highly_available: Two replicas on different nodes: without an answer every autoscaler stands still.
    """

    rooms: Rooms
    authority: Authority
    settings: MetricsServerSettings
    highly_available: bool


class MetricsServer(pulumi.ComponentResource):
    """One release; with it the API ``metrics.k8s.io`` comes and goes."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: MetricsServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:onprem:MetricsServer", name, None, opts)
        namespace = args.rooms.names[OPERATORS]
        service = f"{METRICS_SERVER}.{OPERATORS}"
        certificate = args.authority.issue(
            name,
            namespace=namespace,
            secret_name=_TLS_SECRET,
            hosts=[f"{service}.svc", f"{service}.svc.cluster.local", service],
            parent=self,
        )
        needed: list[pulumi.Resource] = [*args.rooms.ready[OPERATORS], certificate]
        if args.settings.kubelet_ca:
            needed.append(
                core.v1.ConfigMap(
                    f"{name}-kubelet-ca",
                    metadata=meta.ObjectMetaArgs(name=_KUBELET_CA, namespace=namespace),
                    data={_CA_FILE: args.settings.kubelet_ca},
                    opts=pulumi.ResourceOptions(parent=self),
                )
            )
        server = release(
            f"{name}-release",
            "metrics-server",
            release_name=METRICS_SERVER,
            namespace=OPERATORS,
            values=values(args),
            parent=self,
            after=needed,  # the Secret and the ConfigMap that its pods mount
        )
        self.ready = (server,)
        self.register_outputs({})


def values(args: MetricsServerArgs) -> dict[str, Any]:
    """Values of the chart. It reads its certificate anew by itself when that is renewed."""
    chosen: dict[str, Any] = {
        "apiService": {"insecureSkipTLSVerify": False, "caBundle": args.authority.certificate},
        # Without the look-up, which would put the server's own certificate in the place of the authority's.
        "tls": {"type": "existingSecret", "existingSecret": {"name": _TLS_SECRET, "lookup": False}},
        "args": kubelet_arguments(args.settings),
        "replicas": 2 if args.highly_available else 1,
        "podDisruptionBudget": {"enabled": args.highly_available, "maxUnavailable": 1},
        # The chart's requests are for a hundred nodes (its README, "Scaling"); it sets no limit.
        "resources": {"requests": {"cpu": "100m", "memory": "200Mi"}, "limits": {"memory": "512Mi"}},
        "nodeSelector": {ROLE_LABEL: "system"},
    }
    if args.highly_available:
        chosen["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app.kubernetes.io/name": METRICS_SERVER}},
            }
        ]
        # One after the other: a third has no node of its own where there are two.
        chosen["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    if args.settings.kubelet_ca:
        chosen["extraVolumes"] = [{"name": _KUBELET_CA, "configMap": {"name": _KUBELET_CA}}]
        chosen["extraVolumeMounts"] = [{"name": _KUBELET_CA, "mountPath": _KUBELET_CA_PATH, "readOnly": True}]
    return chosen


def kubelet_arguments(settings: MetricsServerSettings) -> list[str]:
    """How it knows that a kubelet is one; without an argument the cluster's own authority must have signed for it."""
    if settings.trust_any_kubelet:
        return ["--kubelet-insecure-tls"]
    return [f"--kubelet-certificate-authority={_KUBELET_CA_PATH}/{_CA_FILE}"] if settings.kubelet_ca else []
