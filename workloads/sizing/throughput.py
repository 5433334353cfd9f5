"""How fast a server answers: the roofline of bandwidth and arithmetic. Estimates; ``docs/sizing.md`` says how good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from workloads.sizing.fit import Sizing
from workloads.sizing.memory import GIB, cache_of, checkpoint_gib

BANDWIDTH_SHARE: Final = 0.8
"""Share of the data sheet's bandwidth that decoding reaches: 0.77-0.82 was measured on A100, L4, L40S."""

ARITHMETIC_SHARE: Final = 0.5
"""Share of the data sheet's dense 16-bit arithmetic that reading prompts reaches."""

# One reduction over all GPUs, of which every layer has two; from an L4 pair on PCIe against one L4.
_REDUCTION_SECONDS: Final = {False: 90e-6, True: 15e-6}

_STEP_SECONDS: Final = 0.5e-3
"""Scheduling and launching of one step."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """A typical request.

    Attributes:
        prompt_tokens: Tokens read.
        answer_tokens: Tokens written.
    """

    prompt_tokens: int = 512
    answer_tokens: int = 256

    def __post_init__(self) -> None:
        if self.prompt_tokens < 1 or self.answer_tokens < 1:
            raise ValueError(f"prompt and answer must have 1 token or more; got {self}")

    @property
    def held_tokens(self) -> int:
        """Tokens that a sequence holds on average while it is answered."""
        return self.prompt_tokens + self.answer_tokens // 2


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """What one replica does with so many requests at once.

    Attributes:
        concurrency: Sequences under way.
        seconds_per_token: Between two tokens of one sequence.
        tokens_per_second: Answer tokens of all sequences together.
        prompt_tokens_per_second: Prompt tokens, were it only to read.
        first_token_seconds: From an accepted request to its first token, nothing else waiting.
    """

    concurrency: int
    seconds_per_token: float
    tokens_per_second: float
    prompt_tokens_per_second: float
    first_token_seconds: float


def throughput(sizing: Sizing, *, concurrency: int, traffic: Traffic) -> Throughput:
    """Estimate what one replica does.

    Args:
        sizing: The replica.
        concurrency: Sequences under way; not more than one step takes or the cache holds.
        traffic: What they look like.
    """
    held = min(traffic.held_tokens, sizing.request.context)
    running = max(1, min(concurrency, sizing.sequences(held)))
    reading = _prompt_rate(sizing)
    # While answers are written, as many new prompts are read as answers end.
    new_prompts = running / traffic.answer_tokens * traffic.prompt_tokens
    seconds = _decode_seconds(sizing, running, held) + new_prompts / reading
    return Throughput(
        concurrency=running,
        seconds_per_token=seconds,
        tokens_per_second=running / seconds,
        prompt_tokens_per_second=reading,
        first_token_seconds=traffic.prompt_tokens / reading + _decode_seconds(sizing, 1, held),
    )


def _decode_seconds(sizing: Sizing, running: int, held: int) -> float:
    """One step: every weight that is used and the cache of every sequence are read once."""
    model, gpus, gpu = sizing.request.architecture, sizing.tensor_parallel, sizing.request.gpu
    cache = cache_of(sizing.deployment)
    cached = cache.gib(cache.blocks_for(held)) * GIB if cache else 0
    read = _used_weights(sizing, running) / gpus + running * cached
    arithmetic = 2 * model.active_parameters * running / (gpus * gpu.tflops * 1e12 * ARITHMETIC_SHARE)
    moving = read / (gpu.bandwidth_gbs * 1e9 * BANDWIDTH_SHARE)
    joined = 2 * model.layers * _REDUCTION_SECONDS[gpu.nvlink] if gpus > 1 else 0
    return max(moving, arithmetic) + joined + _STEP_SECONDS


def _used_weights(sizing: Sizing, running: int) -> float:
    """Bytes of weights that a step reads: with experts, those that at least one of the sequences is sent to."""
    model = sizing.request.architecture
    whole = checkpoint_gib(model, sizing.request.quantization) * GIB
    looked_up = 0 if model.tied else model.vocab * model.hidden * 2
    if model.experts is None:
        return whole - looked_up
    routed = model.parameters.experts * sizing.request.quantization.expert_bits / 8
    missed = (1 - model.experts.per_token / model.experts.count) ** running
    return whole - looked_up - routed * missed


def _prompt_rate(sizing: Sizing) -> float:
    gpu = sizing.request.gpu
    return (
        sizing.tensor_parallel
        * gpu.tflops
        * 1e12
        * ARITHMETIC_SHARE
        / (2 * sizing.request.architecture.active_parameters)
    )
