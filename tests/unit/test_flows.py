"""Datasets, fine-tunes and releases together: what is refused, what the platform must know, what is declared."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.settings import parse
from components.settings.datasets import DatasetSettings
from components.settings.fine_tunes import FineTuneSettings
from components.settings.release import EngineSettings, ReleaseSettings
from tests.unit import release_stack
from tests.unit.conftest import Recorder
from tests.unit.platform_site import options
from tests.unit.stack_models import chat
from workloads.flows import judge_key, rules
from workloads.flows.component import Flows, FlowsArgs
from workloads.flows.stack import stack_flows

pytestmark = pytest.mark.unit

JUDGE = {"name": "judge", "model": "anthropic.claude-3-haiku-20240307-v1:0"}


def problems(one: FineTuneSettings, **stack: Any) -> dict[str, str]:
    told = {"owner": "ml", "costCenter": "1", "hostedModels": [JUDGE], "workloads": [], **stack}
    return dict(rules.problems(parse(told), [one]))


def test_a_release_of_the_shipped_stack_is_accepted():
    assert problems(release_stack.fine_tune()) == {}


@pytest.mark.parametrize(
    ("changes", "stack", "path", "said"),
    [
        ({}, {"hostedModels": []}, "fineTunes[0].evaluation.judge.model", "got judge"),
        ({"release": {"model": "chat"}}, {}, "fineTunes[0].release.model", "none is declared"),
        (
            {"release": {"engine": {"gpuModel": "h100"}}}, {}, "fineTunes[0].release.engine.gpuModel",
            "no group of gpu-inference has h100",
        ),
        (
            {"release": {"engine": {"gpuModel": "a10g", "memoryGib": 1500}}}, {},
            "fineTunes[0].release.engine.memoryGib", "a node gives",
        ),
        (
            {"release": {"engine": {"gpuModel": "a10g"}, "model": "chat"}}, {"models": [chat()]},
            "fineTunes[0].release.engine", "served by vllm",
        ),
        (
            {"release": {"promote": "automatic"}, "evaluation": None}, {},
            "fineTunes[0].release.promote", "needs an evaluation",
        ),
        ({}, {"registry": {"repositories": ["training"]}}, "registry.repositories", "must hold preprocess, evaluation"),
    ],
)  # fmt: skip
def test_a_release_that_cannot_work_is_refused_with_its_remedy(
    changes: dict[str, Any], stack: dict[str, Any], path: str, said: str
):
    assert said in problems(release_stack.fine_tune(**changes), **stack)[path]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"candidateAlias": "x", "productionAlias": "x"}, "are both x"),
        ({"watchAlias": "production"}, "it would never end"),
        ({"engine": {"gpuModel": "l4", "maxInputTokens": 8192, "maxSequenceTokens": 8192}}, "no room for an answer"),
        ({"engine": {"gpuModel": "l4", "quantization": "fp8"}}, "calibration must name a file"),
        ({"watchMinutes": 1}, "greater than or equal to 5"),
        ({"watchEvery": 1}, "Extra inputs"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(settings: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        ReleaseSettings.model_validate(settings)


def test_the_gpus_of_an_engine_are_those_of_one_server():
    assert EngineSettings.model_validate({"gpuModel": "a10g", "tensorParallel": 2, "pipelineParallel": 2}).gpus == 4


def test_the_key_of_evaluations_reaches_the_judges_alone_and_ends_at_its_budget():
    two = [release_stack.fine_tune(), release_stack.fine_tune(name="other", release={"judgeMonthlyUsd": 10})]
    wanted = judge_key.wanted(two)

    assert wanted["models"] == ["judge"]
    assert wanted["max_budget"] == 60


def test_a_stack_without_judges_needs_neither_key_nor_way():
    one = release_stack.fine_tune(evaluation=None)
    found = stack_flows(parse({"owner": "ml", "costCenter": "1"}), datasets=(), fine_tunes=[one])

    assert found.entries == ()
    assert judge_key.OPENINGS[0] not in found.openings


def test_an_empty_stack_declares_nothing(recorded: Recorder):
    settings = parse({"owner": "ml", "costCenter": "1"})

    def program() -> None:
        where = release_stack.place()
        nothing = stack_flows(settings, datasets=(), fine_tunes=())
        ready = [where.foundation.cluster.provider]
        Flows(
            "flows",
            FlowsArgs(
                site=where,
                declared=nothing,
                models=(),
                ray=ready,
                workflows=ready,
                training=ready,
                secrets=ready,
                gateway=ready,
                rules=ready,
            ),
            options(where),
        )

    recorded.run(program)
    assert [one.name for one in recorded.resources if one.type.startswith("kubernetes:")] == []


def test_a_release_comes_after_its_dataset_its_training_and_its_key(recorded: Recorder):
    settings = parse({"owner": "ml", "costCenter": "1"})
    datasets = [DatasetSettings.model_validate(release_stack.DATASET)]

    def program() -> None:
        where = release_stack.place()
        declared = stack_flows(settings, datasets=datasets, fine_tunes=[release_stack.fine_tune()])
        ready = [where.foundation.cluster.provider]
        Flows(
            "flows",
            FlowsArgs(
                site=where,
                declared=declared,
                models=(),
                ray=ready,
                workflows=ready,
                training=ready,
                secrets=ready,
                gateway=ready,
                rules=ready,
            ),
            options(where),
        )

    recorded.run(program)
    (template,) = (one for one in recorded.resources if one.name == "release-support-template")
    assert template.depends_on >= {"dataset-support", "fine-tune-support", "evaluation-key"}
    (key,) = (
        one for one in recorded.resources if one.type == "kubernetes:core/v1:ConfigMap" and one.name == "evaluation-key"
    )
    assert json.loads(key.inputs["data"]["key.json"])["key_alias"] == judge_key.ALIAS
