"""A release's parts from the settings: what prepares its data, trains it and evaluates it. Nothing is created here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

import pulumi

from components.platform.site import Site
from components.settings.datasets import DatasetSettings
from components.settings.evaluation import EvaluationSettings
from components.settings.fine_tunes import FineTuneSettings
from components.settings.models import ModelSettings, ObjectiveSettings, SmokeSettings
from components.settings.release import ReleaseSettings
from workloads.evaluation import steps as evaluation
from workloads.images import content_tag
from workloads.object_store import store_variables
from workloads.preprocess.job import folder, preprocess_job
from workloads.release.releases import EVALUATOR, Release
from workloads.release.steps import PodStep, ResourceStep, Step, result
from workloads.training.component import job_text
from workloads.training.jobs import Addresses, account, fine_tune_config, namespace, outcome
from workloads.training.plan import Plan

GATEWAY_KEY: Final = ("evaluation-gateway", "key")
"""Secret in the namespace of releases with the key that judges are asked with."""

_HOUR: Final = 3600
# The training's settings check that data has a URL before any run has chosen it: this stands for the choice, and is
# taken out of the finished text.
_CHOSEN: Final = f"s3://{result('plan', 'dataset')}"
_SLACK_SECONDS: Final = 900  # nodes that come, and the end of a job being seen


def release_of(
    one: FineTuneSettings,
    settings: ReleaseSettings,
    plan: Plan,
    *,
    datasets: Sequence[DatasetSettings],
    models: Sequence[ModelSettings],
    site: Site,
) -> Release:
    """One release.

    Args:
        one: The fine-tune.
        settings: How it is released.
        plan: What its training asks for.
        datasets: The stack's datasets.
        models: The stack's models.
        site: Where it runs.
    """
    dataset = next((each for each in datasets if each.name == one.dataset), None)
    served = next((each for each in models if each.name == settings.model), None)
    return Release(
        name=one.name,
        settings=settings,
        registered_model=one.registered,
        sources=[_in_data(site, source) for source in (dataset.sources if dataset else ())],
        decides=_decides(dataset),
        dataset=_in_data(site, folder(dataset).rstrip("/")) if dataset else _manual(one, site),
        preprocess=_preprocess(dataset, site) if dataset else None,
        training=_told(one, site),
        processes=one.nodes * one.gpus,
        train=_train(one, plan, site),
        evaluate=list(_evaluate(one, plan, site)),
        evaluation_grants=evaluation.grants(one.evaluation) if one.evaluation else (),
        smoke=served.smoke if served else SmokeSettings(),
        objective=served.objective if served else ObjectiveSettings(),
    )


def _in_data(site: Site, path: str) -> pulumi.Output[str]:
    return pulumi.Output.concat(site.foundation.objects.buckets["data"].url, "/", path)


def _decides(dataset: DatasetSettings | None) -> dict[str, Any]:
    """What decides the prepared data besides the raw files; when and with how many workers it is made does not."""
    if dataset is None:
        return {}
    left_out = {"schedule", "workers", "deadline_hours"}
    return {"dataset": dataset.model_dump(mode="json", exclude=left_out), "image": content_tag("preprocess")}


def _preprocess(dataset: DatasetSettings, site: Site) -> ResourceStep:
    return ResourceStep(
        name="preprocess",
        manifest=preprocess_job(dataset, site),
        success="status.jobStatus == SUCCEEDED",
        # A job that has failed may be tried again by the operator; only then its deployment has failed.
        failure="status.jobDeploymentStatus == Failed",
        deadline_seconds=dataset.deadline_hours * _HOUR + _SLACK_SECONDS,
        retries=1,
    )


def _addresses(site: Site) -> pulumi.Output[Addresses]:
    buckets = site.foundation.objects.buckets

    def known(urls: Sequence[str]) -> Addresses:
        data, models, mlflow = urls
        return Addresses(data=data, models=models, mlflow=mlflow)

    return pulumi.Output.all(buckets["data"].url, buckets["models"].url, buckets["mlflow"].url).apply(known)


def _config(one: FineTuneSettings, site: Site, *, data_url: str = "") -> pulumi.Output[Any]:
    tag = content_tag("training")
    return _addresses(site).apply(lambda known: fine_tune_config(one, known, image_tag=tag, data_url=data_url))


def _told(one: FineTuneSettings, site: Site) -> pulumi.Output[Mapping[str, Any]]:
    """What the training is told, without the URL of its data, which the run chooses."""

    def without(config: Any) -> Mapping[str, Any]:
        told = config.model_dump(mode="json", by_alias=True)
        del told["data"]["url"]
        return cast("Mapping[str, Any]", told)

    return _config(one, site, data_url=_CHOSEN).apply(without)


def _manual(one: FineTuneSettings, site: Site) -> pulumi.Output[str]:
    """The address of data that somebody else prepares."""
    return _config(one, site).apply(lambda config: str(config.data.url))


def _train(one: FineTuneSettings, plan: Plan, site: Site) -> ResourceStep:
    text = job_text(one, plan, site, data_url=_CHOSEN, name=account(one))
    chosen = result("plan", "dataset")
    manifest = text.apply(lambda known: cast("dict[str, Any]", json.loads(known.replace(_CHOSEN, chosen))))
    kind, version = ("PyTorchJob", "kubeflow.org/v1") if one.job == "pytorch-job" else ("TrainJob", _TRAINER)
    return ResourceStep(
        name="train",
        # What is known of it before the buckets' names are: that is what rights follow from.
        manifest={
            "apiVersion": version,
            "kind": kind,
            "metadata": {
                "name": account(one),
                "namespace": namespace(one),
                "labels": manifest.apply(lambda known: known["metadata"]["labels"]),
            },
            "spec": manifest.apply(lambda known: known["spec"]),
        },
        **outcome(one),
        deadline_seconds=one.deadline_hours * _HOUR + _SLACK_SECONDS,
        retries=0,  # it starts again by itself, from its last checkpoint
        uses=(("plan", "dataset"),),
    )


_TRAINER: Final = "trainer.kubeflow.org/v1alpha1"


def _evaluate(one: FineTuneSettings, plan: Plan, site: Site) -> Iterator[Step]:
    """Answer the questions where the weights are, then have the answers judged."""
    settings = one.evaluation
    if settings is None:
        return
    runner = evaluation.Runner(
        service_account=EVALUATOR,
        gateway_key=GATEWAY_KEY if asks(settings) else None,
        environment=cast("Mapping[str, pulumi.Input[str]]", store_variables(site.foundation.objects)),
    )
    answering = evaluation.Answering(
        model=result("find", "source"),
        data=result("plan", "dataset"),
        gpus=one.gpus,
        gpu_model=one.gpu.type,
        memory_mib=plan.host.memory_mib,
        disk_gib=plan.host.disk_gib,
    )
    evaluated = evaluation.Evaluated(
        model=one.registered,
        version=result("find", "version"),
        answers=result("answer", "answers"),
        by=f"release-{one.name}",
    )
    yield evaluation.answer_step(settings, answering, runner, site=site)
    yield _named(evaluation.evaluate_step(settings, evaluated, runner, site=site), "python", "-m", "evaluation")


def _named(step: PodStep, *command: str) -> PodStep:
    """With the image's own command, which Kubeflow's launcher must be told."""
    return replace(step, command=step.command or command)


def asks(settings: EvaluationSettings) -> bool:
    """Whether an evaluation asks models of the gateway."""
    return bool(evaluation.models(settings))
