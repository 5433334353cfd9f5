"""Who may do what in releases: accounts by kind of step, and which objects a step may create where. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from workloads.release.flow import Flow
from workloads.release.steps import PodStep, ResourceStep

RESULTS: Final = ("argoproj.io", "workflowtaskresults", ("create", "patch"))
"""What every step's own container may: say how it went."""

_VERBS: Final = ("create", "delete", "get")

# Kinds that a step may create, with group and plural.
KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "PyTorchJob": ("kubeflow.org", "pytorchjobs"),
    "RayJob": ("ray.io", "rayjobs"),
    "TrainJob": ("trainer.kubeflow.org", "trainjobs"),
}


@dataclass(frozen=True, kw_only=True, order=True)
class Right:
    """What may be done in a namespace.

    Attributes:
        namespace: The namespace.
        group: Group of the API.
        resource: Plural name.
        verbs: What may be done. Names of runs are not known beforehand, so that none can be named.
    """

    namespace: str
    group: str
    resource: str
    verbs: tuple[str, ...] = _VERBS


def started(flows: Iterable[Flow]) -> list[Right]:
    """Rights to create what the flows' steps create, where they create it, and nothing else.

    Raises:
        ValueError: A kind that steps may not create.
    """
    found: set[Right] = set()
    for flow in flows:
        for task in flow.tasks:
            if isinstance(task.step, ResourceStep):
                manifest = task.step.manifest
                known = KINDS.get(manifest["kind"])
                if known is None:
                    raise ValueError(f"step {task.step.name}: {manifest['kind']} is none of {', '.join(KINDS)}")
                found.add(Right(namespace=manifest["metadata"]["namespace"], group=known[0], resource=known[1]))
    return sorted(found)


def accounts(flows: Iterable[Flow]) -> set[str]:
    """Service accounts of all pods of flows."""
    steps = (task.step for flow in flows for task in flow.tasks)
    return {step.service_account for step in steps if isinstance(step, PodStep)}
