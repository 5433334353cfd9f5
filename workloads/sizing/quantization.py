"""How weights are stored: bits for each parameter, and on which GPUs vLLM computes with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

QuantizationName = Literal["none", "fp8", "int8", "awq", "gptq", "bitsandbytes", "mxfp4"]
"""Quantizations that can be declared; ``none`` is 16 bit."""

KvDtype = Literal["auto", "fp8"]
"""What the KV cache holds: the model's 16 bit, or 8-bit floating point."""

KV_BYTES: Final[dict[KvDtype, int]] = {"auto": 2, "fp8": 1}

FP8_KV_CAPABILITY: Final = (8, 9)
"""Ada and later: where vLLM computes attention on an FP8 cache (docs.vllm.ai, quantized KV cache)."""


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """One way to store weights. Embeddings, head, norms and routers stay in 16 bit in all of them.

    Attributes:
        name: As declared.
        bits: For each quantized parameter, scales and zero points included.
        expert_bits: The same for routed experts.
        capability: Lowest compute capability on which vLLM runs it.
        native: Lowest compute capability with arithmetic in that type; below it weights are widened first.
        group: Columns with one scale; each GPU must hold whole groups. 0 where that does not matter.
        source: Where bits and capability are published.
    """

    name: QuantizationName
    bits: float
    expert_bits: float
    capability: tuple[int, int]
    native: tuple[int, int]
    group: int = 0
    source: str = "https://docs.vllm.ai/en/v0.14.0/features/quantization/"

    @property
    def quantized(self) -> bool:
        """Whether it is less than 16 bit."""
        return self.expert_bits < 16


QUANTIZATIONS: Final[dict[QuantizationName, Quantization]] = {
    kind.name: kind
    for kind in (
        Quantization(name="none", bits=16, expert_bits=16, capability=(7, 0), native=(7, 0)),
        # Marlin widens FP8 weights where there is no FP8 arithmetic: Turing and Ampere save memory, not time.
        Quantization(
            name="fp8",
            bits=8,
            expert_bits=8,
            capability=(7, 5),
            native=(8, 9),
            source="https://docs.vllm.ai/en/v0.32.0/features/quantization/llm_compressor/fp8/",
        ),
        Quantization(name="int8", bits=8, expert_bits=8, capability=(7, 5), native=(7, 5)),
        # Groups of 128 weights: 4 bit each, a 16-bit scale and a 4-bit zero point for each group.
        Quantization(
            name="awq", bits=4 + 20 / 128, expert_bits=4 + 20 / 128, capability=(7, 5), native=(7, 5), group=128
        ),
        Quantization(
            name="gptq", bits=4 + 20 / 128, expert_bits=4 + 20 / 128, capability=(7, 0), native=(7, 0), group=128
        ),
        # NF4 with doubly quantized scales (QLoRA, arXiv:2305.14314, section 3): 0.127 bit for each weight besides.
        Quantization(
            name="bitsandbytes",
            bits=4.127,
            expert_bits=4.127,
            capability=(7, 0),
            native=(7, 0),
        ),
        # OCP microscaling: 4 bit and an 8-bit scale for each 32; gpt-oss keeps all but its experts in 16 bit.
        Quantization(
            name="mxfp4",
            bits=16,
            expert_bits=4.25,
            capability=(8, 0),
            native=(10, 0),
            source="https://arxiv.org/abs/2508.10925",
        ),
    )
}
