"""Numbers of common open models, from each model's published ``config.json``."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import Any, Final

from workloads.sizing.architecture import Architecture, Experts, Latent


class UnknownModelError(ValueError):
    """A model that is not in the catalogue."""


_Row = tuple[str, int, int, int, int, int, int, int, int]
"""Repository, layers, hidden, intermediate, heads, KV heads, head size, vocabulary, context in tokens."""


def _of(family: str, row: _Row, **more: Any) -> Architecture:
    name, layers, hidden, intermediate, heads, kv_heads, head_dim, vocab, context = row
    return Architecture(
        name=name,
        source=f"https://huggingface.co/{name}/blob/main/config.json",
        family=family,
        layers=layers,
        hidden=hidden,
        intermediate=intermediate,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocab=vocab,
        max_position=context,
        **more,
    )


def _qwen3(row: _Row, **more: Any) -> Architecture:
    return _of("qwen3_moe" if "experts" in more else "qwen3", row, qk_norm=2 * row[6], **more)


def _gemma2(row: _Row) -> Architecture:
    return _of("gemma2", row, tied=True, norms=4, window=4096, window_layers=row[1] // 2)


def _gemma3(row: _Row, *, window: int, images: int = 0) -> Architecture:
    # Every sixth layer keeps the whole context.
    return _of(
        "gemma3_text",
        row,
        tied=True,
        norms=4,
        qk_norm=2 * row[6],
        window=window,
        window_layers=row[1] - row[1] // 6,
        other_parameters=images,
    )


def _gpt_oss(row: _Row, *, experts: int) -> Architecture:
    mixture = Experts(count=experts, per_token=4, intermediate=row[3], router_bias=True, bias=True)
    return _of(
        "gpt_oss",
        row,
        qkv_bias=True,
        output_bias=True,
        sinks=True,
        window=128,
        window_layers=row[1] // 2,
        experts=mixture,
    )


def _encoder(family: str, row: _Row, *, rows: int) -> Architecture:
    return _of(
        family,
        row,
        tied=True,
        gated=False,
        qkv_bias=True,
        output_bias=True,
        mlp_bias=True,
        norm="layer",
        encoder=True,
        positions=rows,
        pooler=row[2] * row[2] + row[2],
    )


# SigLIP-So400m as Gemma 3 has it (896 x 896 pixels in patches of 14), and the projection to each model's width.
_SIGLIP: Final = 416_866_032


def _gemma_images(hidden: int) -> int:
    return _SIGLIP + 1152 * hidden + 1152


_LATENT_V2: Final = Latent(kv_rank=512, rope_dim=64, nope_dim=128, value_dim=128)

_MODELS: Final = (
    _of("llama", ("meta-llama/Llama-3.2-1B-Instruct", 16, 2048, 8192, 32, 8, 64, 128256, 131072), tied=True),
    _of("llama", ("meta-llama/Llama-3.2-3B-Instruct", 28, 3072, 8192, 24, 8, 128, 128256, 131072), tied=True),
    _of("llama", ("meta-llama/Llama-3.1-8B-Instruct", 32, 4096, 14336, 32, 8, 128, 128256, 131072)),
    _of("llama", ("meta-llama/Llama-3.3-70B-Instruct", 80, 8192, 28672, 64, 8, 128, 128256, 131072)),
    _of("llama", ("meta-llama/Llama-2-7b-chat-hf", 32, 4096, 11008, 32, 32, 128, 32000, 4096), dtype="float16"),
    _of("llama", ("meta-llama/Llama-2-13b-chat-hf", 40, 5120, 13824, 40, 40, 128, 32000, 4096), dtype="float16"),
    _of("llama", ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", 22, 2048, 5632, 32, 4, 64, 32000, 2048)),
    _of("qwen2", ("Qwen/Qwen2.5-0.5B-Instruct", 24, 896, 4864, 14, 2, 64, 151936, 32768), tied=True, qkv_bias=True),
    _of("qwen2", ("Qwen/Qwen2.5-1.5B-Instruct", 28, 1536, 8960, 12, 2, 128, 151936, 32768), tied=True, qkv_bias=True),
    _of("qwen2", ("Qwen/Qwen2.5-3B-Instruct", 36, 2048, 11008, 16, 2, 128, 151936, 32768), tied=True, qkv_bias=True),
    _of("qwen2", ("Qwen/Qwen2.5-7B-Instruct", 28, 3584, 18944, 28, 4, 128, 152064, 32768), qkv_bias=True),
    _of("qwen2", ("Qwen/Qwen2.5-14B-Instruct", 48, 5120, 13824, 40, 8, 128, 152064, 32768), qkv_bias=True),
    _of("qwen2", ("Qwen/Qwen2.5-32B-Instruct", 64, 5120, 27648, 40, 8, 128, 152064, 32768), qkv_bias=True),
    _of("qwen2", ("Qwen/Qwen2.5-72B-Instruct", 80, 8192, 29568, 64, 8, 128, 152064, 32768), qkv_bias=True),
    _qwen3(("Qwen/Qwen3-0.6B", 28, 1024, 3072, 16, 8, 128, 151936, 40960), tied=True),
    _qwen3(("Qwen/Qwen3-1.7B", 28, 2048, 6144, 16, 8, 128, 151936, 40960), tied=True),
    _qwen3(("Qwen/Qwen3-4B", 36, 2560, 9728, 32, 8, 128, 151936, 40960), tied=True),
    _qwen3(("Qwen/Qwen3-8B", 36, 4096, 12288, 32, 8, 128, 151936, 40960)),
    _qwen3(("Qwen/Qwen3-14B", 40, 5120, 17408, 40, 8, 128, 151936, 40960)),
    _qwen3(("Qwen/Qwen3-32B", 64, 5120, 25600, 64, 8, 128, 151936, 40960)),
    _qwen3(
        ("Qwen/Qwen3-30B-A3B", 48, 2048, 6144, 32, 4, 128, 151936, 40960),
        experts=Experts(count=128, per_token=8, intermediate=768),
    ),
    _qwen3(
        ("Qwen/Qwen3-235B-A22B", 94, 4096, 12288, 64, 4, 128, 151936, 40960),
        experts=Experts(count=128, per_token=8, intermediate=1536),
    ),
    _of("mistral", ("mistralai/Mistral-7B-Instruct-v0.3", 32, 4096, 14336, 32, 8, 128, 32768, 32768)),
    _of("mistral", ("mistralai/Mistral-Nemo-Instruct-2407", 40, 5120, 14336, 32, 8, 128, 131072, 131072)),
    _of("mistral", ("mistralai/Mistral-Small-24B-Instruct-2501", 40, 5120, 32768, 32, 8, 128, 131072, 32768)),
    _of(
        "mixtral",
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 32, 4096, 14336, 32, 8, 128, 32000, 32768),
        experts=Experts(count=8, per_token=2, intermediate=14336),
    ),
    _of(
        "mixtral",
        ("mistralai/Mixtral-8x22B-v0.1", 56, 6144, 16384, 48, 8, 128, 32000, 65536),
        experts=Experts(count=8, per_token=2, intermediate=16384),
    ),
    _gemma2(("google/gemma-2-2b-it", 26, 2304, 9216, 8, 4, 256, 256000, 8192)),
    _gemma2(("google/gemma-2-9b-it", 42, 3584, 14336, 16, 8, 256, 256000, 8192)),
    _gemma2(("google/gemma-2-27b-it", 46, 4608, 36864, 32, 16, 128, 256000, 8192)),
    _gemma3(("google/gemma-3-1b-it", 26, 1152, 6912, 4, 1, 256, 262144, 32768), window=512),
    _gemma3(
        ("google/gemma-3-4b-it", 34, 2560, 10240, 8, 4, 256, 262208, 131072), window=1024, images=_gemma_images(2560)
    ),
    _gemma3(
        ("google/gemma-3-12b-it", 48, 3840, 15360, 16, 8, 256, 262208, 131072), window=1024, images=_gemma_images(3840)
    ),
    _gemma3(
        ("google/gemma-3-27b-it", 62, 5376, 21504, 32, 16, 128, 262208, 131072), window=1024, images=_gemma_images(5376)
    ),
    _of("phi3", ("microsoft/Phi-3-mini-4k-instruct", 32, 3072, 8192, 32, 32, 96, 32064, 4096)),
    _of("phi3", ("microsoft/Phi-4-mini-instruct", 32, 3072, 8192, 24, 8, 128, 200064, 131072), tied=True),
    _of("phi3", ("microsoft/phi-4", 40, 5120, 17920, 40, 10, 128, 100352, 16384)),
    _of("granite", ("ibm-granite/granite-3.1-8b-instruct", 40, 4096, 12800, 32, 8, 128, 49155, 131072), tied=True),
    _of(
        "deepseek_v2",
        ("deepseek-ai/DeepSeek-V2-Lite-Chat", 27, 2048, 10944, 16, 16, 192, 102400, 163840),
        latent=_LATENT_V2,
        experts=Experts(count=64, per_token=6, intermediate=1408, shared_intermediate=2816, dense_layers=1),
    ),
    _of(
        "deepseek_v3",
        ("deepseek-ai/DeepSeek-V3", 61, 7168, 18432, 128, 128, 192, 129280, 163840),
        latent=replace(_LATENT_V2, q_rank=1536),
        experts=Experts(
            count=256, per_token=8, intermediate=2048, shared_intermediate=2048, dense_layers=3, router_bias=True
        ),
    ),
    _gpt_oss(("openai/gpt-oss-20b", 24, 2880, 2880, 64, 8, 64, 201088, 131072), experts=32),
    _gpt_oss(("openai/gpt-oss-120b", 36, 2880, 2880, 64, 8, 64, 201088, 131072), experts=128),
    # Embedding models: those made of a decoder have no head, and one embedding.
    _encoder("bert", ("BAAI/bge-large-en-v1.5", 24, 1024, 4096, 16, 16, 64, 30522, 512), rows=512 + 2),
    _encoder("xlm-roberta", ("BAAI/bge-m3", 24, 1024, 4096, 16, 16, 64, 250002, 8192), rows=8194 + 1),
    _of("mistral", ("intfloat/e5-mistral-7b-instruct", 32, 4096, 14336, 32, 8, 128, 32000, 32768), tied=True),
    _qwen3(("Qwen/Qwen3-Embedding-0.6B", 28, 1024, 3072, 16, 8, 128, 151669, 32768), tied=True),
    _qwen3(("Qwen/Qwen3-Embedding-8B", 36, 4096, 12288, 32, 8, 128, 151665, 40960), tied=True),
)

# Models with exactly the numbers of another one, as published by their authors.
_SAME: Final = {
    "meta-llama/Llama-3.2-1B": "meta-llama/Llama-3.2-1B-Instruct",
    "meta-llama/Llama-3.2-3B": "meta-llama/Llama-3.2-3B-Instruct",
    "meta-llama/Llama-3.1-8B": "meta-llama/Llama-3.1-8B-Instruct",
    "meta-llama/Llama-3.1-70B-Instruct": "meta-llama/Llama-3.3-70B-Instruct",
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": "meta-llama/Llama-3.1-8B-Instruct",
    "deepseek-ai/DeepSeek-R1-Distill-Llama-70B": "meta-llama/Llama-3.3-70B-Instruct",
    "deepseek-ai/DeepSeek-R1": "deepseek-ai/DeepSeek-V3",
}

# Longer contexts of later releases with otherwise the same numbers.
_LONGER: Final = {
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": ("Qwen/Qwen2.5-7B-Instruct", 131072),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B": ("Qwen/Qwen2.5-14B-Instruct", 131072),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B": ("Qwen/Qwen2.5-32B-Instruct", 131072),
    "Qwen/Qwen3-4B-Instruct-2507": ("Qwen/Qwen3-4B", 262144),
    "Qwen/Qwen3-30B-A3B-Instruct-2507": ("Qwen/Qwen3-30B-A3B", 262144),
    "Qwen/Qwen3-235B-A22B-Instruct-2507": ("Qwen/Qwen3-235B-A22B", 262144),
}


def _catalogue() -> dict[str, Architecture]:
    known = {model.name: model for model in _MODELS}
    longer = {name: (base, context) for name, (base, context) in _LONGER.items()}
    same = {name: (base, known[base].max_position) for name, base in _SAME.items()}
    for name, (base, context) in {**same, **longer}.items():
        source = f"https://huggingface.co/{name}/blob/main/config.json"
        known[name] = replace(known[base], name=name, source=source, max_position=context)
    return known


CATALOGUE: Final = _catalogue()
"""Architectures by the name of the model's repository."""


def architecture_of(name: str) -> Architecture:
    """The model of that name; letters of either case.

    Raises:
        UnknownModelError: It is not in the catalogue; the message names the nearest and the way out.
    """
    by_lower = {known.lower(): model for known, model in CATALOGUE.items()}
    found = by_lower.get(name.lower())
    if found is not None:
        return found
    near = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
    hint = f"; did you mean {', '.join(by_lower[one].name for one in near)}?" if near else ""
    raise UnknownModelError(f"{name} is not in the catalogue of models{hint} Else give its config.json")
