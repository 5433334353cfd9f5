"""Software of GPU nodes: what makes GPUs schedulable, labels nodes by them and measures them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi

from components.charts import release
from components.contract import GPU_MODEL_LABEL, GPU_TAINT, ROLE_LABEL, NodePool
from components.platform import gpu_counters
from components.platform.openings import SCRAPER, Opening, Pods
from components.platform.site import Site
from components.settings.nodes import GPU_ROLES
from components.settings.platform.gpus import GpuSettings

_NAMESPACE: Final = "gpu-system"
_GPU: Final = "nvidia.com/gpu"
_SHARED_ROLE: Final = "gpu-inference"
_EXCLUSIVE_ROLES: Final = tuple(role for role in GPU_ROLES if role != _SHARED_ROLE)

OPENINGS: tuple[Opening, ...] = (
    Opening(
        source=Pods(namespace=_NAMESPACE),
        target="api-server",
        ports=(443,),
        why="Nodes are labelled with what was found, and GPU metrics with the pods that hold the GPUs.",
    ),
    *(
        Opening(source=SCRAPER, target=Pods(namespace=_NAMESPACE, labels=labels), ports=(9400,), why="GPU metrics.")
        # The exporter's own chart, and the operator.
        for labels in ({"app.kubernetes.io/name": "dcgm-exporter"}, {"app": "nvidia-dcgm-exporter"})
    ),
)
"""What the GPU software needs to reach, and who reaches it."""


@dataclass(frozen=True, kw_only=True)
class GpusArgs:
    """What the GPU software needs.

    Attributes:
        site: Where it is installed.
    """

    site: Site


class Gpus(pulumi.ComponentResource):
    """The device plugin where the node image has driver and toolkit, else the GPU Operator (docs/decisions/0006)."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: GpusArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Gpus", name, None, opts)
        site, settings = args.site, args.site.settings.gpus
        cluster = site.foundation.cluster
        refuse_unknown_models(settings.time_slicing, cluster.pools)
        if not any(pool.role in GPU_ROLES for pool in cluster.pools) or cluster.gpu_software == "provided":
            self.ready = ()
        elif cluster.gpu_software == "operator":
            self.ready = (self._operator(name, site),)
        else:
            self.ready = self._plugins(name, site)
        self.register_outputs({})

    def _operator(self, name: str, site: Site) -> pulumi.Resource:
        return release(
            f"{name}-operator",
            "gpu-operator",
            release_name="gpu-operator",
            namespace=_NAMESPACE,
            values=operator_values(site),
            parent=self,
            after=site.namespaces[_NAMESPACE],
        )

    def _plugins(self, name: str, site: Site) -> tuple[pulumi.Resource, ...]:
        """One plugin for nodes whose GPUs belong to one pod each, and one for each model that is shared."""
        settings, after = site.settings.gpus, site.namespaces[_NAMESPACE]
        releases = [
            release(
                f"{name}-plugin",
                "nvidia-device-plugin",
                release_name="nvidia-device-plugin",
                namespace=_NAMESPACE,
                values=plugin_values(site),
                parent=self,
                after=after,
            )
        ]
        releases += [
            release(
                f"{name}-plugin-{model}",
                "nvidia-device-plugin",
                release_name=f"nvidia-device-plugin-{model}",
                namespace=_NAMESPACE,
                values=shared_plugin_values(settings, model, replicas),
                parent=self,
                # Node feature discovery, with its definitions, comes with the first release.
                after=(*after, releases[0]),
            )
            for model, replicas in settings.time_slicing.items()
        ]
        if settings.metrics:
            releases.append(
                release(
                    f"{name}-metrics",
                    "dcgm-exporter",
                    release_name="dcgm-exporter",
                    namespace=_NAMESPACE,
                    values=metrics_values(),
                    parent=self,
                    after=after,
                )
            )
        return tuple(releases)


def refuse_unknown_models(time_slicing: Mapping[str, int], pools: Sequence[NodePool]) -> None:
    """Refuse to share GPUs that no inference node has.

    Raises:
        pulumi.RunError: At preview; it names the models that there are.
    """
    known = {shape.gpu_model for pool in pools if pool.role == _SHARED_ROLE for shape in pool.shapes}
    if unknown := sorted(set(time_slicing) - known):
        there = ", ".join(sorted(known)) or "none"
        raise pulumi.RunError(
            f"platform.gpus.timeSlicing: must be models of the {_SHARED_ROLE} node groups ({there}); "
            f"got {', '.join(unknown)}"
        )


def plugin_values(site: Site) -> dict[str, Any]:
    """Values of the device plugin for GPUs that one pod holds alone, with the discovery that labels nodes."""
    settings = site.settings.gpus
    return {
        **_plugin(),
        "affinity": _on(*exclusive_nodes(tuple(settings.time_slicing))),
        "migStrategy": settings.mig,
        "nfd": {"enabled": True, **discovery_values(site)},
    }


def shared_plugin_values(settings: GpuSettings, model: str, replicas: int) -> dict[str, Any]:
    """Values of the device plugin for inference nodes of ``model``, each of whose GPUs ``replicas`` pods share."""
    config = {
        "version": "v1",
        "flags": {"migStrategy": settings.mig},
        "sharing": {
            "timeSlicing": {
                # Two shares may be of the same GPU: a pod that asks for two would not get twice as much.
                "failRequestsGreaterThanOne": True,
                "resources": [{"name": _GPU, "replicas": replicas}],
            }
        },
    }
    return {
        **_plugin(),
        "affinity": _on([_in(ROLE_LABEL, _SHARED_ROLE), _in(GPU_MODEL_LABEL, model)]),
        # Said outside the file as well: what the chart cannot see there makes it add a capability.
        "migStrategy": settings.mig,
        "deviceListStrategy": "envvar",
        "config": {"map": {"shared": json.dumps(config, sort_keys=True)}, "default": "shared"},  # JSON is YAML
        "nfd": {"enabled": False},
    }


