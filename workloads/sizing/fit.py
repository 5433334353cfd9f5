"""Whether a model fits on GPUs, and how it is then started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from workloads.sizing.memory import Cache, Deployment, Memory, cache_of, memory_of, safe_utilization
from workloads.sizing.quantization import FP8_KV_CAPABILITY
from workloads.sizing.request import SizingRequest

DEGREES: Final = (1, 2, 4, 8)
"""Degrees of tensor parallelism that are tried: nodes have so many GPUs."""

_SMALL_STEP, _LARGE_STEP = 2048, 8192  # tokens: vLLM's defaults below and from 70 GiB (vllm/engine/arg_utils.py)
_LARGE_GIB: Final = 70
_SEQUENCES: Final = (16, 256)


@dataclass(frozen=True, kw_only=True)
class Sizing:
    """A model that fits.

    Attributes:
        request: What was asked.
        deployment: How vLLM is started.
        memory: Memory of each GPU.
        cache: Its KV cache; none for a model that caches nothing.
        promised_gib: KV cache that may be counted on.
    """

    request: SizingRequest
    deployment: Deployment
    memory: Memory
    cache: Cache | None
    promised_gib: float

    @property
    def tensor_parallel(self) -> int:
        """GPUs of one replica."""
        return self.deployment.tensor_parallel

    @property
    def utilization(self) -> float:
        """``--gpu-memory-utilization``."""
        return self.memory.utilization

    @property
    def max_num_batched_tokens(self) -> int:
        """Tokens of one step."""
        return self.deployment.max_num_batched_tokens

    @property
    def max_num_seqs(self) -> int:
        """Sequences of one step."""
        return self.deployment.max_num_seqs

    @property
    def dtype(self) -> str:
        """``--dtype``: GPUs before Ampere have no bfloat16."""
        return "auto" if self.deployment.gpu.bfloat16 else "half"

    @property
    def kv_bytes_per_token(self) -> int:
        """What one token costs on each GPU."""
        return self.cache.bytes_per_token if self.cache else 0

    @property
    def kv_tokens(self) -> int:
        """Tokens of the whole cache, as vLLM would report them; computed, not promised."""
        return self.cache.tokens(self.memory.kv) if self.cache else 0

    @property
    def promised_tokens(self) -> int:
        """Tokens that may be counted on."""
        return self.cache.tokens(self.promised_gib) if self.cache else 0

    def sequences(self, tokens: int) -> int:
        """Sequences of such a length that one replica holds at once; never more than one step takes."""
        if self.cache is None:
            return self.max_num_seqs
        return min(self.max_num_seqs, self.cache.blocks(self.promised_gib) // self.cache.blocks_for(tokens))

    @property
    def max_context(self) -> int:
        """Tokens of the longest sequence that one replica holds alone."""
        limit = self.request.architecture.max_position
        return limit if self.cache is None else min(limit, self.cache.longest(self.promised_gib))

    @property
    def needed_gib(self) -> float:
        """Memory of each GPU that the declared sequences need."""
        if self.cache is None:
            return self.memory.fixed
        return self.memory.fixed + _needed_kv_gib(self.request, self.cache)


def fit(request: SizingRequest) -> Sizing | str:
    """How a model runs on the GPUs that were asked for, or why it does not, in words."""
    if refusal := _refusal(request):
        return refusal
    degrees = (request.tensor_parallel,) if request.tensor_parallel else DEGREES
    reason = ""
    for degree in degrees:
        if degree > request.gpus:
            reason = reason or f"tensor_parallel {degree} needs as many GPUs; gpu.count is {request.gpus}"
            break
        if undivided := _undivided(request, degree):
            reason = reason or undivided
            continue
        for tokens in _steps(request):
            sizing = _sized(request, degree, tokens)
            if not (reason_here := _shortage(sizing)):
                return sizing
            reason = reason_here
    return reason


def _refusal(request: SizingRequest) -> str:
    model, gpu, kind = request.architecture, request.gpu, request.quantization
    if request.context > model.max_position:
        return f"{model.name} was made for {model.max_position} tokens; context is {request.context}"
    if gpu.capability < kind.capability:
        return (
            f"{kind.name} needs compute capability {_dotted(kind.capability)}; {gpu.name} has {_dotted(gpu.capability)}"
        )
    if kind.name == "mxfp4" and model.experts is None:
        return f"mxfp4 is for routed experts; {model.name} has none"
    if request.kv_dtype == "fp8" and gpu.capability < FP8_KV_CAPABILITY:
        return (
            f"an fp8 KV cache needs compute capability {_dotted(FP8_KV_CAPABILITY)}; "
            f"{gpu.name} has {_dotted(gpu.capability)}"
        )
    return ""


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"


def _undivided(request: SizingRequest, degree: int) -> str:
    model, group = request.architecture, request.quantization.group
    if reason := model.undivided(degree):
        return reason
    widths = [model.intermediate] if model.experts is None else [model.experts.intermediate]
    for width in widths:
        if degree > 1 and group and (width // degree) % group:
            kind = request.quantization.name
            return f"{kind} stores groups of {group}; a width of {width} cannot be divided by {degree}"
    return ""


def _steps(request: SizingRequest) -> tuple[int, ...]:
    if request.max_num_batched_tokens:
        return (request.max_num_batched_tokens,)
    # The smaller one still fits where memory is short; so more memory never makes a model that fitted not fit.
    return (_LARGE_STEP, _SMALL_STEP) if request.gpu.memory_gib >= _LARGE_GIB else (_SMALL_STEP,)


def _sequences(request: SizingRequest) -> int:
    """Sequences of a step: a power of two, so that there is room for bursts and graphs stay few."""
    fewest, most = _SEQUENCES
    wanted = fewest
    while wanted < min(2 * request.concurrency, most):
        wanted *= 2
    return max(wanted, request.concurrency)


def _sized(request: SizingRequest, degree: int, tokens: int) -> Sizing:
    sequences = request.max_num_seqs or _sequences(request)
    deployment = Deployment(
        architecture=request.architecture,
        quantization=request.quantization,
        gpu=request.gpu,
        tensor_parallel=degree,
        kv_dtype=request.kv_dtype,
        version=request.version,
        context=request.context,
        max_num_batched_tokens=max(tokens, sequences),
        max_num_seqs=sequences,
        eager=request.eager,
    )
    memory = memory_of(deployment, safe_utilization(deployment, request.utilization))
    return Sizing(
        request=request,
        deployment=deployment,
        memory=memory,
        cache=cache_of(deployment),
        promised_gib=max(0.0, memory.kv * (100 - request.margin_percent) / 100),
    )


def _needed_kv_gib(request: SizingRequest, cache: Cache) -> float:
    each = cache.blocks_for(request.tokens_per_sequence or request.context)
    blocks = max(cache.blocks_for(request.context), request.concurrency * each)
    return cache.gib(blocks)


def _shortage(sizing: Sizing) -> str:
    """What is short, in words; empty where it fits."""
    memory, request = sizing.memory, sizing.request
    where = f"{sizing.tensor_parallel} {request.gpu.name}" if sizing.tensor_parallel > 1 else f"one {request.gpu.name}"
    room = f"vLLM may use {memory.budget:.1f} of {memory.physical:.1f} GiB on each GPU"
    name = f"{request.architecture.name} ({request.quantization.name})"
    if memory.kv <= 0:
        return (
            f"{name} needs {memory.fixed:.1f} GiB on {where} before a token is cached "
            f"({memory.weights:.1f} GiB of weights); {room}"
        )
    if sizing.cache is None:
        return ""
    needed = _needed_kv_gib(request, sizing.cache)
    if needed <= sizing.promised_gib:
        return ""
    tokens = request.tokens_per_sequence or request.context
    return (
        f"{name} on {where} leaves {sizing.promised_gib:.1f} GiB of KV cache on each GPU, "
        f"{sizing.promised_tokens} tokens; {request.concurrency} x {tokens} tokens at a context of {request.context} "
        f"need {needed:.1f} GiB; {room}"
    )
