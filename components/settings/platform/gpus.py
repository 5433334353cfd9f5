"""GPU software."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from components.settings.base import Section

GpuModel = Annotated[str, Field(pattern=r"^[a-z0-9]+$")]
"""Lower-case model such as ``a10g``, as in the label of the nodes."""


class GpuSettings(Section):
    """Software of GPU nodes.

    Attributes:
        enabled: Install it.
        metrics: Metrics of GPUs (DCGM exporter).
        mig: Partitions of one GPU as the nodes were set up for: ``single`` where all are alike and count as
            ``nvidia.com/gpu``, ``mixed`` where each size is a resource of its own. For A100, H100 and newer.
        time_slicing: How many pods share one GPU, by GPU model such as ``a10g: 2``; on inference nodes only. Memory is
            not separated, and each share counts as a whole GPU against quotas.
    """

    enabled: bool = True
    metrics: bool = True
    mig: Literal["none", "single", "mixed"] = "none"
    time_slicing: dict[GpuModel, Annotated[int, Field(ge=2, le=16)]] = Field(default_factory=dict[str, int])

    @field_validator("time_slicing")
    @classmethod
    def _a_partition_is_not_sliced(cls, value: dict[str, int], info: ValidationInfo) -> dict[str, int]:
        if value and (mig := info.data.get("mig", "none")) != "none":
            raise ValueError(f"must be empty with mig {mig}: a GPU is divided in one way")
        return value
