"""What tests of the training program share: the registry, the loaded program, a run that nothing interrupts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.data_plane.finetune_runs import Program, Run, made, program
from tests.data_plane.test_mlflow import Mlflow, objects
from tests.data_plane.test_mlflow import mlflow as mlflow  # noqa: PLC0414 a fixture, for this module too

STEPS = 14
RANDOM = 3.4  # the logarithm of 32 words: what a model knows that knows nothing


@dataclass(frozen=True)
class Bench:
    """Everything that the runs share.

    Attributes:
        program: The loaded program.
        mlflow: The registry.
        material: Addresses of the base model and of the data.
        folder: Where other things lie.
    """

    program: Program
    mlflow: Mlflow
    material: Mapping[str, str]
    folder: Path

    def config(self, place: str, **changes: Any) -> dict[str, Any]:
        """A fine-tune whose results go to a place of their own."""
        return {
            "name": "tiny",
            "base": self.material["base"],
            "image": "0123456789ab",
            "data": {"url": self.material["data"]},
            "lora": {"rank": 8, "alpha": 16, "dropout": 0.1},
            "optimization": {
                "maxSteps": STEPS,
                "learningRate": 0.01,
                "batchSize": 4,
                "accumulation": 4,
                "sequenceLength": 64,
                "recompute": False,
            },
            "checkpoints": {"everyMinutes": 0, "everySteps": 4},
            "output": {"models": f"s3://mlflow/artifacts/{place}", "checkpoints": f"s3://models/checkpoints/{place}"},
            "logEverySteps": 1,
            "metricsPort": 0,
            **changes,
        }

    def left(self, bucket: str, prefix: str) -> list[str]:
        """Names of objects."""
        found = objects(self.mlflow.client).list_objects_v2(Bucket=bucket, Prefix=prefix)
        return [one["Key"] for one in found.get("Contents", ())]


@pytest.fixture(scope="module")
def bench(mlflow: Mlflow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("finetune")
    store = objects(mlflow.client)
    store.create_bucket(Bucket="models")
    variables = {**mlflow.client, "AWS_ENDPOINT_URL": mlflow.client["MLFLOW_S3_ENDPOINT_URL"], "HOME": str(folder)}
    del variables["PATH"]
    with program(folder, variables) as loaded:
        yield Bench(loaded, mlflow, made(loaded, folder), folder)


@pytest.fixture(scope="module")
def whole(bench: Bench) -> Run:
    """A run that nothing interrupts."""
    place = "whole"
    output = {**bench.config(place)["output"], "registeredModel": "tiny", "experiment": "fine-tune-tiny"}
    run = bench.program.start(bench.config(place, output=output))
    run.done()
    return run


def model_hash(bench: Bench, run: Run) -> str:
    """Hash of the weights that a run published."""
    return manifest(bench, run)["files"]["model.safetensors"]["sha256"]


def manifest(bench: Bench, run: Run) -> dict[str, Any]:
    key = run.until("published")["url"].removeprefix("s3://mlflow/")
    return json.loads(
        objects(bench.mlflow.client).get_object(Bucket="mlflow", Key=f"{key}/manifest.json")["Body"].read()
    )


def bench_run(bench: Bench, run: Run) -> str:
    """The run of the registry that a run of the program is logged as."""
    key = run.until("fetched")["key"]
    found = bench.mlflow.ask(
        "/api/2.0/mlflow/runs/search",
        login="jobs",
        method="POST",
        json={
            "experiment_ids": [experiment(bench, "fine-tuning")],
            "filter": f"tags.mlflow.runName = 'tiny-{key}'",
        },
    ).json()
    (only,) = found["runs"]
    return only["info"]["run_id"]


def experiment(bench: Bench, name: str) -> str:
    answer = bench.mlflow.ask(f"/api/2.0/mlflow/experiments/get-by-name?experiment_name={name}", login="jobs")
    return answer.json()["experiment"]["experiment_id"]
