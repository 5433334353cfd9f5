"""What may talk to what: every namespace is closed in both directions, and each system names the ways it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

Namespace = Literal[
    "argo",
    "argocd",
    "cert-manager",
    "external-secrets",
    "gpu-system",
    "istio-ingress",
    "istio-system",
    "keda",
    "kserve",
    "kubeflow",
    "kubeflow-system",
    "mlops-data",
    "mlops-serving",
    "mlops-system",
    "mlops-training",
    "monitoring",
    "velero",
    "volcano-system",
]
"""Namespaces of the platform; teams have ``team-<name>`` beside them."""

Outside = Literal[
    "api-server", "control-plane", "load-balancers", "stores", "cloud-apis", "internet", "dns", "nodes", "anywhere"
]
"""Who is no pod of ours: the Kubernetes API as a target; the control plane as a caller of webhooks and aggregated APIs;
load balancers as callers; database, cache and shared files; the cloud's APIs (object store, secrets, tokens); the
internet; cluster DNS; nodes; anything at all."""


@dataclass(frozen=True, kw_only=True)
class Pods:
    """Pods of a namespace.

    Attributes:
        namespace: Name of the namespace.
        labels: Labels that select some of them; empty for all.
    """

    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict[str, str])


Peer = Pods | Outside


@dataclass(frozen=True, kw_only=True)
class Opening:
    """One way that is open.

    Where both ends are pods it opens the source's egress and the target's ingress; where one end is outside, the other
    end's direction. Between pods of the mesh the tunnel's port is opened too: the mesh carries the named ports in it.

    Attributes:
        source: Who connects.
        target: Who answers; at least one of the two is pods.
        ports: TCP ports of the target; container ports, not the service's. Empty for all.
        why: What would break without it.
    """

    source: Peer
    target: Peer
    ports: tuple[int, ...]
    why: str


SCRAPER = Pods(namespace="monitoring", labels={"app.kubernetes.io/name": "prometheus"})
"""Prometheus, which scrapes every system's metrics."""

GATEWAY = Pods(namespace="istio-ingress", labels={"istio": "ingress"})
"""The gateway, through which everything from outside comes."""

LITELLM = Pods(namespace="mlops-serving", labels={"app.kubernetes.io/name": "litellm"})
"""The model gateway: budgets, routing, fallbacks."""

MLFLOW = Pods(namespace="mlops-system", labels={"app.kubernetes.io/name": "mlflow"})
"""Experiment tracking and the model registry."""

MILVUS = Pods(namespace="mlops-data", labels={"app.kubernetes.io/name": "milvus"})
"""The vector database."""

_DATA: Final = Pods(namespace="mlops-data")
_MONITORING: Final = Pods(namespace="monitoring")
_SERVING: Final = Pods(namespace="mlops-serving")
_TRAINING: Final = Pods(namespace="mlops-training")

_HTTPS: Final = 443
_LITELLM_PORT: Final = 4000
_MLFLOW_PORT: Final = 5000
_MODEL_PORTS: Final = (8000, 8001, 8080)  # vLLM and Triton HTTP, Triton gRPC, KServe's own runtimes
_MODEL_METRICS: Final = (8000, 8002, 8080)  # vLLM, Triton, KServe's own runtimes


def team_namespace(team: str) -> str:
    """Name of a team's namespace."""
    return f"team-{team}"


def common_openings(teams: Sequence[str], *, internet: bool) -> tuple[Opening, ...]:
    """Ways that belong to namespaces, whatever system fills them.

    Args:
        teams: Names of the teams.
        internet: Whether data processing, training and teams may fetch from the internet.
    """
    return (
        *_BETWEEN_NAMESPACES,
        *(way for team in teams for way in _of_team(_team_pods(team))),
        *(_fetching(pods) for pods in (_DATA, _TRAINING, *map(_team_pods, teams)) if internet),
    )


_BETWEEN_NAMESPACES: Final = (
    Opening(source=_DATA, target=_DATA, ports=(), why="Ray's workers and Milvus' parts choose their ports."),
    Opening(source=_DATA, target="cloud-apis", ports=(_HTTPS,), why="Raw and processed data; vectors."),
    Opening(source=_DATA, target="api-server", ports=(_HTTPS,), why="Ray's autoscaler asks for workers."),
    Opening(source=_DATA, target=MLFLOW, ports=(_MLFLOW_PORT,), why="Steps of pipelines log what they did."),
    Opening(source=_DATA, target=LITELLM, ports=(_LITELLM_PORT,), why="Documents are embedded by models."),
    Opening(source=_TRAINING, target=_TRAINING, ports=(), why="NCCL and torch rendezvous choose their ports."),
    Opening(source=_TRAINING, target="cloud-apis", ports=(_HTTPS,), why="Training data, checkpoints, artifacts."),
    Opening(source=_TRAINING, target=MLFLOW, ports=(_MLFLOW_PORT,), why="Runs log metrics and register models."),
    Opening(source=_TRAINING, target=LITELLM, ports=(_LITELLM_PORT,), why="Evaluations call the models they judge."),
    Opening(source=_SERVING, target=_SERVING, ports=_MODEL_PORTS, why="The model gateway calls the models."),
    Opening(source=_SERVING, target="cloud-apis", ports=(_HTTPS,), why="Models are loaded from the object store."),
    Opening(source=_MONITORING, target="api-server", ports=(_HTTPS,), why="What there is to watch is listed there."),
    Opening(source=_MONITORING, target="cloud-apis", ports=(_HTTPS,), why="Logs and traces go to the object store."),
    Opening(source=SCRAPER, target="nodes", ports=(9100, 10250), why="Metrics of nodes and of their containers."),
    Opening(source=SCRAPER, target=_SERVING, ports=_MODEL_METRICS, why="Metrics of models."),
    Opening(source=SCRAPER, target=_DATA, ports=(8080, 9091), why="Metrics of Ray and of Milvus."),
)


def _team_pods(team: str) -> Pods:
    return Pods(namespace=team_namespace(team))


def _of_team(pods: Pods) -> tuple[Opening, ...]:
    """What a team's pods need; there is no way to another team."""
    return (
        Opening(source=pods, target=pods, ports=(), why="Distributed jobs choose their ports."),
        Opening(source=pods, target="api-server", ports=(_HTTPS,), why="Ray's autoscaler and workflows report there."),
        Opening(source=pods, target="cloud-apis", ports=(_HTTPS,), why="Data, checkpoints, models."),
        Opening(source=pods, target=MLFLOW, ports=(_MLFLOW_PORT,), why="Runs log metrics and register models."),
        Opening(source=pods, target=LITELLM, ports=(_LITELLM_PORT,), why="Calls of models, with the team's key."),
        Opening(source=LITELLM, target=pods, ports=_MODEL_PORTS, why="Models that the team serves itself."),
        Opening(source=SCRAPER, target=pods, ports=_MODEL_METRICS, why="Metrics of the team's models."),
    )


def _fetching(pods: Pods) -> Opening:
    return Opening(source=pods, target="internet", ports=(_HTTPS,), why="Base models, data sets, packages.")
