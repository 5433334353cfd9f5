"""What vLLM puts into the memory of one GPU: weights, activations, libraries, CUDA graphs, and the rest as KV cache."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from workloads.sizing.architecture import Architecture
from workloads.sizing.gpus import Gpu
from workloads.sizing.quantization import KV_BYTES, KvDtype, Quantization
from workloads.sizing.versions import PEER_GIB, Rules, Version, rules_of

GIB: Final = 2**30

BLOCK: Final = 16
"""Tokens of one block of the KV cache."""

CUDA_CONTEXT_GIB: Final = 0.5
"""What a process on the GPU holds outside vLLM's budget; 23.52 GiB in all and 22.64-23.05 free were reported."""

_MXFP4_TILE: Final = (256, 128)  # kernels want whole tiles of rows and columns: gpt-oss at 1, 2 and 4 GPUs fits

# A step of not more tokens is captured as a graph.
_GRAPH_LIMIT: Final = 512
_ALL_GRAPHS: Final = 51

# Chunks of a latent cache that is expanded for prefill: at most so many tokens (MLA backend of vLLM).
_LATENT_WORKSPACE: Final = 64 * 1024

# Trials were seen with steps of 2048 tokens; a server with steps of 8192 showed no more (docs/sizing.md).
_TRIAL_TOKENS: Final = 2048

_IMAGES_GIB: Final = 0.5  # the towers' own activations; an allowance, not measured


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """One server as vLLM is started.

    Attributes:
        architecture: The model.
        quantization: How its weights are stored.
        gpu: Its GPUs.
        tensor_parallel: How many of them.
        kv_dtype: What the KV cache holds.
        version: Of vLLM.
        context: ``--max-model-len``.
        max_num_batched_tokens: Tokens of one step.
        max_num_seqs: Sequences of one step.
        eager: Without CUDA graphs.
    """

    architecture: Architecture
    quantization: Quantization
    gpu: Gpu
    tensor_parallel: int
    kv_dtype: KvDtype
    version: Version
    context: int
    max_num_batched_tokens: int
    max_num_seqs: int
    eager: bool = False

    @property
    def rules(self) -> Rules:
        """Rules of its version."""
        return rules_of(self.version, experts=self.architecture.experts is not None)

    @property
    def captured_sizes(self) -> int:
        """Sizes of a step that are captured as a CUDA graph (vllm/config/vllm.py, 0.28.0)."""
        largest = min(2 * self.max_num_seqs, _GRAPH_LIMIT, self.max_num_batched_tokens)
        small = [size for size in (1, 2, 4) if size <= largest]
        return len(small) + len(range(8, min(largest + 1, 256), 8)) + len(range(256, largest + 1, 16))


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Memory of each GPU in GiB.

    Attributes:
        physical: What the driver reports.
        utilization: Share of it that vLLM may use.
        weights: Weights and the tables loaded with them.
        activations: Peak of a step beside the weights.
        libraries: CUDA libraries and collectives.
        graphs: CUDA graphs.
        graphs_inside: Whether those count against the budget.
    """

    physical: float
    utilization: float
    weights: float
    activations: float
    libraries: float
    graphs: float
    graphs_inside: bool

    @property
    def budget(self) -> float:
        """What vLLM may use."""
        return self.utilization * self.physical

    @property
    def fixed(self) -> float:
        """What is used before a single token is cached."""
        return self.weights + self.activations + self.libraries + self.graphs * self.graphs_inside

    @property
    def kv(self) -> float:
        """What is left for the KV cache; negative where the model does not fit."""
        return self.budget - self.fixed


def weights_gib(architecture: Architecture, quantization: Quantization, tensor_parallel: int) -> float:
    """Memory of the weights on each GPU."""
    counted = architecture.parameters
    copied_bits = quantization.bits if architecture.latent is not None else 16
    kv_split = tensor_parallel if architecture.latent is not None else min(tensor_parallel, architecture.kv_heads)
    bits = 16 * (counted.embeddings / tensor_parallel + counted.vectors + counted.other)
    bits += quantization.bits * (counted.linear / tensor_parallel + counted.kv / kv_split)
    bits += copied_bits * counted.copied
    bits += (
        quantization.expert_bits
        * counted.experts
        / tensor_parallel
        * _padding(architecture, quantization, tensor_parallel)
    )
    bits += 16 * architecture.rotary_elements
    if architecture.latent is not None:
        # Attention on the compressed cache needs the up-projections once more, in 16 bit.
        latent = architecture.latent
        up = latent.kv_rank * architecture.heads * (latent.nope_dim + latent.value_dim)
        bits += 16 * architecture.layers * up / tensor_parallel
    return bits / 8 / GIB


def checkpoint_gib(architecture: Architecture, quantization: Quantization) -> float:
    """Size of the weights' files, to be read once."""
    counted = architecture.parameters
    plain = counted.embeddings + counted.vectors + counted.other + (0 if architecture.latent else counted.copied)
    shrunk = counted.linear + counted.kv + (counted.copied if architecture.latent else 0)
    return (16 * plain + quantization.bits * shrunk + quantization.expert_bits * counted.experts) / 8 / GIB


def _padding(architecture: Architecture, quantization: Quantization, tensor_parallel: int) -> float:
    if architecture.experts is None or quantization.name != "mxfp4":
        return 1
    width = architecture.experts.intermediate / tensor_parallel
    return _up(architecture.hidden, _MXFP4_TILE[0]) / architecture.hidden * _up(width, _MXFP4_TILE[1]) / width


def _up(number: float, step: int) -> int:
    return math.ceil(number / step) * step


