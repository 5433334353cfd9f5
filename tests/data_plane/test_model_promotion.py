"""Promotion, refusal, the way back and the lineage on a real MLflow, of versions that the project's own code made."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.data_plane.environments import environment
from tests.data_plane.evaluation_bench import object_store, tracking
from tests.data_plane.ports import free_port
from tests.unit.test_ops_models import FILE, LARGE, SMALL

pytestmark = pytest.mark.data_plane

ROOT = Path(__file__).resolve().parents[2]
TRAINING = ROOT / "workloads" / "training" / "image"
EVALUATION = ROOT / "workloads" / "evaluation" / "image"
_PATIENCE_SECONDS = 600

# What a fine-tune does around its training, with the image's own modules: dataset, run, parameters, model, version.
FINE_TUNE = """
    import json, os, sys
    from pathlib import Path

    from finetune import sources, tracking
    from finetune.config import FineTuneConfig, model_key
    from workloads.artifacts import publish

    def folder(name, **files):
        place = Path(name)
        place.mkdir()
        for path, text in files.items():
            place.joinpath(path.replace("__", ".")).write_text(text)
        return place

    made = publish(folder("rows", train__parquet="rows"), "s3://data/processed/support", "d" * 64,
                   kind="dataset", parents={"raw/tickets.jsonl": "e" * 64}, facts={})
    for number, model in enumerate(json.loads(sys.argv[1]), 1):
        config = FineTuneConfig.model_validate({
            "name": "support", "base": model["base"], "image": model["image"], "data": {"url": made.url},
            "optimization": {"seed": number},
            "output": {"models": "s3://mlflow/artifacts/support", "checkpoints": "s3://mlflow/checkpoints",
                       "registeredModel": "chat"},
        })
        source = sources.data_source(config)
        key = model_key(config, data_key=source.key, processes=1)
        run = tracking.begun(config, source, key, artifacts=config.output.models)
        run.parameters(config, {"sequences": 12})
        run.metrics(3, 1000, {"train_loss": 1.25})
        weights = folder(f"model-{number}", config__json=json.dumps(model["config"]))
        done = publish(weights, config.output.models, key, kind="model", parents={"data": source.key}, facts={})
        run.end("FINISHED")
        tags = {tracking.KEY_TAG: key, "llmops.base": config.base, "llmops.data": source.url,
                "llmops.data.key": source.key, "llmops.image": config.image}
        run.register("chat", done.url, tags)
"""
# What the evaluation's pod leaves.
EVALUATE = """
    import sys
    from evaluation.registry import Registry
    from evaluation.report import Report
    from workloads.evaluation.gate import Measure, Rules, Threshold, refusals

    for version, value in (("1", 0.9), ("2", 0.95), ("3", 0.5), ("4", 0.9)):
        measures = {"ragas.faithfulness": Measure(value=value, low=value - 0.02, high=value + 0.02, cases=40)}
        rules = Rules(thresholds={"ragas.faithfulness": Threshold(min=0.8)}, min_cases=20, max_unjudged_percent=5)
        report = Report(key=version * 64, measures=measures, bases={}, facts={})
        Registry("chat", version).write(report, [], refusals(rules, measures), version * 64)
"""


@dataclass(frozen=True)
class World:
    """A registry with four versions, and a stack that serves the first.

    Attributes:
        folder: With the stack's file, and what stands in for the engine.
        variables: Environment of the commands.
    """

    folder: Path
    variables: Mapping[str, str]

    @property
    def file(self) -> Path:
        return self.folder / "Pulumi.dev.yaml"

    def serves(self, **versions: str) -> None:
        """What the stack's outputs say."""
        told = {role: {"source": f"models:/chat/{one}", "weight": 1, "registryVersion": one}
                for role, one in versions.items()}  # fmt: skip
        outputs = {
            "models": {"chat": {"backend": "vllm", "fallbacks": [], "versions": told}},
            "modelRegistry": {"url": self.variables["REGISTRY"]},
        }
        (self.folder / "outputs.json").write_text(json.dumps(outputs))

    def run(self, *arguments: str, code: int = 0) -> Any:
        """``python -m ops models … --json``."""
        done = subprocess.run(
            [sys.executable, "-m", "ops", "models", *arguments, "--json"],
            cwd=self.folder,
            env=dict(self.variables),
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout)

    def promote(self, version: str, *arguments: str, code: int = 0) -> Any:
        return self.run("promote", "chat", version, "-s", "dev", *arguments, "--yes", code=code)

    def aliases(self) -> dict[str, str]:
        rows = self.run("lineage", "chat/1", "-s", "dev"), self.run("lineage", "chat/2", "-s", "dev")
        return {alias: one["version"] for (one,) in rows for alias in one["aliases"]}


