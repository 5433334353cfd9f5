"""Argo Workflows: one controller for the workflows that people write and for those that pipelines become."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pulumi
from pulumi_kubernetes import core, rbac
from pulumi_kubernetes.meta import v1 as meta

from components.charts import release
from components.contract import ROLE_LABEL, Grant, ObjectGrant
from components.platform.databases import CA_KEY, DatabaseAccess, database
from components.platform.experiments import ARTIFACTS
from components.platform.names import name_of
from components.platform.openings import GATEWAY, SCRAPER, Namespace, Opening, Pods, team_namespace
from components.platform.placement import spread
from components.platform.priorities import PriorityName
from components.platform.site import Site

NAMESPACE: Final[Namespace] = "argo"

SERVER: Final = "argo-workflows-server"
"""Service of the API and the user interface; port 2746, without TLS."""

EXECUTOR: Final = "workflow"
"""Service account of the steps of workflows, in every namespace where people run them."""

KEY_FORMAT: Final = "{{workflow.namespace}}/{{workflow.name}}/{{pod.name}}"
"""Where artifacts and logs of a step are in the bucket ``pipelines``: identities are granted the first part."""

ENTRY: Final = "argo-workflows-database"
"""Entry of the secret store with the user of the archive; for ``SecretSyncArgs.entries``."""

RESTRICTED: Final[Mapping[str, Any]] = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What the level ``restricted`` asks of a container."""

_RELEASE: Final = "argo-workflows"
_DATABASE: Final = "argo_workflows"
_CA_PATH: Final = "/etc/database-ca"
_STEP_USER: Final = 1000  # images that name no user would start as root, which the namespaces refuse
_STEP_PRIORITY: Final[PriorityName] = "batch"
_CONTROLLER = Pods(namespace=NAMESPACE, labels={"app.kubernetes.io/component": "workflow-controller"})
_SERVER = Pods(namespace=NAMESPACE, labels={"app.kubernetes.io/component": "server"})

OPENINGS: tuple[Opening, ...] = (
    Opening(source=_CONTROLLER, target="api-server", ports=(443,), why="Workflows are read, their pods made."),
    Opening(source=_SERVER, target="api-server", ports=(443,), why="What people ask for, with their own token."),
    *(
        Opening(source=pods, target="stores", ports=(5432,), why="The archive, and the state of large workflows.")
        for pods in (_CONTROLLER, _SERVER)
    ),
    Opening(source=GATEWAY, target=_SERVER, ports=(2746,), why="The user interface and the API."),
    Opening(
        source=SCRAPER, target=_CONTROLLER, ports=(9090,), why="Metrics: workflows that wait or fail must be seen."
    ),
    Opening(
        # Every pod of a workflow has this label until it is done.
        source=Pods(namespace="mlops-training", labels={"workflows.argoproj.io/completed": "false"}),
        target="api-server",
        ports=(443,),
        why="Each step of a workflow reports its result there.",
    ),
)
"""What Argo Workflows needs to reach, and who reaches it. Data processing and teams may reach the API server anyway."""

EXECUTOR_GRANTS: Final[Mapping[Namespace, tuple[Grant, ...]]] = {
    "mlops-data": (
        ObjectGrant(bucket="data", access="read-write"),
        ARTIFACTS,
    ),
    "mlops-training": (
        ObjectGrant(bucket="data", access="read"),
        ObjectGrant(bucket="models", access="read-write"),
        ARTIFACTS,
    ),
}
"""The platform's namespaces where people run workflows, and what steps may do there besides their own artifacts."""


@dataclass(frozen=True, kw_only=True)
class WorkflowsArgs:
    """What Argo Workflows needs.

    Attributes:
        site: Where it is installed.
        databases: ``Databases.ready``.
        team_namespaces: For each team's namespace what must exist before something runs there; teams that are left out
            can run no workflows.
    """

    site: Site
    databases: Sequence[pulumi.Resource]
    team_namespaces: Mapping[str, Sequence[pulumi.Resource]] = field(
        default_factory=dict[str, "Sequence[pulumi.Resource]"]
    )


