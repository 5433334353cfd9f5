"""Answers and losses where the weights are: a tiny model in the environment of the training image."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.data_plane.environments import environment
from workloads.artifacts import read

pytestmark = pytest.mark.data_plane

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "workloads" / "training" / "image"
DONE, CONFIGURATION = 0, 2
SEQUENCES = 16
_PATIENCE_SECONDS = 600


@dataclass(frozen=True)
class Material:
    """A model and a dataset.

    Attributes:
        python: Interpreter of the image.
        base: URL of the model.
        data: URL of the dataset.
        cases: File of cases.
        folder: Where runs write.
    """

    python: Path
    base: str
    data: str
    cases: Path
    folder: Path

    def run(self, **config: Any) -> subprocess.CompletedProcess[str]:
        program = ["-m", "answering", "--config", json.dumps({**self.config, **config})]
        return called(self.python, program, self.folder)

    @property
    def config(self) -> Mapping[str, Any]:
        return {
            "model": self.base,
            "output": f"{self.folder.as_uri()}/answers",
            "suites": [{"name": "quality", "data": self.cases.as_uri(), "maxTokens": 4}],
            "heldOut": {"data": self.data},
            "folder": str(self.folder / "model"),
            "results": str(self.folder / "results"),
        }


def called(python: Path, arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    variables = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{IMAGE}",
        "HF_HUB_OFFLINE": "1",
        "HOME": str(folder),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    return subprocess.run(
        [str(python), "-W", "ignore", *arguments],
        env=variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("answers")
    python = environment("training", IMAGE / "requirements.txt") / "bin" / "python"
    made = called(python, [str(ROOT / "tests" / "data_plane" / "finetune_material.py"), str(folder)], folder)
    assert made.returncode == 0, made.stderr
    said = json.loads(made.stdout.splitlines()[-1])
    cases = folder / "cases.jsonl"
    cases.write_text("".join(json.dumps({"id": str(n), "input": f"the cat sees {n} a dog"}) + "\n" for n in range(5)))
    return Material(python, said["base"], said["data"], cases, folder)


def rows(url: str, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(url.removeprefix("file://"), name).read_text().splitlines()]


def test_every_question_has_an_answer_and_every_sequence_its_own_loss(material: Material):
    done = material.run(batchSize=4)
    assert done.returncode == DONE, done.stderr
    url = (material.folder / "results" / "answers").read_text()
    assert read(url).kind == "answers"
    said = rows(url, "answers.jsonl")
    assert [one["case"] for one in said] == ["0", "1", "2", "3", "4"]
    losses = rows(url, "losses.jsonl")
    assert len({one["sequence"] for one in losses}) == SEQUENCES
    # A model of random weights knows nothing: it is about as surprised as whoever guesses among its 32 words.
    assert all(abs(one["loss"] - math.log(32)) < 0.5 for one in losses)

    alone = material.run(batchSize=1, output=f"{material.folder.as_uri()}/alone")
    assert alone.returncode == DONE, alone.stderr
    other = (material.folder / "results" / "answers").read_text()
    assert [one["text"] for one in rows(other, "answers.jsonl")] == [one["text"] for one in said]
    by_name = {one["sequence"]: one for one in rows(other, "losses.jsonl")}
    for one in losses:
        assert by_name[one["sequence"]]["loss"] == pytest.approx(one["loss"], abs=1e-4)

    again = material.run(batchSize=4)
    assert again.returncode == DONE
    assert (material.folder / "results" / "answers").read_text() == url
    assert "progress" not in again.stderr, "what is there is not computed again"


def test_a_split_that_the_dataset_does_not_have_is_said_at_once(material: Material):
    done = material.run(heldOut={"data": material.data, "split": "test"})
    assert done.returncode == CONFIGURATION
    assert "has nothing below test/" in done.stderr
