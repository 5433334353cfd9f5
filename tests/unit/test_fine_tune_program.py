"""The parts of the training program that need no PyTorch: its pace, its configuration, what DeepSpeed is told."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pydantic import ValidationError

from workloads.training.image.finetune.config import FineTuneConfig, Optimization, Zero
from workloads.training.image.finetune.pace import Pace
from workloads.training.image.finetune.zero import deepspeed_config

pytestmark = pytest.mark.unit


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_pace_is_that_of_the_last_minutes(clock: Clock):
    pace = Pace(clock)
    pace.resume(0)
    for second in range(1, 601):
        clock.now = 1000.0 + second
        pace.seen(100 * second if second <= 300 else 30_000 + 10 * (second - 300))
    assert pace() == pytest.approx(10, rel=0.1)


def test_a_run_that_hangs_falls_to_zero_and_one_that_measures_or_saves_shows_no_number(clock: Clock):
    """The alert about standstill asks for zero; a comparison with no number is never true."""
    pace = Pace(clock)
    assert math.isnan(pace())
    pace.resume(5000)
    clock.now += 10
    pace.seen(6000)
    assert pace() == pytest.approx(100)
    clock.now += 301
    assert pace() == 0
    pace.pause()
    assert math.isnan(pace())
    clock.now += 3600
    pace.resume(6000)
    clock.now += 10
    pace.seen(6500)
    assert pace() == pytest.approx(50), "the hour of saving is not counted"


@given(
    stage=some.sampled_from([2, 3]),
    batch=some.integers(1, 64),
    accumulation=some.integers(1, 256),
    processes=some.integers(1, 512),
)
def test_deepspeeds_batch_is_the_product_that_it_asks_for(stage: int, batch: int, accumulation: int, processes: int):
    made = deepspeed_config(
        Zero.model_validate({"stage": stage}),
        Optimization(batch_size=batch, accumulation=accumulation),
        processes=processes,
        precision="bfloat16",
    )
    assert made["train_batch_size"] == batch * accumulation * processes
    assert "auto" not in str(made), "what Transformers fills in is not what the test of DeepSpeed's class has seen"
    assert made["bf16"]["enabled"]
    assert not made["fp16"]["enabled"]


def test_the_host_holds_what_is_offloaded_with_pinned_memory_only_where_there_are_gpus():
    for gpus in (True, False):
        made = deepspeed_config(
            Zero(stage=3, offload="all"), Optimization(), processes=1, precision="float32", accelerator=gpus
        )
        zero = made["zero_optimization"]
        assert zero["offload_param"] == zero["offload_optimizer"] == {"device": "cpu", "pin_memory": gpus}


MINIMAL = {
    "name": "try",
    "base": "file:///models/tiny",
    "data": {"url": "file:///tmp/try.jsonl"},
    "output": {"models": "file:///tmp/out", "checkpoints": "file:///tmp/saved"},
}


def test_a_person_needs_five_things_to_say():
    assert FineTuneConfig.model_validate(MINIMAL).method == "lora"


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"base": "hf://org/model"}, "base"),  # without a commit it may be another one tomorrow
        ({"base": "/models/tiny"}, "base"),
        ({"data": {"url": "https://example.com/x"}}, "data.url"),
        ({"learning": {}}, "learning"),
        ({"zero": {"stage": 2, "offload": "all"}}, "zero"),
        ({"optimization": {"sequenceLength": 4}}, "optimization.sequenceLength"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_path(change: dict[str, object], path: str):
    with pytest.raises(ValidationError) as refusal:
        FineTuneConfig.model_validate({**MINIMAL, **change})
    assert [".".join(map(str, one["loc"])) for one in refusal.value.errors()] == [path]
