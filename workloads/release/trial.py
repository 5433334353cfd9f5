"""What a pod is told that loads a built engine and asks it, before anybody else can. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from components.platform.runtimes import RUNTIMES, TRITON_CONTROL_PORTS
from components.settings.models import ObjectiveSettings, SmokeSettings
from components.settings.release import EngineSettings
from workloads.release.argo import WORK
from workloads.triton import pipeline as models
from workloads.triton import rules
from workloads.triton.config import pbtxt
from workloads.triton.pipeline import EngineOptions, Pipeline

CACHE: Final = f"{WORK}/triton"

_NAME: Final = "trial"
_WAITING_PER_PLACE: Final = 8
_CHECK_TOKENS: Final = 16
_FIRST_SECONDS: Final = 120


def document(name: str, engine: EngineSettings, smoke: SmokeSettings, objective: ObjectiveSettings) -> dict[str, Any]:
    """What the loader reads: the same as of a server that has the GPUs to itself; the pod adds the source.

    Args:
        name: What the model is called.
        engine: How the engine is built.
        smoke: What is asked.
        objective: Within which time.
    """
    pipeline = Pipeline(
        name=name,
        release=_NAME,
        folder=f"{CACHE}/releases/{_NAME}",
        max_batch_size=engine.max_batch_size,
        max_queue_size=_WAITING_PER_PLACE * engine.max_batch_size,
        options=EngineOptions(kv_cache_fraction=rules.WHOLE_FRACTION, kv_cache_reuse=True, chunked_context=True),
    )
    parts = models.parts(pipeline)
    fronts = (models.front(pipeline, pipeline.candidate), models.front(pipeline, pipeline.name))
    return {
        "release": _NAME,
        "digest": "",
        "gpu": engine.gpu_model,
        "shared": False,
        "served": pipeline.name,
        "candidate": pipeline.candidate,
        "code": {config.name: role for role, config in parts.items() if config.backend == "python"},
        "configs": {config.name: pbtxt(config) for config in (*parts.values(), *fronts)},
        "check": {
            "prompt": smoke.prompt,
            "tokens": _CHECK_TOKENS,
            "seconds": objective.p99_seconds,
            "firstSeconds": _FIRST_SECONDS,
        },
    }


def server() -> dict[str, Any]:
    """How Triton is started: by the command of the runtime that serves."""
    runtime = RUNTIMES["triton"]
    tokenizer = f"--tokenizer={CACHE}/releases/{_NAME}/tokenizer"
    return {
        "command": [*runtime.command, *runtime.args, tokenizer],
        "environment": {**runtime.environment, "HOME": WORK},
        "control": f"http://127.0.0.1:{TRITON_CONTROL_PORTS[0]}",
        "frontend": f"http://127.0.0.1:{runtime.port}",
    }


def question(smoke: SmokeSettings, objective: ObjectiveSettings) -> Mapping[str, Any]:
    """What is asked through the OpenAI API."""
    return {"prompt": smoke.prompt, "expected": smoke.expected, "p99Seconds": objective.p99_seconds}
