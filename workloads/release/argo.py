"""A flow for Argo Workflows: a template of workflows. Plain manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pulumi

from components.contract import GPU_MODEL_LABEL, ROLE_LABEL, NodePool
from components.platform.confinement import CONTAINER_SECURITY
from workloads.argo import one_at_a_time
from workloads.release.flow import INPUTS, Flow, Task, text_of, used
from workloads.release.steps import EXIT_CONFIGURATION, EXIT_REFUSED, PodStep, with_results

ENTRYPOINT: Final = "flow"
RESULTS: Final = "/tmp/results"
WORK: Final = "/work"

METRIC: Final = "llmops_flow_created_seconds"
"""Custom metric: when the last run began that ended so, by flow and status. The controller adds ``argo_workflows_``."""

_GPU: Final = "nvidia.com/gpu"
_FIRST_PAUSE: Final = "30s"
_LAST_PAUSE: Final = "30m"
_SHARED_MEMORY_GIB: Final = 4


def spec(flow: Flow, *, pools: Sequence[NodePool], service_account: str) -> dict[str, Any]:
    """Specification of the ``WorkflowTemplate``.

    Args:
        flow: The flow; all of its steps are pods (:func:`workloads.release.flow.in_pods`).
        pools: Node groups, whose taints steps on GPUs must tolerate.
        service_account: Of what has none of its own.
    """
    return {
        "entrypoint": ENTRYPOINT,
        "serviceAccountName": service_account,
        "arguments": {"parameters": [{"name": name, "value": value} for name, value in flow.inputs.items()]},
        "workflowMetadata": {"labels": dict(flow.labels)},
        # Two runs at once would do the same work twice; the second finds that nothing is left to do.
        "synchronization": one_at_a_time(flow.name),
        "metrics": {"prometheus": [_metric(flow)]},
        "templates": [
            {"name": ENTRYPOINT, "dag": {"tasks": [_task(flow, task) for task in flow.tasks]}},
            *(_template(_pod(task), pools) for task in flow.tasks),
        ],
    }


def _metric(flow: Flow) -> dict[str, Any]:
    return {
        "name": METRIC,
        "help": "When the last run of a flow began that ended with this status, in seconds since 1970",
        "labels": [{"key": "flow", "value": flow.name}, {"key": "status", "value": "{{workflow.status}}"}],
        "gauge": {"realtime": False, "value": "{{workflow.creationTimestamp.s}}"},
    }


def _pod(task: Task) -> PodStep:
    if not isinstance(task.step, PodStep):
        raise TypeError(f"step {task.step.name} is not a pod; render workloads.release.flow.in_pods")
    return task.step


def _task(flow: Flow, task: Task) -> dict[str, Any]:
    found: dict[str, Any] = {"name": task.step.name, "template": task.step.name}
    if needs := flow.needs(task):
        # Without a state Argo takes succeeded, skipped and daemoned: a step that was left out does not stop others.
        found["depends"] = " && ".join(needs)
    if task.when:
        found["when"] = f"{_result(task.when.step, task.when.result)} == {task.when.equals}"
    if parameters := [
        {"name": _input(step, name), "value": _given(step, name)} for step, name in used(task.step) if step != "run"
    ]:
        found["arguments"] = {"parameters": parameters}
    return found


def _result(step: str, name: str) -> str:
    return f"{{{{tasks.{step}.outputs.parameters.{name}}}}}"


def _given(step: str, name: str) -> str:
    return f"{{{{workflow.parameters.{name}}}}}" if step == INPUTS else _result(step, name)


def _input(step: str, name: str) -> str:
    return f"{step}_{name}"


def inputs_of(step: PodStep) -> Mapping[tuple[str, str], str]:
    """Names of a step's inputs, by step and name of the result."""
    return {(one, name): _input(one, name) for one, name in used(step) if one != "run"}


def _template(step: PodStep, pools: Sequence[NodePool]) -> dict[str, Any]:
    names = inputs_of(step)
    values = {key: f"{{{{inputs.parameters.{name}}}}}" for key, name in names.items()}
    values["run", "id"] = "{{workflow.uid}}"
    found: dict[str, Any] = {
        "name": step.name,
        "metadata": {"labels": dict(step.labels)},
        "serviceAccountName": step.service_account,
        "activeDeadlineSeconds": step.deadline_seconds,
        "nodeSelector": {
            ROLE_LABEL: step.role,
            **({GPU_MODEL_LABEL: step.gpu_model} if step.gpu_model else {}),
        },
        "container": _container(step, values),
        "volumes": _volumes(step),
    }
    if step.gpus:
        found["tolerations"] = _tolerations(step, pools)
    if step.retries:
        found["retryStrategy"] = _retries(step.retries)
    if names:
        found["inputs"] = {"parameters": [{"name": name} for name in names.values()]}
    if step.gives:
        found["outputs"] = {
            "parameters": [{"name": name, "valueFrom": {"path": f"{RESULTS}/{name}"}} for name in step.gives]
        }
    return found


def _retries(limit: int) -> dict[str, Any]:
    """Again after a failure, or a node that was lost; never where the step itself says that it stays so."""
    stays = f"asInt(lastRetry.exitCode) in [{EXIT_CONFIGURATION}, {EXIT_REFUSED}]"
    return {
        "limit": str(limit),
        "retryPolicy": "Always",
        "expression": f"!({stays})",
        "backoff": {"duration": _FIRST_PAUSE, "factor": "2", "cap": _LAST_PAUSE},
    }


def _container(step: PodStep, values: Mapping[tuple[str, str], str]) -> dict[str, Any]:
    told = text_of(step.config).apply(lambda text: with_results(text, values))
    memory, disk = f"{step.memory_mib}Mi", f"{step.disk_gib}Gi"
    gpus = {_GPU: str(step.gpus)} if step.gpus else {}
    environment: list[dict[str, Any]] = [
        *({"name": name, "value": _filled(value, values)} for name, value in sorted(step.environment.items())),
        *(
            {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
            for name, (secret, key) in sorted(step.secrets.items())
        ),
    ]
    return {
        "image": step.image,
        **({"command": list(step.command)} if step.command else {}),
        "args": ["--config", told],
        "env": environment,
        "workingDir": WORK,
        "resources": {
            "requests": {"cpu": f"{step.cpu_millicores}m", "memory": memory, "ephemeral-storage": disk, **gpus},
            "limits": {"memory": memory, "ephemeral-storage": disk, **gpus},
        },
        "securityContext": dict(CONTAINER_SECURITY),
        "volumeMounts": [
            {"name": "work", "mountPath": WORK},
            *([{"name": "shared-memory", "mountPath": "/dev/shm"}] if step.gpus else []),
        ],
    }


def _filled(value: pulumi.Input[str], values: Mapping[tuple[str, str], str]) -> pulumi.Input[str]:
    return with_results(value, values) if isinstance(value, str) else value


def _volumes(step: PodStep) -> list[dict[str, Any]]:
    work: dict[str, Any] = {"name": "work", "emptyDir": {"sizeLimit": f"{step.disk_gib}Gi"}}
    if not step.gpus:
        return [work]
    memory = {"medium": "Memory", "sizeLimit": f"{_SHARED_MEMORY_GIB}Gi"}
    return [work, {"name": "shared-memory", "emptyDir": memory}]


def _tolerations(step: PodStep, pools: Sequence[NodePool]) -> list[dict[str, str]]:
    taints = {(taint.key, taint.effect) for pool in pools if pool.role == step.role for taint in pool.taints}
    return [{"key": key, "operator": "Exists", "effect": effect} for key, effect in sorted(taints)]
