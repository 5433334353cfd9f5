"""GPUs as vLLM finds them: memory as the driver reports it, bandwidth, arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU of a node.

    Attributes:
        name: Lower-case model, as nodes are labelled.
        memory_gib: What CUDA reports as total memory; less than the marketing size. The lowest of several reports.
        bandwidth_gbs: Memory bandwidth in GB/s (data sheet).
        tflops: Dense 16-bit tensor arithmetic in TFLOPS (data sheet).
        capability: CUDA compute capability.
        nvlink: GPUs of a node are joined by NVLink; else by PCIe.
        source: Data sheet.
    """

    name: str
    memory_gib: float
    bandwidth_gbs: float
    tflops: float
    capability: tuple[int, int]
    nvlink: bool
    source: str

    @property
    def bfloat16(self) -> bool:
        """Whether it computes in bfloat16."""
        return self.capability >= (8, 0)


GPUS: Final[dict[str, Gpu]] = {
    gpu.name: gpu
    for gpu in (
        Gpu(
            name="t4",
            memory_gib=14.56,
            bandwidth_gbs=320,
            tflops=65,
            capability=(7, 5),
            nvlink=False,
            source="https://www.nvidia.com/en-us/data-center/tesla-t4/",
        ),
        Gpu(
            name="a10g",
            memory_gib=22.06,
            bandwidth_gbs=600,
            tflops=70,
            capability=(8, 6),
            nvlink=False,
            source="https://d1.awsstatic.com/product-marketing/ec2/NVIDIA_AWS_A10G_DataSheet_FINAL_02_17_2022.pdf",
        ),
        Gpu(
            name="l4",
            memory_gib=22.03,
            bandwidth_gbs=300,
            tflops=121,
            capability=(8, 9),
            nvlink=False,
            source="https://www.nvidia.com/en-us/data-center/l4/",
        ),
        Gpu(
            name="l40s",
            memory_gib=44.39,
            bandwidth_gbs=864,
            tflops=362,
            capability=(8, 9),
            nvlink=False,
            source="https://www.nvidia.com/en-us/data-center/l40s/",
        ),
        Gpu(
            name="a100-40gb",
            memory_gib=39.38,
            bandwidth_gbs=1555,
            tflops=312,
            capability=(8, 0),
            nvlink=True,
            source="https://www.nvidia.com/en-us/data-center/a100/",
        ),
        Gpu(
            name="a100-80gb",
            memory_gib=79.14,
            bandwidth_gbs=2039,
            tflops=312,
            capability=(8, 0),
            nvlink=True,
            source="https://www.nvidia.com/en-us/data-center/a100/",
        ),
        Gpu(
            name="h100",
            memory_gib=79.18,
            bandwidth_gbs=3350,
            tflops=989,
            capability=(9, 0),
            nvlink=True,
            source="https://www.nvidia.com/en-us/data-center/h100/",
        ),
        Gpu(
            name="h200",
            memory_gib=139.8,
            bandwidth_gbs=4800,
            tflops=989,
            capability=(9, 0),
            nvlink=True,
            source="https://www.nvidia.com/en-us/data-center/h200/",
        ),
    )
}
