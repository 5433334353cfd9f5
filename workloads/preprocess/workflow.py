"""How a dataset's job is run: a template that anybody may submit, and a schedule."""

from __future__ import annotations

from typing import Any, Final

import pulumi

from components.settings.datasets import DatasetSettings
from workloads.preprocess.job import account, labels

API: Final = "argoproj.io/v1alpha1"

RUNNER: Final = "dataset-runs"
"""Service account of workflows that run datasets: it makes RayJobs in ``mlops-data`` and watches them."""

_TEMPLATE: Final = "run"
_SLACK_SECONDS: Final = 900  # nodes that come, and the end of the job being seen


def template_spec(dataset: DatasetSettings, job: dict[str, Any]) -> dict[str, Any]:
    """Specification of the WorkflowTemplate: one step that makes the RayJob and waits for its end.

    Args:
        dataset: The dataset.
        job: The RayJob; each run has one of its own, which goes with the workflow.
    """
    manifest = {**job, "metadata": {**job["metadata"]}}
    manifest["metadata"]["generateName"] = f"{manifest['metadata'].pop('name')}-"
    return {
        "entrypoint": _TEMPLATE,
        "serviceAccountName": RUNNER,
        "activeDeadlineSeconds": dataset.deadline_hours * 3600 + _SLACK_SECONDS,
        # Two runs at once would do the same twice, and the first to end would remove what the other goes on from.
        "synchronization": {"mutexes": [{"name": account(dataset)}]},
        "workflowMetadata": {"labels": labels(dataset)},
        "templates": [
            {
                "name": _TEMPLATE,
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


def cron_spec(dataset: DatasetSettings, schedule: str) -> dict[str, Any]:
    """Specification of the CronWorkflow."""
    return {
        "schedules": [schedule],
        "timezone": "Etc/UTC",
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 3600,  # after an outage of the controller
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 3,
        "workflowMetadata": {"labels": labels(dataset)},
        "workflowSpec": {"workflowTemplateRef": {"name": account(dataset)}},
    }
