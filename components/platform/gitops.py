"""Argo CD: delivers from Git what this program does not apply itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.charts import release
from components.platform.gitops_values import REDIS_SECRET, redis_is_replicated, values
from components.platform.openings import GATEWAY, SCRAPER, Namespace, Opening, Pods
from components.platform.projects import IN_CLUSTER, PLATFORM_PROJECT, project_specs, team_project
from components.platform.secrets import external_secret
from components.platform.site import Site
from components.settings.platform.delivery import (
    REPOSITORY_ENTRY,
    SSO_ENTRY,
    DeliverySettings,
    RepositorySettings,
)

API: Final = "argoproj.io/v1alpha1"
NAMESPACE: Final[Namespace] = "argocd"

SERVER: Final = "argocd-server"
"""Service of the API and the user interface; port 80, without TLS."""

CONTROLLER_ACCOUNT: Final = "argocd-application-controller"
"""Service account that applies what comes from Git; the chart's name."""

FINALIZER: Final = "resources-finalizer.argocd.argoproj.io"
"""On an application: its objects go before it does."""

_RELEASE: Final = "argocd"
_PART_OF: Final = {"app.kubernetes.io/part-of": "argocd"}  # Argo CD sees no Secret without it
_LOOK_AGAIN_SECONDS: Final = 180  # when the Git host sends no webhook


def _component(name: str) -> Pods:
    return Pods(namespace=NAMESPACE, labels={"app.kubernetes.io/name": f"argocd-{name}"})


_CONTROLLER = _component("application-controller")
_SERVER = _component("server")
_REPO_SERVER = _component("repo-server")
_APPLICATION_SETS = _component("applicationset-controller")


def openings(site: Site) -> tuple[Opening, ...]:
    """What Argo CD needs to reach, and who reaches it."""
    ways = [
        *(
            Opening(source=pods, target="api-server", ports=(443,), why="Applications, and what they are made of.")
            for pods in (_CONTROLLER, _SERVER, _APPLICATION_SETS)
        ),
        *(
            Opening(source=pods, target=_REPO_SERVER, ports=(8081,), why="Rendered manifests, folders of repositories.")
            for pods in (_CONTROLLER, _SERVER, _APPLICATION_SETS)
        ),
        Opening(source=_REPO_SERVER, target="internet", ports=(443, 22), why="Git, by HTTPS and SSH."),
        Opening(source=GATEWAY, target=_SERVER, ports=(8080,), why="The user interface, the API, webhooks from Git."),
        *(
            Opening(source=SCRAPER, target=pods, ports=(port,), why="Metrics: failed syncs must be seen.")
            for pods, port in ((_CONTROLLER, 8082), (_SERVER, 8083), (_REPO_SERVER, 8084), (_APPLICATION_SETS, 8080))
        ),
        *_redis_openings(replicated=redis_is_replicated(site)),
    ]
    if site.settings.delivery.sso:
        ways.append(Opening(source=_SERVER, target="internet", ports=(443,), why="The issuer's keys and tokens."))
    return tuple(ways)


def _redis_openings(*, replicated: bool) -> list[Opening]:
    clients = (_CONTROLLER, _SERVER, _REPO_SERVER)
    why = "Cached state and manifests."
    if not replicated:
        return [Opening(source=pods, target=_component("redis"), ports=(6379,), why=why) for pods in clients]
    proxy = Pods(namespace=NAMESPACE, labels={"app": "redis-ha-haproxy"})
    redis = Pods(namespace=NAMESPACE, labels={"app": "redis-ha"})
    return [
        *(Opening(source=pods, target=proxy, ports=(6379,), why=why) for pods in clients),
        Opening(source=proxy, target=redis, ports=(6379, 26379), why="The proxy asks who leads, and passes on."),
        Opening(source=redis, target=redis, ports=(6379, 26379), why="Replication and the election of a leader."),
        Opening(source=SCRAPER, target=proxy, ports=(9101,), why="Metrics: a Redis without a leader must be seen."),
    ]


