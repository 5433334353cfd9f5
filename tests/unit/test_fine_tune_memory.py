"""Memory of a training: what is published of it comes out, and more of anything never takes less."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fine_tune_settings import planned, refused, tried, tune
from hypothesis import given
from hypothesis import strategies as some

from components.settings.fine_tunes import ZeroSettings
from workloads.sizing import CATALOGUE, GPUS, architecture_of
from workloads.sizing.memory import GIB
from workloads.training.memory import Training, adapter_parameters, footprint, host
from workloads.training.plan import Refusal, training_of

pytestmark = pytest.mark.unit

DECODERS = sorted(name for name, model in CATALOGUE.items() if not model.encoder)


def training(name: str = "meta-llama/Llama-3.1-8B-Instruct", **changes: Any) -> Training:
    return training_of(tune(**changes), architecture_of(name))


def test_adapters_have_as_many_parameters_as_their_authors_count():
    """PEFT prints 41,943,040 for all linear layers of Llama 3.1 8B at rank 16, and 6,815,744 for the usual two."""
    assert adapter_parameters(training(lora={"rank": 16})) == 41_943_040
    assert adapter_parameters(training(lora={"rank": 16, "targets": ["q_proj", "v_proj"]})) == 6_815_744


def test_names_that_the_table_does_not_know_count_as_all():
    assert adapter_parameters(training(lora={"targets": ["qkv_proj"]})) == adapter_parameters(training())


@pytest.mark.parametrize(
    ("stage", "world", "gigabytes"),
    # The table of the ZeRO paper: 7.5e9 parameters, mixed precision, Adam (arXiv:1910.02054, table 1).
    [(2, 4, 15 + 105 / 4), (2, 64, 15 + 105 / 64), (3, 4, 120 / 4), (3, 64, 120 / 64)],
)
def test_zero_shares_out_what_its_paper_says(stage: int, world: int, gigabytes: float):
    found = footprint(training(method="full", zero={"stage": stage}, nodes=world))
    parameters = architecture_of("meta-llama/Llama-3.1-8B-Instruct").parameters.total
    held = (found.weights + found.gradients + found.optimizer) * GIB
    assert held / parameters == pytest.approx(gigabytes / 7.5, rel=1e-6)


def test_all_weights_take_eighteen_bytes_a_parameter_without_zero():
    found = footprint(training(method="full"))
    parameters = architecture_of("meta-llama/Llama-3.1-8B-Instruct").parameters.total
    assert (found.weights + found.gradients + found.optimizer) * GIB == pytest.approx(18 * parameters)


def test_an_8b_model_learns_adapters_on_one_a10g_and_nothing_more():
    assert planned(tune()).instance_type == "g5.4xlarge"
    assert planned(tune(method="qlora")).footprint.total < planned(tune()).footprint.total - 5
    why = refused(tune(method="full"))["gpu"]
    assert "each a10g has 22.06 GiB and 1" in why
    assert "it would fit with method: lora, or with method: qlora, or with zero: {stage: 3} over 16 GPUs" in why


@some.composite
def trainings(draw: some.DrawFn) -> Training:
    method = draw(some.sampled_from(["full", "lora", "qlora"]))
    stage = draw(some.sampled_from([None, 2, 3])) if method != "qlora" else None
    offload = draw(some.sampled_from(["none", "optimizer", "all"] if stage == 3 else ["none", "optimizer"]))
    return training(
        draw(some.sampled_from(DECODERS)),
        method=method,
        zero=None if stage is None else {"stage": stage, "offload": offload},
        lora={"rank": draw(some.integers(1, 256)), "dropout": draw(some.sampled_from([0, 0.1]))},
        learning={
            "batchSize": draw(some.integers(1, 32)),
            "sequenceLength": draw(some.integers(16, 8192)),
            "recompute": draw(some.booleans()),
            "precision": draw(some.sampled_from(["auto", "float32"])),
        },
        gpu={"type": "a10g", "count": draw(some.sampled_from([1, 2, 4, 8]))},
        nodes=draw(some.integers(1, 16)),
    )


@given(trainings())
def test_more_work_never_takes_less_memory(one: Training):
    more = one.learning.model_copy(update={"batch_size": one.learning.batch_size + 1})
    assert footprint(replace(one, learning=more)).total > footprint(one).total
    kept = one.learning.model_copy(update={"recompute": False})
    assert footprint(replace(one, learning=kept)).activations >= footprint(one).activations
    if one.method != "full":
        wider = one.lora.model_copy(update={"rank": one.lora.rank + 8})
        assert footprint(replace(one, lora=wider)).total >= footprint(one).total


@given(trainings())
def test_no_part_is_negative_and_the_host_holds_what_is_offloaded(one: Training):
    found = footprint(one)
    assert min(found.weights, found.gradients, found.optimizer, found.activations, found.buffers) >= 0
    needs = host(one, shared_memory_gib=4)
    assert needs.memory_mib >= 1024 * 4
    assert needs.disk_gib * GIB >= 2 * one.architecture.parameters.total
    if one.zero is not None and one.offload == "none":
        kept = replace(one, zero=ZeroSettings(stage=one.zero.stage, offload="optimizer"))
        assert footprint(kept).total <= found.total
        assert host(kept, shared_memory_gib=4).memory_mib >= needs.memory_mib


@given(trainings())
def test_more_nodes_never_make_a_gpu_hold_more_with_zero(one: Training):
    if one.zero is not None and one.world > 1:
        assert footprint(replace(one, nodes=2 * one.nodes)).total <= footprint(one).total + 1e-9


@pytest.mark.parametrize("name", DECODERS)
def test_what_is_said_to_fit_fits(name: str):
    """Every remedy of a refusal that names a single setting, taken."""
    one = tune(base={"source": "s3://models/x", "architecture": name}, method="full")
    why = tried(one)
    if not isinstance(why, Refusal) or "it would fit with method: qlora" not in str(why):
        return
    model = training_of(
        tune(base={"source": "s3://models/x", "architecture": name}, method="qlora"), architecture_of(name)
    )
    assert footprint(model).total <= GPUS["a10g"].memory_gib


@pytest.mark.parametrize(
    ("changes", "path", "why"),
    [
        (
            {"gpu": {"type": "a100-80gb"}},
            "gpu.type",
            "no node group of role gpu-training has a100-80gb; they have a10g",
        ),
        ({"gpu": {"type": "b200"}}, "gpu.type", "must be one of t4, a10g"),
        ({"gpu": {"type": "a10g", "count": 4}}, "gpu", "1 of 4 GPUs"),
        ({"nodes": 9}, "nodes", "gpu-training has 8 nodes at most"),
        ({"learning": {"sequenceLength": 200_000}}, "learning.sequenceLength", "was made for 131072 tokens"),
        ({"base": {"source": "s3://models/mine"}}, "base.architecture", "must be set, or base.config"),
        (
            {"base": {"source": "s3://models/mine", "architecture": "llama-9"}},
            "base.architecture",
            "or set base.config",
        ),
        ({"gpu": {"type": "t4"}, "learning": {"precision": "bfloat16"}}, "learning.precision", "t4 does not compute"),
        ({"method": "full", "zero": {"offload": "all"}}, "gpu", "GiB memory"),
    ],
)
def test_what_cannot_run_is_refused_with_what_to_do(changes: dict[str, Any], path: str, why: str):
    assert why in refused(tune(**changes))[path]


def test_a_model_of_the_hub_needs_no_name():
    planned(tune(base={"source": f"hf://meta-llama/Llama-3.1-8B-Instruct@{'a' * 40}"}))


def test_without_any_group_of_training_nodes_there_is_no_place():
    found = tried(tune(), ())
    assert isinstance(found, Refusal)
    assert "they have none; add a group to nodeGroups" in found.findings[0][1]
