"""What cannot work of datasets, found when the settings are read. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from components.capacity import Request, fits, for_workloads
from components.settings.datasets import DatasetSettings, repeated_names

if TYPE_CHECKING:
    from components.settings.root import Settings  # its rules import this module

Finding = tuple[str, str]
"""Path, and what is wrong with what to do."""


def problems(settings: Settings, datasets: Sequence[DatasetSettings]) -> Iterator[Finding]:
    """Paths and messages: everything that cannot work of the stack's datasets."""
    if not datasets:
        return
    platform = settings.platform
    if not platform.ray.enabled:
        yield "datasets", "need platform.ray.enabled, which runs their jobs"
    if "preprocess" not in settings.registry.repositories:
        yield "registry.repositories", "must hold preprocess, whose image the jobs of datasets run in"
    for index, message in repeated_names(datasets):
        yield f"datasets[{index}].name", message
    for index, one in enumerate(datasets):
        if one.schedule and not platform.workflows.enabled:
            yield f"datasets[{index}].schedule", "needs platform.workflows.enabled, which keeps it"
        reachable = platform.isolation.internet or settings.air_gap.enabled  # where a mirror takes the hub's place
        if one.tokenizer.from_hub and not reachable:
            yield (
                f"datasets[{index}].tokenizer.source",
                "the hub needs platform.isolation.internet; copy the tokenizer's files into the bucket models, and "
                f"name models/<folder>; got {one.tokenizer.source}",
            )
        yield from _fitting(settings, f"datasets[{index}].workers", one)


def _fitting(settings: Settings, path: str, one: DatasetSettings) -> Iterator[Finding]:
    """One worker must fit on a node; all of them come within the namespace's quota, or wait for it."""
    wanted = Request(
        cpu_millicores=one.workers.vcpu * 1000,
        memory_mib=one.workers.memory_gib * 1024,
        ephemeral_storage_gib=one.workers.disk_gib,
    )
    shapes = [shape for group in settings.node_groups if group.role == "cpu" for shape in settings.shapes(group)]
    if not any(fits(wanted, shape) for shape in shapes):
        most = max(shapes, key=lambda shape: shape.memory_mib, default=None)
        room = "there is no group of role cpu"
        if most:
            free = for_workloads(most)
            room = (
                f"{most.instance_type} leaves {free.cpu_millicores / 1000:g} vCPU, {free.memory_mib // 1024} GiB of "
                f"memory and {free.ephemeral_storage_gib} GiB of disk"
            )
        yield path, f"one worker must fit on a node: {room}; lower vcpu, memoryGib or diskGib, or add a larger group"
