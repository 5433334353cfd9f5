"""KServe: declared models become servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.apps import v1 as apps
from pulumi_kubernetes.helm import v3 as helm
from pulumi_kubernetes.meta import v1 as meta

from components.charts import release
from components.platform import activation, telemetry
from components.platform.activation import disruption_budget
from components.platform.openings import SCRAPER, Namespace, Opening, Pods
from components.platform.placement import spread
from components.platform.runtimes import API, RUNTIMES, runtime_of
from components.platform.site import Site

NAMESPACE: Final[Namespace] = "kserve"

_CONTROLLER: Final = "kserve-controller-manager"
_PODS: Final = Pods(namespace=NAMESPACE, labels={"control-plane": _CONTROLLER})
_WEBHOOK_PORT: Final = 9443
_METRICS_PORT: Final = 8443


def openings(site: Site) -> tuple[Opening, ...]:
    """What KServe and the activator reach, and who reaches them."""
    return (
        Opening(source=_PODS, target="api-server", ports=(443,), why="It makes Deployments and services of models."),
        Opening(
            source="control-plane",
            target=_PODS,
            ports=(_WEBHOOK_PORT,),
            why="Models are validated, and their pods completed, before they are stored.",
        ),
        Opening(source=SCRAPER, target=_PODS, ports=(_METRICS_PORT,), why="Metrics: models that could not be made."),
        *activation.openings(site),
    )


@dataclass(frozen=True, kw_only=True)
class ServingArgs:
    """What serving needs.

    Attributes:
        site: Where it is installed.
        certificates: ``CertManager.ready``: it signs the webhooks' certificate.
    """

    site: Site
    certificates: Sequence[pulumi.Resource]


class Serving(pulumi.ComponentResource):
    """KServe's definitions and controller, and the runtimes that models name."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: ServingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Serving", name, None, opts)
        site = args.site
        room = site.namespaces[NAMESPACE]
        definitions = release(
            f"{name}-definitions",
            "kserve-crd",
            release_name="kserve-crd",
            namespace=NAMESPACE,
            values={},
            parent=self,
            after=room,
        )
        controller = release(
            f"{name}-controller",
            "kserve-resources",
            release_name="kserve",
            namespace=NAMESPACE,
            values=values(site),
            parent=self,
            after=[*room, definitions, *args.certificates],
        )
        second = self._second_replica(name, site, controller)
        # Judged by the controller's webhook.
        child = pulumi.ResourceOptions(parent=self, depends_on=[controller])
        runtimes = tuple(
            CustomResource(
                f"{name}-{title}",
                api_version=API,
                kind="ClusterServingRuntime",
                metadata=meta.ObjectMetaArgs(name=runtime.name),
                spec=runtime_of(runtime, traced=telemetry.traced(site)),
                opts=child,
            )
            for title, runtime in RUNTIMES.items()
        )
        self.ready = (controller, *second, *runtimes)
        self.register_outputs({})

    def _second_replica(self, name: str, site: Site, controller: helm.Release) -> tuple[pulumi.Resource, ...]:
        """A second controller: its webhook completes the pods of models, and without it no model can wake.

        The chart has no value for it. Its Deployment says nothing of replicas, so nobody else sets them; the
        controllers elect a leader, and each answers webhooks.
        """
        if not site.highly_available:
            return ()
        patch = apps.DeploymentPatch(
            f"{name}-replicas",
            # Unknown until the chart is there: a preview could not try a patch on a Deployment that does not exist.
            metadata=meta.ObjectMetaPatchArgs(name=_CONTROLLER, namespace=controller.id.apply(lambda _: NAMESPACE)),
            spec=apps.DeploymentSpecPatchArgs(replicas=site.replicas),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[controller]),
        )
        return (patch, *disruption_budget(_CONTROLLER, _PODS, site=site, parent=self, after=site.namespaces[NAMESPACE]))


def values(site: Site) -> dict[str, Any]:
    """Values of the chart.

    No ingress, no virtual service: the model gateway calls the servers inside of the cluster. A model's address is
    ``<model>.<namespace>.svc.cluster.local``, under which the activator answers while it stands in for it.

    The local model cache stays off: it fills the disks of nodes that are there, and here GPU nodes come from zero with
    empty disks; its agent would also write to a directory of the node.
    """
    return {
        "kserve": {
            "controller": {
                "deploymentMode": "Standard",
                "imagePullPolicy": "IfNotPresent",  # the tag is a version
                "nodeSelector": site.system_nodes,
                "topologySpreadConstraints": spread(_PODS.labels) if site.highly_available else [],
                # The chart limits CPU, and a default cannot be taken away; half a core is more than it uses.
                "resources": _resources(cpu="50m", memory="128Mi", cpu_limit="500m", memory_limit="512Mi"),
                "rbacProxy": {"resources": _resources(cpu="10m", memory="32Mi", cpu_limit="100m", memory_limit="96Mi")},
                "gateway": {
                    "domain": "svc.cluster.local",
                    "domainTemplate": "{{ .Name }}.{{ .Namespace }}.{{ .IngressDomain }}",
                    "disableIngressCreation": True,
                    "disableIstioVirtualHost": True,
                },
            },
            "security": {"autoMountServiceAccountToken": False},
            # What fetches weights. It has ended before the server starts and has the server's room to itself; with one
            # core it would be slower than the network.
            "storage": {
                "enableModelcar": False,  # weights as a container beside the server: it shares their process space
                "resources": _resources(cpu="1", memory="1Gi", cpu_limit="4", memory_limit="4Gi"),
            },
            # A model that names no limit of CPU has none: with the chart's one core, its request would be above it.
            "inferenceservice": {"resources": {"limits": {"cpu": ""}}},
        }
    }


def _resources(*, cpu: str, memory: str, cpu_limit: str, memory_limit: str) -> dict[str, Any]:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu_limit, "memory": memory_limit}}
