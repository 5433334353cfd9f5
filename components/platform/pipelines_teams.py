"""Kubeflow Pipelines for several teams: each works in its own namespace, and proves with a token who it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_kubernetes import core, rbac
from pulumi_kubernetes.meta import v1 as meta

from components.contract import ObjectGrant
from components.platform.experiments import ARTIFACTS
from components.platform.names import name_of
from components.platform.openings import team_namespace
from components.platform.pipelines_manifests import (
    AGENT,
    API_SERVER,
    LAUNCHER,
    NAMESPACE,
    RUNNER,
    SCHEDULER,
    launcher,
)
from components.platform.pipelines_rights import (
    READ,
    RUNNER_RIGHTS,
    SCHEDULER_RIGHTS,
    SERVER_RIGHTS,
    WRITE,
    account,
    bound,
    group,
    may,
)
from components.platform.site import Site

USER: Final = "pipelines-user"
"""Service account in every namespace where pipelines run: its tokens are how people and programs sign in."""

AUDIENCE: Final = "pipelines.kubeflow.org"
"""What a token must be made for; with another audience the API server refuses it."""

_API: Final = "pipelines.kubeflow.org"
_RBAC: Final = "rbac.authorization.k8s.io"
_SIGN_IN: Final = "pipelines-sign-in"

USER_RIGHTS: Final = (
    may(_API, ("pipelines", "pipelineversions"), ("create", "delete", "get", "list", "update")),
    may(_API, ("experiments",), ("archive", "create", "delete", "get", "list", "unarchive")),
    may(
        _API,
        ("runs",),
        ("archive", "create", "delete", "get", "list", "readArtifact", "retry", "terminate", "unarchive"),
    ),
    may(_API, ("jobs",), ("create", "delete", "disable", "enable", "get", "list")),
)
"""What whoever signs in may ask of the API, about one namespace. No objects of Kubernetes are behind these names: the
API server asks Kubernetes whether a role allows them."""

TEAM_RUNNER_RIGHTS: Final = (
    *RUNNER_RIGHTS,
    may("kubeflow.org", ("pytorchjobs",), WRITE),
    may("trainer.kubeflow.org", ("trainjobs",), WRITE),
    may("ray.io", ("rayjobs",), WRITE),
    may("", ("pods", "pods/log"), READ),
)
"""What a team's steps do in its namespace: their own work, and jobs that they start and watch."""

CLUSTER_RIGHTS: Final[Mapping[str, tuple[rbac.v1.PolicyRuleArgs, ...]]] = {
    API_SERVER: (
        may("authentication.k8s.io", ("tokenreviews",), ("create",)),
        may("authorization.k8s.io", ("subjectaccessreviews",), ("create",)),
    ),
    AGENT: (
        may("argoproj.io", ("workflows",), READ),
        may("kubeflow.org", ("scheduledworkflows",), READ),
        may(_API, ("scheduledworkflows", "workflows"), ("report",)),
    ),
    SCHEDULER: (
        may("argoproj.io", ("workflows",), READ),
        may("kubeflow.org", ("scheduledworkflows",), READ),
    ),
}
"""What cannot be given by namespace: to ask who calls and what they may; to watch all namespaces at once; to report how
a run goes, for which the API server asks without a namespace."""

_DOOR: Final = (
    may("", ("pods", "services"), ("get", "list")),
    may("", ("pods/portforward",), ("get", "create")),
)


@dataclass(frozen=True, kw_only=True)
class TeamPipelinesArgs:
    """Who runs pipelines.

    Attributes:
        site: Where they are installed.
        team_namespaces: For each team's namespace what must exist before something runs there.
    """

    site: Site
    team_namespaces: Mapping[str, Sequence[pulumi.Resource]]