def activations_gib(deployment: Deployment) -> float:
    """Peak of a step: the widest of the layers, the sampler, and the compiler's trials."""
    model, split = deployment.architecture, deployment.tensor_parallel
    tokens, rules = deployment.max_num_batched_tokens, deployment.rules
    width = model.intermediate / split
    step = tokens * (3 * width + 4 * model.hidden) * 2
    # The vocabulary is gathered on every GPU before sampling.
    sampler = 0 if model.encoder else rules.logit_bytes * deployment.max_num_seqs * model.vocab
    trials = rules.compile_bytes * min(tokens, _TRIAL_TOKENS) * width
    peak = max(step, sampler, trials) + 1.1 * tokens * model.hidden * 2
    if model.experts is not None:
        inner = model.experts.intermediate / split
        if deployment.quantization.name != "mxfp4":  # its kernels keep nothing between the layers
            peak += 0.9 * tokens * model.experts.per_token * (3 * inner + model.hidden) * 2
    if model.latent is not None:
        held = min(_LATENT_WORKSPACE, max(8 * deployment.context, 4 * deployment.max_num_seqs * BLOCK))
        peak += held * model.heads / split * (model.latent.nope_dim + model.latent.value_dim) * 2
    return 0.12 + peak / GIB + (_IMAGES_GIB if model.other_parameters else 0)


def graphs_gib(deployment: Deployment) -> float:
    """CUDA graphs: a pool, and something for each layer of each captured size."""
    if deployment.eager:
        return 0
    each = 0.018 * deployment.architecture.layers * deployment.captured_sizes / _ALL_GRAPHS
    return deployment.rules.graph_share * (0.25 + each)


def memory_of(deployment: Deployment, utilization: float) -> Memory:
    """Memory of each GPU."""
    rules, several = deployment.rules, deployment.tensor_parallel > 1
    peers = (rules.nvlink_gib if deployment.gpu.nvlink else PEER_GIB) if several else 0
    return Memory(
        physical=deployment.gpu.memory_gib,
        utilization=utilization,
        weights=weights_gib(deployment.architecture, deployment.quantization, deployment.tensor_parallel),
        activations=activations_gib(deployment),
        libraries=rules.non_torch_gib + peers,
        graphs=graphs_gib(deployment),
        graphs_inside=rules.graphs_inside,
    )


def safe_utilization(deployment: Deployment, most: float) -> float:
    """Share of the memory that leaves room for what vLLM puts outside its budget, in whole percent.

    Args:
        deployment: The server.
        most: Not more than this.
    """
    outside = CUDA_CONTEXT_GIB
    if not deployment.rules.graphs_inside:
        outside += graphs_gib(deployment)
    if deployment.rules.compile_bytes:  # its profile leaves out the sampler's sorting
        outside += 14 * deployment.max_num_seqs * deployment.architecture.vocab / GIB
    return min(most, math.floor(100 * (1 - outside / deployment.gpu.memory_gib)) / 100)


@dataclass(frozen=True, kw_only=True)
class Cache:
    """The KV cache of one server: blocks shared by groups of layers.

    Layers with a window and layers without stand in groups of equal size, so that a block serves any of them; a last
    group that is not full is padded (vllm/v1/core/kv_cache_utils.py, 0.28.0).

    Attributes:
        token_bytes: What one layer caches for one token on each GPU.
        group: Layers of a group.
        full: Groups that keep the whole context.
        windowed: Groups that keep their window.
        window: That window in tokens.
        chunk: Tokens of one step, which a windowed group holds besides.
    """

    token_bytes: int
    group: int
    full: int
    windowed: int
    window: int
    chunk: int

    @property
    def bytes_per_token(self) -> int:
        """What a token costs on each GPU while it is inside every window."""
        return self.token_bytes * self.group * (self.full + self.windowed)

    def blocks(self, gib: float) -> int:
        """Blocks that so much memory holds."""
        return max(0, int(gib * GIB) // (self.token_bytes * BLOCK * self.group))

    def gib(self, blocks: int) -> float:
        """Memory of so many blocks on each GPU."""
        return blocks * self.token_bytes * BLOCK * self.group / GIB

    def tokens(self, gib: float) -> int:
        """Tokens in whole blocks, counted over all groups.

        It is what vLLM prints as the size of its cache; from 0.28 it prints sequences of the context times the context,
        which is more where layers have windows.
        """
        return self.blocks(gib) // (self.full + self.windowed) * BLOCK

    def blocks_for(self, context: int) -> int:
        """Blocks that one sequence of such a length takes."""
        whole = math.ceil(context / BLOCK)
        if not self.windowed:
            return self.full * whole
        # One more, because a window need not begin where a block does.
        partial = min(whole, math.ceil(min(self.window - 1 + self.chunk, context) / BLOCK) + 1)
        return self.full * whole + self.windowed * partial

    def longest(self, gib: float) -> int:
        """Tokens of the longest sequence that fits alone; in whole blocks."""
        blocks = self.blocks(gib)
        low, high = 0, max(1, blocks)
        if self.full == 0 and self.blocks_for(BLOCK * (self.window + self.chunk)) <= blocks:
            return 2**31  # every layer has a window: the length does not matter
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.blocks_for(middle * BLOCK) <= blocks else (low, middle - 1)
        return low * BLOCK


def cache_of(deployment: Deployment) -> Cache | None:
    """The KV cache; none for a model that caches nothing."""
    model = deployment.architecture
    if model.encoder:
        return None
    token_bytes = model.kv_elements(deployment.tensor_parallel) * KV_BYTES[deployment.kv_dtype]
    full = model.layers - model.window_layers
    few, many = sorted((full, model.window_layers))
    group = many if many < 1.5 * few or not few else few
    return Cache(
        token_bytes=token_bytes,
        group=group,
        full=math.ceil(full / group),
        windowed=math.ceil(model.window_layers / group),
        window=model.window,
        chunk=deployment.max_num_batched_tokens,
    )
