"""What vLLM is started with: arguments that its pinned version knows, weights from where they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from stack_models import chat, planned

from components.versions import IMAGES
from workloads.models.vllm import arguments, environment
from workloads.models.vllm_arguments import ALLOWED, COMPUTED, problems

pytestmark = pytest.mark.unit

LIST = Path(__file__).with_name("vllm-arguments.txt").read_text()
KNOWN = {line.removeprefix("--") for line in LIST.splitlines() if line.startswith("--")}


def given(**changes) -> list[str]:
    found = planned(chat(**changes))
    (spec,) = found.specs
    return arguments(spec, spec.versions[0], found.plans["chat"])


def test_the_list_is_that_of_the_pinned_version():
    (version,) = re.findall(r"vllm/(\d+\.\d+\.\d+)/", LIST)
    assert IMAGES["vllm"].endswith(f":v{version}"), "take the list of the new version (its source names the files)"


def test_every_argument_that_may_be_added_exists():
    assert set(ALLOWED) <= KNOWN
    assert set(COMPUTED) <= KNOWN
    assert not set(ALLOWED) & set(COMPUTED)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"source": "hf://meta-llama/Llama-3.1-8B-Instruct@main", "architecture": None},
        {"source": "file:///models/llama"},
        {"quantization": "fp8", "quantizeOnLoad": True},
        {"arguments": ["--seed=7", "--no-async-scheduling"]},
        {"gpu": {"type": "l4", "count": 1}, "kvDtype": "fp8", "quantization": "fp8"},
    ],
)
def test_every_argument_that_is_given_exists_and_is_given_once(changes):
    groups = [
        {"name": "system", "role": "system", "instanceTypes": ["m6i.2xlarge"], "minSize": 2, "maxSize": 8},
        {"name": "a10g", "role": "gpu-inference", "instanceTypes": ["g5.2xlarge"], "maxSize": 8},
        {"name": "l4", "role": "gpu-inference", "instanceTypes": ["g6.2xlarge"], "maxSize": 8},
    ]
    found = planned(chat(**changes), nodeGroups=groups, workloads=[])
    (spec,) = found.specs
    made = arguments(spec, spec.versions[0], found.plans["chat"])
    names = [one.removeprefix("--").removeprefix("no-").partition("=")[0] for one in made]

    assert set(names) <= KNOWN
    assert len(names) == len(set(names))


def test_a_checkpoints_own_quantization_is_left_to_vllm():
    """Named by hand, vLLM would take the slow kernels of that name instead of the best that suit the checkpoint."""
    assert not any(one.startswith("--quantization") for one in given(quantization="awq"))
    assert "--quantization=fp8_per_tensor" in given(quantization="fp8", quantizeOnLoad=True)


def test_weights_of_the_hub_are_pinned_with_their_tokenizer():
    made = given(source="hf://meta-llama/Llama-3.1-8B-Instruct@0e9e39f", architecture=None)

    assert {"--revision=0e9e39f", "--tokenizer-revision=0e9e39f"} <= set(made)


def test_what_is_added_comes_last_so_that_it_is_seen():
    assert given(arguments=["--seed=7"])[-1] == "--seed=7"


def test_nobody_asks_the_hub_but_a_model_that_comes_from_there():
    versions = planned(chat()).specs[0].versions
    assert environment(versions[0])["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize(
    "argument",
    ["--host=0.0.0.0", "--api-key=x", "--trust-remote-code", "--allowed-local-media-path=/", "--load-format=auto"],
)
def test_arguments_that_open_something_cannot_be_added(argument):
    assert list(problems([argument]))
