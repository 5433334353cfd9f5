"""The flow of one release: from raw files to a version with its alias, and to an engine that was tried. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pulumi

from components.contract import Grant, ObjectGrant
from components.platform.experiments import CLIENT_SECRET
from components.platform.experiments.names import ARTIFACT_PREFIX
from components.platform.openings import Namespace
from components.platform.site import Site
from components.settings.models import ObjectiveSettings, SmokeSettings
from components.settings.release import EngineSettings, ReleaseSettings
from workloads.images import content_tag, reference
from workloads.object_store import store_variables
from workloads.release import trial
from workloads.release.flow import INPUTS, Condition, Flow, Starter, Task, in_pods
from workloads.release.steps import PodStep, ResourceStep, Step, result

NAMESPACE: Final[Namespace] = "mlops-training"
"""Where releases run, whosever model it is: a team's training alone runs in the team's namespace."""

PLANNER: Final = "release-planner"
"""Service account of steps that look what is there: they read data and models, and write what they found."""

STARTER: Final = "release-starter"
"""Service account of steps that create jobs and wait for them; it has no cloud identity."""

BUILDER: Final = "release-builder"
"""Service account of steps with the weights: they read models, and write checkpoints, engines and trials."""

PUBLISHER: Final = "release-publisher"
"""Service account of the step that writes the model repository."""

PROMOTER: Final = "release-promoter"
"""Service account of steps that move aliases; it has no cloud identity."""

STATE: Final = "releases"
"""Folder of what releases keep, in the bucket ``pipelines``."""

REPOSITORY: Final = "triton"
"""Folder of the releases that Triton loads, in the bucket ``models``."""

ALIAS: Final = "alias"
"""Input of a run: the version with this alias is released, and nothing is prepared or trained; empty for all steps."""

EVALUATOR: Final = "release-evaluator"
"""Service account of steps that evaluate: they read models and cases, and write answers and reports."""

# Trained models are artifacts of the registry.
_MODELS: Final = ObjectGrant(bucket="mlflow", access="read", prefix=f"{ARTIFACT_PREFIX}/")

GRANTS: Final[Mapping[str, tuple[Grant, ...]]] = {
    PLANNER: (
        ObjectGrant(bucket="data", access="read"),
        _MODELS,
        ObjectGrant(bucket="pipelines", access="read-write", prefix=f"{STATE}/"),
    ),
    STARTER: (),
    BUILDER: (
        ObjectGrant(bucket="data", access="read", prefix="raw/"),
        _MODELS,
        ObjectGrant(bucket="pipelines", access="read-write", prefix=f"{STATE}/"),
    ),
    PUBLISHER: (
        ObjectGrant(bucket="models", access="read-write", prefix=f"{REPOSITORY}/"),
        ObjectGrant(bucket="pipelines", access="read", prefix=f"{STATE}/"),
    ),
    PROMOTER: (),
    EVALUATOR: (_MODELS, ObjectGrant(bucket="data", access="read", prefix="processed/")),
}
"""What the accounts may do with objects."""

_RUN: Final = ("python3", "-m", "release")
_BUILD: Final = ("python3", "-m", "engine")
_REGISTRY: Final[Mapping[str, tuple[str, str]]] = {
    name: (CLIENT_SECRET, name)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
}
_CALIBRATION_TEXTS: Final = 512
_LIGHT_SECONDS: Final = 1800  # a registry or a store that is away for a while is waited for by tries


@dataclass(frozen=True, kw_only=True)
class Release:
    """One release, and what the other kinds of workloads do for it.

    Attributes:
        name: Name of the fine-tune.
        settings: How it is released.
        registered_model: Name in the model registry.
        sources: URLs of raw files that the dataset is made of; empty for data that somebody else prepares.
        decides: What else decides the dataset.
        dataset: URL of the folder with the prepared datasets, or of one dataset.
        preprocess: What prepares the data; none where somebody else does.
        training: What the training is told, without the URL of its data.
        processes: GPUs that train together.
        train: What trains; it reads the data at ``result("plan", "dataset")``.
        evaluate: What evaluates ``result("find", "version")``, whose weights are at ``result("find", "source")``, in
            order; empty for nothing.
        evaluation_grants: What that needs of the object store, besides models and prepared data.
        smoke: What an engine is asked when it is tried.
        objective: Within which time it must answer.
    """

    name: str
    settings: ReleaseSettings
    registered_model: str
    sources: Sequence[pulumi.Input[str]]
    decides: Mapping[str, Any]
    dataset: pulumi.Input[str]
    preprocess: ResourceStep | None
    training: pulumi.Input[Mapping[str, Any]]
    processes: int
    train: ResourceStep
    evaluate: Sequence[Step]
    evaluation_grants: Sequence[Grant] = ()
    smoke: SmokeSettings = field(default_factory=SmokeSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)

    @property
    def title(self) -> str:
        """Name of everything that it is made of."""
        return f"release-{self.name}"


def flow_of(release: Release, site: Site) -> Flow:
    """The whole flow. A release without an engine ends with the version's alias; vLLM reads weights as they are."""
    look = _look(release, site)
    tasks = [
        Task(step=_light("look", PLANNER, look, site, gives=("preprocess", "record"))),
        *_prepared(release),
        Task(
            step=_light("plan", PLANNER, _plan(release, look), site, gives=("train", "dataset", "model")),
            after=["preprocess"] if release.preprocess else [],
        ),
        Task(step=release.train, when=Condition(step="plan", result="train")),
        Task(
            step=_light("find", PLANNER, _find(release, site), site, gives=_found(release), registry=True),
            after=[release.train.name],
        ),
        *_evaluated(release),
    ]
    promoted = tasks[-1].step.name
    tasks.append(_alias(release, site, "register", release.settings.candidate_alias, after=promoted))
    if release.settings.engine:
        tasks.extend(_engine(release, release.settings.engine, site))
    if release.settings.promote == "automatic":
        last = tasks[-1].step.name
        tasks.append(_alias(release, site, "promote", release.settings.production_alias, after=last))
    return Flow(name=release.title, namespace=NAMESPACE, tasks=tasks, inputs={ALIAS: ""}, labels=labels(release))


