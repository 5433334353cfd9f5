"""What a run leaves in MLflow: parameters, metrics, where everything came from, and a version of the model."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import requests
import torch
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from . import say
from .config import FineTuneConfig
from .sources import DataSource

KEY_TAG: Final = "llmops.key"
"""Tag of a run and of a model version: key of the model that came out."""

_LOST: Final = (MlflowException, requests.RequestException, OSError)
_DIGEST: Final = 36  # characters that MLflow keeps of a dataset's digest
_NAME: Final = 500  # and of its name


class Run:
    """One run of the registry; a fine-tune that goes on after an interruption goes on in the same one."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client, self.id = client, run_id

    def parameters(self, config: FineTuneConfig, facts: Mapping[str, Any]) -> None:
        """Log what was asked for; the same values as before where the run goes on."""
        values = {**dict(_flat(config.model_dump(mode="json", exclude={"output", "metrics_port"}))), **facts}
        self._client.log_batch(self.id, params=[Param(name, str(value)[:6000]) for name, value in values.items()])

    def metrics(self, step: int, at_milliseconds: int, values: Mapping[str, float]) -> None:
        """Log numbers of one step; a registry that is away for a while does not end the run."""
        try:
            self._client.log_batch(
                self.id, metrics=[Metric(name, value, at_milliseconds, step) for name, value in values.items()]
            )
        except _LOST as error:
            say.warning("metrics were not logged", step=step, error=str(error)[:200])

    def lineage(self, config: FineTuneConfig, source: DataSource) -> None:
        """Log what it is made from: the dataset with its manifest, and every package."""
        scheme = source.url.partition(":")[0]
        used = Dataset(
            name=source.url.rpartition("/")[2][:_NAME],
            digest=source.key[:_DIGEST],
            source_type="local" if scheme == "file" else scheme,
            source=json.dumps({"uri": source.url}),
        )
        self._client.log_inputs(self.id, [DatasetInput(used, [InputTag("mlflow.data.context", "training")])])
        if source.manifest is not None:
            self._client.log_text(self.id, source.manifest.to_json(), "data/manifest.json")
        self._client.log_text(self.id, config.model_dump_json(indent=2, by_alias=True), "config.json")
        self._client.log_text(self.id, "\n".join(packages()) + "\n", "environment/packages.txt")
        self._client.log_dict(self.id, machine(config.image), "environment/machine.json")

    def folder(self, folder: Path, name: str) -> None:
        """Log a folder's files."""
        self._client.log_artifacts(self.id, str(folder), name)

    def tag(self, **tags: str) -> None:
        """Set tags; underscores stand for dots."""
        for name, value in tags.items():
            self._client.set_tag(self.id, f"llmops.{name.replace('_', '.')}", value)

    def end(self, status: str) -> None:
        """Say how it ended: ``FINISHED``, ``FAILED`` or, where it will go on, ``KILLED``."""
        try:
            self._client.set_terminated(self.id, status)
        except _LOST as error:
            say.warning("the run's end was not logged", error=str(error)[:200])

    def register(self, model: str, url: str, tags: Mapping[str, str]) -> ModelVersion:
        """Make a version of the registered model; the same one again where it is there."""
        for known in versions(self._client, model):
            if known.source == url:
                return known
        try:
            self._client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        return self._client.create_model_version(model, url, self.id, tags=dict(tags))


def versions(client: MlflowClient, model: str) -> list[ModelVersion]:
    """All versions of a registered model; none where it is not there."""
    return list(client.search_model_versions(f"name = '{model}'", max_results=1000))


def begun(config: FineTuneConfig, source: DataSource, key: str, *, artifacts: str) -> Run | None:
    """The run of this model: the one that was interrupted, or a new one; none where no registry is named.

    Args:
        config: The fine-tune.
        source: What is learned from.
        key: Key of the model that comes out.
        artifacts: Folder that a new experiment's artifacts go to.
    """
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        say.warning("MLFLOW_TRACKING_URI is not set: nothing is logged or registered")
        return None
    client = MlflowClient()
    experiment = _experiment(client, config.output.experiment, artifacts)
    known = client.search_runs(
        [experiment], f"tags.`{KEY_TAG}` = '{key}'", order_by=["attributes.start_time DESC"], max_results=1
    )
    if known:
        run = Run(client, known[0].info.run_id)
        client.update_run(run.id, status="RUNNING")
        return run
    tags = {
        KEY_TAG: key,
        "llmops.fine-tune": config.name,
        "llmops.base": config.base,
        "llmops.data": source.url,
        "llmops.data.key": source.key,
        "llmops.image": config.image,
    }
    made = client.create_run(experiment, run_name=f"{config.name}-{key[:12]}", tags=tags)
    run = Run(client, made.info.run_id)
    run.lineage(config, source)
    return run


def _experiment(client: MlflowClient, name: str, artifacts: str) -> str:
    """The experiment's id; it is made where it is missing, by whichever run is first."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return found.experiment_id
    try:
        return client.create_experiment(name, artifact_location=artifacts)
    except MlflowException as error:
        found = client.get_experiment_by_name(name)
        if error.error_code != "RESOURCE_ALREADY_EXISTS" or found is None:
            raise
        return found.experiment_id


def packages() -> list[str]:
    """Every package with its version."""
    return sorted(
        {f"{one.metadata['Name']}=={one.version}" for one in importlib.metadata.distributions()}, key=str.lower
    )


def machine(image: str) -> dict[str, Any]:
    """What it runs on."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "image": image,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if gpus else None,
        "gpus": gpus,
        "cpus": os.cpu_count(),
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", json.dumps(value) if isinstance(value, list) else value
