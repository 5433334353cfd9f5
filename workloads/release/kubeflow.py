"""A flow for Kubeflow Pipelines: a document of plain JSON, from which ``compile_pipeline.py`` makes the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pulumi

from components.contract import ROLE_LABEL
from workloads.argo import API
from workloads.release.argo import inputs_of
from workloads.release.flow import Flow, Starter, Task, as_pod, text_of, used
from workloads.release.steps import PodStep, ResourceStep, result

FORMAT: Final = 1


def document(flow: Flow) -> pulumi.Output[str]:
    """The flow as JSON: steps in order, each with its command, its config as text, what it waits for, when it is run.

    Args:
        flow: The flow; all of its steps are pods (:func:`workloads.release.flow.in_pods`).
    """
    starter = _starter(flow)
    return text_of(
        {
            "format": FORMAT,
            "name": flow.name,
            "inputs": dict(flow.inputs),
            "steps": [_step(flow, task, starter) for task in flow.tasks],
        }
    )


def _starter(flow: Flow) -> Starter:
    """Who creates objects: the same image as of the first step, which is always one of the light ones."""
    first = flow.tasks[0].step
    assert isinstance(first, PodStep), "the flow's steps are pods"
    return Starter(image=first.image, service_account=first.service_account, command=first.command)


def _step(flow: Flow, task: Task, starter: Starter) -> dict[str, Any]:
    step = as_pod(_elsewhere(flow, task), starter)
    if not step.command:
        raise ValueError(f"step {step.name} names no command; Kubeflow's launcher does not know the image's own")
    return {
        "name": step.name,
        "image": step.image,
        "command": list(step.command),
        "config": text_of(step.config),
        "environment": dict(step.environment),
        "secrets": {name: list(where) for name, where in step.secrets.items()},
        "gives": list(step.gives),
        "uses": [list(one) for one in used(step)],
        "cpu": f"{step.cpu_millicores}m",
        "memory": f"{step.memory_mib}Mi",
        "disk": f"{step.disk_gib}Gi",
        "nodes": {ROLE_LABEL: step.role},
        "retries": step.retries,
        "after": list(flow.needs(task)),
        "when": None if task.when is None else [task.when.step, task.when.result, task.when.equals],
    }


def _elsewhere(flow: Flow, task: Task) -> PodStep | ResourceStep:
    """The step, or where it needs a GPU, which the namespace of pipelines has none of: a workflow of its template."""
    step = task.step
    if isinstance(step, ResourceStep) or not step.gpus:
        return step
    return ResourceStep(
        name=step.name,
        manifest=workflow(flow, step),
        success="status.phase == Succeeded",
        failure="status.phase == Failed || status.phase == Error",
        deadline_seconds=step.deadline_seconds * (step.retries + 1),
        retries=0,  # the workflow tries again by itself
        gives=step.gives,
    )


def workflow(flow: Flow, step: PodStep) -> Mapping[str, Any]:
    """A workflow of one step of the flow's template."""
    names = inputs_of(step)
    parameters = [{"name": name, "value": result(*key)} for key, name in names.items()]
    return {
        "apiVersion": API,
        "kind": "Workflow",
        "metadata": {"name": f"{flow.name}-{step.name}", "namespace": flow.namespace, "labels": dict(flow.labels)},
        "spec": {
            "workflowTemplateRef": {"name": flow.name},
            "entrypoint": step.name,
            "arguments": {"parameters": parameters},
            # The run as a whole may hold it: one step of it must not wait for that.
            "synchronization": {"mutexes": [{"name": f"{flow.name}-{step.name}"}]},
        },
    }
