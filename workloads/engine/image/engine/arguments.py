"""Command lines of TensorRT-LLM's own programs. Pure; nothing of TensorRT-LLM is imported.

Flags are those of release 1.2: ``examples/models/core/<family>/convert_checkpoint.py``, ``examples/quantization/
quantize.py`` and ``trtllm-build``. In Triton's image the examples lie at ``/app/examples``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from engine.config import Build, Convert

EXAMPLES: Final = "/app/examples"

FAMILIES: Final[Mapping[str, str]] = {
    "GemmaForCausalLM": "gemma",
    "Gemma2ForCausalLM": "gemma",
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "MixtralForCausalLM": "llama",
    "Phi3ForCausalLM": "phi",
    "Qwen2ForCausalLM": "qwen",
    "Qwen3ForCausalLM": "qwen",
}
"""For each architecture, as ``config.json`` names it, the folder of the program that converts it."""

_FORMATS: Final[Mapping[str, str]] = {"none": "full_prec", "fp8": "fp8", "int4-awq": "int4_awq"}


class UnsupportedError(ValueError):
    """TensorRT-LLM cannot do what is asked; trying again would not help."""


def convert_command(
    config: Convert, *, architecture: str, model: Path, output: Path, calibration: Path | None, python: str = "python3"
) -> Sequence[str]:
    """The program that converts: the family's own, or the one that calibrates.

    Args:
        config: What is asked.
        architecture: As the model's ``config.json`` names it.
        model: Folder of the model.
        output: Folder of the checkpoint.
        calibration: Folder with ``train.jsonl``, where it is calibrated.
        python: The Python that has TensorRT-LLM.

    Raises:
        UnsupportedError: An architecture without such a program, or two quantizations that do not go together.
    """
    family = FAMILIES.get(architecture)
    if family is None:
        raise UnsupportedError(
            f"{architecture} cannot be converted; TensorRT-LLM's programs are known for {', '.join(sorted(FAMILIES))}"
        )
    spread = ["--tp_size", str(config.parallel.tensor), "--pp_size", str(config.parallel.pipeline)]
    common = ["--model_dir", str(model), "--output_dir", str(output), "--dtype", config.dtype, *spread]
    if not config.calibrated:
        small = ["--use_weight_only", "--weight_only_precision", "int8"] if config.quantization != "none" else []
        workers = ["--workers", str(config.parallel.gpus)]
        return [
            python,
            f"{EXAMPLES}/models/core/{family}/convert_checkpoint.py",
            *common,
            *workers,
            *small,
        ]
    if config.quantization == "int8-weights":
        raise UnsupportedError("int8-weights are not calibrated, and an FP8 KV cache is: take fp8, or kvCache auto")
    if calibration is None:
        raise UnsupportedError("no texts to calibrate with")
    cache = ["--kv_cache_dtype", "fp8"] if config.kv_cache == "fp8" else []
    return [
        python,
        f"{EXAMPLES}/quantization/quantize.py",
        *common,
        "--qformat",
        _FORMATS[config.quantization],
        *cache,
        "--calib_dataset",
        str(calibration),
        "--calib_size",
        str(config.calibration_texts),
    ]


def build_command(config: Build, *, checkpoint: Path, output: Path) -> Sequence[str]:
    """``trtllm-build``; paged KV cache and removed padding are its defaults, and in-flight batching needs them."""
    return [
        "trtllm-build",
        "--checkpoint_dir",
        str(checkpoint),
        "--output_dir",
        str(output),
        "--gemm_plugin",
        "auto",
        "--max_batch_size",
        str(config.max_batch_size),
        "--max_input_len",
        str(config.max_input_tokens),
        "--max_seq_len",
        str(config.max_sequence_tokens),
        "--max_num_tokens",
        str(config.max_num_tokens),
        "--use_paged_context_fmha",  # shared beginnings and prompts in pieces need it
        "enable",
        *(["--use_fp8_context_fmha", "enable"] if config.fp8_attention else []),
        "--workers",
        str(config.parallel.gpus),
    ]


def problem_of_gpu(wanted: str, found: Sequence[str], count: int) -> str:
    """Why an engine cannot be built here; empty where it can.

    Args:
        wanted: Lower-case model, such as ``a10g``.
        found: Names of the GPUs that are there, as the driver says them: ``NVIDIA A10G``.
        count: GPUs that are needed.
    """
    if len(found) < count:
        return f"{count} GPUs are needed, {len(found)} are there"
    others = [name for name in found if wanted not in name.lower().replace("-", " ").replace(" ", "-").split("-")]
    return f"it must be built on {wanted}, and here is {others[0]}" if others else ""
