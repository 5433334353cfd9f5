"""A flow: steps in order, what each needs of the others, when it is left out. Pure; others say who runs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

import pulumi

from workloads.release.steps import NAME, PodStep, Step, result, results_in

INPUTS: Final = "inputs"
"""Stands for the flow's own inputs, where a step is named: ``result(INPUTS, "alias")``."""

RUN_ID: Final = result("run", "id")
"""Stands for what names one run of a flow, and is the same for every try of a step."""

_RESERVED: Final = (INPUTS, "run")


class FlowError(ValueError):
    """A flow that could not be run."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """When a step is run.

    Attributes:
        step: Which step decides.
        result: Which of its results.
        equals: The value with which the step is run; with any other it is left out.
    """

    step: str
    result: str
    equals: str = "run"


@dataclass(frozen=True, kw_only=True)
class Task:
    """A step in a flow.

    Attributes:
        step: What is done.
        after: Steps that must have ended well, or been left out, before it starts; those whose results it uses, and the
            one that decides, are among them without being named.
        when: When it is run; none for always.
    """

    step: Step
    after: Sequence[str] = ()
    when: Condition | None = None


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Steps in order: each may use only those before it.

    Attributes:
        name: Name of the flow.
        namespace: Where its pods run.
        tasks: The steps.
        inputs: What a run may be told, with its default.
        labels: Labels of all that is made of it.
    """

    name: str
    namespace: str
    tasks: Sequence[Task]
    inputs: Mapping[str, str] = field(default_factory=dict[str, str])
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if found := list(_problems(self)):
            raise FlowError("\n".join(f"flow {self.name}: {one}" for one in found))

    def needs(self, task: Task) -> Sequence[str]:
        """Steps that must be over before this one starts; each once, in the flow's order."""
        wanted = {
            *task.after,
            *((task.when.step,) if task.when else ()),
            *(step for step, _ in used(task.step) if step not in _RESERVED),
        }
        return [one.step.name for one in self.tasks if one.step.name in wanted]


def used(step: Step) -> Sequence[tuple[str, str]]:
    """Results that a step uses: of other steps, of the flow's inputs, of the run; each once."""
    told = [step.config, step.environment] if isinstance(step, PodStep) else [step.manifest]
    texts = (text for part in told for text in _texts(part))
    return list(dict.fromkeys([*step.uses, *(one for text in texts for one in results_in(text))]))


def _texts(value: Any) -> Iterator[str]:
    """Every text that is known now. A result within an output of a resource is named by ``uses``, or refused later."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, part in cast("Mapping[Any, Any]", value).items():
            yield from _texts(key)
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in cast("Sequence[Any]", value):
            yield from _texts(part)


def _problems(flow: Flow) -> Iterator[str]:
    if not NAME.fullmatch(flow.name):
        yield "its name has lower-case letters, digits and hyphens, at most 40"
    before: dict[str, Task] = {}
    for task in flow.tasks:
        name = task.step.name
        if name in before or name in _RESERVED:
            yield f"step {name}: the name is taken"
        for other in (*task.after, *((task.when.step,) if task.when else ())):
            if other not in before:
                yield f"step {name}: {other} is no step before it"
        if task.when and (deciding := before.get(task.when.step)) and task.when.result not in gives(deciding.step):
            yield f"step {name}: {task.when.step} gives no {task.when.result}"
        for step, wanted in used(task.step):
            yield from _unusable(flow, task, before, step, wanted)
        if "{{" in "".join(_texts(task.step.config if isinstance(task.step, PodStep) else task.step.manifest)):
            yield f"step {name}: {{{{ would be taken for a variable by who runs it"
        before[name] = task


def _unusable(flow: Flow, task: Task, before: Mapping[str, Task], step: str, wanted: str) -> Iterator[str]:
    name = task.step.name
    if step == "run":
        if wanted != "id":
            yield f"step {name}: a run has no {wanted}"
    elif step == INPUTS:
        if wanted not in flow.inputs:
            yield f"step {name}: {wanted} is no input of the flow"
    elif step not in before:
        yield f"step {name}: uses {wanted} of {step}, which is no step before it"
    elif wanted not in gives(before[step].step):
        yield f"step {name}: {step} gives no {wanted}"
    elif before[step].when not in (None, task.when):
        yield f"step {name}: uses {wanted} of {step}, which may be left out while this one is run"


def gives(step: Step) -> Sequence[str]:
    """Names of a step's results; a step that creates an object gives its name too."""
    return step.gives if isinstance(step, PodStep) else ("name", *step.gives)


@dataclass(frozen=True, kw_only=True)
class Starter:
    """Who creates objects and waits for them.

    Attributes:
        image: Image ``release``.
        service_account: Who may create them.
        command: Its program.
    """

    image: pulumi.Input[str]
    service_account: str
    command: Sequence[str] = ("python3", "-m", "release")


def as_pod(step: Step, starter: Starter) -> PodStep:
    """The step as a pod. One that creates an object becomes a pod that does, and waits.

    Not Argo's own way: its conditions cannot ask for an entry of a list, which is where training jobs say how they are,
    and each try would create one more object. Kubeflow's pipelines have no way of their own at all.
    """
    if isinstance(step, PodStep):
        return step
    return PodStep(
        name=step.name,
        image=starter.image,
        command=starter.command,
        config={
            "task": "start",
            "manifest": step.manifest,
            "run": RUN_ID,
            "success": step.success,
            "failure": step.failure,
            "seconds": step.deadline_seconds,
            "gives": list(step.gives),
        },
        uses=step.uses,
        gives=gives(step),
        cpu_millicores=20,
        memory_mib=128,
        disk_gib=1,
        service_account=starter.service_account,
        # The step itself deletes what takes too long; this is for a step that hangs.
        deadline_seconds=step.deadline_seconds + 600,
        retries=step.retries,
    )


def in_pods(flow: Flow, starter: Starter) -> Flow:
    """The same flow with nothing but pods."""
    return replace(flow, tasks=[replace(task, step=as_pod(task.step, starter)) for task in flow.tasks])


def text_of(value: Mapping[str, Any]) -> pulumi.Output[str]:
    """A config as JSON, in one order: the same config is the same text."""
    return pulumi.Output.json_dumps(value, sort_keys=True)
