"""The job that runs a fine-tune, as a manifest. Pure; nothing here is created."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from components.contract import BucketRole, NodePool, ObjectGrant
from components.platform.experiments import TRACKING_URI
from components.platform.experiments.names import ARTIFACT_PREFIX
from components.platform.observability.monitors.learning import TRAINING_METRICS, TRAINING_PORT
from components.platform.openings import SCRAPER, Opening, Pods, team_namespace
from components.platform.training_jobs import GRACE_SECONDS, NAMESPACE, TrainingJob, pytorch_job, train_job
from components.settings.fine_tunes import FineTuneSettings
from workloads.models.spec import OWNER_LABEL, TEAM_LABEL, location
from workloads.training.image.finetune.config import (
    Checkpoints,
    Data,
    FineTuneConfig,
    Lora,
    Optimization,
    Output,
    Zero,
)
from workloads.training.plan import Plan

FINE_TUNE_LABEL: Final = "llmops/fine-tune"
"""Label of everything that belongs to a fine-tune: its name."""

_SHUTDOWN_SECONDS: Final = GRACE_SECONDS - 10
"""How long processes may save their state before they are killed; the launcher itself needs the rest."""

_CHECKPOINTS: Final = "checkpoints"
_MODELS: Final = f"{ARTIFACT_PREFIX}/fine-tunes"


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Buckets of the stack, as plain addresses.

    Attributes:
        data: Bucket of data, such as ``s3://stack-data``.
        models: Bucket of models.
        mlflow: Bucket of the registry's artifacts.
    """

    data: str
    models: str
    mlflow: str


def account(settings: FineTuneSettings) -> str:
    """Name of its service account, and of what else it has one of."""
    return f"fine-tune-{settings.name}"


def namespace(settings: FineTuneSettings) -> str:
    """Where it runs."""
    return team_namespace(settings.team) if settings.team else NAMESPACE


def labels(settings: FineTuneSettings, *, owner: str) -> dict[str, str]:
    """Labels of its objects and pods; the last one lets its metrics be read."""
    team = {TEAM_LABEL: settings.team} if settings.team else {}
    return {FINE_TUNE_LABEL: settings.name, OWNER_LABEL: settings.team or owner, **team, **TRAINING_METRICS}


def grants(settings: FineTuneSettings) -> tuple[ObjectGrant, ...]:
    """What it may read and write: its data, its base model, and folders of its own."""
    found = [
        ObjectGrant(bucket="models", access="read-write", prefix=f"{_CHECKPOINTS}/{settings.name}/"),
        # What servers read; whatever else is in the registry's bucket stays closed for writing.
        ObjectGrant(bucket="mlflow", access="read-write", prefix=f"{_MODELS}/{settings.name}/"),
    ]
    if settings.dataset:
        found.append(ObjectGrant(bucket="data", access="read", prefix=f"processed/{settings.dataset}/"))
    elif (place := _own(settings.data)) is not None:
        found.append(ObjectGrant(bucket=place[0], access="read", prefix=f"{place[1]}/"))
    if settings.base.source.startswith("models:"):
        found.append(ObjectGrant(bucket="mlflow", access="read", prefix=f"{ARTIFACT_PREFIX}/"))
    elif (place := _own(settings.base.source)) is not None:
        found.append(ObjectGrant(bucket=place[0], access="read", prefix=f"{place[1]}/"))
    return tuple(found)


def openings(fine_tunes: Sequence[FineTuneSettings]) -> tuple[Opening, ...]:
    """Ways beside those of their namespaces: who reads their metrics."""
    return tuple(
        Opening(
            source=SCRAPER,
            target=Pods(namespace=place, labels=TRAINING_METRICS),
            ports=(TRAINING_PORT,),
            why="Loss and pace of trainings: one that stands still holds its GPUs.",
        )
        for place in sorted({namespace(one) for one in fine_tunes})
    )