class TeamPipelines(pulumi.ComponentResource):
    """Sign-in for all who run pipelines; and for each team its steps' account and place, and the controllers' rights.

    ML engineers of the platform keep working in the namespace of pipelines, as if it were their team's.
    """

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: TeamPipelinesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:TeamPipelines", name, None, opts)
        self._name, self._site = name, args.site
        groups = args.site.foundation.cluster
        self._there = {NAMESPACE: args.site.namespaces[NAMESPACE], **args.team_namespaces}
        self.ready = (
            *self._across_namespaces(),
            *self._sign_in(NAMESPACE, groups.access_groups["ml-engineer"]),
            *(
                one
                for team in args.site.teams
                for one in self._team(team_namespace(team.name), groups.team_groups[team.name])
            ),
        )
        self.register_outputs({})

    @property
    def _published(self) -> bool:
        """Whether the gateway leads to the API; otherwise people forward a port, and reach every pod beside it."""
        settings = self._site.settings
        return bool(settings.pipelines.host) and settings.gateway.enabled

    def _in(self, *namespaces: str, after: Sequence[pulumi.Resource] = ()) -> pulumi.ResourceOptions:
        there = [one for namespace in namespaces for one in self._there[namespace]]
        return pulumi.ResourceOptions(parent=self, depends_on=[*there, *after])

    def _across_namespaces(self) -> Iterator[pulumi.Resource]:
        for holder, rules in CLUSTER_RIGHTS.items():
            metadata = meta.ObjectMetaArgs(name=f"llmops-{holder}")
            role = rbac.v1.ClusterRole(
                f"{self._name}-{holder}", metadata=metadata, rules=list(rules), opts=self._in(NAMESPACE)
            )
            yield rbac.v1.ClusterRoleBinding(
                f"{self._name}-{holder}",
                metadata=metadata,
                role_ref=rbac.v1.RoleRefArgs(api_group=_RBAC, kind="ClusterRole", name=name_of(role)),
                subjects=[account(holder)],
                opts=self._in(NAMESPACE),
            )

    def _sign_in(self, namespace: str, people: str) -> Iterator[pulumi.Resource]:
        """Make the account whose tokens the API server takes, and let ``people`` make such tokens and no others.

        The account's rights are words of the API; with its token nobody reads or changes an object of the cluster.
        """
        here = self._in(namespace)
        user = core.v1.ServiceAccount(
            f"{self._name}-{namespace}-user",
            metadata=meta.ObjectMetaArgs(name=USER, namespace=namespace),
            automount_service_account_token=False,
            opts=here,
        )
        yield user
        after = self._in(namespace, after=(user,))
        token = may("", ("serviceaccounts/token",), ("create",), (USER,))
        yield from bound(
            f"{self._name}-{namespace}-api", "pipelines-api", namespace, USER_RIGHTS, account(USER, namespace), after
        )
        yield from bound(f"{self._name}-{namespace}-sign-in", _SIGN_IN, namespace, (token,), group(people), after)
        create_runs = may(_API, ("runs",), ("create",))  # those that recur, in its own name
        yield from bound(
            f"{self._name}-{namespace}-recurring",
            "pipelines-recurring",
            namespace,
            (create_runs,),
            account(SCHEDULER),
            here,
        )

    def _team(self, namespace: str, people: str) -> Iterator[pulumi.Resource]:
        yield from self._sign_in(namespace, people)
        if not self._published:
            name, title = f"{self._name}-{namespace}-door", f"pipelines-{namespace}"
            yield from bound(name, title, NAMESPACE, _DOOR, group(people), self._in(NAMESPACE))
        here = self._in(namespace)
        server = (may("", ("pods",), ("get", "list", "delete")), *SERVER_RIGHTS)
        for holder, rules in ((API_SERVER, server), (SCHEDULER, SCHEDULER_RIGHTS)):
            yield from bound(f"{self._name}-{namespace}-{holder}", holder, namespace, rules, account(holder), here)
        yield core.v1.ConfigMap(
            f"{self._name}-{namespace}-launcher",
            metadata=meta.ObjectMetaArgs(name=LAUNCHER, namespace=namespace),
            data=launcher(self._site.foundation.objects, prefix=f"{namespace}/"),
            opts=here,
        )
        yield from self._runner(namespace)

    def _runner(self, namespace: str) -> Iterator[pulumi.Resource]:
        """Make the account of a team's steps: its own part of the bucket, and the artifacts of experiments."""
        identity = self._site.foundation.identity.grant(
            f"{self._name}-{namespace}",
            namespace=namespace,
            service_account=RUNNER,
            grants=(ObjectGrant(bucket="pipelines", access="read-write", prefix=f"{namespace}/"), ARTIFACTS),
            parent=self,
        )
        yield core.v1.ServiceAccount(
            f"{self._name}-{namespace}-runner",
            metadata=meta.ObjectMetaArgs(name=RUNNER, namespace=namespace, annotations=dict(identity.annotations)),
            opts=self._in(namespace, after=identity.ready),
        )
        yield from bound(
            f"{self._name}-{namespace}-runner",
            RUNNER,
            namespace,
            TEAM_RUNNER_RIGHTS,
            account(RUNNER, namespace),
            self._in(namespace),
        )
