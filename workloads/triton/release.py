"""One release of a model, as the pod is told of it: what to fetch, how to run it, what it must answer. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from components.platform.runtimes import MODELS, TRITON_CACHE
from workloads.models.plan import Plan
from workloads.models.spec import ModelSpec, Version, location
from workloads.triton import pipeline as models
from workloads.triton import rules
from workloads.triton.config import pbtxt
from workloads.triton.manifest import EngineManifest
from workloads.triton.pipeline import EngineOptions, Pipeline

_CHECK_TOKENS: Final = 16
_FIRST_SECONDS: Final = 120
_WAITING_PER_PLACE: Final = 8


@dataclass(frozen=True, kw_only=True)
class Release:
    """What the pod is told.

    Attributes:
        name: Names everything that decides what is served: other files, or another way to run them, have another name.
        document: The file that the loader reads.
    """

    name: str
    document: str


def release_of(spec: ModelSpec, version: Version, plan: Plan, engine: EngineManifest | None, *, uri: str) -> Release:
    """The release of one version.

    Args:
        spec: The model.
        version: The version of it.
        plan: Its plan.
        engine: Its engine, where it is declared.
        uri: Where its files are: a URL, or a path below the mounted volume.
    """
    shared = location(version.source).scheme == "file"
    source = f"{MODELS}/{uri}".rstrip("/") if shared else f"{uri.rstrip('/')}/"
    digest = engine.digest if engine else ""
    unnamed = pipeline_of(spec, version, plan, engine)
    told = f"{digest or source} {plan.gpu_model} {unnamed}"
    name = hashlib.sha256(told.encode()).hexdigest()[:10]
    pipeline = replace(unnamed, release=name, folder=f"{TRITON_CACHE}/releases/{name}")
    parts = models.parts(pipeline)
    fronts = (models.front(pipeline, pipeline.candidate), models.front(pipeline, pipeline.name))
    document: Mapping[str, Any] = {
        "release": name,
        "source": source,
        "digest": digest,
        "gpu": plan.gpu_model,
        "shared": shared,
        "served": pipeline.name,
        "candidate": pipeline.candidate,
        "code": {config.name: role for role, config in parts.items() if config.backend == "python"},
        "configs": {config.name: pbtxt(config) for config in (*parts.values(), *fronts)},
        "check": {
            "prompt": spec.settings.smoke.prompt,
            "tokens": _CHECK_TOKENS,
            "seconds": spec.settings.objective.p99_seconds,
            "firstSeconds": _FIRST_SECONDS,
        },
    }
    return Release(name=name, document=json.dumps(document, indent=1, sort_keys=True) + "\n")


def pipeline_of(spec: ModelSpec, version: Version, plan: Plan, engine: EngineManifest | None) -> Pipeline:
    """How the engine is run; release and folder are still to be named."""
    places = engine.max_batch_size if engine else plan.sequences
    paged = engine is not None and engine.paged_context
    alone = not rules.in_place(spec.settings)
    return Pipeline(
        name=version.name,
        release="",
        folder="",
        max_batch_size=places,
        max_queue_size=_WAITING_PER_PLACE * places,
        options=EngineOptions(
            kv_cache_fraction=rules.WHOLE_FRACTION if alone else rules.SHARED_FRACTION,
            kv_cache_reuse=paged,
            chunked_context=paged,
        ),
    )
