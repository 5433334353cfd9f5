"""Argo's and Kubeflow Pipelines' own SDKs on what the program emits, each in an environment of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.aws.nodes import pool_of
from components.platform.experiments import CLIENT_SECRET
from components.platform.training_jobs import TrainingJob, train_job
from components.platform.workflows import EXECUTOR, EXECUTOR_GRANTS, Workflows, WorkflowsArgs
from components.settings.nodes import table
from components.versions import TREES
from tests.data_plane.environments import environment
from tests.unit.conftest import Recorder
from tests.unit.platform_site import options, site

pytestmark = pytest.mark.data_plane

_HERE = Path(__file__).resolve().parent
POOLS = tuple(pool_of(group) for group in table())


def asked(what: str, emitted: dict[str, Any]) -> dict[str, Any]:
    """What an SDK answers."""
    python = environment("pipelines") / "bin" / "python"
    done = subprocess.run(
        [python, _HERE / "workflow_definitions.py", what],
        input=json.dumps(emitted),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def emitted(recorded: Recorder) -> dict[str, Any]:
    """Configuration of the controller, as the release gives it to the chart."""

    def program() -> None:
        here = site(pools=POOLS)
        Workflows("workflows", WorkflowsArgs(site=here, databases=()), options(here))

    recorded.run(program)
    values = recorded.one("kubernetes:helm.sh/v3:Release", "workflows-release").inputs["values"]
    return {
        "workflowDefaults": values["controller"]["workflowDefaults"],
        "mainContainer": values["mainContainer"],
        "executor": values["executor"],
        "artifactRepository": values["artifactRepository"],
    }


def test_argo_knows_every_field_of_its_configuration(emitted: dict[str, Any]):
    """The controller passes over what it does not know: a misspelt default would be none."""
    assert asked("argo", emitted)["unknown"] == []

    emitted["workflowDefaults"]["spec"]["ttlStrategies"] = {"secondsAfterCompletion": 1}
    emitted["artifactRepository"]["s3"]["useSDKCredentials"] = True
    assert asked("argo", emitted)["unknown"] == [
        "workflowDefaults.ttlStrategies",
        "artifactRepository.s3.useSDKCredentials",
    ]


def test_a_workflow_written_with_hera_runs_under_an_account_that_is_there():
    (namespace, *_) = EXECUTOR_GRANTS
    workflow = asked("hera", {"namespace": namespace, "account": EXECUTOR})
    assert workflow["spec"]["serviceAccountName"] == EXECUTOR
    tasks = {
        task["name"]: task
        for template in workflow["spec"]["templates"]
        for task in template.get("dag", {}).get("tasks", ())
    }
    assert tasks["second"]["depends"] == "first"


def test_a_pipeline_starts_the_training_job_that_the_program_makes():
    job = train_job(
        TrainingJob(
            name="tune",
            image="registry.test/tune:1",
            command=("torchrun", "tune.py"),
            nodes=2,
            cpu_millicores=4000,
            memory_mib=8192,
        )
    )
    answer = asked("kfp", {"job": job, "secret": CLIENT_SECRET})

    spec, platform = yaml.safe_load_all(answer["text"])
    assert spec["sdkVersion"] == f"kfp-{TREES['kubeflow-pipelines'].version}"
    assert CLIENT_SECRET in json.dumps(platform)
    assert answer["name"] == "tune"
    assert answer["told"] == "TrainJob 2"


def test_a_manifest_travels_between_steps_as_text():
    """As a dictionary it would lose its whole numbers, which the API server then refuses: docs/pipelines.md says so."""
    job = train_job(TrainingJob(name="tune", image="i:1", command=("torchrun",), cpu_millicores=1, memory_mib=1))
    assert asked("kfp", {"job": job, "secret": CLIENT_SECRET})["as_dict"] == "float"
