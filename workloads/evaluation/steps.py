"""Evaluation as steps of a flow: what its pods are told, where they run, what they may do. Pure.

Two steps, because two kinds of machine are needed. ``answer`` runs in the training image on a GPU, where the weights
are: it answers every question and computes the loss on held-out data. ``evaluate`` runs in an image without torch: it
has the answers judged, records the result and gives the alias. A model that is served already needs no first step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast, get_args

import pulumi

from components.contract import BucketRole, Grant, NodeRole, ObjectGrant
from components.platform.experiments import ARTIFACTS, CLIENT_SECRET, TRACKING_URI
from components.platform.model_gateway.names import SERVICE_URL
from components.platform.openings import Opening, Pods
from components.platform.site import Site
from components.settings.evaluation import EvaluationSettings, SuiteSettings
from workloads.images import reference
from workloads.release.steps import PodStep

LABELS: Final = {"app.kubernetes.io/name": "evaluation"}
"""Labels of the pods that ask models."""

ANSWERS: Final = "evaluation/answers"
"""Folder of the artifacts with answers and losses, in the bucket ``data``."""

_NAMESPACE: Final = "mlops-training"
_MODEL_PORTS: Final = (8000, 8001, 8080)  # vLLM and Triton, their frontends, KServe's own runtimes
_ANSWER_SCRIPT: Final = ("python", "-m", "answering")

# RAGAS, DeepEval and pandas hold some 500 MiB once imported; each case and its answer a few KiB.
_MEMORY_MIB: Final = 1536
_CPU_MILLICORES: Final = 500
# A judgement is two to five questions to the judge; a suite of 1000 cases and ten metrics at eight at a time is hours.
_DEADLINE_SECONDS: Final = 6 * 3600

OPENINGS: Final = (
    Opening(
        source=Pods(namespace=_NAMESPACE, labels=LABELS),
        target=Pods(namespace="mlops-serving"),
        ports=_MODEL_PORTS,
        why="A canary is evaluated at its own servers: the gateway would mix in the model's own answers.",
    ),
)
"""What evaluations reach; the model gateway, MLflow and the object store are open to all of training."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model that is served.

    Attributes:
        model: Its name there.
        url: Root of an OpenAI-style API, without ``/v1``; the model gateway's by default.
        timeout_seconds: For one answer.
        patience_seconds: How long a question is put again that nobody answers: the longest cold start, and more.
    """

    model: str
    url: str = SERVICE_URL
    timeout_seconds: int = 300
    patience_seconds: int = 1800


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What is evaluated. Texts may hold results of earlier steps.

    Attributes:
        model: The registered model.
        version: Its version.
        subject: Where it answers; unset where ``answers`` is set.
        answers: Folder of the artifact that the step ``answer`` made.
        alias: What it is given when it passes; empty for nothing.
        by: Who asks; for people.
    """

    model: str
    version: str
    subject: Subject | None = None
    answers: str = ""
    alias: str = ""
    by: str = ""


@dataclass(frozen=True, kw_only=True)
class Answering:
    """Where the weights are, and what they need.

    Attributes:
        model: Folder with the weights and the tokenizer: an artifact, or what the registry has.
        data: Folder of the prepared dataset with the held-out split; empty where no loss is wanted.
        gpus: GPUs of the pod; the weights are spread over them.
        gpu_model: Their model; empty for any.
        role: Nodes.
        memory_mib: Memory of the pod: the weights pass through it.
        disk_gib: Its disk: the weights lie there.
    """

    model: str
    data: str = ""
    gpus: int = 1
    gpu_model: str = ""
    role: NodeRole = "gpu-training"
    memory_mib: int
    disk_gib: int


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Who runs a step.

    Attributes:
        service_account: In the namespace of the flow; granted :func:`grants`.
        gateway_key: Secret and key with a key of the model gateway; unset where nobody is asked.
        environment: More variables, such as how the object store is signed in to.
    """

    service_account: str
    gateway_key: tuple[str, str] | None = None
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])


def evaluate_step(
    settings: EvaluationSettings, evaluated: Evaluated, runner: Runner, *, site: Site, name: str = "evaluate"
) -> PodStep:
    """Have the answers judged, record the result, give the alias. Results: ``verdict``, ``reasons``, ``version``.

    It ends with 3 where the version is below its thresholds.
    """
    return PodStep(
        name=name,
        image=reference(site, "evaluation"),
        config=configuration(settings, evaluated, site=site),
        environment={"MLFLOW_TRACKING_URI": TRACKING_URI, **runner.environment},
        secrets=_secrets(runner),
        gives=("verdict", "reasons", "version"),
        cpu_millicores=_CPU_MILLICORES,
        memory_mib=_MEMORY_MIB,
        role="cpu",
        service_account=runner.service_account,
        deadline_seconds=_DEADLINE_SECONDS,
        labels=LABELS,
    )


def answer_step(
    settings: EvaluationSettings, answering: Answering, runner: Runner, *, site: Site, name: str = "answer"
) -> PodStep:
    """Answer the suites' questions and compute the held-out loss, where the weights are. Result: ``answers``, a URL."""
    data = _urls(site)["data"]
    held_out = settings.held_out
    return PodStep(
        name=name,
        image=reference(site, "training"),
        command=_ANSWER_SCRIPT,
        config={
            "model": answering.model,
            "output": pulumi.Output.concat(data, "/", ANSWERS),
            "suites": [_questions(suite, site=site) for suite in settings.suites],
            **(
                {
                    "heldOut": {
                        "data": _url(held_out.data, site=site) if held_out.data else answering.data,
                        "split": held_out.split,
                        "maxSequences": held_out.max_sequences,
                    }
                }
                if held_out
                else {}
            ),
        },
        environment=runner.environment,
        secrets={},
        gives=("answers",),
        cpu_millicores=2000,
        memory_mib=answering.memory_mib,
        disk_gib=answering.disk_gib,
        gpus=answering.gpus,
        gpu_model=answering.gpu_model,
        role=answering.role,
        service_account=runner.service_account,
        deadline_seconds=_DEADLINE_SECONDS,
    )


