"""What people may do in the cluster: three roles, bound to the groups that the cloud's sign-in puts them into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import pulumi
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta
from pulumi_kubernetes.rbac import v1 as rbac

from components.contract import AccessRole
from components.platform.openings import Namespace, team_namespace

RoleName = Literal["llmops-ml-engineer", "llmops-model-deployer", "llmops-catalogue", "llmops-viewer"]

# Kubernetes' own role of that name: every verb on everything. Who administers the platform can give themselves any
# right, so a shorter list would only pretend.
ADMINISTRATOR: Final = "cluster-admin"

_API: Final = "rbac.authorization.k8s.io"
_READ: Final = ("get", "list", "watch")
_MANAGE: Final = ("get", "list", "watch", "create", "update", "patch", "delete")
_SESSION: Final = ("get", "create")  # WebSocket clients ask with get, SPDY clients with create


@dataclass(frozen=True, kw_only=True)
class Permission:
    """One rule of a role.

    Attributes:
        group: API group; empty for the core.
        resources: Plural names, with subresources as ``pods/log``.
        verbs: What may be done with them.
    """

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]


def _may(verbs: tuple[str, ...], group: str, *resources: str) -> Permission:
    return Permission(group=group, resources=resources, verbs=verbs)


_MODELS: Final = (
    _may(
        _MANAGE,
        "serving.kserve.io",
        "inferenceservices",
        "inferencegraphs",
        "llminferenceservices",
        "servingruntimes",
        "trainedmodels",
    ),
    _may(_MANAGE, "keda.sh", "scaledobjects"),
)
_WATCHING: Final = (
    _may(
        _READ,
        "",
        "configmaps",
        "endpoints",
        "events",
        "limitranges",
        "persistentvolumeclaims",
        "pods",
        "resourcequotas",
        "serviceaccounts",
        "services",
    ),
    _may(("get",), "", "pods/log"),
    _may(_READ, "apps", "daemonsets", "deployments", "replicasets", "statefulsets"),
    _may(_READ, "autoscaling", "horizontalpodautoscalers"),
    _may(_READ, "batch", "cronjobs", "jobs"),
    _may(_READ, "discovery.k8s.io", "endpointslices"),
    _may(_READ, "events.k8s.io", "events"),
    _may(_READ, "external-secrets.io", "externalsecrets"),
    _may(_READ, "keda.sh", "scaledobjects", "scaledjobs", "triggerauthentications"),
    _may(("get", "list"), "metrics.k8s.io", "pods"),
    _may(_READ, "networking.k8s.io", "networkpolicies"),
    _may(_READ, "policy", "poddisruptionbudgets"),
)

# No secrets, and no ExternalSecrets, which would fetch them; no roles, quotas, network policies, nodes; no tokens of
# service accounts. Who may create jobs can still use the secrets and the service accounts of that namespace in them, so
# what an ML engineer must not have does not belong into a namespace where this role is bound.
_ML_ENGINEER: Final = (
    *_WATCHING,
    *_MODELS,
    _may(_MANAGE, "", "configmaps", "persistentvolumeclaims", "services"),
    # Not to create: the VPC CNI holds only pods with a controller to network policies (EKS user guide). A Job is one.
    _may(("delete",), "", "pods"),
    # Looking into a job that hangs on a rented GPU cannot wait for somebody else.
    _may(_SESSION, "", "pods/exec", "pods/portforward"),
    _may(_MANAGE, "apps", "deployments", "statefulsets"),
    _may(("get", "update", "patch"), "apps", "deployments/scale", "statefulsets/scale"),
    _may(_MANAGE, "argoproj.io", "cronworkflows", "workflows", "workflowtemplates"),
    _may(_MANAGE, "autoscaling", "horizontalpodautoscalers"),
    _may(_MANAGE, "batch", "cronjobs", "jobs"),
    _may(_MANAGE, "batch.volcano.sh", "cronjobs", "jobs"),
    _may(_MANAGE, "keda.sh", "scaledjobs"),
    _may(_MANAGE, "kubeflow.org", "pytorchjobs"),
    _may(_MANAGE, "ray.io", "rayclusters", "raycronjobs", "rayjobs", "rayservices"),
    _may(_MANAGE, "scheduling.volcano.sh", "podgroups"),
    _may(_MANAGE, "trainer.kubeflow.org", "trainingruntimes", "trainjobs"),
    _may(_READ, "jobset.x-k8s.io", "jobsets"),
)

# What jobs and models are made of, and belongs to no namespace.
_CATALOGUE: Final = (
    _may(_READ, "", "namespaces"),
    _may(_READ, "argoproj.io", "clusterworkflowtemplates"),
    _may(_READ, "scheduling.k8s.io", "priorityclasses"),
    _may(_READ, "scheduling.volcano.sh", "queues"),
    _may(_READ, "serving.kserve.io", "clusterservingruntimes"),
    _may(_READ, "storage.k8s.io", "storageclasses"),
    _may(_READ, "trainer.kubeflow.org", "clustertrainingruntimes"),
)

_PLATFORM_OBJECTS: Final = (
    _may(_READ, "", "nodes", "persistentvolumes"),
    _may(_READ, "apiextensions.k8s.io", "customresourcedefinitions"),
    _may(_READ, "argoproj.io", "applications", "applicationsets", "appprojects"),
    _may(_READ, "cert-manager.io", "certificaterequests", "certificates", "clusterissuers", "issuers"),
    _may(_READ, "external-secrets.io", "clustersecretstores", "secretstores"),
    _may(("get", "list"), "metrics.k8s.io", "nodes"),
    _may(_READ, "networking.istio.io", "destinationrules", "envoyfilters", "gateways", "virtualservices"),
    _may(_READ, "networking.k8s.io", "ingresses"),
    _may(_READ, _API, "clusterrolebindings", "clusterroles", "rolebindings", "roles"),
    _may(_READ, "security.istio.io", "authorizationpolicies", "peerauthentications", "requestauthentications"),
    _may(_READ, "telemetry.istio.io", "telemetries"),
    _may(_READ, "velero.io", "backups", "backupstoragelocations", "restores", "schedules", "volumesnapshotlocations"),
)


def _read_only(permissions: Sequence[Permission]) -> tuple[Permission, ...]:
    """The same without what changes anything or opens a session."""
    return tuple(
        Permission(group=one.group, resources=plain, verbs=verbs)
        for one in permissions
        if (plain := tuple(name for name in one.resources if "/" not in name or name == "pods/log"))
        and (verbs := tuple(verb for verb in one.verbs if verb in _READ))
    )


# Kubernetes' own `view` is not taken: any chart can add to it by a label. Secrets are in neither.
ROLES: Final[Mapping[RoleName, tuple[Permission, ...]]] = {
    "llmops-ml-engineer": _ML_ENGINEER,
    "llmops-model-deployer": (*_WATCHING, *_MODELS),
    "llmops-catalogue": _CATALOGUE,
    "llmops-viewer": (*_read_only(_ML_ENGINEER), *_CATALOGUE, *_PLATFORM_OBJECTS),
}

# The keys of the model gateway are in `mlops-serving`: no session there, and nothing that runs but models.
_ML_ENGINEERS_ROLES: Final[Mapping[Namespace, RoleName]] = {
    "mlops-data": "llmops-ml-engineer",
    "mlops-training": "llmops-ml-engineer",
    "mlops-serving": "llmops-model-deployer",
}


@dataclass(frozen=True, kw_only=True)
class Binding:
    """Who has a role, and where.

    Attributes:
        title: Short name, unique among all bindings.
        group: Kubernetes group.
        role: Name of a ClusterRole.
        namespace: Where it counts; none for the whole cluster.
    """

    title: str
    group: str
    role: str
    namespace: str | None = None


def bindings(groups: Mapping[AccessRole, str], team_groups: Mapping[str, str]) -> tuple[Binding, ...]:
    """All bindings.

    Args:
        groups: Kubernetes group of everybody with a role.
        team_groups: Kubernetes group of every team.
    """
    engineers = groups["ml-engineer"]
    return (
        Binding(title="platform-admins", group=groups["platform-admin"], role=ADMINISTRATOR),
        Binding(title="viewers", group=groups["viewer"], role="llmops-viewer"),
        Binding(title="ml-engineers-catalogue", group=engineers, role="llmops-catalogue"),
        *(
            Binding(title=f"ml-engineers-{namespace}", group=engineers, role=role, namespace=namespace)
            for namespace, role in _ML_ENGINEERS_ROLES.items()
        ),
        *(
            binding
            for team, group in sorted(team_groups.items())
            for binding in (
                Binding(title=f"team-{team}-catalogue", group=group, role="llmops-catalogue"),
                Binding(
                    title=f"team-{team}-engineers",
                    group=group,
                    role="llmops-ml-engineer",
                    namespace=team_namespace(team),
                ),
            )
        ),
    )


def roles(name: str, *, parent: pulumi.Resource) -> dict[str, pulumi.Output[str]]:
    """Create the roles and return their names; bindings take them from here, so that they come after."""
    made: dict[str, pulumi.Output[str]] = {ADMINISTRATOR: pulumi.Output.from_input(ADMINISTRATOR)}
    for role, permissions in ROLES.items():
        created = rbac.ClusterRole(
            f"{name}-{role}",
            metadata=meta.ObjectMetaArgs(name=role),
            rules=[
                rbac.PolicyRuleArgs(
                    api_groups=[permission.group],
                    resources=list(permission.resources),
                    verbs=list(permission.verbs),
                )
                for permission in permissions
            ],
            opts=pulumi.ResourceOptions(parent=parent),
        )
        made[role] = created.metadata.name
    return made


def bind(
    name: str,
    binding: Binding,
    *,
    role: pulumi.Input[str],
    namespace: core.Namespace | None,
    parent: pulumi.Resource,
) -> pulumi.Resource:
    """Create one binding, in ``namespace`` or for the whole cluster."""
    subject = rbac.SubjectArgs(kind="Group", name=binding.group, api_group=_API)
    reference = rbac.RoleRefArgs(api_group=_API, kind="ClusterRole", name=role)
    child = pulumi.ResourceOptions(parent=parent)
    title = f"{name}-{binding.title}"
    if namespace is None:
        return rbac.ClusterRoleBinding(
            title,
            metadata=meta.ObjectMetaArgs(name=f"llmops-{binding.title}"),
            role_ref=reference,
            subjects=[subject],
            opts=child,
        )
    return rbac.RoleBinding(
        title,
        metadata=meta.ObjectMetaArgs(name=f"llmops-{binding.title}", namespace=binding.namespace),
        role_ref=reference,
        subjects=[subject],
        opts=pulumi.ResourceOptions(parent=parent, depends_on=[namespace]),
    )
