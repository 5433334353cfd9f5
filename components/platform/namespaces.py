"""Namespaces: what each is for, and everything that bounds what runs in it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, cast

import pulumi
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta
from pulumi_kubernetes.networking import v1 as networking

from components.contract import Foundation
from components.platform.network_policies import PolicySpec, network_policies
from components.platform.openings import Namespace, Opening, common_openings, team_namespace
from components.platform.priorities import priority_classes
from components.platform.quotas import Allowance, allowances, limit_range_spec, quota_specs, together
from components.platform.rbac import bind, bindings, roles
from components.settings.platform.isolation import IsolationSettings
from components.settings.teams import TeamSettings
from components.settings.workloads import WorkloadSettings

Level = Literal["restricted", "baseline", "privileged"]
"""Levels of the Pod Security Standards."""


@dataclass(frozen=True, kw_only=True)
class PodSecurity:
    """What the pods of a namespace may ask of their node.

    Attributes:
        level: The least strict that is admitted.
        why: What needs more than ``restricted``.
    """

    level: Level
    why: str


@dataclass(frozen=True, kw_only=True)
class Room:
    """One namespace.

    Attributes:
        purpose: What runs there.
        mesh: Whether its pods are in the mesh.
        security: Where something needs more than ``restricted``.
    """

    purpose: str
    mesh: bool
    security: PodSecurity | None = None


# Systems that serve webhooks or aggregated APIs stay outside the mesh: it would refuse the API server, which calls them
# and has no identity in the mesh. They speak TLS of their own. The gateway is a proxy of the mesh by itself.
ROOMS: Final[Mapping[Namespace, Room]] = {
    "argo": Room(purpose="workflows", mesh=True),
    "argocd": Room(purpose="delivery from Git", mesh=True),
    "cert-manager": Room(purpose="certificates", mesh=False),
    "external-secrets": Room(purpose="credentials from the cloud's secret store", mesh=False),
    "gpu-system": Room(
        purpose="GPU devices and their metrics",
        mesh=False,
        security=PodSecurity(
            level="privileged",
            why="the device plugin registers with the kubelet in a directory of the node; the exporter reads devices",
        ),
    ),
    # The gateway's own pods say that they are not: each is a proxy of the mesh by itself.
    "istio-ingress": Room(purpose="the gateway, through which everything from outside comes", mesh=True),
    "istio-system": Room(
        purpose="the mesh's control plane and its agents on every node",
        mesh=False,
        security=PodSecurity(
            level="privileged",
            why="the CNI agent writes to the node's CNI directories; ztunnel opens sockets inside other pods' networks",
        ),
    ),
    "keda": Room(purpose="autoscaling on events", mesh=False),
    "kserve": Room(purpose="controllers of models", mesh=False),
    "kubeflow": Room(purpose="pipelines and the operator of training jobs", mesh=True),
    "kubeflow-system": Room(purpose="the operator of training runs", mesh=False),
    "mlops-data": Room(purpose="data processing and the vector database", mesh=True),
    "mlops-serving": Room(purpose="models and the model gateway", mesh=True),
    "mlops-system": Room(purpose="experiment tracking and the model registry", mesh=True),
    "mlops-training": Room(purpose="training jobs", mesh=True),
    "monitoring": Room(
        purpose="metrics, logs, traces, dashboards, alerts",
        mesh=True,
        security=PodSecurity(
            level="privileged",
            why="the node exporter reads the node's /proc and /sys; the log collector reads the node's log files",
        ),
    ),
    "velero": Room(purpose="backups", mesh=False),
    "volcano-system": Room(purpose="batch scheduling", mesh=False),
}

MESH_LABEL: Final = "istio.io/dataplane-mode"
_TEAM: Final = Room(purpose="a team's jobs and models", mesh=True)


@dataclass(frozen=True, kw_only=True)
class NamespacesArgs:
    """What the namespaces need.

    Attributes:
        foundation: What the platform stands on.
        teams: Who uses it; each has a namespace.
        capacity: The capacity table, which the quotas share out.
        owner: Team that answers for the stack.
        cost_center: Who pays for it.
        openings: Ways that the systems need, in and out.
        settings: How namespaces are separated.
        kubernetes_minor: Minor version such as ``1.35``; Pod Security is judged by the rules of that version.
        more: What systems may ask for in a namespace besides its share of the capacity table.
        exceptions: Namespaces where settings of a system need more than :data:`ROOMS` gives.
        annotations: What systems want to be said of a namespace, such as the queue of its jobs; by namespace.
    """

    foundation: Foundation
    teams: Sequence[TeamSettings]
    capacity: Sequence[WorkloadSettings]
    owner: str
    cost_center: str
    openings: Sequence[Opening]
    settings: IsolationSettings
    kubernetes_minor: str
    more: Mapping[Namespace, Allowance] = field(default_factory=dict[Namespace, Allowance])
    exceptions: Mapping[Namespace, PodSecurity] = field(default_factory=dict[Namespace, PodSecurity])
    annotations: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])


class Namespaces(pulumi.ComponentResource):
    """Every namespace with its quota, its defaults, its network policies and the roles of people in it."""

    resources: Mapping[Namespace, tuple[pulumi.Resource, ...]]
    """For each of the platform's namespaces what must exist before something runs there; for ``depends_on``."""
    team_resources: Mapping[str, tuple[pulumi.Resource, ...]]
    """The same for teams, by the name of the team."""
    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: NamespacesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Namespaces", name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        shares = allowances(args.capacity, args.foundation.cluster.pools, args.teams)
        self._allowances = {**shares, **{title: together(one, shares.get(title)) for title, one in args.more.items()}}
        self._policies = self._compute_policies()
        self._made: dict[str, core.Namespace] = {}

        shared = priority_classes(name, parent=self)
        self.resources = {
            title: (*self._furnish(title, args.exceptions.get(title), room), *shared) for title, room in ROOMS.items()
        }
        self.team_resources = {
            team.name: (*self._furnish(team_namespace(team.name), None, _TEAM, team=team.name), *shared)
            for team in args.teams
        }
        self._bind_people()
        everything = (*self.resources.values(), *self.team_resources.values())
        self.ready = tuple({id(one): one for some in everything for one in some}.values())
        self.register_outputs({"namespaces": sorted(self._made)})

    def _compute_policies(self) -> Mapping[str, Sequence[PolicySpec]]:
        args = self._args
        if not args.settings.network_policies:
            return {}
        teams = [team.name for team in args.teams]
        rooms: dict[str, Room] = {**ROOMS, **{team_namespace(team): _TEAM for team in teams}}
        return network_policies(
            [*common_openings(teams, internet=args.settings.internet), *args.openings],
            args.foundation.cluster.networks,
            namespaces=rooms,
            mesh=[title for title, room in rooms.items() if room.mesh],
        )

    def _furnish(
        self, title: str, exception: PodSecurity | None, room: Room, team: str = ""
    ) -> tuple[pulumi.Resource, ...]:
        """Create a namespace and what bounds it.

        The bounds name it plainly: before the cluster exists nothing of an object is known, and policies judge at the
        first preview which namespace is closed and bounded.
        """
        security = exception or room.security
        namespace = core.Namespace(
            f"{self._name}-{title}",
            metadata=meta.ObjectMetaArgs(
                name=title,
                labels={
                    **security_labels(security, self._args.kubernetes_minor),
                    **({MESH_LABEL: "ambient"} if room.mesh else {}),
                    "app.kubernetes.io/part-of": "llmops",
                    "llmops/owner": label_value(team or self._args.owner),
                    "llmops/cost-center": label_value(self._args.cost_center),
                    **({"llmops/team": team} if team else {}),
                },
                annotations={
                    "llmops/purpose": room.purpose,
                    **({"llmops/pod-security": security.why} if security else {}),
                    **self._args.annotations.get(title, {}),
                },
            ),
            opts=self._child,
        )
        self._made[title] = namespace
        inside = pulumi.ResourceOptions(parent=self, depends_on=[namespace])
        return (
            namespace,
            # Pods that name no service account get this one. They need no token of the API server. A patch, because the
            # cluster makes it too, at the same moment: the provider refuses to create what is already there.
            core.ServiceAccountPatch(
                f"{self._name}-{title}-default",
                metadata=meta.ObjectMetaPatchArgs(name="default", namespace=title),
                automount_service_account_token=False,
                opts=inside,
            ),
            *self._bounds(title, inside),
            *(self._policy(title, policy, inside) for policy in self._policies.get(title, ())),
        )

    def _bounds(self, title: str, inside: pulumi.ResourceOptions) -> tuple[pulumi.Resource, ...]:
        allowance = self._allowances.get(title, Allowance())
        quotas = (
            core.ResourceQuota(
                f"{self._name}-{title}-{quota}",
                metadata=meta.ObjectMetaArgs(name=quota, namespace=title),
                spec=cast("core.ResourceQuotaSpecArgsDict", spec),
                opts=inside,
            )
            for quota, spec in quota_specs(allowance).items()
        )
        defaults = core.LimitRange(
            f"{self._name}-{title}-defaults",
            metadata=meta.ObjectMetaArgs(name="defaults", namespace=title),
            spec=cast("core.LimitRangeSpecArgsDict", limit_range_spec(self._args.settings.container_defaults)),
            opts=inside,
        )
        return (*quotas, defaults)

    def _policy(self, title: str, policy: PolicySpec, inside: pulumi.ResourceOptions) -> pulumi.Resource:
        return networking.NetworkPolicy(
            f"{self._name}-{title}-{policy.name}",
            metadata=meta.ObjectMetaArgs(
                name=policy.name, namespace=title, annotations={"llmops/why": "\n".join(policy.why)}
            ),
            spec=cast("networking.NetworkPolicySpecArgsDict", policy.spec),
            opts=inside,
        )

    def _bind_people(self) -> None:
        cluster = self._args.foundation.cluster
        known = roles(self._name, parent=self)
        for binding in bindings(cluster.access_groups, cluster.team_groups):
            bind(
                self._name,
                binding,
                role=known[binding.role],
                namespace=self._made[binding.namespace] if binding.namespace else None,
                parent=self,
            )


def security_labels(security: PodSecurity | None, kubernetes_minor: str) -> dict[str, str]:
    """Labels of Pod Security; ``baseline`` also warns of what ``restricted`` would refuse."""
    prefix, version = "pod-security.kubernetes.io", f"v{kubernetes_minor}"
    level: Level = security.level if security else "restricted"
    noted: Level = "privileged" if level == "privileged" else "restricted"
    return {
        **{f"{prefix}/{mode}": value for mode, value in (("enforce", level), ("audit", noted), ("warn", noted))},
        **{f"{prefix}/{mode}-version": version for mode in ("enforce", "audit", "warn")},
    }


def label_value(text: str) -> str:
    """The nearest valid label value: owners may be written with spaces and signs that labels do not take."""
    return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9]+$", "", re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:63])
