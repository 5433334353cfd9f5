"""Capacity that the platform promises: the rows of the architecture's capacity table."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from components.capacity import Request
from components.settings.base import Name, Section
from components.settings.nodes import GPU_ROLES, NodeRole


class WorkloadSettings(Section):
    """One row: a need that the node groups must be able to meet.

    A row with GPUs is one pod and must fit on one node. A row without is the sum of many pods and must fit on its
    groups together when they stand at their maximum.

    Attributes:
        name: For messages.
        role: The node groups that serve it.
        vcpu: CPU cores.
        memory_gib: Memory in GiB.
        storage_gib: Ephemeral disk in GiB.
        gpus: GPUs of the one pod; only in GPU roles.
        gpu_model: Lower-case model such as ``a10g``; empty for any.
    """

    name: Name
    role: NodeRole
    vcpu: Annotated[float, Field(gt=0)]
    memory_gib: Annotated[float, Field(gt=0)]
    storage_gib: Annotated[int, Field(ge=0)] = 0
    gpus: Annotated[int, Field(ge=0, le=8, validate_default=True)] = 0
    gpu_model: str = ""

    @field_validator("gpus")
    @classmethod
    def _gpus_suit_the_role(cls, value: int, info: ValidationInfo) -> int:
        role = info.data.get("role")
        if role in GPU_ROLES and not value:
            raise ValueError(f"must be at least 1 for role {role}; got 0")
        if role not in (*GPU_ROLES, None) and value:
            raise ValueError(f"must be 0 for role {role}; got {value}")
        return value

    @property
    def request(self) -> Request:
        """The same in scheduler's units."""
        return Request(
            cpu_millicores=round(self.vcpu * 1000),
            memory_mib=round(self.memory_gib * 1024),
            ephemeral_storage_gib=self.storage_gib,
            gpus=self.gpus,
            gpu_model=self.gpu_model,
        )


def table() -> tuple[WorkloadSettings, ...]:
    """The architecture's capacity table; its GB are read as GiB, the larger."""
    rows = (
        {"name": "platform", "role": "system", "vcpu": 16, "memoryGib": 32, "storageGib": 100},
        {"name": "data-processing", "role": "cpu", "vcpu": 32, "memoryGib": 128, "storageGib": 500},
        {
            "name": "training-7b",
            "role": "gpu-training",
            "vcpu": 8,
            "memoryGib": 32,
            "storageGib": 100,
            "gpus": 1,
            "gpuModel": "a10g",
        },
        {
            "name": "serving-7b",
            "role": "gpu-inference",
            "vcpu": 4,
            "memoryGib": 24,
            "storageGib": 50,
            "gpus": 1,
            "gpuModel": "a10g",
        },
    )
    return tuple(WorkloadSettings.model_validate(row) for row in rows)
