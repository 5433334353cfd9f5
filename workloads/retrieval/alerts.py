"""What is told of retrievals: answers that fail, questions that find nothing, documents that do not come in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.platform.observability.links import links
from components.platform.observability.monitors import Monitor
from components.platform.observability.rules import Alert, Group, rule
from components.platform.observability.rules.model import HOUR, MINUTE, NOW, promql
from components.platform.site import Site
from workloads.retrieval.names import DATA, LABEL, PART, PORT, SERVING

NAMES: Final = ("RetrievalFailing", "RetrievalFindsNothing", "RetrievalIngestionFailed")
"""Its alerts; each has a section in ``docs/runbooks/data.md``."""

_NAMESPACE: Final = "monitoring"
_API: Final = "monitoring.coreos.com/v1"

MONITOR: Final = Monitor(
    name="retrieval",
    namespaces=[SERVING],
    labels=PART,
    port=PORT,
    target_labels={"retrieval": LABEL},
    why="Answers from documents: how many, how long, how near what was found.",
)

_REQUESTS: Final = "llmops_retrieval_requests_total"
_FAILED: Final = f'kuberay_job_deployment_status{{deployment_status="Failed",namespace="{DATA}",name=~"ingest-.+"}}'


def _share(outcome: str, minutes: int) -> str:
    ended = f'sum by (retrieval) (increase({_REQUESTS}{{outcome="{outcome}"}}[{minutes}m]))'
    every = f'sum by (retrieval) (increase({_REQUESTS}{{outcome!="refused"}}[{minutes}m]))'
    return f"{ended} / ({every} >= 20)"


def group() -> Group:
    """The alerts, for all retrievals."""
    return Group(
        name="retrieval.answers",
        rules=[
            Alert(
                name=NAMES[0],
                expression=f"{_share('failed', 10)} > 0.05",
                lasting=5 * MINUTE,
                severity="critical",
                summary="{{ $labels.retrieval }} fails to answer",
                description=(
                    "{{ $value | humanizePercentage }} of at least 20 questions in ten minutes failed. "
                    "llmops_retrieval_failures_total says at which stage."
                ),
                page="data",
                dashboard="models",
            ),
            Alert(
                name=NAMES[1],
                expression=f"{_share('unknown', 60)} > 0.5",
                lasting=30 * MINUTE,
                severity="warning",
                summary="{{ $labels.retrieval }} finds nothing for most questions",
                description=(
                    "For {{ $value | humanizePercentage }} of at least 20 questions in an hour no passage was near "
                    "enough: documents are missing, or search.minScore is too high for the embedding model."
                ),
                page="data",
                dashboard="models",
            ),
            Alert(
                name=NAMES[2],
                expression=(
                    f"max by (namespace, name) (({_FAILED} == 1) unless ({_FAILED} offset {promql(HOUR)} == 1)) > 0"
                ),
                lasting=NOW,
                severity="warning",  # the documents of before are still there
                summary="Run {{ $labels.name }} brought no documents in",
                description=(
                    "Its last try too. What was there before is still answered from. This is told for an hour."
                ),
                page="data",
                dashboard="pipelines",
            ),
        ],
    )


def declare(
    name: str, *, site: Site, parent: pulumi.Resource, after: Sequence[pulumi.Resource]
) -> tuple[pulumi.Resource, ...]:
    """Declare who is read, and the rules.

    Args:
        name: Prefix of the Pulumi resources.
        site: Where they are evaluated.
        parent: The component.
        after: What brings the definitions.
    """
    monitor = CustomResource(
        f"{name}-monitor",
        api_version=_API,
        kind="PodMonitor",
        metadata=meta.ObjectMetaArgs(
            name=MONITOR.name, namespace=_NAMESPACE, labels={"app.kubernetes.io/part-of": "llmops"}
        ),
        spec=MONITOR.spec,
        opts=pulumi.ResourceOptions(parent=parent, depends_on=list(after)),
    )
    return (
        monitor,
        rule(f"{name}-rules", [group()], title="llmops-retrieval", links=links(site), parent=parent, after=after),
    )
