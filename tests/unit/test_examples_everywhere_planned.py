"""Every example on every foundation: the same declarations, accepted and declared whole, or refused with a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.settings import SettingsError, parse
from tests.unit import whole_program
from tests.unit.conftest import Recorder
from tests.unit.example_stacks import EXAMPLES, PLACES, stack_with
from workloads.models import tables

pytestmark = pytest.mark.unit

_SERVER = "kubernetes:serving.kserve.io/v1beta1:InferenceService"
_SCHEMES = {"dev": "s3://", "gcp": "gs://", "onprem": "s3://"}

EVERYWHERE = [(stack, example) for stack in PLACES for example in EXAMPLES]


def accepted(stack: str) -> list[str]:
    return [example for example in EXAMPLES if example not in PLACES[stack].refused]


@pytest.mark.parametrize(("stack", "example"), EVERYWHERE)
def test_an_example_is_accepted_or_the_setting_that_makes_no_sense_there_is_named(stack: str, example: str):
    if (expected := PLACES[stack].refused.get(example)) is None:
        parse(stack_with(stack, [example]))
        return
    with pytest.raises(SettingsError) as refused:
        parse(stack_with(stack, [example]))
    assert [(one.path, expected[1] in one.message) for one in refused.value.problems] == [(expected[0], True)]


@pytest.mark.parametrize("stack", PLACES)
def test_all_examples_stand_in_one_stack(stack: str):
    settings = parse(stack_with(stack, accepted(stack)))
    declared = [tables.settings_of(EXAMPLES[example]) for example in accepted(stack)]
    for kind, found in (
        ("models", settings.models),
        ("datasets", settings.datasets),
        ("fineTunes", settings.fine_tunes),
        ("retrievals", settings.retrievals),
    ):
        assert len(found) == sum(len(one.get(kind, ())) for one in declared), kind


@pytest.mark.parametrize("stack", PLACES)
def test_the_whole_program_declares_all_examples(stack: str, recorded: Recorder):
    raw = stack_with(stack, accepted(stack))
    outputs = whole_program.declare(recorded, raw)

    assert set(outputs["models"]) == {one["name"] for one in raw["models"]}
    predictors = {
        one.inputs["metadata"]["name"]: json.dumps(one.inputs["spec"]["predictor"])
        for one in recorded.of(_SERVER).values()
    }
    in_cluster = {one["name"]: one for one in raw["models"] if one.get("backend", "vllm") in ("vllm", "triton")}
    assert {"chat", "assistant", "assistant-canary", "engine", "large"} == predictors.keys()
    for name, one in in_cluster.items():
        wanted = one["gpu"]["count"]
        assert f'"nvidia.com/gpu": "{wanted}"' in predictors[name], name
    assert _SCHEMES[stack] in predictors["chat"], "weights lie in the stack's own store, whatever the source is called"
    declared = {one.type for one in recorded.resources}
    assert "kubernetes:argoproj.io/v1alpha1:CronWorkflow" in declared
    for kind in ("datasets", "fineTunes", "retrievals"):
        assert kind in outputs


def problems(stack: str, **sections: Any) -> list[tuple[str, str]]:
    try:
        parse({**stack_with(stack, []), **sections})
    except SettingsError as error:
        return [(one.path, one.message) for one in error.problems]
    return []


@pytest.mark.parametrize(
    ("stack", "provider", "remedy"),
    [("dev", "vertex", "take bedrock"), ("gcp", "bedrock", "take vertex"), ("onprem", "bedrock", "provider openai")],
)
def test_a_cloud_that_does_not_know_the_stack_hosts_no_model_for_it(stack: str, provider: str, remedy: str):
    ((path, message),) = problems(stack, hostedModels=[{"name": "fast", "provider": provider, "model": "m"}])
    assert path == "hostedModels[0].provider"
    assert remedy in message


def test_a_federation_of_aws_is_refused_where_the_identity_is_googles():
    vertex = tables.settings_of(EXAMPLES["vertex"])["models"]
    ((path, message),) = problems("gcp", models=vertex)
    assert path == "models[0].managed.vertex.federation"
    assert "leave it out" in message


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"provider": "openai"}, "url must be set"),
        ({"provider": "openai", "url": "https://models.internal/v1"}, "must match"),
        ({"provider": "bedrock", "url": "https://models.internal"}, "leave it out"),
        ({"provider": "openai", "url": "https://models.internal", "region": "us-east-1"}, "leave it out"),
    ],
)
def test_a_server_is_named_by_its_address_and_a_cloud_is_not(model: dict[str, Any], told: str):
    found = problems("dev", hostedModels=[{"name": "fast", "model": "m", **model}])
    assert any(told in message for _, message in found), found


def test_small_servers_take_what_large_ones_leave_and_no_large_one_fits_on_small_nodes():
    raw = stack_with("gcp", ["vllm", "triton", "tensor-parallel"])
    parse(raw)
    several = [{**one, "replicas": {"min": 0, "max": 2}} if one["name"] == "large" else one for one in raw["models"]]
    with pytest.raises(SettingsError, match="the groups of role gpu-inference hold 8 for servers of 8"):
        parse({**raw, "models": several})