class Workflows(pulumi.ComponentResource):
    """The controller, the server, the archive, and accounts for steps."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: WorkflowsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Workflows", name, None, opts)
        site = args.site
        access = database(
            f"{name}-database",
            purpose=ENTRY,
            database=_DATABASE,
            namespace=NAMESPACE,
            site=site,
            parent=self,
            after=args.databases,
        )
        rights = self._server_rights(name, site, access)
        argo = release(
            f"{name}-release",
            "argo-workflows",
            release_name=_RELEASE,
            namespace=NAMESPACE,
            values=values(site, access),
            parent=self,
            after=(*site.namespaces[NAMESPACE], *access.ready, *rights),
        )
        accounts = [
            one
            for namespace, (grants, after) in executors(site, args.team_namespaces).items()
            for one in self._executor(name, namespace, grants, after, site)
        ]
        self.ready = (argo, *accounts)
        self.register_outputs({})

    def _executor(
        self, name: str, namespace: str, grants: Sequence[Grant], after: Sequence[pulumi.Resource], site: Site
    ) -> tuple[pulumi.Resource, ...]:
        """Make the account of steps in one namespace; people there cannot make it, it needs a role."""
        identity = site.foundation.identity.grant(
            f"{name}-{namespace}", namespace=namespace, service_account=EXECUTOR, grants=grants, parent=self
        )
        child = pulumi.ResourceOptions(parent=self, depends_on=[*after, *identity.ready])
        account = core.v1.ServiceAccount(
            f"{name}-{namespace}",
            metadata=meta.ObjectMetaArgs(name=EXECUTOR, namespace=namespace, annotations=dict(identity.annotations)),
            opts=child,
        )
        role = rbac.v1.Role(
            f"{name}-{namespace}",
            metadata=meta.ObjectMetaArgs(name=EXECUTOR, namespace=namespace),
            rules=[
                # All that a step's own container may: say how it went.
                rbac.v1.PolicyRuleArgs(
                    api_groups=["argoproj.io"], resources=["workflowtaskresults"], verbs=["create", "patch"]
                )
            ],
            opts=child,
        )
        binding = rbac.v1.RoleBinding(
            f"{name}-{namespace}",
            metadata=meta.ObjectMetaArgs(name=EXECUTOR, namespace=namespace),
            role_ref=rbac.v1.RoleRefArgs(
                api_group="rbac.authorization.k8s.io",
                kind="Role",
                name=name_of(role),
            ),
            subjects=[
                rbac.v1.SubjectArgs(
                    kind="ServiceAccount",
                    name=name_of(account),
                    namespace=namespace,
                )
            ],
            opts=child,
        )
        return (account, binding)

    def _server_rights(self, name: str, site: Site, access: DatabaseAccess) -> tuple[pulumi.Resource, ...]:
        """Let the server read what it lists; all else it does with the caller's token.

        The chart's role would let it read every Secret of the cluster and change every workflow.
        """
        child = pulumi.ResourceOptions(parent=self, depends_on=list(site.namespaces[NAMESPACE]))
        subject = rbac.v1.SubjectArgs(kind="ServiceAccount", name=SERVER, namespace=NAMESPACE)
        wide = rbac.v1.ClusterRole(
            f"{name}-server",
            metadata=meta.ObjectMetaArgs(name=SERVER),
            rules=[_rule("argoproj.io", _LISTED, _READ)],
            opts=child,
        )
        narrow = rbac.v1.Role(
            f"{name}-server",
            metadata=meta.ObjectMetaArgs(name=SERVER, namespace=NAMESPACE),
            rules=[
                _rule("", ("configmaps",), _READ),
                _rule("", ("secrets",), ("get",), (access.secret_name,)),
            ],
            opts=child,
        )
        return (
            rbac.v1.ClusterRoleBinding(
                f"{name}-server",
                metadata=meta.ObjectMetaArgs(name=SERVER),
                role_ref=rbac.v1.RoleRefArgs(
                    api_group="rbac.authorization.k8s.io",
                    kind="ClusterRole",
                    name=name_of(wide),
                ),
                subjects=[subject],
                opts=child,
            ),
            rbac.v1.RoleBinding(
                f"{name}-server",
                metadata=meta.ObjectMetaArgs(name=SERVER, namespace=NAMESPACE),
                role_ref=rbac.v1.RoleRefArgs(
                    api_group="rbac.authorization.k8s.io",
                    kind="Role",
                    name=name_of(narrow),
                ),
                subjects=[subject],
                opts=child,
            ),
        )


_READ: Final = ("get", "list", "watch")
_LISTED: Final = ("clusterworkflowtemplates", "workfloweventbindings", "workflows", "workflowtemplates")


def _rule(
    group: str, resources: Iterable[str], verbs: Iterable[str], names: Iterable[str] = ()
) -> rbac.v1.PolicyRuleArgs:
    return rbac.v1.PolicyRuleArgs(
        api_groups=[group], resources=list(resources), verbs=list(verbs), resource_names=list(names) or None
    )


def executors(
    site: Site, team_namespaces: Mapping[str, Sequence[pulumi.Resource]]
) -> dict[str, tuple[tuple[Grant, ...], Sequence[pulumi.Resource]]]:
    """For each namespace where people run workflows: what steps may do, and what must be there first."""
    found: dict[str, tuple[tuple[Grant, ...], Sequence[pulumi.Resource]]] = {
        namespace: (grants, site.namespaces[namespace]) for namespace, grants in EXECUTOR_GRANTS.items()
    }
    for team in site.teams:
        if (namespace := team_namespace(team.name)) in team_namespaces:
            found[namespace] = ((ARTIFACTS,), team_namespaces[namespace])
    own = {
        namespace: ObjectGrant(bucket="pipelines", access="read-write", prefix=f"{namespace}/") for namespace in found
    }
    return {namespace: ((own[namespace], *grants), after) for namespace, (grants, after) in found.items()}


def values(site: Site, access: DatabaseAccess) -> dict[str, Any]:
    """Values of the chart.

    Memory: the controller keeps every live workflow, some hundred kilobytes each while it is large.
    """
    several = site.highly_available
    settings = site.settings.workflows
    common: dict[str, Any] = {
        "replicas": site.replicas,
        "nodeSelector": site.system_nodes,
        "podSecurityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "logging": {"format": "json"},
        "extraEnv": [{"name": "PGSSLROOTCERT", "value": f"{_CA_PATH}/{CA_KEY}"}],
        "volumes": [{"name": "database-ca", "secret": {"secretName": access.ca_secret_name}}],
        "volumeMounts": [{"name": "database-ca", "mountPath": _CA_PATH, "readOnly": True}],
        "pdb": {"enabled": several, "maxUnavailable": 1},
    }
    return {
        "images": {"pullPolicy": "IfNotPresent"},  # tags are versions
        # Open definitions, which come with the chart; the full ones would be fetched from the internet by a Job. The
        # controller judges a workflow itself, and `argo lint` before it.
        "crds": {"full": False},
        "createAggregateRoles": False,  # people's roles are this program's
        "workflow": {"rbac": {"create": False}},
        "controller": {
            **common,
            **_spread(site, "workflow-controller"),
            "resources": {"requests": {"cpu": "100m", "memory": "192Mi"}, "limits": {"memory": "1Gi"}},
            "metricsConfig": {"enabled": True},
            "parallelism": settings.parallelism,
            "namespaceParallelism": settings.namespace_parallelism,
            "persistence": persistence(access, archive_days=settings.archive_days),
            "workflowDefaults": {"spec": defaults(keep_hours=settings.keep_hours)},
            # A pod that never began because its node was lost is made again, without a retry in the template.
            "failedPodRestart": {"enabled": True, "maxRestarts": 3},
        },
        "server": {
            **common,
            **_spread(site, "server"),
            "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
            "authModes": ["client"],  # the caller's own token decides
            "rbac": {"create": False},
            "livenessProbe": {"enabled": True},
        },
        "mainContainer": {"securityContext": dict(RESTRICTED)},
        "executor": {
            "securityContext": {**RESTRICTED, "runAsUser": 65532},  # as the image has it
            "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        },
        "useStaticCredentials": False,
        "artifactRepository": artifact_repository(site),
    }


def _spread(site: Site, component: str) -> dict[str, Any]:
    """Topology spread with the selector, which this chart does not add."""
    if not site.highly_available:
        return {}
    return {"topologySpreadConstraints": spread({"app.kubernetes.io/component": component})}


def persistence(access: DatabaseAccess, *, archive_days: int) -> dict[str, Any]:
    """Where finished workflows go, and the state of those that are too large for an object of Kubernetes."""
    return {
        "archive": True,
        "archiveTTL": f"{archive_days}d",
        "nodeStatusOffLoad": True,
        "connectionPool": {"maxIdleConns": 2, "maxOpenConns": 6, "connMaxLifetime": "600s"},
        "postgresql": {
            "host": access.host,
            "port": access.port,
            "database": access.name,
            "tableName": "argo_workflows",
            "userNameSecret": {"name": access.secret_name, "key": "username"},
            "passwordSecret": {"name": access.secret_name, "key": "password"},
            "ssl": True,
            "sslMode": "verify-full",
        },
    }


def defaults(*, keep_hours: int) -> dict[str, Any]:
    """What a workflow gets that does not say otherwise."""
    seconds = keep_hours * 3600
    return {
        "serviceAccountName": EXECUTOR,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _STEP_USER,
            "fsGroup": _STEP_USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "nodeSelector": {ROLE_LABEL: "cpu"},
        "podPriorityClassName": _STEP_PRIORITY,
        "ttlStrategy": {"secondsAfterCompletion": seconds},
        # Logs are in the object store by then; a failed step's pod stays as long as its workflow.
        "podGC": {"strategy": "OnPodSuccess", "deleteDelayDuration": "600s"},
    }


def artifact_repository(site: Site) -> dict[str, Any]:
    """Where artifacts and logs go, with the identity of the step's own account."""
    objects = site.foundation.objects
    bucket = objects.buckets["pipelines"].name
    if objects.protocol == "gcs":
        return {"archiveLogs": True, "gcs": {"bucket": bucket, "keyFormat": KEY_FORMAT}}
    return {
        "archiveLogs": True,
        "s3": {
            "bucket": bucket,
            "endpoint": objects.endpoint,
            "region": objects.region,
            "insecure": False,
            "useSDKCreds": True,
            "keyFormat": KEY_FORMAT,
        },
    }
