"""A model's numbers from its ``config.json``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from workloads.sizing.architecture import Architecture, Experts, Latent

Config = Mapping[str, Any]


class ConfigError(ValueError):
    """A ``config.json`` that cannot be sized; the message says why and what can be."""


def from_config(config: Config, *, name: str, source: str = "config.json") -> Architecture:
    """A model's architecture.

    Args:
        config: The parsed ``config.json``.
        name: Name of the model.
        source: Where the file came from.

    Raises:
        ConfigError: The kind of model is not known here, or a number is missing.
    """
    outer = _text(config.get("model_type"), "model_type", name)
    inner = config.get("text_config")
    if isinstance(inner, Mapping):
        # A model with a tower for images: the language model's numbers stand inside.
        config = cast("Config", {**config, **inner})
        kind = str(config.get("model_type") or outer)
    else:
        kind = outer
    reader = _READERS.get(kind)
    if reader is None:
        raise ConfigError(f"{name}: model_type {kind!r} cannot be sized; known are {', '.join(sorted(_READERS))}")
    try:
        return reader(_Reader(config, name=name, source=source, kind=kind))
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error


def _text(value: object, key: str, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name}: config.json has no {key}")
    return value


class _Reader:
    def __init__(self, config: Config, *, name: str, source: str, kind: str) -> None:
        self.config, self.name, self.source, self.kind = config, name, source, kind

    def whole(self, *keys: str, default: int | None = None) -> int:
        """A whole number under the first of the keys that is there."""
        for key in keys:
            value = self.config.get(key)
            if isinstance(value, bool) or (value is not None and not isinstance(value, int)):
                raise ConfigError(f"{self.name}: {key} must be a whole number; got {value!r}")
            if value is not None:
                return value
        if default is None:
            raise ConfigError(f"{self.name}: config.json has no {keys[0]}")
        return default

    def flag(self, key: str, *, default: bool) -> bool:
        """Yes or no."""
        value = self.config.get(key, default)
        return default if value is None else bool(value)

    def common(self) -> dict[str, Any]:
        """What nearly every decoder says in the same words."""
        heads, hidden = self.whole("num_attention_heads"), self.whole("hidden_size")
        dtype = self.config.get("torch_dtype") or self.config.get("dtype") or "bfloat16"
        return {
            "name": self.name,
            "source": self.source,
            "family": self.kind,
            "layers": self.whole("num_hidden_layers"),
            "hidden": hidden,
            "intermediate": self.whole("intermediate_size"),
            "heads": heads,
            "kv_heads": self.whole("num_key_value_heads", default=heads),
            "head_dim": self.whole("head_dim", default=hidden // heads),
            "vocab": self.whole("vocab_size"),
            "max_position": self.whole("max_position_embeddings"),
            "tied": self.flag("tie_word_embeddings", default=False),
            "dtype": dtype if dtype in ("bfloat16", "float16", "float32") else "bfloat16",
        }


def _llama(read: _Reader) -> Architecture:
    bias = read.flag("attention_bias", default=False)
    window = read.config.get("sliding_window")
    values = read.common()
    return Architecture(
        **values,
        qkv_bias=bias,
        output_bias=bias,
        mlp_bias=read.flag("mlp_bias", default=False),
        window=window or 0,
        window_layers=values["layers"] if window else 0,
    )


def _qwen2(read: _Reader) -> Architecture:
    values = read.common()
    # The window of Qwen2 is for layers from max_window_layers on, and off in every published model.
    windowed = read.whole("sliding_window", default=0) if read.flag("use_sliding_window", default=False) else 0
    layers = values["layers"] - read.whole("max_window_layers", default=values["layers"]) if windowed else 0
    return Architecture(**values, qkv_bias=True, window=windowed if layers else 0, window_layers=layers)


def _qwen3(read: _Reader) -> Architecture:
    values = read.common()
    return Architecture(
        **values,
        qkv_bias=read.flag("attention_bias", default=False),
        qk_norm=2 * values["head_dim"],
        experts=_qwen_experts(read) if read.kind == "qwen3_moe" else None,
    )


def _qwen_experts(read: _Reader) -> Experts:
    if read.whole("decoder_sparse_step", default=1) != 1 or read.config.get("mlp_only_layers"):
        raise ConfigError(f"{read.name}: layers with and without experts in turn cannot be sized")
    return Experts(
        count=read.whole("num_experts", "num_local_experts"),
        per_token=read.whole("num_experts_per_tok"),
        intermediate=read.whole("moe_intermediate_size"),
    )


def _mixtral(read: _Reader) -> Architecture:
    values = read.common()
    experts = Experts(
        count=read.whole("num_local_experts"),
        per_token=read.whole("num_experts_per_tok"),
        intermediate=values["intermediate"],
    )
    return Architecture(**values, experts=experts)


def _gemma(read: _Reader) -> Architecture:
    # config.json leaves out what the model's code defaults to; all of Gemma ties its head.
    values = read.common()
    values["tied"] = read.flag("tie_word_embeddings", default=True)
    if read.kind == "gemma":
        return Architecture(**values)
    window, layers = read.whole("sliding_window", default=4096), values["layers"]
    kinds = read.config.get("layer_types")
    if isinstance(kinds, list):
        windowed = cast("list[object]", kinds).count("sliding_attention")
    else:
        pattern = read.whole(
            "sliding_window_pattern", "_sliding_window_pattern", default=2 if read.kind == "gemma2" else 6
        )
        windowed = layers - layers // pattern
    return Architecture(
        **values,
        norms=4,
        qk_norm=0 if read.kind == "gemma2" else 2 * values["head_dim"],
        window=window,
        window_layers=windowed,
    )


def _phi3(read: _Reader) -> Architecture:
    # Its sliding window, where there is one, is as long as its context or not used.
    return Architecture(**read.common())


def _deepseek(read: _Reader) -> Architecture:
    values = read.common()
    latent = Latent(
        kv_rank=read.whole("kv_lora_rank"),
        rope_dim=read.whole("qk_rope_head_dim"),
        nope_dim=read.whole("qk_nope_head_dim"),
        value_dim=read.whole("v_head_dim"),
        q_rank=read.whole("q_lora_rank", default=0),
    )
    width = read.whole("moe_intermediate_size")
    experts = Experts(
        count=read.whole("n_routed_experts"),
        per_token=read.whole("num_experts_per_tok"),
        intermediate=width,
        shared_intermediate=width * read.whole("n_shared_experts", default=0),
        dense_layers=read.whole("first_k_dense_replace", default=0),
        router_bias=read.config.get("topk_method") == "noaux_tc",
    )
    values["head_dim"] = latent.nope_dim + latent.rope_dim
    return Architecture(**values, latent=latent, experts=experts)


def _gpt_oss(read: _Reader) -> Architecture:
    values = read.common()
    kinds = cast("list[object]", read.config.get("layer_types") or [])
    experts = Experts(
        count=read.whole("num_local_experts"),
        per_token=read.whole("num_experts_per_tok"),
        intermediate=values["intermediate"],
        router_bias=True,
        bias=True,
    )
    return Architecture(
        **values,
        qkv_bias=True,
        output_bias=True,
        sinks=True,
        window=read.whole("sliding_window", default=128),
        window_layers=kinds.count("sliding_attention") if kinds else values["layers"] // 2,
        experts=experts,
    )


def _bert(read: _Reader) -> Architecture:
    values = read.common()
    rows = read.whole("max_position_embeddings") + read.whole("type_vocab_size", default=0)
    hidden = values["hidden"]
    values["tied"] = True
    return Architecture(
        **values,
        gated=False,
        qkv_bias=True,
        output_bias=True,
        mlp_bias=True,
        norm="layer",
        encoder=True,
        positions=rows,
        pooler=hidden * hidden + hidden,
    )


_READERS: Final[dict[str, Callable[[_Reader], Architecture]]] = {
    "llama": _llama,
    "mistral": _llama,
    "mistral3": _llama,
    "granite": _llama,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "qwen3_moe": _qwen3,
    "mixtral": _mixtral,
    "gemma": _gemma,
    "gemma2": _gemma,
    "gemma3_text": _gemma,
    "phi3": _phi3,
    "deepseek_v2": _deepseek,
    "deepseek_v3": _deepseek,
    "gpt_oss": _gpt_oss,
    "bert": _bert,
    "xlm-roberta": _bert,
    "roberta": _bert,
}