@dataclass(frozen=True, kw_only=True)
class GitOpsArgs:
    """What Argo CD needs.

    Attributes:
        site: Where it is installed.
        secrets: ``SecretSync.ready``: what brings its credentials.
    """

    site: Site
    secrets: Sequence[pulumi.Resource]


class GitOps(pulumi.ComponentResource):
    """Argo CD, its projects, and the applications that people write by hand into the repository."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: GitOpsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:GitOps", name, None, opts)
        site = args.site

        credentials = self._credentials(name, args)
        argo = release(
            f"{name}-release",
            "argo-cd",
            release_name=_RELEASE,
            namespace=NAMESPACE,
            values=values(site),
            parent=self,
            after=(*site.namespaces[NAMESPACE], *credentials),
        )
        projects = [
            CustomResource(
                f"{name}-project-{project}",
                api_version=API,
                kind="AppProject",
                metadata=meta.ObjectMetaArgs(
                    name=project,
                    namespace=NAMESPACE,
                    # Argo CD makes `default` by itself when it starts, wide open: this takes its fields over.
                    annotations={"pulumi.com/patchForce": "true"} if project == "default" else None,
                ),
                spec=spec,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[argo]),  # the definition comes with the release
            )
            for project, spec in project_specs(site).items()
        ]
        self.ready = (argo, *projects)
        if site.settings.delivery.repository:
            self._applications(name, site, site.settings.delivery.repository)
        self.register_outputs({})

    def _credentials(self, name: str, args: GitOpsArgs) -> list[pulumi.Resource]:
        return [
            external_secret(
                f"{name}-{secret}",
                namespace=NAMESPACE,
                secret_name=secret,
                data=wanted.data,
                site=args.site,
                parent=self,
                after=args.secrets,
                template=wanted.template,
            )
            for secret, wanted in credentials(args.site.settings.delivery).items()
        ]

    def _applications(self, name: str, site: Site, repository: RepositorySettings) -> None:
        CustomResource(
            f"{name}-applications",
            api_version=API,
            kind="ApplicationSet",
            metadata=meta.ObjectMetaArgs(
                name="applications",
                namespace=NAMESPACE,
                # Gone only when its applications and their objects are: they need the controller for that.
                annotations={"pulumi.com/deletionPropagationPolicy": "foreground"},
            ),
            spec=application_set_spec(
                repository,
                site.settings.delivery,
                stack=pulumi.get_stack(),
                teams=[team.name for team in site.teams],
            ),
            # Applications are refused before their project is there, and cannot be removed after it.
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(self.ready)),
        )


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """One Secret that Argo CD reads.

    Attributes:
        data: Key to the entry of the secret store and its property.
        template: What becomes of it, as an ExternalSecret's ``spec.target.template``.
    """

    data: Mapping[str, tuple[str, str]]
    template: Mapping[str, Any]


def credentials(delivery: DeliverySettings) -> dict[str, Credentials]:
    """Every Secret that Argo CD reads, by name."""
    found = {
        "argocd-secret": Credentials(
            data={
                "passwordHash": ("argocd-admin", "passwordHash"),
                "serverSecretKey": ("argocd-admin", "serverSecretKey"),
                "webhook": ("argocd-webhook", "secret"),
            },
            template={"metadata": {"labels": _PART_OF}, "data": _ARGOCD_SECRET},
        ),
        REDIS_SECRET: Credentials(data={"auth": ("argocd-redis", "auth")}, template={"metadata": {"labels": _PART_OF}}),
    }
    if (repository := delivery.repository) and repository.credential_properties:
        properties = repository.credential_properties
        kind = "repo-creds" if repository.credentials_url else "repository"
        found[REPOSITORY_ENTRY] = Credentials(
            data={key: (REPOSITORY_ENTRY, key) for key in properties},
            template={
                "metadata": {"labels": {**_PART_OF, "argocd.argoproj.io/secret-type": kind}},
                "data": {
                    "type": "git",
                    "url": repository.credentials_url or repository.url,
                    **{key: f"{{{{ .{key} }}}}" for key in properties},
                },
            },
        )
    if delivery.sso:
        found[SSO_ENTRY] = Credentials(
            data={"clientSecret": (SSO_ENTRY, "clientSecret")}, template={"metadata": {"labels": _PART_OF}}
        )
    return found


# A kind of webhook without a secret is open to everybody, so each has it; the Git host needs one of them.
_ARGOCD_SECRET: Final[Mapping[str, str]] = {
    "admin.password": "{{ .passwordHash }}",
    # Any time in the past: without one Argo CD would write the time of its start, and the operator remove it again.
    "admin.passwordMtime": "2026-01-01T00:00:00Z",
    "server.secretkey": "{{ .serverSecretKey }}",
    "webhook.azuredevops.password": "{{ .webhook }}",
    "webhook.azuredevops.username": "argocd",
    "webhook.bitbucket.uuid": "{{ .webhook }}",
    "webhook.bitbucketserver.secret": "{{ .webhook }}",
    "webhook.github.secret": "{{ .webhook }}",
    "webhook.gitlab.secret": "{{ .webhook }}",
    "webhook.gogs.secret": "{{ .webhook }}",
}


def entries(delivery: DeliverySettings) -> tuple[str, ...]:
    """Entries of the secret store that Argo CD's Secrets are made of; for ``SecretSyncArgs.entries``."""
    if not delivery.enabled:
        return ()
    return tuple(sorted({entry for one in credentials(delivery).values() for entry, _ in one.data.values()}))


