"""Whether an engine can serve what was declared. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from components.versions import IMAGES
from workloads.models.plan import Finding
from workloads.triton.manifest import EngineManifest

# What the release of Triton's image has inside (its own compatibility matrix, docs/introduction/compatibility.md in
# triton-inference-server/server). The next image may have none that reads engines: see decision 14.
TENSORRT_LLM: Final[Mapping[str, str]] = {
    "26.04-trtllm-python-py3": "1.2.1",
    "26.05-trtllm-python-py3": "1.2.1",
    "26.06-trtllm-python-py3": "1.2.1",
    "26.07-trtllm-python-py3": "1.2.1",
}


def problems(
    manifest: EngineManifest, *, gpu: str, gpus: int, context: int, concurrency: int, image: str = IMAGES["triton"]
) -> Iterator[Finding]:
    """Why an engine cannot serve what was declared.

    Args:
        manifest: The engine.
        gpu: Declared model of GPU.
        gpus: Declared or planned GPUs of one server.
        context: Declared tokens of one request at most.
        concurrency: Declared requests under way in one server.
        image: Triton's image.
    """
    if manifest.gpu != gpu:
        yield (
            "gpu.type",
            f"the engine was built on {manifest.gpu} and runs on nothing else; got {gpu}; set {manifest.gpu}, or build "
            f"the engine on {gpu}",
        )
    if manifest.gpus != gpus:
        yield (
            "gpu.count",
            f"the engine is spread over {manifest.gpus} GPUs (tensor parallel {manifest.tensor_parallel} x pipeline "
            f"parallel {manifest.pipeline_parallel}); got {gpus}; set {manifest.gpus}, or build it for {gpus}",
        )
    if manifest.max_sequence_tokens < context:
        yield (
            "context",
            f"the engine takes {manifest.max_sequence_tokens} tokens at most; got {context}; set "
            f"{manifest.max_sequence_tokens}, or build it with --max_seq_len {context}",
        )
    if manifest.max_batch_size < concurrency:
        yield (
            "concurrency",
            f"the engine runs {manifest.max_batch_size} requests together at most; got {concurrency}; set "
            f"{manifest.max_batch_size}, or build it with --max_batch_size {concurrency}",
        )
    tag = image.rpartition(":")[2]
    inside = TENSORRT_LLM.get(tag)
    if inside is None:
        yield (
            "triton.engineManifest",
            f"which TensorRT-LLM is in {image} is not known; look it up, and add it to workloads/triton/suitability.py",
        )
    elif manifest.tensorrt_llm != inside:
        yield (
            "triton.engineManifest",
            f"the engine was built with TensorRT-LLM {manifest.tensorrt_llm}, and the image {tag} has {inside}, which "
            f"cannot read it; build it in that image",
        )
