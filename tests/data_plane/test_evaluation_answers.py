"""Answers and losses where the weights are: a tiny model in the environment of the training image."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.data_plane.finetune_runs import Program, made, program
from workloads.artifacts import read

pytestmark = pytest.mark.data_plane

DONE, CONFIGURATION = 0, 2
SEQUENCES = 16


@dataclass(frozen=True)
class Material:
    """A model and a dataset.

    Attributes:
        program: The loaded libraries of the image.
        base: URL of the model.
        data: URL of the dataset.
        cases: File of cases.
        folder: Where runs write.
    """

    program: Program
    base: str
    data: str
    cases: Path
    folder: Path

    def run(self, **config: Any) -> tuple[int, str]:
        """Exit code of the program, and what it said."""
        arguments = ["--config", json.dumps({**self.config, **config})]
        run = self.program.executed(f"import sys; from answering.__main__ import main; sys.exit(main({arguments!r}))")
        return run.wait(), run.log.read_text()

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


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Material]:
    folder = tmp_path_factory.mktemp("answers")
    with program(folder, {"HOME": str(folder), "CUDA_VISIBLE_DEVICES": ""}) as loaded:
        said = made(loaded, folder)
        cases = folder / "cases.jsonl"
        lines = [json.dumps({"id": str(n), "input": f"the cat sees {n} a dog"}) for n in range(5)]
        cases.write_text("".join(f"{line}\n" for line in lines))
        yield Material(loaded, said["base"], said["data"], cases, folder)


def rows(url: str, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(url.removeprefix("file://"), name).read_text().splitlines()]


def test_every_question_has_an_answer_and_every_sequence_its_own_loss(material: Material):
    code, log = material.run(batchSize=4)
    assert code == DONE, log
    assert "progress" in log
    url = (material.folder / "results" / "answers").read_text()
    assert read(url).kind == "answers"
    said = rows(url, "answers.jsonl")
    assert [one["case"] for one in said] == ["0", "1", "2", "3", "4"]
    losses = rows(url, "losses.jsonl")
    assert len({one["sequence"] for one in losses}) == SEQUENCES
    # A model of random weights knows nothing: it is about as surprised as whoever guesses among its 32 words.
    assert all(abs(one["loss"] - math.log(32)) < 0.5 for one in losses)

    code, log = material.run(batchSize=1, output=f"{material.folder.as_uri()}/alone")
    assert code == DONE, log
    other = (material.folder / "results" / "answers").read_text()
    assert [one["text"] for one in rows(other, "answers.jsonl")] == [one["text"] for one in said]
    by_name = {one["sequence"]: one for one in rows(other, "losses.jsonl")}
    for one in losses:
        assert by_name[one["sequence"]]["loss"] == pytest.approx(one["loss"], abs=1e-4)

    code, log = material.run(batchSize=4)
    assert code == DONE
    assert (material.folder / "results" / "answers").read_text() == url
    assert "progress" not in log, "what is there is not computed again"


def test_a_split_that_the_dataset_does_not_have_is_said_at_once(material: Material):
    code, log = material.run(heldOut={"data": material.data, "split": "test"})
    assert code == CONFIGURATION
    assert "has nothing below test/" in log