def sync_policy(delivery: DeliverySettings) -> dict[str, Any]:
    """How applications follow Git."""
    return {
        "automated": {
            "prune": delivery.prune,
            "selfHeal": delivery.self_heal,
            "allowEmpty": False,  # an emptied folder is more likely a mistake than the wish to delete everything
        },
        "syncOptions": [
            "ServerSideApply=true",  # as this program applies
            "RespectIgnoreDifferences=true",
            "FailOnSharedResource=true",  # two applications must not fight over one object
            "ApplyOutOfSyncOnly=true",
            "PruneLast=true",
        ],
        "retry": {"limit": 5, "backoff": {"duration": "10s", "factor": 2, "maxDuration": "3m"}},
    }


IGNORED_DIFFERENCES: Final[Sequence[Mapping[str, Any]]] = tuple(
    # What autoscalers set, through the controller manager; where none does, Git decides about the number of replicas.
    {"group": "apps", "kind": kind, "managedFieldsManagers": ["kube-controller-manager"]}
    for kind in ("Deployment", "StatefulSet")
)
"""Fields of live objects that are nobody's to correct."""


def application_set_spec(
    repository: RepositorySettings, delivery: DeliverySettings, *, stack: str, teams: Sequence[str]
) -> dict[str, Any]:
    """One application for each folder that the platform's owner or a team has in the repository."""
    owners = {PLATFORM_PROJECT: "mlops-system", **{team_project(team): team_project(team) for team in teams}}
    return {
        "goTemplate": True,
        "goTemplateOptions": ["missingkey=error"],
        "generators": [
            {
                "git": {
                    "repoURL": repository.url,
                    "revision": repository.revision,
                    "directories": [{"path": f"{repository.applications_path}/{stack}/{project}/*"}],
                    "requeueAfterSeconds": _LOOK_AGAIN_SECONDS,
                    "values": {"project": project, "namespace": namespace},
                }
            }
            for project, namespace in owners.items()
        ],
        # Without pruning, a folder that is gone leaves its application, for a person to delete.
        "syncPolicy": {"applicationsSync": "sync" if delivery.prune else "create-update"},
        "template": {
            "metadata": {"name": "{{.values.project}}-{{.path.basenameNormalized}}", "finalizers": [FINALIZER]},
            "spec": {
                "project": "{{.values.project}}",
                "source": {
                    "repoURL": repository.url,
                    "targetRevision": repository.revision,
                    "path": "{{.path.path}}",
                },
                "destination": {"server": IN_CLUSTER, "namespace": "{{.values.namespace}}"},
                "syncPolicy": sync_policy(delivery),
                "ignoreDifferences": list(IGNORED_DIFFERENCES),
            },
        },
    }
