"""What cannot work of a model that Triton serves: no engine, or one that was built for something else. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from components.settings.model_backends import TritonSettings
from components.settings.models import ModelSettings
from workloads.models.fit import Unfit, architecture
from workloads.models.plan import Finding, Plan, Refusal
from workloads.models.spec import ModelSpec, location
from workloads.sizing import GPUS, QUANTIZATIONS, EngineRequest, EngineSizing, size_engine
from workloads.triton import manifest, suitability
from workloads.triton.manifest import EngineManifest, ManifestError

SHARED_FRACTION = 0.45
"""Share of the GPU memory that an engine finds free which becomes its KV cache, where engines are exchanged in place:
one takes over while the other is there."""

WHOLE_FRACTION = 0.9
"""The same where it is alone; TensorRT-LLM's default."""


def engine_of(settings: ModelSettings, source: str) -> EngineManifest | None:
    """The manifest of one source's engine; none where none is declared.

    Raises:
        ManifestError: The file cannot be read, or knows nothing of this source.
    """
    file = (settings.triton or TritonSettings()).engine_manifest
    if not file:
        return None
    known = manifest.read(Path(file))
    if source not in known:
        raise ManifestError(f"{file} has no entry for {source}; there are {', '.join(known) or 'none'}")
    return known[source]


def problems(spec: ModelSpec, plan: Plan | Refusal) -> Iterator[Finding]:
    """What cannot work; paths are below the model."""
    settings = spec.settings
    seen: set[Finding] = set()
    first: EngineManifest | None = None
    for path, source in _sources(settings):
        if location(source).scheme == "hf":
            yield (
                path,
                f"{source} holds weights, and Triton serves built engines: build one (docs/triton.md) and name its "
                f"place, such as s3://models/{settings.name}/1; or set backend: vllm",
            )
            continue
        try:
            engine = engine_of(settings, source)
        except ManifestError as error:
            yield "triton.engineManifest", f"{error}; write it with python -m workloads.triton.manifest"
            continue
        if engine is None or settings.gpu is None:
            continue
        first = first or engine
        for found in suitability.problems(
            engine,
            gpu=settings.gpu.type,
            gpus=plan.gpus if isinstance(plan, Plan) else settings.gpu.count or engine.gpus,
            context=settings.context,
            concurrency=settings.concurrency,
        ):
            if found not in seen:
                seen.add(found)
                yield found
    if isinstance(plan, Plan):
        yield from _room(settings, plan, first)


def _sources(settings: ModelSettings) -> Iterator[tuple[str, str]]:
    yield "source", settings.source
    if settings.canary is not None:
        yield "canary.source", settings.canary.source
    for index, variant in enumerate(settings.ab.variants):
        yield f"ab.variants[{index}].source", variant.source


def in_place(settings: ModelSettings) -> bool:
    """Whether a server takes another release without being replaced."""
    return (settings.triton or TritonSettings()).swap == "in-place"


def sized(settings: ModelSettings, plan: Plan, engine: EngineManifest | None) -> EngineSizing | None:
    """How an engine fills its GPUs, estimated; none where the model or the GPU is not known.

    Raises:
        ValueError: The model cannot be an engine.
    """
    model = architecture(settings)
    if isinstance(model, Unfit) or plan.gpu_model not in GPUS:
        return None
    return size_engine(
        EngineRequest(
            architecture=model,
            gpu=GPUS[plan.gpu_model],
            quantization=QUANTIZATIONS[settings.quantization],
            tensor_parallel=engine.tensor_parallel if engine else plan.gpus,
            max_batch_size=engine.max_batch_size if engine else plan.sequences,
            max_seq_len=settings.context,
            max_num_tokens=engine.max_num_tokens if engine else plan.batched_tokens,
            kv_dtype=settings.kv_dtype,
            kv_fraction=SHARED_FRACTION if in_place(settings) else WHOLE_FRACTION,
        )
    )


def _room(settings: ModelSettings, plan: Plan, engine: EngineManifest | None) -> Iterator[Finding]:
    try:
        found = sized(settings, plan, engine)
    except ValueError as error:
        yield "architecture", f"{error}; set backend: vllm"
        return
    if found is None:
        return
    if in_place(settings):
        # The second engine finds what the first has left.
        left = found.kv / SHARED_FRACTION - found.kv - found.weights - found.activations
        second = int(found.kv_tokens * max(0.0, SHARED_FRACTION * left) / found.kv) if found.kv else 0
        if second < settings.context:
            yield (
                "triton.swap",
                f"in-place holds two engines at once; beside the first, {second} tokens of KV cache are estimated for "
                f"the second on {plan.gpus} x {plan.gpu_model}, and one request may have {settings.context}; set roll, "
                "lower context, or take a larger gpu.type",
            )
            return
    if found.sequences < settings.concurrency:
        fewer = f"lower concurrency to {found.sequences}" if found.sequences else f"lower context to {found.kv_tokens}"
        yield (
            "concurrency",
            f"{found.kv_tokens} tokens of KV cache are estimated beside the engine on {plan.gpus} x {plan.gpu_model}; "
            f"{settings.concurrency} requests of {settings.context} tokens need "
            f"{settings.concurrency * settings.context}; {fewer}, or build it with a smaller --max_num_tokens",
        )