def program(
    python: Path, source: str, paths: list[Path], folder: Path, variables: Mapping[str, str], *more: str
) -> None:
    done = subprocess.run(
        [str(python), "-W", "ignore", "-c", textwrap.dedent(source), *more],
        cwd=folder,
        env={**variables, "PYTHONPATH": os.pathsep.join(map(str, paths)), "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Four versions: good, better, below its thresholds, too large for the stack's GPUs."""
    from workloads.images import content_tag

    training = environment("training", TRAINING / "requirements.txt") / "bin" / "python"
    evaluation = environment("evaluation", EVALUATION / "requirements.txt") / "bin" / "python"
    folder = tmp_path_factory.mktemp("promotion")
    with ExitStack() as stack:
        bucket = stack.enter_context(object_store())
        url = stack.enter_context(tracking(folder, bucket, free_port()))
        variables = {**bucket, "MLFLOW_TRACKING_URI": url, "PATH": "/usr/bin:/bin"}
        of_hub = "hf://meta-llama/Llama-3.2-1B@main"
        models = [
            {"base": of_hub, "image": content_tag("training"), "config": SMALL},
            {"base": "models:/chat/1", "image": "0123456789ab", "config": SMALL},
            {"base": of_hub, "image": "0123456789ab", "config": SMALL},
            {"base": of_hub, "image": "0123456789ab", "config": LARGE},
        ]
        program(training, FINE_TUNE, [ROOT, TRAINING], folder, variables, json.dumps(models))
        program(evaluation, EVALUATE, [ROOT, EVALUATION], folder, variables)
        yield {**bucket, "REGISTRY": url}


@pytest.fixture(scope="module")
def world(registry: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("stack")
    engine = folder / "pulumi"  # `stack output` is all that the commands ask it
    engine.write_text(f"#!/bin/sh\ncat {folder}/outputs.json\n")
    engine.chmod(engine.stat().st_mode | stat.S_IXUSR)
    path = f"{folder}:{Path(sys.executable).parent}:/usr/bin:/bin"
    variables = {**registry, "PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(folder), "USER": "ana"}
    found = World(folder, variables)
    found.file.write_text(FILE)
    found.serves(stable="1")
    return found


def refusals(answer: Any) -> dict[str, str]:
    return {one["name"]: one["detail"] for one in answer["checks"] if one["result"] == "refused"}


def test_below_its_thresholds_and_too_large_are_refused_and_nothing_moves(world: World):
    below = refusals(world.promote("3", "--canary", "10", code=1))
    assert set(below) == {"evaluation"}
    assert "ragas.faithfulness is 0.5" in below["evaluation"]

    large = refusals(world.promote("4", "--canary", "10", code=1))
    assert set(large) == {"fit"}
    assert "a10g" in large["fit"]

    assert world.file.read_text() == FILE
    assert world.aliases() == {}


def test_from_canary_to_model_and_back(world: World):
    world.run("promote", "chat", "1", "--yes", "-s", "dev")  # the alias alone: what serves gets its name
    dry = world.run("promote", "chat", "2", "-s", "dev", "--canary", "10")
    assert (dry["allowed"], dry["done"], world.aliases()) == (True, False, {"production": "1"})

    world.promote("2", "--canary", "10", "--why", "better answers")
    assert world.aliases() == {"production": "1", "canary": "2"}
    world.serves(stable="1", canary="2")
    world.promote("2", "--full", "--why", "a week without an alert")
    assert world.aliases() == {"production": "2", "canary": "2"}
    world.serves(stable="2", canary="2")
    world.promote("2", "--full")
    (declared, _) = yaml.safe_load(world.file.read_text())["config"]["llmops:models"]
    assert (declared["source"], "canary" in declared) == ("models:/chat/2", False)
    world.serves(stable="2")

    (row,) = world.run("list", "-s", "dev")
    assert (row["version"], row["aliases"], row["newest"], row["behind"]) == ("2", ["canary", "production"], "4", True)

    undone = world.run("rollback", "chat", "-s", "dev", "--why", "worse at night", "--yes")
    assert undone["aliases"] == [{"alias": "production", "before": "2", "after": "1"}]
    assert world.file.read_text() == FILE
    assert world.aliases() == {"production": "1", "canary": "2"}
    assert "somebody took" in refusals(world.promote("2", code=1))["alias"], "no pipeline takes it back either"


def test_a_canary_is_taken_back_by_one_command(world: World):
    world.file.write_text(FILE)
    world.promote("2", "--canary", "10")
    undone = world.run("rollback", "chat", "-s", "dev", "--yes")
    assert undone["aliases"] == [{"alias": "canary", "before": "2", "after": ""}]
    assert "canary" not in world.aliases()
    (declared, _) = yaml.safe_load(world.file.read_text())["config"]["llmops:models"]
    assert declared["canary"]["state"] == "rolled-back"
    world.promote("2", "--canary", "20")
    assert world.aliases()["canary"] == "2", "a person may try the same version again"


def test_the_lineage_leads_from_what_serves_to_run_data_code_and_base(world: World):
    world.serves(stable="2")
    (found,) = world.run("lineage", "chat", "-s", "dev")
    assert found["servedAs"] == "served as chat/stable"
    assert found["run"]["parameters"]["optimization.seed"] == "2"
    assert found["run"]["metrics"] == {"train_loss": 1.25}
    manifest = found["data"]["manifest"]
    assert (manifest["key"], found["data"]["key"]) == ("d" * 64, "d" * 64)
    assert manifest["parents"] == {"raw/tickets.jsonl": "e" * 64}
    assert set(manifest["files"]) == {"train.parquet"}
    assert found["evaluation"]["verdict"] == "passed"
    assert found["evaluation"]["measures"]["ragas.faithfulness"]["value"] == 0.95
    assert {one["alias"]: one["by"] for one in found["promotions"]}["production"] == "ana"
    (missing,) = found["missing"]
    assert missing.startswith("commit: "), "the image is another one than this checkout's"

    base = found["base"]["lineage"]
    assert (base["version"], base["base"]["source"]) == ("1", "hf://meta-llama/Llama-3.2-1B@main")
    assert base["code"]["checkout"] is True


def test_the_lineage_names_what_is_not_there(world: World):
    (found,) = world.run("lineage", "chat/99", "-s", "dev")
    assert found["missing"] == ["version 99 of chat is not in the registry"]


def test_people_get_a_tree_and_a_table(world: World):
    for arguments, said in ((("lineage", "chat/2", "-s", "dev"), "manifest"), (("list", "-s", "dev"), "behind")):
        done = subprocess.run(
            [sys.executable, "-m", "ops", "models", *arguments],
            cwd=world.folder, env=dict(world.variables), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, said in done.stdout) == (0, True), done.stdout + done.stderr
