"""The examples, each as a section of a shipped stack: what is the same everywhere, and what a place has differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.stacks import settings_of
from workloads.models import tables

EXAMPLES: Final[Mapping[str, Path]] = {one.stem: one for one in sorted(tables.EXAMPLES.glob("*.yaml"))}

_LISTS: Final = ("hostedModels", "models", "datasets", "fineTunes", "retrievals")


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a stack has differently, as examples/README.md says it.

    Attributes:
        serving: GPUs of groups of role ``gpu-inference``, for the types that the examples name.
        training: The same of groups of role ``gpu-training``.
        federates: Whether the stack's identity is one of another cloud than Google's, which Google must trust.
        hosted: What somebody else serves there, for the models of Amazon Bedrock; the dimension is an embedding's.
        source: The source of a hosted model, for backend ``hosted``; none where no cloud hosts models.
        groups: Node groups of the stack, changed or added, by name: room for all examples together.
        quotas: What they take of the cloud's quotas.
        refused: Examples that make no sense there: the setting, and a part of what is said of it.
    """

    serving: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    training: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    federates: bool = True
    hosted: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    source: str = ""
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    quotas: Mapping[str, Any] = field(default_factory=dict[str, Any])
    refused: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])


_EMBEDDING: Final = "amazon.titan-embed-text-v2:0"
_CHAT: Final = "us.anthropic.claude-haiku-4-5-20251001-v1:0"

PLACES: Final[Mapping[str, Place]] = {
    "dev": Place(
        groups={
            "gpu-inference": {"maxSize": 8},
            "gpu-large": {"role": "gpu-inference", "instanceTypes": ["g6e.12xlarge"], "maxSize": 1},
        },
        quotas={
            "gpus": {"a10g": 20, "l40s": 4},
            "vcpu": {"onDemandStandard": 128, "onDemandG": 200, "spotG": 64},
            "instanceTypes": ["m6i.*", "g5.*", "g6e.*", "db.t4g.*", "cache.t4g.*"],
            "nodes": 60,
            "storageGib": 10000,
            "maxMonthlyUsd": 40000,
        },
    ),
    "gcp": Place(
        serving={"a10g": {"type": "l4"}, "l40s": {"type": "l4", "count": 8}},
        training={"a10g": {"type": "l4"}},
        federates=False,
        hosted={
            _CHAT: {"provider": "vertex", "model": "gemini-2.5-flash"},
            _EMBEDDING: {"provider": "vertex", "model": "text-embedding-005", "dimension": 768},
        },
        source="hosted://vertex/gemini-2.5-flash",
        groups={
            "gpu-inference": {"maxSize": 8},
            "gpu-large": {"role": "gpu-inference", "instanceTypes": ["g2-standard-96"], "maxSize": 1},
        },
        quotas={"gpus": {"l4": 24}, "nodes": 60, "storageGib": 20000, "maxMonthlyUsd": 40000},
        refused={"sagemaker": ("models[0].backend", "is for stacks on AWS")},
    ),
    "onprem": Place(
        serving={"a10g": {"type": "l40s"}},
        training={"a10g": {"type": "h100"}},
        hosted={
            _CHAT: {"provider": "openai", "url": "https://models.dc1.internal", "model": "mistral-small"},
            _EMBEDDING: {"provider": "openai", "url": "https://models.dc1.internal", "model": "bge-m3"},
        },
        groups={"inference": {"minSize": 6, "maxSize": 6}},
        quotas={"gpus": {"h100": 16, "l40s": 24}, "nodes": 20},
        refused={
            "hosted": ("models[0].source", "a server by provider openai"),
            "sagemaker": ("models[0].backend", "set vllm or triton"),
            "vertex": ("models[0].backend", "set vllm or triton"),
        },
    ),
}
"""The shipped stacks; prod's are on AWS as dev's."""


def stack_with(stack: str, examples: Sequence[str]) -> dict[str, Any]:
    """Settings of a shipped stack with the sections of some examples in it."""
    place, settings = PLACES[stack], settings_of(stack)
    settings["protect"] = str(settings.get("protect", True)).lower() == "true"
    groups = {one["name"]: one for one in settings["nodeGroups"]}
    for name, changes in place.groups.items():
        groups[name] = {"name": name, **groups.get(name, {}), **changes}
    added: dict[str, dict[str, Any]] = {kind: {} for kind in _LISTS}
    for title in examples:
        content = deepcopy(tables.settings_of(EXAMPLES[title]))
        for kind in _LISTS:
            added[kind] |= {one["name"]: here(kind, one, place) for one in content.get(kind, [])}
    for one in added["retrievals"].values():
        if one.get("embedding"):
            asked = tables.settings_of(EXAMPLES["retrieval"])["hostedModels"]
            model = next(each["model"] for each in asked if each["name"] == one["embedding"]["model"])
            one["embedding"]["dimension"] = place.hosted.get(model, {}).get("dimension", one["embedding"]["dimension"])
    return {
        **settings,
        "nodeGroups": list(groups.values()),
        "quotas": {**settings["quotas"], **place.quotas},
        **{kind: list(found.values()) for kind, found in added.items() if found},
    }


def here(kind: str, declared: dict[str, Any], place: Place) -> dict[str, Any]:
    """One declaration with what a place has differently."""
    match kind:
        case "hostedModels":
            other = {key: value for key, value in place.hosted.get(declared["model"], {}).items() if key != "dimension"}
            return {**declared, **other}
        case "models" if declared.get("backend") == "hosted":
            return {**declared, "source": place.source or declared["source"]}
        case "models" if declared.get("backend") == "vertex":
            vertex = {key: one for key, one in declared["managed"]["vertex"].items() if key != "federation"}
            return declared if place.federates else {**declared, "managed": {**declared["managed"], "vertex": vertex}}
        case "models" | "fineTunes":
            kinds = place.serving if kind == "models" else place.training
            gpu = declared.get("gpu")
            return {**declared, "gpu": {**gpu, **kinds.get(gpu["type"], {})}} if gpu else declared
        case _:
            return declared