def configuration(settings: EvaluationSettings, evaluated: Evaluated, *, site: Site) -> dict[str, Any]:
    """What the pod is told; ``workloads/evaluation/image/evaluation/config.py`` reads it."""
    subject, judge = evaluated.subject, settings.judge
    found: dict[str, Any] = {
        "model": {"name": evaluated.model, "version": evaluated.version},
        "answers": evaluated.answers,
        "suites": [_suite(suite, site=site) for suite in settings.suites],
        "heldOut": settings.held_out is not None,
        "thresholds": {
            name: one.model_dump(mode="json", by_alias=True, exclude_none=True)
            for name, one in settings.thresholds.items()
        },
        "confidence": settings.confidence,
        "resamples": settings.resamples,
        "minCases": settings.min_cases,
        "seed": settings.seed,
        "alias": evaluated.alias,
        "by": evaluated.by,
    }
    if subject:
        found["subject"] = {
            "url": f"{subject.url}/v1",
            "model": subject.model,
            "timeoutSeconds": subject.timeout_seconds,
            "patienceSeconds": subject.patience_seconds,
        }
    if judge:
        found["judge"] = {"url": f"{SERVICE_URL}/v1", **judge.model_dump(mode="json", by_alias=True)}
    return found


def grants(settings: EvaluationSettings) -> tuple[Grant, ...]:
    """What the account of the steps may do with objects: read cases, write answers, log artifacts."""
    files = {place for suite in settings.suites if (place := _place(suite.data))}
    if settings.held_out and settings.held_out.data and (place := _place(settings.held_out.data)):
        files.add((place[0], f"{place[1]}/"))
    return (
        *(ObjectGrant(bucket=role, access="read", prefix=path) for role, path in sorted(files)),
        ObjectGrant(bucket="data", access="read-write", prefix=f"{ANSWERS}/"),
        ARTIFACTS,
    )


def models(settings: EvaluationSettings) -> Sequence[str]:
    """Models of the gateway that an evaluation asks; each must be there."""
    judge = settings.judge
    return [one for one in (judge.model, judge.embeddings) if one] if judge else []


def _suite(suite: SuiteSettings, *, site: Site) -> dict[str, Any]:
    return {**suite.model_dump(mode="json", by_alias=True), "data": _url(suite.data, site=site)}


def _questions(suite: SuiteSettings, *, site: Site) -> dict[str, Any]:
    kept = {"name", "sha256", "give_contexts", "max_cases", "max_tokens"}
    return {**suite.model_dump(mode="json", by_alias=True, include=kept), "data": _url(suite.data, site=site)}


def _secrets(runner: Runner) -> dict[str, tuple[str, str]]:
    client = {name: (CLIENT_SECRET, name) for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")}
    return client | ({"GATEWAY_KEY": runner.gateway_key} if runner.gateway_key else {})


def _place(url: str) -> tuple[BucketRole, str] | None:
    """Role and path of a URL in one of the stack's buckets; none for a bucket of somebody else."""
    scheme, _, rest = url.partition("://")
    role, _, path = rest.partition("/")
    known = scheme in ("s3", "gs") and role in get_args(BucketRole)
    return (cast("BucketRole", role), path.rstrip("/")) if known else None


def _url(url: str, *, site: Site) -> pulumi.Input[str]:
    """The real bucket of a URL with the role of one; a URL of another bucket stays."""
    place = _place(url)
    buckets = _urls(site)
    return pulumi.Output.concat(buckets[place[0]], "/", place[1]) if place and place[0] in buckets else url


def _urls(site: Site) -> dict[str, pulumi.Output[str]]:
    return {role: bucket.url for role, bucket in site.foundation.objects.buckets.items()}
