"""Priority classes: who is placed first, and who leaves when there is no room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import pulumi
from pulumi_kubernetes.meta import v1 as meta
from pulumi_kubernetes.scheduling import v1 as scheduling

PriorityName = Literal["platform-critical", "serving", "training", "training-preemptible", "batch"]


@dataclass(frozen=True, kw_only=True)
class Priority:
    """One priority class.

    Attributes:
        value: Higher is placed first. Kubernetes keeps 1,000,000,000 and more for its own two classes; pods without a
            class have 0.
        preempts: Whether it makes room by stopping pods of lower value; else it only waits in front of them.
        why: Who has it, and why there.
    """

    value: int
    preempts: bool
    why: str


# Far apart, so that a class can be put between two others; a value cannot be changed once it is there.
PRIORITIES: Final[Mapping[PriorityName, Priority]] = {
    "platform-critical": Priority(
        value=1_000_000,
        preempts=True,
        why="Gateway, mesh, certificates, secrets, scheduling: without them nothing else starts or is reached.",
    ),
    "serving": Priority(
        value=100_000,
        preempts=True,
        why="Models and the model gateway: somebody waits for the answer.",
    ),
    # Volcano takes back what a queue is owed only for jobs that may preempt: with Never, a team would wait for its own
    # GPUs for as long as another team's job holds them.
    "training": Priority(
        value=10_000,
        preempts=True,
        why="Jobs that lose hours when they are stopped: they come first, and take back what their queue is owed.",
    ),
    "training-preemptible": Priority(
        value=5_000,
        preempts=True,
        why="Jobs that resume from a checkpoint: they use what is free and leave when it is needed.",
    ),
    "batch": Priority(
        value=1_000,
        preempts=False,
        why="Data processing, evaluation, pipelines: they can wait, and are simply run again.",
    ),
}

RESERVED: Final = ("system-node-critical", "system-cluster-critical", "platform-critical")
"""Classes that pods of workloads and teams must not have: with one of them a job could push the platform aside."""


def priority_classes(name: str, *, parent: pulumi.Resource) -> tuple[pulumi.Resource, ...]:
    """Create the classes; none is the default of pods that name none."""
    return tuple(
        scheduling.PriorityClass(
            f"{name}-{title}",
            metadata=meta.ObjectMetaArgs(name=title),
            value=priority.value,
            preemption_policy="PreemptLowerPriority" if priority.preempts else "Never",
            description=priority.why,
            opts=pulumi.ResourceOptions(parent=parent),
        )
        for title, priority in PRIORITIES.items()
    )
