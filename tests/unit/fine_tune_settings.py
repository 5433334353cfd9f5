"""What the tests of fine-tunes share: a fine-tune that is accepted, and nodes that it runs on."""

from __future__ import annotations

from typing import Any

from components.capacity.clouds import shape_of
from components.settings.fine_tunes import FineTuneSettings
from components.settings.nodes import table
from workloads.models.plan import Group
from workloads.training.plan import Plan, Refusal, plan

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
SHARED_MEMORY_GIB = 4
TUNE: dict[str, Any] = {
    "name": "support",
    "base": {"source": "s3://models/llama-3.1-8b", "architecture": LLAMA},
    "dataset": "support",
    "gpu": {"type": "a10g", "count": 1},
}
GROUPS = tuple(
    Group(
        name=group.name,
        shapes=tuple(shape_of(kind, group.root_volume_gib) for kind in group.instance_types),
        max_size=group.max_size,
    )
    for group in table()
    if group.role == "gpu-training"
)


def tune(**changes: Any) -> FineTuneSettings:
    """The fine-tune with some settings changed; None takes one out."""
    return FineTuneSettings.model_validate({key: one for key, one in {**TUNE, **changes}.items() if one is not None})


def tried(settings: FineTuneSettings, groups: tuple[Group, ...] = GROUPS) -> Plan | Refusal:
    """Its plan, or why there is none."""
    return plan(settings, groups, shared_memory_gib=SHARED_MEMORY_GIB)


def planned(settings: FineTuneSettings) -> Plan:
    """Its plan."""
    found = tried(settings)
    assert isinstance(found, Plan), found
    return found


def refused(settings: FineTuneSettings) -> dict[str, str]:
    """Why there is none, by path."""
    found = tried(settings)
    assert isinstance(found, Refusal), found
    return dict(found.findings)
