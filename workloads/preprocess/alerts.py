"""The alert about datasets that could not be made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pulumi

from components.platform.observability.links import links
from components.platform.observability.rules import Alert, Group, rule
from components.platform.observability.rules.model import HOUR, NOW, promql
from components.platform.site import Site
from workloads.preprocess.job import NAMESPACE

ALERT: Final = "DatasetFailed"

_FAILED: Final = (
    f'kuberay_job_deployment_status{{deployment_status="Failed",namespace="{NAMESPACE}",name=~"dataset-.+"}}'
)


def group() -> Group:
    """The alert, for all datasets: each run is a RayJob named after its dataset."""
    return Group(
        name="datasets.failures",
        rules=[
            Alert(
                name=ALERT,
                expression=(
                    f"max by (namespace, name) (({_FAILED} == 1) unless ({_FAILED} offset {promql(HOUR)} == 1)) > 0"
                ),
                lasting=NOW,
                severity="warning",  # the last dataset is still there, and what the run has made is kept
                summary="Run {{ $labels.name }} of a dataset failed",
                description="Its last try too. The dataset before it stays the current one. This is told for an hour.",
                page="data",
                dashboard="pipelines",
            )
        ],
    )


def declare(
    name: str, *, site: Site, parent: pulumi.Resource, after: Sequence[pulumi.Resource]
) -> tuple[pulumi.Resource, ...]:
    """Declare the rule.

    Args:
        name: Prefix of the Pulumi resources.
        site: Where it is evaluated.
        parent: The component.
        after: What brings the definition of a PrometheusRule.
    """
    return (rule(f"{name}-rules", [group()], title="llmops-datasets", links=links(site), parent=parent, after=after),)