def flow_in_pods(release: Release, site: Site) -> Flow:
    """The same with nothing but pods, as Argo and Kubeflow run it."""
    starter = Starter(image=reference(site, "release"), service_account=STARTER)
    return in_pods(flow_of(release, site), starter)


def labels(release: Release) -> dict[str, str]:
    """Labels of everything that belongs to a release, runs included."""
    return {"app.kubernetes.io/part-of": "llmops", "llmops/release": release.name}


def _light(
    name: str,
    account: str,
    config: Mapping[str, Any],
    site: Site,
    *,
    gives: Sequence[str] = (),
    registry: bool = False,
    memory_mib: int = 512,
    disk_gib: int = 1,
) -> PodStep:
    """A step that needs no GPU and little else."""
    return PodStep(
        name=name,
        image=reference(site, "release"),
        command=_RUN,
        config=config,
        environment=store_variables(site.foundation.objects),
        secrets=_REGISTRY if registry else {},
        gives=gives,
        cpu_millicores=100,
        memory_mib=memory_mib,
        disk_gib=disk_gib,
        service_account=account,
        deadline_seconds=_LIGHT_SECONDS,
        retries=4,
    )


def _url(site: Site, bucket: Any, path: str) -> pulumi.Output[str]:
    return pulumi.Output.concat(site.foundation.objects.buckets[bucket].url, "/", path)


def _look(release: Release, site: Site) -> dict[str, Any]:
    return {
        "task": "look",
        "alias": result(INPUTS, ALIAS),
        "sources": list(release.sources),
        "decides": dict(release.decides),
        "records": _url(site, "pipelines", f"{STATE}/{release.name}/datasets"),
    }


def _plan(release: Release, look: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "task": "plan",
        "alias": result(INPUTS, ALIAS),
        "look": dict(look),
        "record": result("look", "record"),
        "dataset": release.dataset,
        "training": release.training,
        "processes": release.processes,
    }


def _prepared(release: Release) -> Iterator[Task]:
    if release.preprocess:
        yield Task(step=release.preprocess, when=Condition(step="look", result="preprocess"))


def _found(release: Release) -> tuple[str, ...]:
    engine = ("convert", "build", "sync", "trial", "checkpointKey", "engineKey", "trialKey")
    places = ("checkpoint", "engine", "release")
    return ("version", "source", "evaluate", *((*engine, *places) if release.settings.engine else ()))


def _find(release: Release, site: Site) -> dict[str, Any]:
    found: dict[str, Any] = {
        "task": "find",
        "alias": result(INPUTS, ALIAS),
        "registeredModel": release.registered_model,
        "model": result("plan", "model"),
    }
    if engine := release.settings.engine:
        state = f"{STATE}/{release.name}"
        found["engine"] = {
            "decides": {
                "image": content_tag("engine"),
                "convert": _converted(engine),
                "build": {"gpu": engine.gpu_model, **_limits(engine)},
                "trial": {"document": _document(release, engine), "question": _question(release)},
            },
            "checkpoints": _url(site, "pipelines", f"{state}/checkpoints"),
            "engines": _url(site, "pipelines", f"{state}/engines"),
            "trials": _url(site, "pipelines", f"{state}/trials"),
            "repository": _url(site, "models", f"{REPOSITORY}/{release.name}"),
        }
    return found


