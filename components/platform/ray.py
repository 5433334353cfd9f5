"""Ray: the operator, the identities of its pods, and the standing cluster for data processing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from components.capacity import Request
from components.charts import release
from components.contract import Grant, ObjectGrant
from components.platform.experiments import ARTIFACTS
from components.platform.openings import SCRAPER, Namespace, Opening, Pods, team_namespace
from components.platform.ray_jobs import (
    API,
    AUTOSCALER,
    HEAD,
    HEAD_ACCOUNT,
    WORKER_ACCOUNT,
    Place,
    Workers,
    cluster_spec,
    labels,
)
from components.platform.site import Site
from components.settings.platform.ray import RaySettings

CLUSTER: Final = "ray"
"""Name of the standing cluster; its service is ``ray-head-svc``."""

# Beside people's code the operator would be exposed: its service account may read secrets and start pods in every
# namespace that it watches.
_OPERATOR_NAMESPACE: Final[Namespace] = "mlops-system"
_NAMESPACE: Final[Namespace] = "mlops-data"
_OPERATOR = Pods(namespace=_OPERATOR_NAMESPACE, labels={"app.kubernetes.io/name": "kuberay-operator"})
_HEAD_LABELS: Final = {"ray.io/node-type": "head"}
_DASHBOARD_PORT: Final = 8265
_METRICS_PORT: Final = 8080

GRANTS: Final[tuple[Grant, ...]] = (
    ObjectGrant(bucket="data", access="read-write"),
    ObjectGrant(bucket="models", access="read"),  # embeddings and evaluation are computed with registered models
    ARTIFACTS,  # MLflow's client uploads artifacts by itself
)
"""What code on workers in ``mlops-data`` may do."""


def openings(site: Site) -> tuple[Opening, ...]:
    """What the operator reaches, and who reaches it.

    Its way to the API server, and the ways between pods of a cluster, are those of their namespaces.
    """
    return (
        *(
            Opening(
                source=_OPERATOR,
                target=Pods(namespace=namespace, labels=_HEAD_LABELS),
                ports=(_DASHBOARD_PORT,),
                why="It asks the head how a job is doing.",
            )
            for namespace in namespaces(site)
        ),
        Opening(source=SCRAPER, target=_OPERATOR, ports=(_METRICS_PORT,), why="Metrics: clusters that do not start."),
    )


@dataclass(frozen=True, kw_only=True)
class RayArgs:
    """What Ray needs.

    Attributes:
        site: Where it is installed.
        scheduling_ready: ``Scheduling.ready``: the operator looks for the definition of gangs when it starts.
        team_namespaces: The teams' namespaces.
    """

    site: Site
    scheduling_ready: Sequence[pulumi.Resource]
    team_namespaces: Sequence[pulumi.Resource]


class Ray(pulumi.ComponentResource):
    """KubeRay, and Ray in the data namespace."""

    ready: tuple[pulumi.Resource, ...]
    """What a RayJob in ``mlops-data`` comes after."""

    def __init__(self, name: str, args: RayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Ray", name, None, opts)
        site, settings = args.site, args.site.settings.ray
        operator = release(
            f"{name}-operator",
            "kuberay-operator",
            release_name="kuberay-operator",
            namespace=_OPERATOR_NAMESPACE,
            values=values(site),
            parent=self,
            # It has a role in every namespace that it watches.
            after=(
                *site.namespaces[_OPERATOR_NAMESPACE],
                *site.namespaces[_NAMESPACE],
                *args.team_namespaces,
                *args.scheduling_ready,
            ),
        )
        accounts = self._accounts(name, site)
        self.ready = (operator, *accounts)
        if settings.standing_cluster:
            place = Place(queue=queue_of(site))
            cluster = CustomResource(
                f"{name}-cluster",
                api_version=API,
                kind="RayCluster",
                metadata=meta.ObjectMetaArgs(
                    name=CLUSTER,
                    namespace=_NAMESPACE,
                    labels=labels(place),
                    # The autoscaler writes into the list of groups and then owns it; a change is made all the same.
                    annotations={"pulumi.com/patchForce": "true"},
                ),
                spec=cluster_spec(workers(settings), place),
                # The definition comes with the release; on destroy the operator takes the pods away.
                opts=pulumi.ResourceOptions(parent=self, depends_on=[operator, *accounts]),
            )
            self.ready = (*self.ready, cluster)
        self.register_outputs({})

    def _accounts(self, name: str, site: Site) -> tuple[pulumi.Resource, ...]:
        identity = site.foundation.identity.grant(
            f"{name}-worker",
            namespace=_NAMESPACE,
            service_account=WORKER_ACCOUNT,
            grants=GRANTS,
            parent=self,
        )
        after = list(site.namespaces[_NAMESPACE])
        head = core.ServiceAccount(
            f"{name}-head",
            metadata=meta.ObjectMetaArgs(name=HEAD_ACCOUNT, namespace=_NAMESPACE),
            opts=pulumi.ResourceOptions(parent=self, depends_on=after),
        )
        worker = core.ServiceAccount(
            f"{name}-worker",
            metadata=meta.ObjectMetaArgs(
                name=WORKER_ACCOUNT, namespace=_NAMESPACE, annotations=dict(identity.annotations)
            ),
            automount_service_account_token=False,
            # A pod that starts before its role may do anything keeps failing with credentials that it has cached.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*after, *identity.ready]),
        )
        return (head, worker)


def namespaces(site: Site) -> tuple[str, ...]:
    """Namespaces in which clusters and jobs are looked after."""
    return (_NAMESPACE, *(team_namespace(team.name) for team in site.teams))


def queue_of(site: Site) -> str | None:
    """Volcano's queue of the data namespace."""
    return "data" if site.settings.scheduling.enabled else None


def workers(settings: RaySettings) -> Workers:
    """Workers of the standing cluster: none while there is nothing to do."""
    wanted = settings.workers
    return Workers(
        most=wanted.max_count,
        vcpu=wanted.vcpu,
        memory_gib=wanted.memory_gib,
        disk_gib=wanted.disk_gib,
        idle_seconds=wanted.idle_seconds,
    )


def requests(settings: RaySettings) -> tuple[Request, ...]:
    """What the standing cluster takes of its namespace's row when all workers are there."""
    if not (settings.enabled and settings.standing_cluster):
        return ()
    return (HEAD, AUTOSCALER, workers(settings).requests)


def values(site: Site) -> dict[str, Any]:
    """Values of the operator's chart.

    One replica, whatever the site: the chart replaces it by stopping the old one first, and while it is away clusters
    and jobs run on with the workers that they have.
    """
    return {
        # Roles in the namespaces that it watches, instead of one for secrets and pods everywhere.
        "singleNamespaceInstall": True,
        "watchNamespace": list(namespaces(site)),
        # With Volcano every cluster and job is a gang.
        "batchScheduler": {"name": "volcano"} if site.settings.scheduling.enabled else {},
        "nodeSelector": site.system_nodes,
        "priorityClassName": "platform-critical",
        "resources": {
            "requests": {"cpu": "50m", "memory": "96Mi"},
            # The chart limits CPU to 0.1, which slows it down at a hundred pods; a value can be raised, not removed.
            "limits": {"cpu": "1", "memory": "512Mi"},
        },
    }
