"""What is read of the systems of learning: data, experiments, pipelines, training, models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from components.platform import ray
from components.platform.observability.monitors.model import Monitor
from components.platform.openings import LITELLM, MILVUS, MLFLOW, team_namespace
from components.platform.runtimes import CONTAINER
from components.platform.site import Site

TRAINING_METRICS: Final = {"llmops/metrics": "training"}
"""Label of pods of training runs that show their progress."""

TRAINING_PORT: Final = 9100
"""Where they show it."""

_NAME = "app.kubernetes.io/name"
# Set by KServe on pods from the annotations of their runtime, and so different for each kind of server.
_PORT_OF_RUNTIME: Final = "prometheus.kserve.io/port"
_CONTROLLER_NOISE = ("rest_client_.*_bucket", "workqueue_.*_bucket", "controller_runtime_.*_bucket")


def of_learning(site: Site) -> Iterator[Monitor]:
    """Every system that the settings switch on."""
    settings = site.settings
    teams = [team_namespace(team.name) for team in site.teams]
    if settings.ray.enabled:
        yield from _ray(site)
    if settings.vectors.enabled:
        yield Monitor(
            name="milvus",
            namespaces=[MILVUS.namespace],
            labels=MILVUS.labels,
            port=9091,
            target_labels={"component": "component"},
            why="Searches, their times, and what is loaded.",
        )
    if settings.experiments.enabled:
        yield Monitor(
            name="mlflow",
            namespaces=[MLFLOW.namespace],
            labels=MLFLOW.labels,
            port=9090,
            why="Requests, errors and times of experiment tracking.",
        )
    if settings.workflows.enabled:
        yield Monitor(
            name="argo-workflows",
            namespaces=["argo"],
            labels={"app.kubernetes.io/component": "workflow-controller"},
            port=9090,
            honor_labels=True,  # namespace is the workflow's
            drop=["argo_workflows_k8s_request_duration_bucket"],
            why="Workflows that wait or fail.",
        )
    if settings.pipelines.enabled:
        yield from _pipelines()
    if settings.training.enabled:
        yield from _training(site, ["mlops-training", *teams])
    if settings.serving.enabled:
        yield from _models(site, ["mlops-serving", *teams])
    if settings.model_gateway.enabled:
        yield Monitor(
            name="litellm",
            namespaces=[LITELLM.namespace],
            labels=LITELLM.labels,
            port=4001,
            why="Tokens, money and failures, by team and model.",
        )


def _ray(site: Site) -> Iterator[Monitor]:
    yield Monitor(
        name="kuberay-operator",
        namespaces=["mlops-system"],
        labels={_NAME: "kuberay-operator"},
        port=8080,
        honor_labels=True,  # namespace is the cluster's
        drop=_CONTROLLER_NOISE,
        why="Clusters and jobs of Ray that do not start.",
    )
    yield Monitor(
        name="ray",
        namespaces=ray.namespaces(site),
        labels={"ray.io/is-ray-node": "yes"},  # KubeRay's own, on head and workers
        port=8080,
        target_labels={"ray_io_cluster": "ray.io/cluster"},
        why="Tasks, memory and dead nodes inside of Ray.",
    )


def _pipelines() -> Iterator[Monitor]:
    yield Monitor(
        name="pipelines",
        namespaces=["kubeflow"],
        labels={"app": "ml-pipeline"},
        port=8888,
        why="Calls of the API, and the runs that it knows.",
    )
    yield Monitor(
        name="pipelines-schedules",
        namespaces=["kubeflow"],
        labels={"app": "ml-pipeline-scheduledworkflow"},
        port=9090,
        why="Recurring runs that are not started.",
    )


def _training(site: Site, namespaces: list[str]) -> Iterator[Monitor]:
    for name in ("kubeflow-trainer", "jobset"):
        yield Monitor(
            name=name,
            namespaces=["kubeflow-system"],
            labels={_NAME: name},
            port=8443,
            speaks="https-with-token",
            honor_labels=True,  # namespace is the job's
            drop=_CONTROLLER_NOISE,
            why="Training runs that fail.",
        )
    if site.settings.training.pytorch_jobs:
        yield Monitor(
            name="training-operator",
            namespaces=["kubeflow"],
            labels={"control-plane": "kubeflow-training-operator"},
            port=8080,
            drop=_CONTROLLER_NOISE,
            why="PyTorchJobs that fail.",
        )
    yield Monitor(
        name="training-runs",
        namespaces=namespaces,
        labels=TRAINING_METRICS,
        port=TRAINING_PORT,
        samples=1000,
        why="Loss, learning rate and throughput of runs that show them.",
    )


def _models(site: Site, namespaces: list[str]) -> Iterator[Monitor]:
    yield Monitor(
        name="kserve",
        namespaces=["kserve"],
        labels={"control-plane": "kserve-controller-manager"},
        port=8443,
        speaks="https-with-token",
        drop=_CONTROLLER_NOISE,
        why="Models that could not be made.",
    )
    yield Monitor(
        name="models",
        namespaces=namespaces,
        labels={"component": "predictor"},
        port_annotation=_PORT_OF_RUNTIME,
        container=CONTAINER,
        target_labels={
            # Not ``model`` and ``version``, which Triton's own series have.
            "inference_service": "serving.kserve.io/inferenceservice",
            "model_version": "llmops/model-version",
            "team": "llmops/team",
        },
        why="Requests, queues, tokens and caches of model servers.",
    )
    if site.settings.serving.activation.enabled:
        yield Monitor(
            name="activator",
            namespaces=["mlops-serving"],
            labels={"app.kubernetes.io/component": "interceptor", "app.kubernetes.io/part-of": "keda-add-ons-http"},
            port=2223,
            container="keda-add-ons-http-interceptor",
            why="Requests that wait for a model's first server.",
        )
        yield Monitor(
            name="activator-scaler",
            namespaces=["mlops-serving"],
            labels={"app.kubernetes.io/component": "scaler", "app.kubernetes.io/part-of": "keda-add-ons-http"},
            port=2223,
            why="Proxies that do not answer.",
        )
