"""Jobs of Ray that workflows run: as whom, from which template, at what time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes import core, rbac
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.contract import Grant
from components.platform.names import name_of
from components.platform.openings import Namespace
from components.platform.site import Site
from workloads.argo import API, one_at_a_time, schedule

_STEP: Final = "run"
_SLACK_SECONDS: Final = 900  # nodes that come, and the end of the job being seen


@dataclass(frozen=True, kw_only=True)
class RayRuns:
    """Runs of one RayJob.

    Attributes:
        name: Of the template and of its schedule. Runs wait for each other.
        namespace: Where they are.
        job: The RayJob; each run has one of its own, which goes with the workflow.
        account: Service account of the workflow, which makes the job.
        deadline_seconds: What the job may take.
        labels: Labels of everything, and of the runs.
        cron: When runs start by themselves: five fields, in UTC; None: only when somebody asks.
    """

    name: str
    namespace: Namespace
    job: Mapping[str, Any]
    account: str
    deadline_seconds: int
    labels: Mapping[str, str]
    cron: str | None


def template_spec(runs: RayRuns) -> dict[str, Any]:
    """Specification of the ``WorkflowTemplate``: one step that makes the RayJob and waits for its end."""
    manifest = {**runs.job, "metadata": {**runs.job["metadata"]}}
    manifest["metadata"]["generateName"] = f"{manifest['metadata'].pop('name')}-"
    return {
        "entrypoint": _STEP,
        "serviceAccountName": runs.account,
        "activeDeadlineSeconds": runs.deadline_seconds + _SLACK_SECONDS,
        "synchronization": one_at_a_time(runs.name),
        "workflowMetadata": {"labels": dict(runs.labels)},
        "templates": [
            {
                "name": _STEP,
                "resource": {
                    "action": "create",
                    "setOwnerReference": True,
                    # A job that has failed may be tried again; only then its deployment has failed.
                    "successCondition": "status.jobStatus == SUCCEEDED",
                    "failureCondition": "status.jobDeploymentStatus == Failed",
                    "manifest": pulumi.Output.json_dumps(manifest, indent=2),
                },
            }
        ],
    }


def declare(runs: RayRuns, *, parent: pulumi.Resource, after: Sequence[pulumi.Resource]) -> tuple[pulumi.Resource, ...]:
    """Declare the template, and the schedule where there is one.

    Args:
        runs: What runs.
        parent: The component.
        after: Accounts, and what brings the definitions: they come with releases.
    """
    metadata = meta.ObjectMetaArgs(name=runs.name, namespace=runs.namespace, labels=dict(runs.labels))
    template = CustomResource(
        f"{runs.name}-template",
        api_version=API,
        kind="WorkflowTemplate",
        metadata=metadata,
        spec=template_spec(runs),
        opts=pulumi.ResourceOptions(parent=parent, depends_on=list(after)),
    )
    if runs.cron is None:
        return (template,)
    timer = CustomResource(
        f"{runs.name}-schedule",
        api_version=API,
        kind="CronWorkflow",
        metadata=metadata,
        spec=schedule(runs.name, runs.cron, labels=runs.labels),
        # It names the template by its name alone.
        opts=pulumi.ResourceOptions(parent=parent, depends_on=[template]),
    )
    return (template, timer)


def worker(
    title: str,
    *,
    namespace: Namespace,
    grants: Sequence[Grant],
    labels: Mapping[str, str],
    site: Site,
    parent: pulumi.Resource,
) -> core.v1.ServiceAccount:
    """Make the account of the job's own pods, with its identity.

    Args:
        title: Its name, and prefix of the Pulumi resources.
        namespace: Where the job runs.
        grants: What it may do at the cloud.
        labels: Its labels.
        site: Where it runs.
        parent: The component.
    """
    identity = site.foundation.identity.grant(
        title, namespace=namespace, service_account=title, grants=grants, parent=parent
    )
    return core.v1.ServiceAccount(
        title,
        metadata=meta.ObjectMetaArgs(
            name=title, namespace=namespace, labels=dict(labels), annotations=dict(identity.annotations)
        ),
        automount_service_account_token=False,
        # A pod that starts before its role may do anything keeps failing with credentials that it has cached.
        opts=pulumi.ResourceOptions(parent=parent, depends_on=[*site.namespaces[namespace], *identity.ready]),
    )


def runner(
    name: str, account: str, *, namespace: Namespace, site: Site, parent: pulumi.Resource
) -> tuple[pulumi.Resource, ...]:
    """Make the account of the workflows: it makes RayJobs and watches them.

    Args:
        name: Prefix of the Pulumi resources.
        account: Its name.
        namespace: Where it may do so.
        site: Where that is.
        parent: The component.
    """
    child = pulumi.ResourceOptions(parent=parent, depends_on=list(site.namespaces[namespace]))
    whose = meta.ObjectMetaArgs(name=account, namespace=namespace)
    made = core.v1.ServiceAccount(f"{name}-runs", metadata=whose, opts=child)
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
        subjects=[rbac.v1.SubjectArgs(kind="ServiceAccount", name=name_of(made), namespace=namespace)],
        opts=child,
    )
    return (made, binding)
