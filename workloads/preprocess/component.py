"""The datasets of a stack: for each what is needed to make it. Nothing runs until somebody, or a schedule, asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components.platform.site import Site
from components.settings.datasets import DatasetSettings
from workloads import ray_runs
from workloads.preprocess import alerts
from workloads.preprocess.job import NAMESPACE, account, folder, grants, labels
from workloads.preprocess.workflow import RUNNER, runs


@dataclass(frozen=True, kw_only=True)
class DatasetsArgs:
    """What datasets need.

    Attributes:
        site: Where they are made.
        datasets: The datasets.
        ray: ``Ray.ready``: the definition of a RayJob, and the account of heads.
        workflows: ``Workflows.ready``; empty where workflows are not installed: then only pipelines and people that
            create the RayJob themselves can run one.
        rules: What brings the definition of a PrometheusRule; empty where that is not there: then nobody is told.
    """

    site: Site
    datasets: Sequence[DatasetSettings]
    ray: Sequence[pulumi.Resource]
    workflows: Sequence[pulumi.Resource] = ()
    rules: Sequence[pulumi.Resource] = ()


class Datasets(pulumi.ComponentResource):
    """Side by side; none waits for another."""

    outputs: Mapping[str, Any]
    """Where each dataset lies, and what runs it."""
    ready: tuple[pulumi.Resource, ...]
    """What a run of any of them comes after."""

    def __init__(self, name: str, args: DatasetsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        provider = args.site.foundation.cluster.provider
        with_provider = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(providers=[provider]))
        super().__init__("llmops:workloads:Datasets", name, None, with_provider)
        runner: tuple[pulumi.Resource, ...] = ()
        if args.workflows and args.datasets:
            runner = ray_runs.runner(name, RUNNER, namespace=NAMESPACE, site=args.site, parent=self)
        made = [one for dataset in args.datasets for one in self._dataset(dataset, args, runner)]
        watched = args.rules and args.datasets
        told = alerts.declare(name, site=args.site, parent=self, after=args.rules) if watched else ()
        self.ready = (*runner, *made, *told)
        data = args.site.foundation.objects.buckets["data"].url
        self.outputs = {
            dataset.name: {
                "url": pulumi.Output.concat(data, "/", folder(dataset)),
                "run": f"argo submit -n {NAMESPACE} --from workflowtemplate/{account(dataset)}" if runner else "",
            }
            for dataset in args.datasets
        }
        self.register_outputs({"datasets": self.outputs})

    def _dataset(
        self, dataset: DatasetSettings, args: DatasetsArgs, runner: Sequence[pulumi.Resource]
    ) -> tuple[pulumi.Resource, ...]:
        site, title = args.site, account(dataset)
        worker = ray_runs.worker(
            title, namespace=NAMESPACE, grants=grants(dataset), labels=labels(dataset), site=site, parent=self
        )
        if not runner:
            return (worker,)
        after = [worker, *runner, *args.ray, *args.workflows]
        return (worker, *ray_runs.declare(runs(dataset, site), parent=self, after=after))
