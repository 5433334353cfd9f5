"""The datasets of a stack: for each what is needed to make it. Nothing runs until somebody, or a schedule, asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes import core, rbac
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.platform.names import name_of
from components.platform.site import Site
from components.settings.datasets import DatasetSettings
from workloads.preprocess import alerts
from workloads.preprocess.job import NAMESPACE, account, folder, grants, labels, preprocess_job
from workloads.preprocess.workflow import API, RUNNER, cron_spec, template_spec


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
        runner = self._runner(name, args) if args.workflows and args.datasets else ()
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
        identity = site.foundation.identity.grant(
            title, namespace=NAMESPACE, service_account=title, grants=grants(dataset), parent=self
        )
        worker = core.v1.ServiceAccount(
            title,
            metadata=meta.ObjectMetaArgs(
                name=title, namespace=NAMESPACE, labels=labels(dataset), annotations=dict(identity.annotations)
            ),
            automount_service_account_token=False,
            # A pod that starts before its role may do anything keeps failing with credentials that it has cached.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*site.namespaces[NAMESPACE], *identity.ready]),
        )
        if not runner:
            return (worker,)
        template = CustomResource(
            f"{title}-template",
            api_version=API,
            kind="WorkflowTemplate",
            metadata=meta.ObjectMetaArgs(name=title, namespace=NAMESPACE, labels=labels(dataset)),
            spec=template_spec(dataset, preprocess_job(dataset, site)),
            # The definitions come with the releases.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[worker, *runner, *args.ray, *args.workflows]),
        )
        if dataset.schedule is None:
            return (worker, template)
        cron = CustomResource(
            f"{title}-schedule",
            api_version=API,
            kind="CronWorkflow",
            metadata=meta.ObjectMetaArgs(name=title, namespace=NAMESPACE, labels=labels(dataset)),
            spec=cron_spec(dataset, dataset.schedule),
            # It names the template by its name alone.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[template]),
        )
        return (worker, template, cron)

    def _runner(self, name: str, args: DatasetsArgs) -> tuple[pulumi.Resource, ...]:
        """Make the account of the workflows."""
        child = pulumi.ResourceOptions(parent=self, depends_on=list(args.site.namespaces[NAMESPACE]))
        whose = meta.ObjectMetaArgs(name=RUNNER, namespace=NAMESPACE)
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
            subjects=[rbac.v1.SubjectArgs(kind="ServiceAccount", name=name_of(runner), namespace=NAMESPACE)],
            opts=child,
        )
        return (runner, binding)
