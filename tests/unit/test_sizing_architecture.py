"""Architectures: parameters counted to the last one, and every model's numbers from its own config.json."""

from __future__ import annotations

import ast
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.sizing_reports import table
from workloads.sizing import (
    CATALOGUE,
    Architecture,
    ConfigError,
    Experts,
    UnknownModelError,
    architecture_of,
    from_config,
)

pytestmark = pytest.mark.unit

PUBLISHED = {row["model"]: int(row["parameters"]) for row in table("parameters.tsv")}

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
    "tie_word_embeddings": False,
    "attention_bias": False,
    "mlp_bias": False,
}

CONFIGS: dict[str, dict[str, Any]] = {
    "meta-llama/Llama-3.1-8B-Instruct": LLAMA,
    "Qwen/Qwen2.5-7B-Instruct": {
        "model_type": "qwen2",
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "max_position_embeddings": 32768,
        "max_window_layers": 28,
        "num_attention_heads": 28,
        "num_hidden_layers": 28,
        "num_key_value_heads": 4,
        "sliding_window": 131072,
        "use_sliding_window": False,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "vocab_size": 152064,
    },
    "Qwen/Qwen3-30B-A3B": {
        "model_type": "qwen3_moe",
        "attention_bias": False,
        "decoder_sparse_step": 1,
        "head_dim": 128,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "max_position_embeddings": 40960,
        "mlp_only_layers": [],
        "moe_intermediate_size": 768,
        "num_attention_heads": 32,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "num_hidden_layers": 48,
        "num_key_value_heads": 4,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "vocab_size": 151936,
    },
    "mistralai/Mixtral-8x7B-Instruct-v0.1": {
        "model_type": "mixtral",
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "max_position_embeddings": 32768,
        "num_attention_heads": 32,
        "num_experts_per_tok": 2,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "num_local_experts": 8,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "vocab_size": 32000,
    },
    "google/gemma-2-9b-it": {
        "model_type": "gemma2",
        "head_dim": 256,
        "hidden_size": 3584,
        "intermediate_size": 14336,
        "max_position_embeddings": 8192,
        "num_attention_heads": 16,
        "num_hidden_layers": 42,
        "num_key_value_heads": 8,
        "sliding_window": 4096,
        "torch_dtype": "bfloat16",
        "vocab_size": 256000,
    },
    "google/gemma-3-1b-it": {
        "model_type": "gemma3_text",
        "head_dim": 256,
        "hidden_size": 1152,
        "intermediate_size": 6912,
        "max_position_embeddings": 32768,
        "num_attention_heads": 4,
        "num_hidden_layers": 26,
        "num_key_value_heads": 1,
        "sliding_window": 512,
        "sliding_window_pattern": 6,
        "torch_dtype": "bfloat16",
        "vocab_size": 262144,
    },
    "microsoft/phi-4": {
        "model_type": "phi3",
        "hidden_size": 5120,
        "intermediate_size": 17920,
        "max_position_embeddings": 16384,
        "num_attention_heads": 40,
        "num_hidden_layers": 40,
        "num_key_value_heads": 10,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "vocab_size": 100352,
    },
    "deepseek-ai/DeepSeek-V3": {
        "model_type": "deepseek_v3",
        "first_k_dense_replace": 3,
        "hidden_size": 7168,
        "intermediate_size": 18432,
        "kv_lora_rank": 512,
        "max_position_embeddings": 163840,
        "moe_intermediate_size": 2048,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "num_attention_heads": 128,
        "num_experts_per_tok": 8,
        "num_hidden_layers": 61,
        "num_key_value_heads": 128,
        "q_lora_rank": 1536,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "tie_word_embeddings": False,
        "topk_method": "noaux_tc",
        "torch_dtype": "bfloat16",
        "v_head_dim": 128,
        "vocab_size": 129280,
    },
    "openai/gpt-oss-20b": {
        "model_type": "gpt_oss",
        "attention_bias": True,
        "head_dim": 64,
        "hidden_size": 2880,
        "intermediate_size": 2880,
        "layer_types": ["sliding_attention", "full_attention"] * 12,
        "max_position_embeddings": 131072,
        "num_attention_heads": 64,
        "num_experts_per_tok": 4,
        "num_hidden_layers": 24,
        "num_key_value_heads": 8,
        "num_local_experts": 32,
        "sliding_window": 128,
        "tie_word_embeddings": False,
        "vocab_size": 201088,
    },
    "BAAI/bge-large-en-v1.5": {
        "model_type": "bert",
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "max_position_embeddings": 512,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "type_vocab_size": 2,
        "vocab_size": 30522,
    },
}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_parameters_are_counted_to_the_last_one(name: str):
    assert CATALOGUE[name].parameters.total == PUBLISHED[name]


def test_every_model_with_numbers_of_its_own_is_held_against_its_published_count():
    # A model that shares another's numbers is counted with it.
    own = {replace(model, name="", source="", max_position=1): name for name, model in reversed(CATALOGUE.items())}
    assert set(own.values()) <= set(PUBLISHED)


