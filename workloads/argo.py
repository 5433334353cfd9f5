"""What workflows of Argo have alike: one run at a time, and schedules. Plain manifests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

API: Final = "argoproj.io/v1alpha1"


def one_at_a_time(name: str) -> dict[str, Any]:
    """Runs wait for each other: for the field ``synchronization``.

    Args:
        name: What they have in common; mutexes are of a namespace.
    """
    return {"mutexes": [{"name": name}]}


def schedule(
    template: str, cron: str, *, inputs: Mapping[str, str] | None = None, labels: Mapping[str, str]
) -> dict[str, Any]:
    """Specification of a ``CronWorkflow`` that runs a template.

    Args:
        template: Name of the WorkflowTemplate.
        cron: Five fields, in UTC.
        inputs: What its runs are told.
        labels: Labels of its runs.
    """
    parameters = [{"name": name, "value": value} for name, value in (inputs or {}).items()]
    return {
        "schedules": [cron],
        "timezone": "Etc/UTC",
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 3600,  # after an outage of the controller
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 3,
        "workflowMetadata": {"labels": dict(labels)},
        "workflowSpec": {
            "workflowTemplateRef": {"name": template},
            **({"arguments": {"parameters": parameters}} if parameters else {}),
        },
    }
