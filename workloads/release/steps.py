"""What a step of a flow is asked to do, without saying who runs it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pulumi

from components.contract import NodeRole

NAME: Final = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
"""How a step is named."""

_RESULT: Final = re.compile(r"@\{([a-z][a-z0-9-]*)\.([a-zA-Z][a-zA-Z0-9]*)\}")

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1
"""Anything that may be better next time: the step is tried again."""
EXIT_CONFIGURATION: Final = 2
EXIT_REFUSED: Final = 3
"""A rule says no, such as a threshold. As a wrong configuration it stays so, and is never tried again."""


def result(step: str, name: str) -> str:
    """Text that stands for a result of an earlier step, in a config or a manifest; also within a longer text.

    Args:
        step: The step that gives it; the flow then orders the two.
        name: Name of the result. A pod gives its results by writing each to ``/tmp/results/<name>``.
    """
    return f"@{{{step}.{name}}}"


def results_in(text: str) -> Sequence[tuple[str, str]]:
    """Every result that a text asks for, as step and name; each once, in order."""
    return list(dict.fromkeys((one[1], one[2]) for one in _RESULT.finditer(text)))


def with_results(text: str, values: Mapping[tuple[str, str], str]) -> str:
    """The text with the results put in; ``values`` are by step and name, in the words of who renders.

    Raises:
        KeyError: A result is not among the values.
    """
    return _RESULT.sub(lambda one: values[one[1], one[2]], text)


@dataclass(frozen=True, kw_only=True)
class PodStep:
    """A step that runs one container to its end: ``<entrypoint of the image> --config <JSON>``.

    Attributes:
        name: Name of the step, unique in its flow.
        image: Our own image, as :func:`workloads.images.reference` gives it.
        config: What the container is told; may hold texts of :func:`result` and outputs of resources.
        command: Instead of the image's own entrypoint; empty for that.
        environment: Variables that are no secret; may hold outputs of resources.
        secrets: Variables from Secrets of the step's namespace: name to the Secret and its key.
        uses: Results of earlier steps, as step and name, that stand within outputs of resources: those that stand in
            plain texts are found without being named.
        gives: Names of its results, each at most 256 KiB; written to ``/tmp/results/<name>``.
        cpu_millicores: CPU that is requested; there is no limit of it.
        memory_mib: Memory, requested and limit.
        disk_gib: Ephemeral disk, requested and limit; most of it at ``/work``, the working directory.
        gpus: GPUs.
        gpu_model: Lower-case model such as ``a10g``; empty for any, and where ``gpus`` is 0.
        role: Nodes to run on.
        service_account: Who it is in its namespace.
        deadline_seconds: When one try of it has failed.
        retries: Further tries after a failure that may pass: never after exit codes 2 and 3.
        labels: More labels of the pod, such as those that network openings select.
    """

    name: str
    image: pulumi.Input[str]
    config: Mapping[str, Any]
    command: Sequence[str] = ()
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])
    secrets: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    uses: Sequence[tuple[str, str]] = ()
    gives: Sequence[str] = ()
    cpu_millicores: int
    memory_mib: int
    disk_gib: int = 5
    gpus: int = 0
    gpu_model: str = ""
    role: NodeRole = "cpu"
    service_account: str
    deadline_seconds: int
    retries: int = 2
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.gpus and self.role not in ("gpu-training", "gpu-inference"):
            raise ValueError(f"step {self.name}: {self.gpus} GPUs are asked for on {self.role} nodes, which have none")


@dataclass(frozen=True, kw_only=True)
class ResourceStep:
    """A step that creates an object and waits until it has succeeded or failed.

    Attributes:
        name: Name of the step, unique in its flow.
        manifest: The object, with its namespace; may hold texts of :func:`result` and outputs of resources. Its name
            gets a suffix for each run: a step that is tried again finds its own object, and waits on.
        success: Condition on its fields that means success, such as ``status.jobStatus == SUCCEEDED`` or
            ``status.conditions[Complete] == True``, which is the status of the condition of that type; several with
            commas between, all of which must hold.
        failure: Condition that means failure.
        deadline_seconds: When the object is deleted, and the step has failed.
        retries: Further tries after the object has failed.
        uses: As of :class:`PodStep`.
        gives: Results of the steps of a workflow, where the object is one.
    """

    name: str
    manifest: Mapping[str, Any]
    success: str
    failure: str
    deadline_seconds: int
    retries: int = 1
    uses: Sequence[tuple[str, str]] = ()
    gives: Sequence[str] = ()

    def __post_init__(self) -> None:
        _check_name(self.name)
        metadata = self.manifest.get("metadata", {})
        if not metadata.get("namespace"):
            raise ValueError(f"step {self.name}: the manifest names no namespace")


Step = PodStep | ResourceStep


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ValueError(f"a step's name has lower-case letters, digits and hyphens, at most 40; got {name}")
