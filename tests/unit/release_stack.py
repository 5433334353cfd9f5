"""What the tests of releases share: a fine-tune with its data, its evaluation and an engine, and its flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.aws.nodes import pool_of
from components.platform.site import Site
from components.settings.datasets import DatasetSettings
from components.settings.fine_tunes import FineTuneSettings
from components.settings.nodes import table
from components.settings.teams import TeamSettings
from tests.unit.platform_site import site
from workloads.flows.assembly import release_of
from workloads.models.plan import Group
from workloads.release.releases import Release
from workloads.training.plan import Plan, plan

POOLS = tuple(pool_of(group) for group in table())

DATASET: dict[str, Any] = {
    "name": "support",
    "sources": ["raw/support/"],
    "kind": "chat",
    "tokenizer": {"source": "hf://meta-llama/Llama-3.1-8B-Instruct", "revision": "0" * 40},
}
ENGINE: dict[str, Any] = {"gpuModel": "a10g", "maxBatchSize": 16}
EVALUATION: dict[str, Any] = {
    "judge": {"model": "judge"},
    "suites": [{"name": "rag", "kind": "ragas", "data": "s3://data/evaluation/rag.jsonl", "metrics": ["faithfulness"]}],
    "heldOut": {},
    "thresholds": {"rag.faithfulness": {"min": 0.8}},
}
FINE_TUNE: dict[str, Any] = {
    "name": "support",
    "base": {"source": f"hf://meta-llama/Llama-3.1-8B-Instruct@{'0' * 40}"},
    "dataset": "support",
    "gpu": {"type": "a10g", "count": 1},
    "evaluation": EVALUATION,
    "release": {"engine": ENGINE},
}
TEAM = TeamSettings.model_validate({"name": "research", "gpus": 8, "vcpu": 64, "memoryGib": 512})


def fine_tune(*, release: Mapping[str, Any] | None = None, **changes: Any) -> FineTuneSettings:
    """The fine-tune with some settings changed; None takes one out."""
    told = {**FINE_TUNE, **changes}
    if release is not None:
        told["release"] = dict(release)
    return FineTuneSettings.model_validate({key: value for key, value in told.items() if value is not None})


def planned(one: FineTuneSettings) -> Plan:
    """What its training asks for."""
    groups = tuple(
        Group(name=pool.name, shapes=pool.shapes, max_size=pool.max_size)
        for pool in POOLS
        if pool.role == "gpu-training"
    )
    found = plan(one, groups, shared_memory_gib=8)
    assert isinstance(found, Plan), found
    return found


def place(**settings: Any) -> Site:
    """Where releases run; call it inside the program under test."""
    return site(settings or None, pools=POOLS, teams=[TEAM])


def release(where: Site, *, settings: Mapping[str, Any] | None = None, **changes: Any) -> Release:
    """One release; call it inside the program under test."""
    one = fine_tune(release=settings, **changes)
    assert one.release is not None
    datasets = [DatasetSettings.model_validate(DATASET)]
    return release_of(one, one.release, planned(one), datasets=datasets, models=(), site=where)
