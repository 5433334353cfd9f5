"""How a dataset's job is run: as whom, how long, when."""

from __future__ import annotations

from typing import Final

from components.platform.site import Site
from components.settings.datasets import DatasetSettings
from workloads.preprocess.job import NAMESPACE, account, labels, preprocess_job
from workloads.ray_runs import RayRuns

RUNNER: Final = "dataset-runs"
"""Service account of workflows that run datasets: it makes RayJobs in ``mlops-data`` and watches them."""


def runs(dataset: DatasetSettings, site: Site) -> RayRuns:
    """Runs of a dataset, for a template that anybody may submit.

    Two at once would do the same twice, and the first to end would remove what the other goes on from.
    """
    return RayRuns(
        name=account(dataset),
        namespace=NAMESPACE,
        job=preprocess_job(dataset, site),
        account=RUNNER,
        deadline_seconds=dataset.deadline_hours * 3600,
        labels=labels(dataset),
        cron=dataset.schedule,
    )
