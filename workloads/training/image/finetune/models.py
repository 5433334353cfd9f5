"""Models and adapters: loaded for training, and written the way servers load them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from .config import FineTuneConfig, Lora
from .sources import SourceError

Dtype = Literal["bfloat16", "float16", "float32"]

_SHARD = "5GB"  # what the published models of 8B parameters and more have


def precision(config: FineTuneConfig) -> Dtype:
    """Arithmetic of this machine."""
    asked = config.optimization.precision
    if asked != "auto":
        return asked
    if not torch.cuda.is_available():
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def tokenizer_of(folder: Path) -> Any:
    """The base model's tokenizer; one without padding pads with its end, which counts for nothing."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def for_training(config: FineTuneConfig, folder: Path, *, local_rank: int) -> Any:
    """The model that is trained, with its adapters.

    Raises:
        SourceError: This machine cannot do it.
    """
    dtype = precision(config)
    if config.method == "qlora":
        if not torch.cuda.is_available():
            raise SourceError("method qlora needs a GPU: bitsandbytes computes with weights of 4 bit there; take lora")
        four_bit = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=getattr(torch, dtype),
        )
        model = AutoModelForCausalLM.from_pretrained(
            folder, quantization_config=four_bit, dtype=getattr(torch, dtype), device_map={"": local_rank}
        )
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=config.optimization.recompute)
    else:
        # All weights are learned in 32 bit and computed with in 16; those that stay as they are need only 16.
        kept = dtype if config.adapters or config.zero is not None else "float32"
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, kept))
    model.config.use_cache = False
    if not config.adapters:
        return model
    if config.optimization.recompute:
        model.enable_input_require_grads()  # nothing before the first adapter has a gradient of its own
    return get_peft_model(model, adapter(config.lora))


def adapter(lora: Lora) -> LoraConfig:
    """The adapters as PEFT has them."""
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets if isinstance(lora.targets, str) else list(lora.targets),
    )


def merged(base: Path, adapters: Path, target: Path) -> None:
    """Write the base model with the adapters in its weights.

    In the host's memory, from the weights as they were published: those on the GPU may be of 4 bit, or in parts.
    """
    dtype = published_dtype(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    whole = PeftModel.from_pretrained(model, str(adapters)).merge_and_unload()  # pyright: ignore[reportCallIssue] a wrapped method
    written(whole, base, target, dtype)


def written(model: Any, base: Path, target: Path, dtype: torch.dtype) -> None:
    """Write weights and configuration as the base model had them."""
    model = model.to(dtype)
    model.config.use_cache = json.loads((base / "config.json").read_text()).get("use_cache", True)
    model.save_pretrained(target, max_shard_size=_SHARD)


def published_dtype(base: Path) -> torch.dtype:
    """What the base model's weights are stored in."""
    config = json.loads((base / "config.json").read_text())
    found = getattr(torch, str(config.get("dtype") or config.get("torch_dtype") or "bfloat16"), torch.bfloat16)
    return found if isinstance(found, torch.dtype) else torch.bfloat16
