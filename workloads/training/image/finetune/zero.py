"""DeepSpeed's configuration, from ours. Pure; every number that Transformers would put in is put in here."""

from __future__ import annotations

from typing import Any, Literal

from .config import Optimization, Zero

_BUCKET = 200_000_000  # elements that are sent together: 400 MB in 16 bit, which hides the latency between nodes


def deepspeed_config(
    zero: Zero,
    optimization: Optimization,
    *,
    processes: int,
    precision: Literal["bfloat16", "float16", "float32"],
    accelerator: bool = True,
) -> dict[str, Any]:
    """What DeepSpeed is given.

    The optimizer is PyTorch's own AdamW, in the host's memory too: DeepSpeed's would be compiled when the job starts,
    and the image has no compiler.

    Args:
        zero: What is shared out.
        optimization: How it is learned.
        processes: GPUs together.
        precision: Of arithmetic.
        accelerator: There are GPUs; memory is pinned only for them.
    """
    stage: dict[str, Any] = {
        "stage": zero.stage,
        "overlap_comm": accelerator,
        "contiguous_gradients": True,
        "reduce_bucket_size": _BUCKET,
    }
    if zero.offload != "none":
        stage["offload_optimizer"] = {"device": "cpu", "pin_memory": accelerator}
    if zero.offload == "all":
        stage["offload_param"] = {"device": "cpu", "pin_memory": accelerator}
    if zero.stage == 3:
        stage |= {
            "stage3_prefetch_bucket_size": _BUCKET // 4,
            "stage3_param_persistence_threshold": 100_000,
            "stage3_max_live_parameters": 1_000_000_000,
            "stage3_max_reuse_distance": 1_000_000_000,
            # The finished model is written in the form that servers read.
            "stage3_gather_16bit_weights_on_model_save": True,
        }
    else:
        stage["allgather_bucket_size"] = _BUCKET
    return {
        "train_micro_batch_size_per_gpu": optimization.batch_size,
        "gradient_accumulation_steps": optimization.accumulation,
        "train_batch_size": optimization.batch_size * optimization.accumulation * processes,
        "gradient_clipping": optimization.max_gradient_norm,
        "bf16": {"enabled": precision == "bfloat16"},
        "fp16": {"enabled": precision == "float16"},
        "zero_optimization": stage,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "wall_clock_breakdown": False,
    }
