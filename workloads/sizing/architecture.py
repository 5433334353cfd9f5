"""What decides the memory of a transformer: its published numbers, and what follows from them exactly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

Norm = Literal["rms", "layer"]
"""Normalization: a weight for each element, or a weight and a bias."""

_NORM_VECTORS: Final[dict[Norm, int]] = {"rms": 1, "layer": 2}


@dataclass(frozen=True, kw_only=True)
class Experts:
    """A mixture of experts in place of the feed-forward part.

    Attributes:
        count: Routed experts of a layer.
        per_token: Routed experts that a token passes through.
        intermediate: Inner width of one expert.
        shared_intermediate: Inner width of what every token passes through besides; 0 for none.
        dense_layers: Layers at the beginning that have an ordinary feed-forward part.
        router_bias: A bias for each expert in the router.
        bias: The experts' matrices have biases.
    """

    count: int
    per_token: int
    intermediate: int
    shared_intermediate: int = 0
    dense_layers: int = 0
    router_bias: bool = False
    bias: bool = False


@dataclass(frozen=True, kw_only=True)
class Latent:
    """Multi-head latent attention (DeepSeek): one compressed vector is cached for all heads together.

    Attributes:
        kv_rank: Elements of the compressed vector.
        rope_dim: Elements of the key that carry the position; cached beside it.
        nope_dim: Elements of each head's key that do not.
        value_dim: Elements of each head's value.
        q_rank: Elements of the compressed query; 0 where queries are not compressed.
    """

    kv_rank: int
    rope_dim: int
    nope_dim: int
    value_dim: int
    q_rank: int = 0


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Parameters by how tensor parallelism divides them and quantization shrinks them.

    Attributes:
        embeddings: Input embeddings and, unless tied, the head: divided, kept in 16 bit.
        linear: Matrices of all layers but those below: divided, quantized.
        kv: Key and value projections: divided by at most the number of KV heads, quantized.
        experts: Routed experts: divided, quantized.
        copied: Matrices on every GPU (latent projections, routers): not divided; routers in 16 bit.
        vectors: Norms and biases: on every GPU, 16 bit.
        other: Towers for images or sound: on every GPU, 16 bit.
    """

    embeddings: int
    linear: int
    kv: int
    experts: int
    copied: int
    vectors: int
    other: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.embeddings + self.linear + self.kv + self.experts + self.copied + self.vectors + self.other


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A model's published numbers; attribute names follow the field, not one model's ``config.json``.

    Attributes:
        name: Model repository, such as ``meta-llama/Llama-3.1-8B-Instruct``.
        source: Where the numbers are published.
        family: ``model_type`` of its ``config.json``.
        layers: Transformer layers.
        hidden: Width of the residual stream.
        intermediate: Inner width of the feed-forward part; of the dense layers where there are experts.
        heads: Query heads.
        kv_heads: Key and value heads.
        head_dim: Elements of a head.
        vocab: Rows of the embedding as stored.
        max_position: Longest context it was made for, in tokens.
        tied: The head is the embedding.
        gated: The feed-forward part has a gate (three matrices, not two).
        qkv_bias: Biases of query, key and value.
        output_bias: Bias after attention.
        mlp_bias: Biases of the feed-forward part.
        norm: Kind of normalization.
        norms: Normalizations of the model's width in each layer.
        final_norm: One more at the end.
        qk_norm: Elements of the normalization of queries and keys in each layer together; 0 for none.
        sinks: A learned sink for each query head.
        window: Sliding window in tokens of the layers that have one; 0 for none.
        window_layers: Layers that have it.
        experts: A mixture of experts.
        latent: Latent attention.
        encoder: Reads its whole input at once and caches nothing (embedding models in BERT's shape).
        positions: Rows of learned positions and token types.
        pooler: Elements of what stands behind the last layer.
        other_parameters: Parameters of towers for images or sound.
        dtype: Of the published weights.
    """

    name: str
    source: str
    family: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    max_position: int
    tied: bool = False
    gated: bool = True
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    norm: Norm = "rms"
    norms: int = 2
    final_norm: bool = True
    qk_norm: int = 0
    sinks: bool = False
    window: int = 0
    window_layers: int = 0
    experts: Experts | None = None
    latent: Latent | None = None
    encoder: bool = False
    positions: int = 0
    pooler: int = 0
    other_parameters: int = 0
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"

    def __post_init__(self) -> None:
        for field in ("layers", "hidden", "heads", "kv_heads", "head_dim", "vocab", "max_position"):
            if getattr(self, field) < 1:
                raise ValueError(f"{self.name}: {field} must be 1 or more; got {getattr(self, field)}")
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.name}: {self.heads} heads cannot share {self.kv_heads} KV heads evenly")
        if not 0 <= self.window_layers <= self.layers:
            raise ValueError(f"{self.name}: window_layers must be 0 to {self.layers}; got {self.window_layers}")
        if bool(self.window) != bool(self.window_layers):
            raise ValueError(f"{self.name}: window and window_layers go together")
        if self.experts and not 0 < self.experts.per_token <= self.experts.count:
            raise ValueError(f"{self.name}: per_token must be 1 to {self.experts.count}")

    @cached_property
    def parameters(self) -> Parameters:
        """Parameters, counted."""
        linear, kv, copied, attention_vectors = self._attention()
        dense = self.layers if self.experts is None else self.experts.dense_layers
        matrices = 3 if self.gated else 2
        linear += dense * matrices * self.hidden * self.intermediate
        vectors = self.layers * attention_vectors
        if self.mlp_bias:
            vectors += dense * (self.intermediate * (matrices - 1) + self.hidden)
        routed = 0
        if self.experts is not None:
            sparse = self.layers - self.experts.dense_layers
            routed = sparse * self.experts.count * matrices * self.hidden * self.experts.intermediate
            linear += sparse * matrices * self.hidden * self.experts.shared_intermediate
            copied += sparse * self.hidden * self.experts.count
            vectors += sparse * self.experts.count * self.experts.router_bias
            if self.experts.bias:
                inner = self.experts.intermediate * (matrices - 1)
                vectors += sparse * self.experts.count * (inner + self.hidden)
        norm = self.hidden * _NORM_VECTORS[self.norm]
        vectors += self.layers * (self.norms * norm + self.qk_norm) + norm * self.final_norm
        vectors += self.positions * self.hidden + self.pooler
        return Parameters(
            embeddings=self.vocab * self.hidden * (1 if self.tied or self.encoder else 2),
            linear=linear,
            kv=kv,
            experts=routed,
            copied=copied,
            vectors=vectors,
            other=self.other_parameters,
        )

    def _attention(self) -> tuple[int, int, int, int]:
        """Divided, KV, copied parameters of attention in all layers, and vectors in one layer."""
        if self.latent is not None:
            head = self.latent.nope_dim + self.latent.rope_dim
            q = self.heads * head
            divided = (self.latent.q_rank or self.hidden) * q
            divided += self.latent.kv_rank * self.heads * (self.latent.nope_dim + self.latent.value_dim)
            divided += self.heads * self.latent.value_dim * self.hidden
            copied = self.hidden * (self.latent.kv_rank + self.latent.rope_dim + self.latent.q_rank)
            return self.layers * divided, 0, self.layers * copied, self.latent.kv_rank + self.latent.q_rank
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        vectors = (q + 2 * kv) * self.qkv_bias + self.hidden * self.output_bias + self.heads * self.sinks
        return self.layers * 2 * self.hidden * q, self.layers * 2 * self.hidden * kv, 0, vectors

    @property
    def active_parameters(self) -> int:
        """Parameters that one token passes through; the input embedding, which is only looked up, is left out."""
        counted = self.parameters
        routed = 0 if self.experts is None else counted.experts * self.experts.per_token // self.experts.count
        looked_up = 0 if self.tied else self.vocab * self.hidden
        return counted.total - counted.experts + routed - looked_up - counted.other

    @property
    def rotary_elements(self) -> int:
        """Elements of the table of rotary positions that vLLM keeps on every GPU."""
        if self.encoder and self.positions:
            return 0
        return self.max_position * (self.head_dim if self.latent is None else self.latent.rope_dim)

    def kv_heads_on(self, tensor_parallel: int) -> int:
        """KV heads on each GPU: a head that cannot be divided is copied."""
        return max(1, self.kv_heads // tensor_parallel)

    def kv_elements(self, tensor_parallel: int) -> int:
        """Elements that one layer caches for one token on each GPU."""
        if self.encoder:
            return 0
        if self.latent is not None:
            return self.latent.kv_rank + self.latent.rope_dim  # one vector for all heads: on every GPU
        return 2 * self.kv_heads_on(tensor_parallel) * self.head_dim

    def undivided(self, tensor_parallel: int) -> str:
        """Why the model cannot be divided over so many GPUs, in words; empty where it can."""
        if self.heads % tensor_parallel:
            return f"{self.heads} attention heads cannot be divided by {tensor_parallel}"
        if self.latent is None and self.kv_heads % tensor_parallel and tensor_parallel % self.kv_heads:
            return f"{self.kv_heads} KV heads can be neither divided by {tensor_parallel} nor copied evenly"
        if self.intermediate % tensor_parallel:
            return f"the feed-forward width {self.intermediate} cannot be divided by {tensor_parallel}"
        if self.experts is not None and self.experts.intermediate % tensor_parallel:
            return f"the experts' width {self.experts.intermediate} cannot be divided by {tensor_parallel}"
        return ""
