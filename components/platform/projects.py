"""Argo CD's projects and policy: who may deploy what, from where, to where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from components.contract import AccessRole
from components.platform.openings import Namespace, team_namespace
from components.platform.site import Site

IN_CLUSTER: Final = "https://kubernetes.default.svc"
"""This cluster, as Argo CD names it."""

PLATFORM_PROJECT: Final = "platform"
"""Project of the workloads that the platform's owner delivers."""

WORKLOAD_NAMESPACES: Final[tuple[Namespace, ...]] = ("mlops-data", "mlops-serving", "mlops-system", "mlops-training")
"""Where workloads run. The other namespaces hold what Argo CD itself stands on; nothing from Git goes there."""

_SECRET: Final = {"group": "", "kind": "Secret"}
_QUOTAS: Final = ({"group": "", "kind": "ResourceQuota"}, {"group": "", "kind": "LimitRange"})
_RIGHTS: Final = (
    {"group": "rbac.authorization.k8s.io", "kind": "Role"},
    {"group": "rbac.authorization.k8s.io", "kind": "RoleBinding"},
)
_NETWORK: Final = {"group": "networking.k8s.io", "kind": "NetworkPolicy"}


def team_project(team: str) -> str:
    """Name of a team's project; its namespace has the same."""
    return team_namespace(team)


def group_of_role(site: Site, role: AccessRole) -> str:
    """Group of everybody with a role, as the sign-in names it."""
    sso = site.settings.delivery.sso
    return (sso.role_groups.get(role) if sso else None) or site.foundation.cluster.access_groups[role]


def group_of_team(site: Site, team: str) -> str:
    """Group of a team, as the sign-in names it."""
    sso = site.settings.delivery.sso
    return (sso.team_groups.get(team) if sso else None) or site.foundation.cluster.team_groups[team]


def policy_csv(site: Site) -> str:
    """Argo CD's policy for people of no particular team; who is in none of these groups sees nothing.

    ML engineers may read everything, and sync the platform's workloads again to the declared revision (another one
    would be an ``override``). What they may do with their team's applications comes from the role of its project.
    """
    lines = [
        f"p, role:ml-engineer, applications, sync, {PLATFORM_PROJECT}/*, allow",
        "g, role:ml-engineer, role:readonly",
        f"g, {group_of_role(site, 'platform-admin')}, role:admin",
        f"g, {group_of_role(site, 'ml-engineer')}, role:ml-engineer",
        f"g, {group_of_role(site, 'viewer')}, role:readonly",
    ]
    return "".join(f"{line}\n" for line in lines)


def team_policies(project: str) -> list[str]:
    """What a team may do with the applications of its own project; no shell in containers, and no other revision."""
    role = f"proj:{project}:developer"
    actions = ("get", "create", "update", "delete", "sync", "action/*")
    return [
        *(f"p, {role}, applications, {action}, {project}/*, allow" for action in actions),
        f"p, {role}, logs, get, {project}/*, allow",
    ]


def project_specs(site: Site) -> Mapping[str, Mapping[str, Any]]:
    """Specification of every AppProject by its name."""
    repository = site.settings.delivery.repository
    shared = [repository.url] if repository else []
    return {
        "default": locked_spec(),
        PLATFORM_PROJECT: platform_spec(shared),
        **{
            team_project(team.name): team_spec(
                team.name,
                group=group_of_team(site, team.name),
                repositories=[*dict.fromkeys([*team.repositories, *shared])],
            )
            for team in site.teams
        },
    }


def locked_spec() -> dict[str, Any]:
    """The project that Argo CD makes by itself, which would let everything go everywhere."""
    return {
        "description": "Not in use: an application must name a project.",
        "sourceRepos": [],
        "destinations": [],
        "clusterResourceWhitelist": [],
    }


def platform_spec(repositories: Sequence[str]) -> dict[str, Any]:
    """What the platform's owner delivers from Git."""
    return {
        "description": "Workloads of the platform.",
        "sourceRepos": list(repositories),
        "destinations": _in_cluster(WORKLOAD_NAMESPACES),
        # Volumes of shared files, and what the operators of models and jobs read from the whole cluster.
        "clusterResourceWhitelist": [
            {"group": "", "kind": "PersistentVolume"},
            {"group": "serving.kserve.io", "kind": "ClusterServingRuntime"},
            {"group": "serving.kserve.io", "kind": "ClusterStorageContainer"},
            {"group": "trainer.kubeflow.org", "kind": "ClusterTrainingRuntime"},
        ],
        # In Git a Secret is plain text; credentials come through ExternalSecrets. Quotas are this program's.
        "namespaceResourceBlacklist": [_SECRET, *_QUOTAS],
    }


def team_spec(team: str, *, group: str, repositories: Sequence[str]) -> dict[str, Any]:
    """What a team delivers from Git, into its own namespace and nowhere else.

    The shared namespaces are left out: a project cannot tell one team's objects from another's there.
    """
    project = team_project(team)
    return {
        "description": f"Workloads of team {team}.",
        "sourceRepos": list(repositories),
        "destinations": _in_cluster([team_namespace(team)]),
        "clusterResourceWhitelist": [],
        "namespaceResourceBlacklist": [
            _SECRET,  # in Git it is plain text
            *_QUOTAS,  # what limits the team is not the team's
            *_RIGHTS,
            _NETWORK,
            # With these a team would read the platform's credentials, or let others into the mesh in its name.
            {"group": "external-secrets.io", "kind": "*"},
            {"group": "security.istio.io", "kind": "*"},
            {"group": "networking.istio.io", "kind": "EnvoyFilter"},
            {"group": "argoproj.io", "kind": "Application"},
            {"group": "argoproj.io", "kind": "ApplicationSet"},
            {"group": "argoproj.io", "kind": "AppProject"},
        ],
        "orphanedResources": {
            "warn": True,  # what nobody would find again in Git
            "ignore": [
                _SECRET,
                *_QUOTAS,
                *_RIGHTS,
                _NETWORK,
                {"group": "", "kind": "ConfigMap", "name": "kube-root-ca.crt"},
                {"group": "", "kind": "ConfigMap", "name": "istio-ca-root-cert"},
                {"group": "", "kind": "ServiceAccount", "name": "default"},
            ],
        },
        "roles": [
            {
                "name": "developer",
                "description": f"Members of team {team}.",
                "groups": [group],
                "policies": team_policies(project),
            }
        ],
    }


def _in_cluster(namespaces: Iterable[str]) -> list[dict[str, str]]:
    return [{"server": IN_CLUSTER, "namespace": namespace} for namespace in namespaces]
