"""kube-state-metrics: which objects it looks at, and which of their labels become labels of series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from components.contract import GPU_MODEL_LABEL, ROLE_LABEL
from components.platform.site import Site

# Not Secrets and ConfigMaps: to list them is to read them. Not what no rule and no dashboard asks for.
_COLLECTORS: Final = (
    "cronjobs",
    "daemonsets",
    "deployments",
    "horizontalpodautoscalers",
    "jobs",
    "namespaces",
    "nodes",
    "persistentvolumeclaims",
    "persistentvolumes",
    "poddisruptionbudgets",
    "pods",
    "replicasets",
    "resourcequotas",
    "statefulsets",
    "storageclasses",
)

# Labels of objects, by kind: each is a label of one series of each object.
_LABELS: Final = {
    "deployments": ("serving.kserve.io/inferenceservice", "llmops/model", "llmops/team"),
    "namespaces": ("llmops/owner", "llmops/team", "llmops/cost-center"),
    "nodes": (
        ROLE_LABEL,
        GPU_MODEL_LABEL,
        "llmops/node-group",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone",
        "eks.amazonaws.com/capacityType",
    ),
    "pods": (
        "app.kubernetes.io/name",
        "serving.kserve.io/inferenceservice",
        "llmops/model",
        "llmops/model-version",
        "llmops/team",
        "volcano.sh/queue-name",
        "jobset.sigs.k8s.io/jobset-name",
        "training.kubeflow.org/job-name",
        "workflows.argoproj.io/workflow",
    ),
}


@dataclass(frozen=True, kw_only=True)
class CustomKind:
    """A kind whose controller tells nothing of its objects.

    Attributes:
        group: API group.
        version: Its version.
        kind: Name of the kind.
        plural: Its name in URLs.
        title: Label with an object's name, and beginning of the series: ``kube_<title>_status_condition``.
    """

    group: str
    version: str
    kind: str
    plural: str
    title: str

    @property
    def config(self) -> dict[str, Any]:
        """What is read of its objects: when they were made, and each of their conditions, 1 for true, else 0."""
        return {
            "groupVersionKind": {"group": self.group, "version": self.version, "kind": self.kind},
            "resourcePlural": self.plural,
            "metricNamePrefix": f"kube_{self.title}",
            "labelsFromPath": {"namespace": ["metadata", "namespace"], self.title: ["metadata", "name"]},
            "metrics": [
                {
                    "name": "created",
                    "help": f"When the {self.kind} was made.",
                    "each": {"type": "Gauge", "gauge": {"path": ["metadata", "creationTimestamp"]}},
                },
                {
                    "name": "status_condition",
                    "help": f"Conditions of the {self.kind}.",
                    "each": {
                        "type": "Gauge",
                        "gauge": {
                            "path": ["status", "conditions"],
                            "labelsFromPath": {"condition": ["type"], "reason": ["reason"]},
                            "valueFrom": ["status"],
                        },
                    },
                },
            ],
        }

    @property
    def rule(self) -> dict[str, Any]:
        """The right to look at its objects."""
        return {"apiGroups": [self.group], "resources": [self.plural], "verbs": ["list", "watch"]}


_MODELS: Final = CustomKind(
    group="serving.kserve.io",
    version="v1beta1",
    kind="InferenceService",
    plural="inferenceservices",
    title="inferenceservice",
)
_TRAINING_RUNS: Final = CustomKind(
    group="trainer.kubeflow.org", version="v1alpha1", kind="TrainJob", plural="trainjobs", title="trainjob"
)


def custom_kinds(site: Site) -> tuple[CustomKind, ...]:
    """Kinds that are looked at; the others' controllers have metrics of their objects."""
    settings = site.settings
    return (
        *((_MODELS,) if settings.serving.enabled else ()),
        *((_TRAINING_RUNS,) if settings.training.enabled else ()),
    )


def values(site: Site) -> dict[str, Any]:
    """Values of the subchart. Memory: it holds every object that it looks at; 250,000 series take about 0.4 GiB."""
    kinds = custom_kinds(site)
    custom = {
        "customResourceState": {
            "enabled": True,
            "config": {"kind": "CustomResourceStateMetrics", "spec": {"resources": [kind.config for kind in kinds]}},
        },
        "rbac": {"extraRules": [kind.rule for kind in kinds]},
    }
    return {
        "collectors": list(_COLLECTORS),
        "metricLabelsAllowlist": [f"{kind}=[{','.join(labels)}]" for kind, labels in sorted(_LABELS.items())],
        **(custom if kinds else {}),
        "selfMonitor": {"enabled": True},  # opens the port; who reads is declared elsewhere
        "prometheus": {"monitor": {"enabled": False}},
        "nodeSelector": site.system_nodes,
        "priorityClassName": "platform-critical",
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
    }
