"""The retrievals of a stack: their accounts, the jobs that bring documents in, the servers that answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes import core, rbac
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.platform.mesh import SECURITY_API
from components.platform.names import name_of
from components.platform.site import Site
from components.settings.retrieval import RetrievalSettings
from workloads.retrieval import accounts, alerts
from workloads.retrieval.answering import GUARD, answering, guard_spec, url
from workloads.retrieval.ingestion import API, RUNNER, cron_spec, grants, ingestion_job, template_spec
from workloads.retrieval.names import DATA, SERVING, ingestion, labels


@dataclass(frozen=True, kw_only=True)
class RetrievalsArgs:
    """What retrievals need; each of these is what to wait for.

    Attributes:
        site: Where they run.
        retrievals: The retrievals.
        secrets: ``SecretSync.ready``.
        mesh: ``Mesh.ready``: who may reach the servers is said to it.
        gateway: The model gateway.
        vectors: ``Vectors.ready``.
        ray: ``Ray.ready``: the definition of a RayJob, and the account of heads.
        workflows: ``Workflows.ready``.
        rules: What brings the definitions of a PodMonitor and a PrometheusRule; empty where they are not there: then
            nobody looks.
    """

    site: Site
    retrievals: Sequence[RetrievalSettings]
    secrets: Sequence[pulumi.Resource]
    mesh: Sequence[pulumi.Resource]
    gateway: Sequence[pulumi.Resource]
    vectors: Sequence[pulumi.Resource]
    ray: Sequence[pulumi.Resource]
    workflows: Sequence[pulumi.Resource]
    rules: Sequence[pulumi.Resource] = ()


class Retrievals(pulumi.ComponentResource):
    """Side by side, as one user of Milvus and of the model gateway."""

    outputs: Mapping[str, Any]
    """Where each retrieval answers, and what brings its documents in."""
    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: RetrievalsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        provider = args.site.foundation.cluster.provider
        with_provider = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(providers=[provider]))
        super().__init__("llmops:workloads:Retrievals", name, None, with_provider)
        self.ready = tuple(self._declared(name, args)) if args.retrievals else ()
        self.outputs = {
            one.name: {
                "url": url(one),
                "ingest": f"argo submit -n {DATA} --from workflowtemplate/{ingestion(one)}" if one.source else "",
            }
            for one in args.retrievals
        }
        self.register_outputs({"retrievals": self.outputs})

    def _declared(self, name: str, args: RetrievalsArgs) -> list[pulumi.Resource]:
        site = args.site
        secrets = accounts.secrets(name, site=site, parent=self, after=args.secrets)
        key = accounts.keep_key(
            name, args.retrievals, site=site, parent=self, after=[*args.gateway, *secrets, *site.namespaces[SERVING]]
        )
        users = accounts.keep_users(
            name, site=site, parent=self, after=[*args.vectors, *secrets, *site.namespaces[DATA]]
        )
        guard = CustomResource(
            f"{name}-guard",
            api_version=SECURITY_API,
            kind="AuthorizationPolicy",
            metadata=meta.ObjectMetaArgs(name=GUARD, namespace=SERVING),
            spec=guard_spec(),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*site.namespaces[SERVING], *args.mesh]),
        )
        # A server is ready when it can sign in to both; the guard is there before what it guards.
        after = [key, users, guard]
        made = [one for retrieval in args.retrievals for one in self._served(retrieval, args, after)]
        with_source = [one for one in args.retrievals if one.source is not None]
        runner = self._runner(name, site) if with_source else ()
        brought = [one for retrieval in with_source for one in self._brought_in(retrieval, args, [*runner, users])]
        told = alerts.declare(name, site=site, parent=self, after=args.rules) if args.rules else ()
        return [*secrets, *after, *made, *runner, *brought, *told]

    def _served(
        self, retrieval: RetrievalSettings, args: RetrievalsArgs, after: Sequence[pulumi.Resource]
    ) -> tuple[pulumi.Resource, ...]:
        return answering(retrieval, site=args.site, parent=self, after=after)

    def _brought_in(
        self, retrieval: RetrievalSettings, args: RetrievalsArgs, after: Sequence[pulumi.Resource]
    ) -> tuple[pulumi.Resource, ...]:
        site, title = args.site, ingestion(retrieval)
        identity = site.foundation.identity.grant(
            title, namespace=DATA, service_account=title, grants=grants(retrieval), parent=self
        )
        whose = meta.ObjectMetaArgs(name=title, namespace=DATA, labels=labels(retrieval))
        worker = core.v1.ServiceAccount(
            title,
            metadata=meta.ObjectMetaArgs(
                name=title, namespace=DATA, labels=labels(retrieval), annotations=dict(identity.annotations)
            ),
            automount_service_account_token=False,
            # A pod that starts before its role may do anything keeps failing with credentials that it has cached.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*site.namespaces[DATA], *identity.ready]),
        )
        template = CustomResource(
            f"{title}-template",
            api_version=API,
            kind="WorkflowTemplate",
            metadata=whose,
            spec=template_spec(retrieval, ingestion_job(retrieval, site)),
            # The definitions come with the releases.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[worker, *after, *args.ray, *args.workflows]),
        )
        if retrieval.ingestion.schedule is None:
            return (worker, template)
        cron = CustomResource(
            f"{title}-schedule",
            api_version=API,
            kind="CronWorkflow",
            metadata=whose,
            spec=cron_spec(retrieval, retrieval.ingestion.schedule),
            # It names the template by its name alone.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[template]),
        )
        return (worker, template, cron)

    def _runner(self, name: str, site: Site) -> tuple[pulumi.Resource, ...]:
        """Make the account of the workflows."""
        child = pulumi.ResourceOptions(parent=self, depends_on=list(site.namespaces[DATA]))
        whose = meta.ObjectMetaArgs(name=RUNNER, namespace=DATA)
        runner = core.v1.ServiceAccount(f"{name}-runs", metadata=whose, opts=child)
        role = rbac.v1.Role(
            f"{name}-runs",
            metadata=whose,
            rules=[
                # Names of runs are not known beforehand, so that no rule can name them.
                rbac.v1.PolicyRuleArgs(
                    api_groups=["ray.io"], resources=["rayjobs"], verbs=["create", "get", "list", "watch"]
                ),
                rbac.v1.PolicyRuleArgs(
                    api_groups=["argoproj.io"], resources=["workflowtaskresults"], verbs=["create", "patch"]
                ),
            ],
            opts=child,
        )
        binding = rbac.v1.RoleBinding(
            f"{name}-runs",
            metadata=whose,
            role_ref=rbac.v1.RoleRefArgs(api_group="rbac.authorization.k8s.io", kind="Role", name=name_of(role)),
            subjects=[rbac.v1.SubjectArgs(kind="ServiceAccount", name=name_of(runner), namespace=DATA)],
            opts=child,
        )
        return (runner, binding)
