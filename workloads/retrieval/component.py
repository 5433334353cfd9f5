"""The retrievals of a stack: their accounts, the jobs that bring documents in, the servers that answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.platform.mesh import SECURITY_API
from components.platform.site import Site
from components.settings.retrieval import RetrievalSettings
from workloads import ray_runs
from workloads.retrieval import accounts, alerts
from workloads.retrieval.answering import GUARD, answering, guard_spec, url
from workloads.retrieval.ingestion import RUNNER, grants, runs
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
        runner = ray_runs.runner(name, RUNNER, namespace=DATA, site=site, parent=self) if with_source else ()
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
        worker = ray_runs.worker(
            title, namespace=DATA, grants=grants(retrieval), labels=labels(retrieval), site=site, parent=self
        )
        after = [worker, *after, *args.ray, *args.workflows]
        return (worker, *ray_runs.declare(runs(retrieval, site), parent=self, after=after))
