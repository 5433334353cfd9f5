"""Evaluation as steps: the pods understand what they are told, and their account may do no more than they need."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pytest
from conftest import Recorder
from platform_site import site

from components.contract import ObjectGrant
from components.settings.evaluation import EvaluationSettings
from workloads.evaluation.image.evaluation.config import parse as parse_evaluation
from workloads.evaluation.steps import (
    Answering,
    Evaluated,
    Runner,
    Subject,
    answer_step,
    evaluate_step,
    grants,
    models,
)
from workloads.release.steps import PodStep, result
from workloads.training.image.answering.config import parse as parse_answering

pytestmark = pytest.mark.unit

SETTINGS = EvaluationSettings.model_validate(
    {
        "judge": {"model": "llama-70b", "embeddings": "e5"},
        "suites": [
            {
                "name": "ragas",
                "kind": "ragas",
                "data": "s3://data/evaluation/questions.jsonl",
                "sha256": "a" * 64,
                "metrics": ["faithfulness", "answerRelevancy"],
            },
            {
                "name": "style",
                "kind": "deepeval",
                "data": "s3://elsewhere/style.jsonl",
                "criteria": [{"name": "short", "text": "The answer is one sentence."}],
            },
        ],
        "heldOut": {"split": "test"},
        "thresholds": {
            "ragas.faithfulness": {"min": 0.8},
            "heldOut.loss": {"max": 2.1, "maxIncrease": 0.02, "over": "production"},
        },
    }
)
RUNNER = Runner(service_account="evaluator", gateway_key=("evaluation-gateway", "key"))
ANSWERING = Answering(model="s3://mlflow/artifacts/1/model", data="s3://data/ready/k", memory_mib=32768, disk_gib=60)


def told(recorded: Recorder, make: Any) -> tuple[PodStep, str]:
    """A step, and its configuration as the pod gets it."""
    found: list[PodStep] = []
    texts: list[str] = []

    def program() -> None:
        found.append(make())
        pulumi.Output.json_dumps(found[0].config).apply(texts.append)

    recorded.run(program)
    return found[0], texts[0]


def test_the_pod_that_evaluates_understands_what_it_is_told(recorded: Recorder):
    evaluated = Evaluated(
        model="chat", version="7", answers="s3://data/evaluation/answers/k", alias="candidate", by="me"
    )
    _, text = told(recorded, lambda: evaluate_step(SETTINGS, evaluated, RUNNER, site=site()))
    config = parse_evaluation(text)
    assert config.judge
    assert (config.judge.model, config.judge.embeddings) == ("llama-70b", "e5")
    assert [suite.data for suite in config.suites] == [
        "s3://data/evaluation/questions.jsonl",
        "s3://elsewhere/style.jsonl",
    ]
    assert set(config.thresholds) == set(SETTINGS.thresholds)
    assert config.thresholds["heldOut.loss"].max_increase == 0.02
    assert config.held_out


def test_a_model_that_is_served_is_asked_at_the_gateway_and_needs_no_weights(recorded: Recorder):
    settings = SETTINGS.model_copy(update={"held_out": None, "thresholds": {}})
    evaluated = Evaluated(model="chat", version="7", subject=Subject(model="chat"))
    step, text = told(recorded, lambda: evaluate_step(settings, evaluated, RUNNER, site=site()))
    config = parse_evaluation(text)
    assert config.subject
    assert config.subject.url.endswith(":4000/v1")
    assert (step.gpus, step.role) == (0, "cpu")


def test_the_pod_that_answers_understands_what_it_is_told_and_runs_where_the_weights_fit(recorded: Recorder):
    step, text = told(recorded, lambda: answer_step(SETTINGS, ANSWERING, RUNNER, site=site()))
    config = parse_answering(text)
    assert [suite.name for suite in config.suites] == ["ragas", "style"]
    assert config.held_out
    assert (config.held_out.split, config.held_out.data) == ("test", "s3://data/ready/k")
    assert (step.role, step.gpus, step.memory_mib) == ("gpu-training", 1, 32768)
    assert "GATEWAY_KEY" not in step.secrets, "who loads weights asks nobody"


def test_results_of_earlier_steps_stay_in_the_text_for_who_runs_it(recorded: Recorder):
    evaluated = Evaluated(model="chat", version=result("train", "version"), answers=result("answer", "answers"))
    _, text = told(recorded, lambda: evaluate_step(SETTINGS, evaluated, RUNNER, site=site()))
    assert json.loads(text)["model"]["version"] == "@{train.version}"
    assert json.loads(text)["answers"] == "@{answer.answers}"


def test_secrets_come_by_name_and_never_in_the_configuration(recorded: Recorder):
    evaluated = Evaluated(model="chat", version="7", answers="s3://data/evaluation/answers/k")
    step, text = told(recorded, lambda: evaluate_step(SETTINGS, evaluated, RUNNER, site=site()))
    assert set(step.secrets) == {"GATEWAY_KEY", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}
    assert "password" not in text.lower()


def test_the_account_reads_the_cases_that_are_declared_and_writes_answers_only():
    found = [one for one in grants(SETTINGS) if isinstance(one, ObjectGrant)]
    written = {(one.bucket, one.prefix) for one in found if one.access == "read-write"}
    assert ("data", "evaluation/answers/") in written
    assert {one.bucket for one in found if one.access == "read-write"} == {"data", "mlflow"}
    assert all(one.prefix for one in found), "no whole bucket"
    assert ("data", "evaluation/questions.jsonl") in {(one.bucket, one.prefix) for one in found}
    assert "elsewhere" not in {one.bucket for one in found}


def test_every_model_that_is_asked_is_named():
    assert models(SETTINGS) == ["llama-70b", "e5"]
    assert models(SETTINGS.model_copy(update={"judge": None})) == []