def fine_tune_config(
    settings: FineTuneSettings, addresses: Addresses, *, image_tag: str, data_url: str = ""
) -> FineTuneConfig:
    """What the program in its pods is told.

    Args:
        settings: The fine-tune.
        addresses: The stack's buckets.
        image_tag: Tag of its image, which the model's key and lineage hold.
        data_url: A state of the dataset, such as a pipeline hands on; empty for the current one.
    """
    data = data_url or (
        f"{addresses.data}/processed/{settings.dataset}" if settings.dataset else _at(settings.data, addresses)
    )
    return FineTuneConfig(
        name=settings.name,
        base=_at(settings.base.source, addresses),
        method=settings.method,
        image=image_tag,
        data=Data(url=data),
        lora=Lora(
            rank=settings.lora.rank,
            alpha=settings.lora.alpha,
            dropout=settings.lora.dropout,
            targets=settings.lora.targets or "all-linear",
        ),
        zero=None if settings.zero is None else Zero(stage=settings.zero.stage, offload=settings.zero.offload),
        optimization=Optimization.model_validate(settings.learning.model_dump()),
        checkpoints=Checkpoints(every_minutes=settings.checkpoints.every_minutes, keep=settings.checkpoints.keep),
        output=Output(
            models=f"{addresses.mlflow}/{_MODELS}/{settings.name}",
            checkpoints=f"{addresses.models}/{_CHECKPOINTS}/{settings.name}",
            merge=settings.merge,
            registered_model=settings.registered,
            experiment=account(settings),
        ),
        metrics_port=TRAINING_PORT,
    )


def fine_tune_job(
    settings: FineTuneSettings,
    plan: Plan,
    config: FineTuneConfig,
    *,
    image: str,
    owner: str,
    shared_memory_gib: int,
    pools: Sequence[NodePool],
    environment: Mapping[str, str] | None = None,
    name: str = "",
) -> dict[str, Any]:
    """The job, as a ``PyTorchJob`` or a ``TrainJob``.

    Args:
        settings: The fine-tune.
        plan: What its pods ask for.
        config: What they are told, as :func:`fine_tune_config` gives it.
        image: The training image, with its tag.
        owner: Team that answers for the stack.
        shared_memory_gib: Shared memory of a training pod.
        pools: Node groups, whose taints its pods must tolerate.
        environment: How its clients find the object store, as :mod:`workloads.object_store` says it.
        name: Name of the job; empty for one that the API server makes up when it is created.
    """
    job = TrainingJob(
        name=name or account(settings),
        image=image,
        command=command(config),
        nodes=settings.nodes,
        gpus=settings.gpus,
        cpu_millicores=plan.host.cpu_millicores,
        memory_mib=plan.host.memory_mib,
        disk_gib=plan.host.disk_gib,
        shared_memory_gib=shared_memory_gib,
        framework="deepspeed" if settings.zero else "torch",
        priority=settings.priority,
        gpu_model=settings.gpu.type,
        namespace=namespace(settings),
        service_account=account(settings),
        # The account comes from a Secret that a team's namespace may lack: then the first question to the registry is
        # refused, and not hours of training lost to no registry.
        environment={"MLFLOW_TRACKING_URI": TRACKING_URI, **(environment or {})},
        deadline_hours=settings.deadline_hours,
        restarts=settings.restarts,
        labels=labels(settings, owner=owner),
    )
    manifest = pytorch_job(job, pools=pools) if settings.job == "pytorch-job" else train_job(job)
    if not name:
        metadata: dict[str, Any] = manifest["metadata"]
        metadata["generateName"] = f"{metadata.pop('name')}-"
    return manifest


def command(config: FineTuneConfig) -> tuple[str, ...]:
    """What every node runs: processes are told that the node goes away early enough to save their state."""
    return (
        "torchrun",
        f"--shutdown-timeout={_SHUTDOWN_SECONDS}",
        "-m",
        "finetune",
        "--config",
        config.model_dump_json(by_alias=True),
    )


def outcome(settings: FineTuneSettings) -> Mapping[str, str]:
    """Conditions by which the job says how it ended: ``success`` and ``failure``."""
    if settings.job == "pytorch-job":
        return {"success": "status.conditions[Succeeded] == True", "failure": "status.conditions[Failed] == True"}
    return {"success": "status.conditions[Complete] == True", "failure": "status.conditions[Failed] == True"}


def _own(source: str) -> tuple[BucketRole, str] | None:
    """Role and path of a place in the stack's own buckets."""
    if not source.startswith(("s3:", "gs:")):
        return None
    found = location(source)
    match found.place:
        case "data" | "models" | "mlflow" as role:
            return role, found.path
        case _:
            return None


def _at(source: str, addresses: Addresses) -> str:
    """A place in the stack's buckets by its real name; any other as it is."""
    place = _own(source)
    if place is None:
        return source
    known = {"data": addresses.data, "models": addresses.models, "mlflow": addresses.mlflow}
    return f"{known[place[0]]}/{place[1]}"
