"""The fine-tunes of a stack: for each an identity of its own, and a job to start. Nothing runs by itself.

Failures, standstill and a loss that is no number are told by the platform's own rules about training jobs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
from pulumi_kubernetes import core
from pulumi_kubernetes.meta import v1 as meta

from components.capacity.prices import load
from components.platform.openings import Namespace
from components.platform.site import Site
from components.settings.fine_tunes import FineTuneSettings
from workloads.images import content_tag, reference
from workloads.object_store import store_variables
from workloads.training.jobs import (
    Addresses,
    account,
    fine_tune_config,
    fine_tune_job,
    grants,
    labels,
    namespace,
)
from workloads.training.plan import Plan

_NAMESPACE: Namespace = "mlops-training"


@dataclass(frozen=True, kw_only=True)
class FineTunesArgs:
    """What fine-tunes need.

    Attributes:
        site: Where they run.
        fine_tunes: The fine-tunes.
        plans: What their pods ask for, by name.
        team_namespaces: What must exist before something runs in a team's namespace, by team.
    """

    site: Site
    fine_tunes: Sequence[FineTuneSettings]
    plans: Mapping[str, Plan]
    team_namespaces: Mapping[str, Sequence[pulumi.Resource]] = field(
        default_factory=dict[str, Sequence[pulumi.Resource]]
    )


class FineTunes(pulumi.ComponentResource):
    """Side by side; none waits for another."""

    outputs: Mapping[str, Any]
    """What each needs, and how it is started."""
    ready: tuple[pulumi.Resource, ...]
    """What a run of any of them comes after."""

    def __init__(self, name: str, args: FineTunesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        provider = args.site.foundation.cluster.provider
        with_provider = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(providers=[provider]))
        super().__init__("llmops:workloads:FineTunes", name, None, with_provider)
        self.ready = tuple(resource for one in args.fine_tunes for resource in self._declare(one, args))
        foundation, prices = args.site.foundation, load()
        self.outputs = {
            one.name: summary(
                one,
                args.plans[one.name],
                hourly_usd=prices.node(args.plans[one.name].instance_type, foundation.region),
            )
            for one in args.fine_tunes
        }
        self.register_outputs({"fineTunes": self.outputs})

    def _declare(self, one: FineTuneSettings, args: FineTunesArgs) -> tuple[pulumi.Resource, ...]:
        site, title, place = args.site, account(one), namespace(one)
        room = args.team_namespaces.get(one.team, ()) if one.team else site.namespaces[_NAMESPACE]
        named = labels(one, owner=site.owner)
        identity = site.foundation.identity.grant(
            title, namespace=place, service_account=title, grants=grants(one), parent=self
        )
        who = core.v1.ServiceAccount(
            title,
            metadata=meta.ObjectMetaArgs(
                name=title, namespace=place, labels=named, annotations=dict(identity.annotations)
            ),
            automount_service_account_token=False,
            # A pod that starts before its role may do anything keeps failing with credentials that it has cached.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*room, *identity.ready]),
        )
        template = core.v1.ConfigMap(
            f"{title}-job",
            metadata=meta.ObjectMetaArgs(name=title, namespace=place, labels=named),
            data={"job.json": job_text(one, args.plans[one.name], site)},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*room]),
        )
        return (who, template)


def job_text(
    one: FineTuneSettings, plan: Plan, site: Site, *, data_url: str = "", name: str = ""
) -> pulumi.Output[str]:
    """The job as JSON, once the buckets' names are known.

    Args:
        one: The fine-tune.
        plan: What its pods ask for.
        site: Where it runs.
        data_url: A state of the dataset; empty for the current one.
        name: Name of the job; empty for one that the API server makes up.
    """
    buckets = site.foundation.objects.buckets

    def made(known: Sequence[str]) -> str:
        data, models, mlflow, image = known
        addresses = Addresses(data=data, models=models, mlflow=mlflow)
        config = fine_tune_config(one, addresses, image_tag=content_tag("training"), data_url=data_url)
        manifest = fine_tune_job(
            one,
            plan,
            config,
            image=image,
            owner=site.owner,
            shared_memory_gib=site.settings.training.shared_memory_gib,
            pools=site.foundation.cluster.pools,
            environment=store_variables(site.foundation.objects),
            name=name,
        )
        return json.dumps(manifest, indent=2)

    return pulumi.Output.all(
        buckets["data"].url, buckets["models"].url, buckets["mlflow"].url, reference(site, "training")
    ).apply(made)


def summary(one: FineTuneSettings, plan: Plan, *, hourly_usd: float | None) -> dict[str, Any]:
    """What the outputs say of a fine-tune: plain, so that a preview shows it before anything is created.

    Args:
        one: The fine-tune.
        plan: What its pods ask for.
        hourly_usd: List price of one of its nodes; none where it is not known.
    """
    title, place = account(one), namespace(one)
    return {
        "method": one.method,
        "gpus": f"{one.nodes} x {one.gpus} x {plan.gpu_model}",
        "gpuGib": round(plan.footprint.total, 1),
        "machine": plan.instance_type,
        "usdPerHour": None if hourly_usd is None else round(hourly_usd * one.nodes, 2),
        "registeredModel": one.registered,
        "start": f"kubectl -n {place} get configmap {title} -o jsonpath='{{.data.job\\.json}}' | kubectl create -f -",
    }
