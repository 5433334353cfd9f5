"""The releases of a stack: templates of workflows, what starts them, and who their steps are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pulumi
from pulumi_kubernetes import core, rbac
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.platform.names import name_of
from components.platform.pipelines_manifests import RUNNER
from components.platform.site import Site
from workloads.argo import API, schedule
from workloads.release import alerts, argo, rights
from workloads.release.kubeflow import document
from workloads.release.releases import (
    ALIAS,
    EVALUATOR,
    GRANTS,
    NAMESPACE,
    PLANNER,
    STARTER,
    Release,
    flow_in_pods,
    flow_of,
    labels,
)

_RBAC: Final = "rbac.authorization.k8s.io"


@dataclass(frozen=True, kw_only=True)
class ReleasesArgs:
    """What releases need.

    Attributes:
        site: Where they run.
        releases: The releases.
        workflows: ``Workflows.ready``: the definitions of workflows, and their controller.
        after: What their steps start and use: ``Ray.ready``, ``Training.ready``, datasets, fine-tunes.
        rules: What brings the definition of a PrometheusRule; empty where that is not there: then nobody is told.
        team_namespaces: By team, what must exist before something is declared in the team's namespace.
    """

    site: Site
    releases: Sequence[Release]
    workflows: Sequence[pulumi.Resource]
    after: Sequence[pulumi.Resource] = ()
    rules: Sequence[pulumi.Resource] = ()
    team_namespaces: Mapping[str, Sequence[pulumi.Resource]] = field(
        default_factory=dict[str, Sequence[pulumi.Resource]]
    )


class Releases(pulumi.ComponentResource):
    """Side by side; none waits for another."""

    outputs: Mapping[str, Any]
    """How each is started by hand, and its flow for Kubeflow Pipelines."""
    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: ReleasesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        provider = args.site.foundation.cluster.provider
        with_provider = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(providers=[provider]))
        super().__init__("llmops:workloads:Releases", name, None, with_provider)
        self._args = args
        if not args.releases:
            self.ready, self.outputs = (), {}
            self.register_outputs({})
            return
        accounts = tuple(self._accounts(name))
        started = tuple(self._started(name, accounts))
        made = [one for release in args.releases for one in self._release(release, (*accounts, *started))]
        told = alerts.declare(name, args.releases, site=args.site, parent=self, after=args.rules) if args.rules else ()
        self.ready = (*accounts, *started, *made, *told)
        self.outputs = {release.name: self._said(release) for release in args.releases}
        self.register_outputs({"releases": self.outputs})

    def _said(self, release: Release) -> dict[str, Any]:
        run = f"argo submit -n {NAMESPACE} --from workflowtemplate/{release.title}"
        return {
            "run": run,
            "releaseAlias": f"{run} -p {ALIAS}=<alias>",
            "kubeflow": document(flow_in_pods(release, self._args.site)),
        }

    def _after(self, *more: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=[*self._args.site.namespaces[NAMESPACE], *more])

    def _accounts(self, name: str) -> Iterator[pulumi.Resource]:
        """Make an account for each kind of step, and let each say how its steps went."""
        site = self._args.site
        evaluating = [grant for release in self._args.releases for grant in release.evaluation_grants]
        for account, own in GRANTS.items():
            grants = [*own, *(dict.fromkeys(evaluating) if account == EVALUATOR else ())]
            annotations: Mapping[str, pulumi.Input[str]] = {}
            ready: tuple[pulumi.Resource, ...] = ()
            if grants:
                identity = site.foundation.identity.grant(
                    account, namespace=NAMESPACE, service_account=account, grants=grants, parent=self
                )
                annotations, ready = identity.annotations, identity.ready
            yield core.v1.ServiceAccount(
                f"{name}-{account}",
                metadata=meta.ObjectMetaArgs(name=account, namespace=NAMESPACE, annotations=dict(annotations)),
                # A pod that starts before its role may do anything keeps failing with credentials that it has cached.
                opts=self._after(*ready),
            )
        group, resource, verbs = rights.RESULTS
        said = rights.Right(namespace=NAMESPACE, group=group, resource=resource, verbs=verbs)
        yield from self._bound(f"{name}-results", "release-results", [said], tuple(GRANTS), self._after())

    def _started(self, name: str, accounts: Sequence[pulumi.Resource]) -> Iterator[pulumi.Resource]:
        """Let one account create what the flows start, where they start it."""
        wanted = rights.started(flow_of(release, self._args.site) for release in self._args.releases)
        for namespace in sorted({one.namespace for one in wanted}):
            there = self._room(namespace)
            yield from self._bound(
                f"{name}-{STARTER}-{namespace}",
                STARTER,
                [one for one in wanted if one.namespace == namespace],
                (STARTER,),
                pulumi.ResourceOptions(parent=self, depends_on=[*there, *accounts]),
            )

        if self._args.site.settings.pipelines.enabled:
            # A pipeline's own namespace has no GPUs: it has those steps run as workflows of the release's template. Who
            # may do that may be any account here, as who may start trainings here already can.
            workflows = rights.Right(namespace=NAMESPACE, group="argoproj.io", resource="workflows")
            yield from self._bound(
                f"{name}-pipelines", "release-pipelines", [workflows], (RUNNER,), self._after(), where="kubeflow"
            )

    def _room(self, namespace: str) -> Sequence[pulumi.Resource]:
        known: Mapping[str, Sequence[pulumi.Resource]] = {
            **self._args.site.namespaces,
            **{f"team-{team}": made for team, made in self._args.team_namespaces.items()},
        }
        return known.get(namespace, ())

    def _bound(
        self,
        name: str,
        title: str,
        wanted: Sequence[rights.Right],
        subjects: Sequence[str],
        opts: pulumi.ResourceOptions,
        where: str = NAMESPACE,
    ) -> Iterator[pulumi.Resource]:
        """A role in one namespace, for accounts of the namespace ``where``."""
        metadata = meta.ObjectMetaArgs(name=title, namespace=wanted[0].namespace)
        role = rbac.v1.Role(
            name,
            metadata=metadata,
            rules=[
                rbac.v1.PolicyRuleArgs(api_groups=[one.group], resources=[one.resource], verbs=list(one.verbs))
                for one in wanted
            ],
            opts=opts,
        )
        yield role
        yield rbac.v1.RoleBinding(
            name,
            metadata=metadata,
            role_ref=rbac.v1.RoleRefArgs(api_group=_RBAC, kind="Role", name=name_of(role)),
            subjects=[rbac.v1.SubjectArgs(kind="ServiceAccount", name=one, namespace=where) for one in subjects],
            opts=opts,
        )

    def _release(self, release: Release, prepared: Sequence[pulumi.Resource]) -> Iterator[pulumi.Resource]:
        site, title, settings = self._args.site, release.title, release.settings
        metadata = meta.ObjectMetaArgs(name=title, namespace=NAMESPACE, labels=labels(release))
        template = CustomResource(
            f"{title}-template",
            api_version=API,
            kind="WorkflowTemplate",
            metadata=metadata,
            spec=argo.spec(flow_in_pods(release, site), pools=site.foundation.cluster.pools, service_account=PLANNER),
            # The definitions come with the releases of charts; accounts are named by their names alone.
            opts=self._after(*prepared, *self._args.workflows, *self._args.after),
        )
        yield template
        crons: dict[str, tuple[str, Mapping[str, str]]] = {}
        if settings.schedule:
            crons["schedule"] = (settings.schedule, {})
        if settings.watch_alias:
            # A look at the registry is a run of the flow whose first steps find that nothing is to be done.
            crons["watch"] = (f"*/{settings.watch_minutes} * * * *", {ALIAS: settings.watch_alias})
        for kind, (cron, inputs) in crons.items():
            yield CustomResource(
                f"{title}-{kind}",
                api_version=API,
                kind="CronWorkflow",
                metadata=meta.ObjectMetaArgs(name=f"{title}-{kind}", namespace=NAMESPACE, labels=labels(release)),
                spec=schedule(title, cron, inputs=inputs, labels=labels(release)),
                # It names the template by its name alone.
                opts=pulumi.ResourceOptions(parent=self, depends_on=[template]),
            )
