"""The same question for a TensorRT-LLM engine behind Triton. An estimate: the parts are published, no constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from workloads.sizing.architecture import Architecture
from workloads.sizing.gpus import Gpu
from workloads.sizing.memory import BLOCK, CUDA_CONTEXT_GIB, GIB, weights_gib
from workloads.sizing.quantization import KV_BYTES, QUANTIZATIONS, KvDtype, Quantization

SOURCE: Final = "https://nvidia.github.io/TensorRT-LLM/reference/memory.html"

KV_FRACTION: Final = 0.9
"""``kv_cache_free_gpu_mem_fraction``: share of what is free after loading that becomes cache; the default."""

# Decoder buffers, collectives, Triton's own pinned pool and CUDA modules; an allowance.
_RUNTIME_GIB: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class EngineRequest:
    """An engine, as it is built.

    Attributes:
        architecture: The model.
        gpu: GPU that it is built for; an engine runs on no other.
        quantization: How its weights are stored.
        tensor_parallel: GPUs of one instance.
        max_batch_size: Sequences of one step.
        max_seq_len: Tokens of the longest sequence.
        max_num_tokens: Tokens of one step.
        kv_dtype: What the cache holds.
        kv_fraction: Share of the free memory that becomes cache.
    """

    architecture: Architecture
    gpu: Gpu
    max_batch_size: int
    max_seq_len: int
    quantization: Quantization = QUANTIZATIONS["none"]
    tensor_parallel: int = 1
    max_num_tokens: int = 8192
    kv_dtype: KvDtype = "auto"
    kv_fraction: float = KV_FRACTION


@dataclass(frozen=True, kw_only=True)
class EngineSizing:
    """Memory of each GPU under an engine, in GiB.

    Attributes:
        request: What was asked.
        weights: The engine's weights.
        activations: Computed by TensorRT when the engine is built, for the largest shapes.
        kv: The paged cache.
        kv_tokens: Tokens in it: ``max_tokens_in_paged_kv_cache``.
    """

    request: EngineRequest
    weights: float
    activations: float
    kv: float
    kv_tokens: int

    @property
    def fits(self) -> bool:
        """Whether one sequence of the greatest length fits."""
        return self.kv_tokens >= self.request.max_seq_len

    @property
    def sequences(self) -> int:
        """Sequences of the greatest length at once."""
        return min(self.request.max_batch_size, self.kv_tokens // self.request.max_seq_len)


def size_engine(request: EngineRequest) -> EngineSizing:
    """How an engine fills its GPUs; look at :attr:`EngineSizing.fits`.

    Raises:
        ValueError: The model cannot be divided so, or is not a decoder.
    """
    model, split = request.architecture, request.tensor_parallel
    if reason := model.undivided(split):
        raise ValueError(f"{model.name}: {reason}")
    if model.encoder:
        raise ValueError(f"{model.name} is not a decoder; TensorRT-LLM engines here are decoders")
    weights = weights_gib(model, request.quantization, split)
    width = model.intermediate / split
    logits = 4 * request.max_batch_size * model.vocab
    activations = (request.max_num_tokens * (3 * width + 4 * model.hidden) * 2 + logits) / GIB
    free = request.gpu.memory_gib - CUDA_CONTEXT_GIB - _RUNTIME_GIB - weights - activations
    kv = max(0.0, request.kv_fraction * free)
    # Windows are not taken into account: every layer is counted in full, which errs towards too little.
    each = model.layers * model.kv_elements(split) * KV_BYTES[request.kv_dtype]
    return EngineSizing(
        request=request,
        weights=weights,
        activations=activations,
        kv=kv,
        kv_tokens=int(kv * GIB) // (each * BLOCK) * BLOCK,
    )