def _evaluated(release: Release) -> Iterator[Task]:
    before = "find"
    for step in release.evaluate:
        yield Task(step=step, after=[before], when=Condition(step="find", result="evaluate"))
        before = step.name


def _alias(release: Release, site: Site, name: str, alias: str, *, after: str) -> Task:
    config = {
        "task": "promote",
        "registeredModel": release.registered_model,
        "version": result("find", "version"),
        "alias": alias,
        "by": f"{release.title} {result('run', 'id')}",
        "unevaluated": "" if release.evaluate else "the fine-tune declares no evaluation",
    }
    step = _light(name, PROMOTER, config, site, gives=("bearer",), registry=True)
    return Task(step=step, after=[after], when=Condition(step="find", result="evaluate"))


def _converted(engine: EngineSettings) -> dict[str, Any]:
    """What decides a checkpoint, besides the model."""
    return {
        "parallel": {"tensor": engine.tensor_parallel, "pipeline": engine.pipeline_parallel},
        "quantization": engine.quantization,
        "kvCache": engine.kv_cache,
        "calibration": engine.calibration,
        "calibrationTexts": _CALIBRATION_TEXTS,
    }


def _limits(engine: EngineSettings) -> dict[str, Any]:
    return {
        "parallel": {"tensor": engine.tensor_parallel, "pipeline": engine.pipeline_parallel},
        "maxBatchSize": engine.max_batch_size,
        "maxInputTokens": engine.max_input_tokens,
        "maxSequenceTokens": engine.max_sequence_tokens,
        "maxNumTokens": engine.max_num_tokens,
        "fp8Attention": engine.kv_cache == "fp8",
    }


def _document(release: Release, engine: EngineSettings) -> dict[str, Any]:
    return trial.document(release.settings.model or release.name, engine, release.smoke, release.objective)


def _question(release: Release) -> Mapping[str, Any]:
    return trial.question(release.smoke, release.objective)


def _engine(release: Release, engine: EngineSettings, site: Site) -> Iterator[Task]:
    state = f"{STATE}/{release.name}"
    calibration = {"calibration": _url(site, "data", engine.calibration)} if engine.calibration else {}
    convert = {
        "task": "convert",
        "source": result("find", "source"),
        "checkpoints": _url(site, "pipelines", f"{state}/checkpoints"),
        "key": result("find", "checkpointKey"),
        **_converted(engine),
        **calibration,
    }
    build = {
        "task": "build",
        "checkpoint": result("find", "checkpoint"),
        "source": result("find", "source"),
        "engines": _url(site, "pipelines", f"{state}/engines"),
        "key": result("find", "engineKey"),
        "model": release.name,
        "gpu": engine.gpu_model,
        **_limits(engine),
    }
    sync = {"task": "sync", "engine": result("find", "engine"), "release": result("find", "release")}
    tried = {
        "task": "trial",
        "release": result("find", "release"),
        "trials": _url(site, "pipelines", f"{state}/trials"),
        "key": result("find", "trialKey"),
        "document": _document(release, engine),
        "cache": trial.CACHE,
        "server": trial.server(),
        "question": _question(release),
    }
    yield _when("convert", _on_gpus("convert", convert, engine, site), after="register")
    yield _when("build", _on_gpus("build", build, engine, site), after="convert")
    # An engine is a third of what its build needs; the store's client holds several parts of a file at a time.
    room = max(10, engine.disk_gib // 2)
    copy = _light("sync", PUBLISHER, sync, site, gives=("release",), memory_mib=2048, disk_gib=room)
    yield _when("sync", copy, after="build")
    yield _when("trial", _on_gpus("trial", tried, engine, site), after="sync")


def _when(decision: str, step: PodStep, *, after: str) -> Task:
    return Task(step=step, after=[after], when=Condition(step="find", result=decision))


def _on_gpus(name: str, config: Mapping[str, Any], engine: EngineSettings, site: Site) -> PodStep:
    """A step on the very GPUs that will serve the engine: it is tuned by being run on them."""
    return PodStep(
        name=name,
        image=reference(site, "engine"),
        command=_BUILD,
        config=config,
        environment=store_variables(site.foundation.objects),
        cpu_millicores=3000,
        memory_mib=engine.memory_gib * 1024,
        disk_gib=engine.disk_gib,
        gpus=engine.gpus,
        gpu_model=engine.gpu_model,
        role="gpu-inference",
        service_account=BUILDER,
        deadline_seconds=engine.build_hours * 3600,
        retries=2,
    )