def _plugin() -> dict[str, Any]:
    # The same for the plugin and for feature discovery. They hold a list of GPUs; NVML maps more on nodes with eight.
    return {
        "gfd": {"enabled": True},
        "resources": {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "256Mi"}},
    }


def discovery_values(site: Site) -> dict[str, Any]:
    """Values of node feature discovery: its worker on GPU nodes, the rest on system nodes.

    One master is enough: while it is away labels are late, and nothing stops. Memory: it holds one object a node.
    """
    return {
        # A job at removal that takes the labels off. They go with the nodes, and a job without a node would stay.
        "postDeleteCleanup": False,
        "priorityClassName": "platform-critical",
        "master": {
            "nodeSelector": site.system_nodes,
            "resources": {"requests": {"cpu": "25m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        },
        "gc": {
            "nodeSelector": site.system_nodes,
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
        },
        "worker": {
            "affinity": _on([_in(ROLE_LABEL, *GPU_ROLES)]),
            "tolerations": [_TOLERATION],
            "resources": {"requests": {"cpu": "5m", "memory": "48Mi"}, "limits": {"memory": "256Mi"}},
        },
    }


def metrics_values() -> dict[str, Any]:
    """Values of the DCGM exporter."""
    return {
        "affinity": _on([_in(ROLE_LABEL, *GPU_ROLES)]),
        "tolerations": [_TOLERATION],
        # The chart's 512 MiB are too little on nodes with eight GPUs (pytorch/ci-infra#1011). Its CPU limit cannot be
        # taken away; at 200m a scrape of eight GPUs is late.
        "resources": {
            "requests": {"cpu": "50m", "memory": "128Mi"},
            "limits": {"cpu": "500m", "memory": "1Gi"},
        },
        "serviceMonitor": {"enabled": False},
        "kubernetes": {"enablePodLabels": True, "podLabelAllowlistRegex": list(_POD_LABELS)},
        "customMetrics": gpu_counters.csv(),
    }


def operator_values(site: Site) -> dict[str, Any]:
    """Values of the GPU Operator, which brings driver, toolkit, plugin, discovery and exporter by itself.

    Shared GPUs: a node takes its configuration by the label ``nvidia.com/device-plugin.config``, ``shared-<model>``;
    a node without the label shares nothing.
    """
    settings = site.settings.gpus
    configurations = {
        f"shared-{model}": shared_plugin_values(settings, model, replicas)["config"]["map"]["shared"]
        for model, replicas in settings.time_slicing.items()
    }
    exclusive = json.dumps({"version": "v1", "flags": {"migStrategy": settings.mig}}, sort_keys=True)
    shared = {
        "config": {
            "name": "device-plugin",
            "create": True,
            "default": "exclusive",
            "data": {"exclusive": exclusive, **configurations},
        }
    }
    return {
        "operator": {
            "nodeSelector": site.system_nodes,
            # The job that renews definitions before an upgrade runs after Helm has checked the new objects against the
            # old definitions. They are applied by hand before the version is moved (docs/decisions/0006).
            "upgradeCRD": False,
            # The chart's CPU limit cannot be taken away.
            "resources": {"requests": {"cpu": "50m", "memory": "100Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"}},
        },
        "mig": {"strategy": "single" if settings.mig == "none" else settings.mig},
        "migManager": {"enabled": settings.mig != "none"},
        "devicePlugin": shared if configurations else {},
        "dcgmExporter": {
            "enabled": settings.metrics,
            "serviceMonitor": {"enabled": False},
            "enablePodLabels": True,
            "podLabelAllowlistRegex": list(_POD_LABELS),
            "config": {"name": "dcgm-counters", "create": True, "data": gpu_counters.csv()},
            "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        },
        "node-feature-discovery": discovery_values(site),
    }


# What tells whose GPU it is. Every further label would multiply the series.
_POD_LABELS: Final = (
    r"^app\.kubernetes\.io/(name|instance)$",
    r"^llmops/.*$",
    r"^volcano\.sh/(job-name|queue-name)$",
    r"^serving\.kserve\.io/inferenceservice$",
)

_TOLERATION: Final[Mapping[str, str]] = {"key": GPU_TAINT.key, "operator": "Exists", "effect": GPU_TAINT.effect}


def exclusive_nodes(shared_models: Sequence[str]) -> list[list[dict[str, Any]]]:
    """GPU nodes but the inference nodes of ``shared_models``: alternatives, each a list of conditions.

    By the labels that nodes have from the start, and not by those that discovery adds: GPUs are there a minute earlier.
    """
    if not shared_models:
        return [[_in(ROLE_LABEL, *GPU_ROLES)]]
    others = {"key": GPU_MODEL_LABEL, "operator": "NotIn", "values": sorted(shared_models)}
    return [[_in(ROLE_LABEL, *_EXCLUSIVE_ROLES)], [_in(ROLE_LABEL, _SHARED_ROLE), others]]


def _in(label: str, *wanted: str) -> dict[str, Any]:
    return {"key": label, "operator": "In", "values": list(wanted)}


def _on(*alternatives: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Node affinity to any of ``alternatives``, of which all conditions hold; replaces the whole list of a chart."""
    return {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": list(conditions)} for conditions in alternatives]
            }
        }
    }
