"""What is asked: a model, a GPU, how long and how many its requests are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from workloads.sizing.architecture import Architecture
from workloads.sizing.gpus import Gpu
from workloads.sizing.quantization import QUANTIZATIONS, KvDtype, Quantization
from workloads.sizing.versions import PINNED, Version

UTILIZATION: Final = 0.92
"""vLLM's own default (vllm/config/cache.py, 0.28.0)."""

MARGIN_PERCENT: Final = 10
"""Share of the computed cache that is not promised: how far figures of vLLM were off (``docs/sizing.md``)."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """Nodes that a replica could run on.

    Attributes:
        instance_type: Their name at the cloud.
        gpu: Lower-case model, a key of :data:`workloads.sizing.GPUS`.
        gpus: GPUs of one node.
    """

    instance_type: str
    gpu: str
    gpus: int


@dataclass(frozen=True, kw_only=True)
class SizingRequest:
    """A model, as it is wanted.

    Attributes:
        architecture: The model.
        gpu: GPU that it should run on.
        quantization: How its weights are stored.
        context: Tokens of the longest request, its answer included.
        concurrency: Sequences that one replica must hold at once.
        gpus: GPUs of one replica at most.
        kv_dtype: What the KV cache holds.
        tokens_per_sequence: Tokens that a sequence holds on average; 0 for the whole context.
        tensor_parallel: A fixed degree; 0 for the smallest that fits.
        utilization: Share of the GPU's memory that vLLM may use at most.
        version: Of vLLM.
        max_num_batched_tokens: Tokens of one step; 0 for vLLM's default for such a GPU, or the smaller one.
        max_num_seqs: Sequences of one step; 0 for twice the concurrency.
        eager: Without CUDA graphs.
        margin_percent: Share of the computed cache that is not promised.
        offers: Nodes to look for remedies among; none to look among all GPUs that are known.
    """

    architecture: Architecture
    gpu: Gpu
    context: int
    concurrency: int = 1
    gpus: int = 1
    quantization: Quantization = QUANTIZATIONS["none"]
    kv_dtype: KvDtype = "auto"
    tokens_per_sequence: int = 0
    tensor_parallel: int = 0
    utilization: float = UTILIZATION
    version: Version = PINNED
    max_num_batched_tokens: int = 0
    max_num_seqs: int = 0
    eager: bool = False
    margin_percent: int = MARGIN_PERCENT
    offers: tuple[Offer, ...] = ()

    def __post_init__(self) -> None:
        for name in ("context", "concurrency", "gpus"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more; got {getattr(self, name)}")
        if not 0 <= self.tokens_per_sequence <= self.context:
            raise ValueError(f"tokens_per_sequence must be 0 to {self.context}; got {self.tokens_per_sequence}")
        if not 0 < self.utilization <= 1:
            raise ValueError(f"utilization must be above 0 and at most 1; got {self.utilization}")
        if not 0 <= self.margin_percent < 100:
            raise ValueError(f"margin_percent must be 0 to 99; got {self.margin_percent}")
