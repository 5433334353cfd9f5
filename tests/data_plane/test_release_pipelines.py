"""Releases under Argo's and Kubeflow's own SDKs, and the steps that need no GPU, run by Kubeflow's local runner."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from components.versions import TREES
from tests.data_plane.environments import environment
from tests.unit import release_stack
from tests.unit.conftest import Recorder
from workloads.argo import schedule
from workloads.artifacts import publish
from workloads.artifacts.pointer import point_to
from workloads.release import argo
from workloads.release.flow import INPUTS, Condition, Flow, Task
from workloads.release.kubeflow import document
from workloads.release.releases import PLANNER, flow_in_pods, labels
from workloads.release.steps import PodStep, result

pytestmark = pytest.mark.data_plane

_HERE = Path(__file__).resolve().parent
ROOT = _HERE.parents[1]
SETTINGS = {"engine": release_stack.ENGINE, "promote": "automatic", "schedule": "0 1 * * *"}


def asked(what: str, emitted: Any, **variables: str) -> dict[str, Any]:
    """What an SDK answers."""
    done = subprocess.run(
        [environment("pipelines") / "bin" / "python", _HERE / "release_pipelines.py", what],
        input=json.dumps(emitted),
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def emitted(recorded: Recorder) -> dict[str, Any]:
    """The template, its schedule and the document, with every output known."""
    found: dict[str, Any] = {}

    def program() -> None:
        where = release_stack.place()
        one = release_stack.release(where, settings=SETTINGS)
        flow = flow_in_pods(one, where)
        spec = argo.spec(flow, pools=release_stack.POOLS, service_account=PLANNER)
        pulumi.Output.from_input(spec).apply(lambda known: found.update(template=known))
        found["schedule"] = schedule(one.title, "0 1 * * *", labels=labels(one))
        document(flow).apply(lambda text: found.update(document=json.loads(text)))

    recorded.run(program)
    return found


def test_argo_knows_every_field_of_the_templates(recorded: Recorder):
    made = emitted(recorded)
    assert asked("argo", made)["unknown"] == []

    made["template"]["templates"][1]["retryStrategie"] = {"limit": "1"}
    assert asked("argo", made)["unknown"] == ["templates.[1].retryStrategie"]


def test_the_pipeline_compiles_and_runs_the_steps_in_the_same_order(recorded: Recorder):
    made = emitted(recorded)
    answer = asked("compiled", made["document"])
    spec, platform = yaml.safe_load_all(answer["text"])

    assert answer["name"] == "release-support"
    assert answer["inputs"] == ["alias"]
    assert spec["sdkVersion"] == f"kfp-{TREES['kubeflow-pipelines'].version}"
    tasks = spec["root"]["dag"]["tasks"]
    flow = {one["name"]: one for one in made["template"]["templates"][0]["dag"]["tasks"]}
    assert set(tasks) == set(flow)
    for name, task in flow.items():
        waited = set(task.get("depends", "").split(" && ")) - {""}
        assert set(tasks[name].get("dependentTasks", ())) == waited, name
        assert tasks[name]["cachingOptions"].get("enableCache", False) is False
    assert "mlflow-client" in json.dumps(platform)
    assert "nvidia.com/gpu" not in json.dumps(
        spec["deploymentSpec"]["executors"]["exec-build"]["container"]["resources"]
    )


def light(name: str, config: dict[str, Any], *, gives: tuple[str, ...]) -> PodStep:
    return PodStep(
        name=name, image="x:1", command=(sys.executable, "-m", "release"), config=config, gives=gives,
        cpu_millicores=1, memory_mib=1, service_account="x", deadline_seconds=60,
    )  # fmt: skip


def small_flow(place: Path, marker: Path) -> Flow:
    """Look, prepare where that is needed, plan, sync: the steps of a release that need neither GPU nor cluster."""
    look = {
        "task": "look", "alias": result(INPUTS, "alias"), "sources": [(place / "raw").as_uri()], "decides": {},
        "records": (place / "records").as_uri(),
    }  # fmt: skip
    training = {
        "name": "support", "base": "s3://models/base", "data": {},
        "output": {"models": (place / "models").as_uri(), "checkpoints": (place / "checkpoints").as_uri()},
    }  # fmt: skip
    plan = {
        "task": "plan", "alias": result(INPUTS, "alias"), "look": look, "record": result("look", "record"),
        "dataset": (place / "processed").as_uri(), "training": training, "processes": 1,
    }  # fmt: skip
    prepare = PodStep(
        name="prepare", image="x:1", config={},
        command=(sys.executable, "-c", f"open({str(marker)!r}, 'a').write('x')"),
        cpu_millicores=1, memory_mib=1, service_account="x", deadline_seconds=60,
    )  # fmt: skip
    sync = {
        "task": "sync", "engine": f"{(place / 'engines').as_uri()}/{'e' * 64}",
        "release": f"{(place / 'repository').as_uri()}/{'e' * 64}",
    }  # fmt: skip
    return Flow(
        name="small",
        namespace="n",
        inputs={"alias": ""},
        tasks=[
            Task(step=light("look", look, gives=("preprocess", "record"))),
            Task(step=prepare, when=Condition(step="look", result="preprocess")),
            Task(step=light("plan", plan, gives=("train", "dataset", "model")), after=["prepare"]),
            Task(step=light("sync", sync, gives=("release",)), after=["plan"]),
        ],
    )


def furnish(place: Path) -> None:
    """A raw file, a prepared dataset, a built engine."""
    from workloads.triton import built

    (place / "raw").mkdir()
    (place / "raw" / "a.jsonl").write_text('{"text": "a"}\n')
    data, engine = place / "made", place / "engine"
    data.mkdir()
    (data / "part.parquet").write_text("x")
    point_to(publish(data, (place / "processed").as_uri(), "d" * 64, kind="dataset", parents={}, facts={}))
    release = engine / "release"
    (release / "engine").mkdir(parents=True)
    (release / "engine" / "rank0.engine").write_text("engine")
    files = {"engine/rank0.engine": built.sha256(release / "engine" / "rank0.engine")}
    (release / "manifest.json").write_text(built.text({"files": files}))
    publish(engine, (place / "engines").as_uri(), "e" * 64, kind="engine", parents={}, facts={})


def test_the_light_steps_run_through_kubeflow_s_local_runner_and_skip_what_is_done(recorded: Recorder, tmp_path: Path):
    furnish(tmp_path)
    marker = tmp_path / "prepared"
    found: list[Any] = []

    def program() -> None:
        document(small_flow(tmp_path, marker)).apply(lambda text: found.append(json.loads(text)))

    recorded.run(program)
    variables = {
        "PYTHONPATH": os.pathsep.join(
            str(ROOT / one) for one in ("workloads/release/image", "workloads/training/image", ".")
        ),
        "RESULTS": str(tmp_path / "results"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    asked("local", found[0], **variables)
    assert marker.read_text() == "x"
    assert (tmp_path / "repository" / ("e" * 64) / "manifest.json").exists()

    asked("local", found[0], **variables)
    assert marker.read_text() == "x", "what had not changed was prepared again"
