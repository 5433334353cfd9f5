"""Kubeflow Pipelines: pipelines written in Python, run as workflows, with lineage and a user interface."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pulumi
from pulumi_kubernetes import core, policy, rbac
from pulumi_kubernetes.meta import v1 as meta

from components.contract import ObjectGrant
from components.platform.experiments import ARTIFACTS
from components.platform.kustomize import Kustomized, KustomizedArgs
from components.platform.openings import (
    GATEWAY,
    LITELLM,
    MILVUS,
    MLFLOW,
    SCRAPER,
    Namespace,
    Opening,
    Pods,
    team_namespace,
)
from components.platform.pipelines_database import ENTRY, LABELS, PipelineDatabase, PipelineDatabaseArgs
from components.platform.pipelines_manifests import (
    AGENT,
    API_SERVER,
    DEFINITIONS,
    INSTALLATION,
    KINDS,
    LAUNCHER,
    NAMESPACE,
    PREFIX,
    RUNNER,
    SCHEDULER,
    SERVER_CONFIGURATION,
    SHARED_DEFINITIONS,
    USER_INTERFACE,
    installation,
    launcher,
    server_configuration,
    sources,
)
from components.platform.pipelines_rights import STEP_RIGHTS, USER_RIGHTS, account, bound, group, rights
from components.platform.pipelines_teams import TeamPipelines, TeamPipelinesArgs
from components.platform.quotas import Allowance
from components.platform.routes import Backend, Rule
from components.platform.site import Site
from components.settings.platform.pipelines import PipelineSettings

__all__ = [
    "ENTRY",
    "NAMESPACE",
    "Pipelines",
    "PipelinesArgs",
    "allowance",
    "openings",
    "own_sign_in",
    "published",
]

_METADATA: Final = "metadata-grpc-server"

_DATABASE_PODS = Pods(namespace=NAMESPACE, labels=LABELS)
_SERVER_PODS = Pods(namespace=NAMESPACE, labels={"app": API_SERVER})
_INTERFACE_PODS = Pods(namespace=NAMESPACE, labels={"app": USER_INTERFACE})
_AGENT_PODS = Pods(namespace=NAMESPACE, labels={"app": AGENT})
_SCHEDULE_PODS = Pods(namespace=NAMESPACE, labels={"app": SCHEDULER})
_METADATA_PODS = Pods(namespace=NAMESPACE, labels={"component": "metadata-grpc-server"})
_PROXY_PODS = Pods(namespace=NAMESPACE, labels={"component": "metadata-envoy"})
_STEP_LABELS: Final = {"pipelines.kubeflow.org/v2_component": "true"}
_STEPS = Pods(namespace=NAMESPACE, labels=_STEP_LABELS)


def openings(site: Site) -> tuple[Opening, ...]:
    """What pipelines need to reach, and who reaches them."""
    ways = [
        *(
            Opening(source=pods, target="api-server", ports=(443,), why=why)
            for pods, why in (
                (_SERVER_PODS, "Runs become workflows."),
                (_AGENT_PODS, "How workflows go is written into the database."),
                (_SCHEDULE_PODS, "Recurring runs are objects."),
                (_INTERFACE_PODS, "Logs and events of steps are read there."),
                (_STEPS, "Steps report results, and start training jobs and Ray jobs."),
            )
        ),
        *(
            Opening(source=pods, target=_DATABASE_PODS, ports=(3306,), why="Runs, schedules, lineage.")
            for pods in (_SERVER_PODS, _METADATA_PODS)
        ),
        *(
            Opening(source=pods, target=_METADATA_PODS, ports=(8080,), why="Lineage, and which step is cached.")
            for pods in (_STEPS, _PROXY_PODS, _SERVER_PODS)
        ),
        *(
            Opening(source=pods, target=_SERVER_PODS, ports=(8887, 8888), why="The API.")
            for pods in (_STEPS, _INTERFACE_PODS, _AGENT_PODS, _SCHEDULE_PODS)
        ),
        Opening(source=_INTERFACE_PODS, target=_PROXY_PODS, ports=(9090,), why="Lineage, for browsers."),
        Opening(source=GATEWAY, target=_INTERFACE_PODS, ports=(3000,), why="The user interface and the API."),
        *(
            Opening(source=pods, target="cloud-apis", ports=(443,), why="Artifacts, logs, definitions of pipelines.")
            for pods in (_STEPS, _SERVER_PODS, _INTERFACE_PODS)
        ),
        Opening(source=_STEPS, target=MLFLOW, ports=(5000,), why="Steps log what they did, and register models."),
        Opening(source=_STEPS, target=LITELLM, ports=(4000,), why="Models are evaluated by calling them."),
        Opening(source=_STEPS, target=MILVUS, ports=(19530,), why="Documents are put into the vector database."),
        Opening(source=SCRAPER, target=_SERVER_PODS, ports=(8888,), why="Metrics of the API."),
        Opening(source=SCRAPER, target=_SCHEDULE_PODS, ports=(9090,), why="Metrics of recurring runs."),
    ]
    if site.settings.pipelines.multi_user:
        absent = (_INTERFACE_PODS, _PROXY_PODS)
        ways = [way for way in ways if way.source not in absent and way.target not in absent]
        ways += _team_openings(site)
    if site.settings.isolation.internet:
        ways.append(Opening(source=_STEPS, target="internet", ports=(443,), why="Steps install their packages."))
    return tuple(ways)


def _team_openings(site: Site) -> Iterator[Opening]:
    """Ways that there are instead of those to the user interface, where each team has its own namespace."""
    yield Opening(source=GATEWAY, target=_SERVER_PODS, ports=(8888,), why="The API, which checks a token itself.")
    for team in site.teams:
        everything = Pods(namespace=team_namespace(team.name))
        steps = Pods(namespace=everything.namespace, labels=_STEP_LABELS)
        yield Opening(
            source=everything, target=_SERVER_PODS, ports=(8887, 8888), why="The team's runs, with its token."
        )
        yield Opening(source=steps, target=_METADATA_PODS, ports=(8080,), why="Lineage, and which step is cached.")


def allowance(settings: PipelineSettings) -> Allowance:
    """What the namespace may ask for besides its share of the platform's row: for steps, and for the database's volume.

    No GPU: training jobs and models have namespaces of their own.
    """
    steps = settings.steps
    return Allowance(
        cpu_millicores=steps.vcpu * 1000,
        memory_mib=steps.memory_gib * 1024,
        disk_gib=steps.storage_gib,
        volumes_gib=steps.storage_gib + settings.database_storage_gib,
    )


def published(settings: PipelineSettings) -> Rule:
    """What the gateway passes on: the page, or with several users the API, as far as it asks who calls.

    Below other paths it tells about steps, logs and metrics without asking.
    """
    if settings.multi_user:
        return Rule(backend=Backend(namespace=NAMESPACE, service=API_SERVER, port=8888), prefix="/apis/v2beta1")
    return Rule(backend=Backend(namespace=NAMESPACE, service=USER_INTERFACE, port=80))


def own_sign_in(settings: PipelineSettings) -> tuple[str, ...]:
    """Hosts where the system itself checks who calls."""
    return (settings.host,) if settings.multi_user and settings.host else ()


@dataclass(frozen=True, kw_only=True)
class PipelinesArgs:
    """What Kubeflow Pipelines needs.

    Attributes:
        site: Where it is installed.
        secrets: ``SecretSync.ready``: what brings the credentials of its database.
        gitops: ``GitOps.ready``: who applies it.
        workflows: ``Workflows.ready``: what runs it. On destroy it ends before its workflows' controller.
        team_namespaces: For each team's namespace what must exist before something runs there; with several users.
    """

    site: Site
    secrets: Sequence[pulumi.Resource]
    gitops: Sequence[pulumi.Resource]
    workflows: Sequence[pulumi.Resource]
    team_namespaces: Mapping[str, Sequence[pulumi.Resource]] = field(
        default_factory=dict[str, "Sequence[pulumi.Resource]"]
    )


class Pipelines(pulumi.ComponentResource):
    """Its accounts, rights, configuration and database; and the application that brings its pods."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: PipelinesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Pipelines", name, None, opts)
        site = args.site
        if site.foundation.objects.protocol != "s3":
            raise pulumi.RunError(
                f"platform.pipelines.enabled: its API server speaks S3 only; objects are "
                f"{site.foundation.objects.protocol} here"
            )
        self._name, self._site = name, site
        self._multi_user = site.settings.pipelines.multi_user
        child = pulumi.ResourceOptions(parent=self)
        database = PipelineDatabase(f"{name}-database", PipelineDatabaseArgs(site=site, secrets=args.secrets), child)
        prepared = (*self._configuration(), *self._accounts(), *self._rights())
        if self._multi_user:
            teams = TeamPipelinesArgs(site=site, team_namespaces=args.team_namespaces)
            prepared = (*prepared, *TeamPipelines(f"{name}-teams", teams, child).ready)
        system = Kustomized(
            f"{name}-system",
            KustomizedArgs(
                site=site,
                tree="kubeflow-pipelines",
                namespace=NAMESPACE,
                sources=sources(site),
                kinds=KINDS,
                definitions=DEFINITIONS,
                after=(*args.gitops, *args.workflows, *database.ready, *prepared),
            ),
            child,
        )
        if site.highly_available:
            for app in (API_SERVER, *self._interface()):
                policy.v1.PodDisruptionBudget(
                    f"{name}-{app}",
                    metadata=meta.ObjectMetaArgs(name=app, namespace=NAMESPACE),
                    spec={"max_unavailable": 1, "selector": {"match_labels": {"app": app}}},
                    opts=self._in(NAMESPACE),
                )
        self.ready = system.ready
        self.register_outputs({})

    def _in(self, *namespaces: Namespace, after: Iterable[pulumi.Resource] = ()) -> pulumi.ResourceOptions:
        there = [one for namespace in namespaces for one in self._site.namespaces[namespace]]
        return pulumi.ResourceOptions(parent=self, depends_on=[*there, *after])

    def _interface(self) -> tuple[str, ...]:
        return () if self._multi_user else (USER_INTERFACE,)

    def _configuration(self) -> tuple[pulumi.Resource, ...]:
        """Make what the published objects read, instead of what comes with them."""
        objects = self._site.foundation.objects
        bucket = objects.buckets["pipelines"]
        contents: Mapping[str, Mapping[str, pulumi.Input[str]]] = {
            INSTALLATION: {**installation(), "bucketName": bucket.name},
            SERVER_CONFIGURATION: server_configuration(multi_user=self._multi_user),
            LAUNCHER: launcher(objects, prefix=PREFIX),
        }
        return tuple(
            core.v1.ConfigMap(
                f"{self._name}-{title}",
                metadata=meta.ObjectMetaArgs(name=title, namespace=NAMESPACE),
                data=dict(data),
                opts=self._in(NAMESPACE),
            )
            for title, data in contents.items()
        )

    def _accounts(self) -> tuple[pulumi.Resource, ...]:
        """Make the service accounts; those that touch objects get an identity each."""
        own = ObjectGrant(bucket="pipelines", access="read-write", prefix=PREFIX)
        definitions = ObjectGrant(bucket="pipelines", access="read-write", prefix=SHARED_DEFINITIONS)
        grants = {
            API_SERVER: (definitions if self._multi_user else own,),
            USER_INTERFACE: (ObjectGrant(bucket="pipelines", access="read", prefix=PREFIX),),
            RUNNER: (
                own,
                ObjectGrant(bucket="pipelines", access="read-write", prefix="releases/"),  # what releases keep
                ObjectGrant(bucket="data", access="read-write"),
                ObjectGrant(bucket="models", access="read-write"),
                ARTIFACTS,
            ),
        }
        return tuple(
            self._account(title, grants.get(title, ()))
            for title in (API_SERVER, *self._interface(), RUNNER, AGENT, SCHEDULER, _METADATA)
        )

    def _account(self, account: str, grants: Sequence[ObjectGrant]) -> pulumi.Resource:
        annotations: Mapping[str, pulumi.Input[str]] = {}
        ready: tuple[pulumi.Resource, ...] = ()
        if grants:
            identity = self._site.foundation.identity.grant(
                f"{self._name}-{account}",
                namespace=NAMESPACE,
                service_account=account,
                grants=grants,
                parent=self,
            )
            annotations, ready = identity.annotations, identity.ready
        return core.v1.ServiceAccount(
            f"{self._name}-{account}",
            metadata=meta.ObjectMetaArgs(name=account, namespace=NAMESPACE, annotations=dict(annotations)),
            automount_service_account_token=account != _METADATA,  # the store of lineage asks Kubernetes nothing
            opts=self._in(NAMESPACE, after=ready),
        )

    def _rights(self) -> tuple[pulumi.Resource, ...]:
        """Give each account its rights, and ML engineers a way to the API, which has no sign-in."""
        engineers = group(self._site.foundation.cluster.access_groups["ml-engineer"])
        return (
            *(
                binding
                for holder, rules in rights(multi_user=self._multi_user).items()
                for binding in self._bound(holder, NAMESPACE, rules, account(holder))
            ),
            *(
                binding
                for namespace, rules in STEP_RIGHTS.items()
                for binding in self._bound(RUNNER, namespace, rules, account(RUNNER))
            ),
            *self._bound("pipelines-user", NAMESPACE, USER_RIGHTS, engineers),
        )

    def _bound(
        self, title: str, namespace: Namespace, rules: Sequence[rbac.v1.PolicyRuleArgs], subject: rbac.v1.SubjectArgs
    ) -> tuple[pulumi.Resource, ...]:
        name = f"{self._name}-{title}" if namespace == NAMESPACE else f"{self._name}-{title}-{namespace}"
        return bound(name, title, namespace, rules, subject, self._in(namespace))