@pytest.mark.parametrize(
    ("name", "published"),
    # The active parameters in the models' own names and reports, in billions.
    [
        ("Qwen/Qwen3-30B-A3B", 3.3),
        ("Qwen/Qwen3-235B-A22B", 22),
        ("deepseek-ai/DeepSeek-V3", 37),
        ("openai/gpt-oss-20b", 3.6),
    ],
)
def test_parameters_that_a_token_passes_through_are_those_that_the_authors_name(name: str, published: float):
    assert CATALOGUE[name].active_parameters / 1e9 == pytest.approx(published, rel=0.09)


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_a_models_config_gives_the_catalogues_numbers(name: str):
    assert from_config(CONFIGS[name], name=name, source=CATALOGUE[name].source) == CATALOGUE[name]


def test_a_model_with_a_tower_for_images_is_read_from_its_inner_config():
    outer = {
        "model_type": "mistral3",
        "vision_config": {"hidden_size": 1024},
        "text_config": LLAMA | {"model_type": "mistral"},
    }
    assert from_config(outer, name="inner").hidden == 4096


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "no model_type"),
        ({"model_type": "mamba2"}, "model_type 'mamba2' cannot be sized; known are bert"),
        ({k: v for k, v in LLAMA.items() if k != "hidden_size"}, "no hidden_size"),
        (LLAMA | {"num_hidden_layers": "32"}, "num_hidden_layers must be a whole number; got '32'"),
        (LLAMA | {"num_hidden_layers": True}, "num_hidden_layers must be a whole number; got True"),
        (LLAMA | {"num_key_value_heads": 5}, "32 heads cannot share 5 KV heads"),
        (LLAMA | {"vocab_size": 0}, "vocab must be 1 or more"),
        (CONFIGS["Qwen/Qwen3-30B-A3B"] | {"decoder_sparse_step": 2}, "in turn cannot be sized"),
        (CONFIGS["Qwen/Qwen3-30B-A3B"] | {"num_experts_per_tok": 200}, "per_token must be 1 to 128"),
    ],
)
def test_a_config_that_cannot_be_sized_says_why_and_whose_it_is(config: dict[str, Any], words: str):
    with pytest.raises(ConfigError, match="acme/model") as caught:
        from_config(config, name="acme/model")
    assert words in str(caught.value)


def test_an_unknown_name_gets_the_nearest_names_and_the_way_out():
    with pytest.raises(UnknownModelError, match=r"did you mean .*meta-llama/Llama-3.1-8B.*config\.json"):
        architecture_of("meta-llama/Llama-3.1-8B-Instrct")
    with pytest.raises(UnknownModelError, match=r"acme/secret is not in the catalogue of models"):
        architecture_of("acme/secret")


def test_names_are_found_in_either_case():
    assert architecture_of("meta-llama/llama-3.1-8b-instruct") is CATALOGUE["meta-llama/Llama-3.1-8B-Instruct"]


def test_sizing_is_pure_so_that_settings_can_be_refused_by_it():
    for module in (Path(__file__).parents[2] / "workloads").glob("sizing/*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                ours = name.startswith("workloads.sizing") or name == "components.versions"
                assert ours or name.split(".", maxsplit=1)[0] in sys.stdlib_module_names, (
                    f"{module.name} imports {name}"
                )


def test_every_model_names_where_its_numbers_are_published():
    for name, model in CATALOGUE.items():
        assert model.source == f"https://huggingface.co/{name}/blob/main/config.json"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"window": 128}, "window and window_layers go together"),
        ({"window": 128, "window_layers": 99}, "window_layers must be 0 to 32"),
        ({"experts": Experts(count=2, per_token=3, intermediate=8)}, "per_token must be 1 to 2"),
    ],
)
def test_numbers_that_contradict_one_another_are_refused(changes: dict[str, Any], words: str):
    with pytest.raises(ValueError, match=words):
        replace(CATALOGUE["meta-llama/Llama-3.1-8B-Instruct"], **changes)


@pytest.mark.parametrize(
    ("name", "gpus", "words"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", 8, "28 attention heads"),
        ("microsoft/phi-4", 4, "10 KV heads"),
        ("Qwen/Qwen2.5-0.5B-Instruct", 4, "14 attention heads"),
        ("meta-llama/Llama-3.1-8B-Instruct", 8, ""),
        ("Qwen/Qwen3-30B-A3B", 8, ""),  # 4 KV heads, each on two GPUs
        ("deepseek-ai/DeepSeek-V3", 8, ""),
    ],
)
def test_tensor_parallelism_divides_heads_and_widths_evenly_or_says_what_it_cannot_divide(
    name: str, gpus: int, words: str
):
    reason = CATALOGUE[name].undivided(gpus)
    assert words in reason
    assert bool(reason) == bool(words)


def test_a_kv_head_that_cannot_be_divided_is_copied_and_a_latent_cache_always_is():
    model: Architecture = CATALOGUE["Qwen/Qwen3-235B-A22B"]
    assert [model.kv_heads_on(gpus) for gpus in (1, 2, 4, 8)] == [4, 2, 1, 1]
    latent = CATALOGUE["deepseek-ai/DeepSeek-V3"]
    assert latent.kv_elements(1) == latent.kv_elements(8) == 512 + 64
