"""Machines of managed endpoints: what they have and what they cost. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

Service = Literal["sagemaker", "vertex"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One type of machine.

    Attributes:
        name: As the service calls it.
        service: Who rents it out.
        gpu: Lower-case model of its GPUs.
        gpus: How many.
        vcpu: Virtual CPUs.
        memory_gib: Memory.
        local_disk_gib: Disk of its own, which is encrypted by its hardware and takes no key of ours; 0 for a volume.
        usd_per_hour: Price of an hour on an endpoint, running; us-east-1 for SageMaker, us-central1 for Vertex AI.
    """

    name: str
    service: Service
    gpu: str
    gpus: int
    vcpu: int
    memory_gib: int
    local_disk_gib: int
    usd_per_hour: float

    def __str__(self) -> str:
        return f"{self.name} ({self.gpus} {self.gpu}, {self.memory_gib} GiB memory, {self.usd_per_hour:g} USD an hour)"


def _sagemaker(
    size: str, gpu: str, *, gpus: int, vcpu: int, memory_gib: int, local_disk_gib: int, usd_per_hour: float
) -> Machine:
    return Machine(
        name=f"ml.{size}",
        service="sagemaker",
        gpu=gpu,
        gpus=gpus,
        vcpu=vcpu,
        memory_gib=memory_gib,
        local_disk_gib=local_disk_gib,
        usd_per_hour=usd_per_hour,
    )


def _vertex(size: int, gpus: int) -> Machine:
    """A G2 machine. Vertex AI bills CPU, memory and GPU by themselves; the rates are those of online prediction.

    They are Google's list prices as they were last known here (0.02874, 0.00337 and 0.644 USD); no source could be
    read.
    """
    memory = 4 * size
    price = size * 0.02874 + memory * 0.00337 + gpus * 0.644
    return Machine(
        name=f"g2-standard-{size}",
        service="vertex",
        gpu="l4",
        gpus=gpus,
        vcpu=size,
        memory_gib=memory,
        local_disk_gib=0,
        usd_per_hour=round(price, 4),
    )


# Shapes and disks: EC2 instance types reference, families g5, g6 and g6e. Prices: AWS Price List API, offer
# AmazonSageMaker, hosting in us-east-1, as public copies of it gave them in August 2026; zircon.tech, "The real cost of
# running AI models on AWS", names 1.41 for ml.g5.xlarge too.
_A10G: Final = (
    _sagemaker("g5.xlarge", "a10g", gpus=1, vcpu=4, memory_gib=16, local_disk_gib=250, usd_per_hour=1.408),
    _sagemaker("g5.2xlarge", "a10g", gpus=1, vcpu=8, memory_gib=32, local_disk_gib=450, usd_per_hour=1.515),
    _sagemaker("g5.4xlarge", "a10g", gpus=1, vcpu=16, memory_gib=64, local_disk_gib=600, usd_per_hour=2.03),
    _sagemaker("g5.8xlarge", "a10g", gpus=1, vcpu=32, memory_gib=128, local_disk_gib=900, usd_per_hour=3.06),
    _sagemaker("g5.12xlarge", "a10g", gpus=4, vcpu=48, memory_gib=192, local_disk_gib=3800, usd_per_hour=7.09),
    _sagemaker("g5.24xlarge", "a10g", gpus=4, vcpu=96, memory_gib=384, local_disk_gib=3800, usd_per_hour=10.18),
    _sagemaker("g5.48xlarge", "a10g", gpus=8, vcpu=192, memory_gib=768, local_disk_gib=7600, usd_per_hour=20.36),
)
_L4: Final = (
    _sagemaker("g6.xlarge", "l4", gpus=1, vcpu=4, memory_gib=16, local_disk_gib=250, usd_per_hour=1.127),
    _sagemaker("g6.2xlarge", "l4", gpus=1, vcpu=8, memory_gib=32, local_disk_gib=450, usd_per_hour=1.222),
    _sagemaker("g6.4xlarge", "l4", gpus=1, vcpu=16, memory_gib=64, local_disk_gib=600, usd_per_hour=1.654),
    _sagemaker("g6.8xlarge", "l4", gpus=1, vcpu=32, memory_gib=128, local_disk_gib=900, usd_per_hour=2.518),
    _sagemaker("g6.12xlarge", "l4", gpus=4, vcpu=48, memory_gib=192, local_disk_gib=3760, usd_per_hour=5.752),
    _sagemaker("g6.24xlarge", "l4", gpus=4, vcpu=96, memory_gib=384, local_disk_gib=3760, usd_per_hour=8.344),
    _sagemaker("g6.48xlarge", "l4", gpus=8, vcpu=192, memory_gib=768, local_disk_gib=7520, usd_per_hour=16.688),
)
_L40S: Final = (
    _sagemaker("g6e.xlarge", "l40s", gpus=1, vcpu=4, memory_gib=32, local_disk_gib=250, usd_per_hour=2.61),
    _sagemaker("g6e.2xlarge", "l40s", gpus=1, vcpu=8, memory_gib=64, local_disk_gib=450, usd_per_hour=2.8),
    _sagemaker("g6e.12xlarge", "l40s", gpus=4, vcpu=48, memory_gib=384, local_disk_gib=3800, usd_per_hour=13.12),
    _sagemaker("g6e.48xlarge", "l40s", gpus=8, vcpu=192, memory_gib=1536, local_disk_gib=7600, usd_per_hour=37.66),
)

MACHINES: Final[tuple[Machine, ...]] = (
    *_A10G,
    *_L4,
    *_L40S,
    *(_vertex(size, gpus) for size, gpus in ((4, 1), (8, 1), (12, 1), (24, 2), (48, 4), (96, 8))),
)

HOURLY_USD: Final[Mapping[str, float]] = {one.name: one.usd_per_hour for one in MACHINES}
"""List price of an hour by machine."""

# What of the machine's memory the service's own software takes; an allowance of ours, no published figure.
_RESERVED_GIB: Final = 2

# The Triton image with TensorRT-LLM takes about as much unpacked.
_IMAGE_GIB: Final = 40


def chosen(service: Service, name: str, *, gpu: str, gpus: int, memory_gib: float, stored_gib: float) -> Machine | None:
    """The machine of that name or, where none is named, the cheapest that holds the model; None where there is none.

    Args:
        service: Who rents it out.
        name: The declared one; empty for any.
        gpu: Model of the GPUs.
        gpus: How many, at least.
        memory_gib: Memory of the server.
        stored_gib: Weights as they lie in the bucket.
    """
    if name:
        return machine(service, name)
    return next(fitting(service, gpu, gpus, memory_gib=memory_gib, disk_gib=disk_gib(stored_gib)), None)


def disk_gib(stored_gib: float) -> int:
    """Disk that an endpoint's machine needs: the image unpacked, and the weights."""
    return _IMAGE_GIB + math.ceil(stored_gib * 1.1)


def machine(service: Service, name: str) -> Machine | None:
    """The machine of that name; None for one that is not in the table."""
    return next((one for one in MACHINES if one.service == service and one.name == name), None)


def fitting(service: Service, gpu: str, gpus: int, *, memory_gib: float = 0, disk_gib: float = 0) -> Iterator[Machine]:
    """Machines with so many of those GPUs at least and room for the model, cheapest first."""
    found = (
        one
        for one in MACHINES
        if one.service == service
        and one.gpu == gpu
        and one.gpus >= gpus
        and one.memory_gib - _RESERVED_GIB >= memory_gib
        and (not one.local_disk_gib or one.local_disk_gib >= disk_gib)
    )
    yield from sorted(found, key=lambda one: one.usd_per_hour)


def gpus_of(service: Service) -> tuple[str, ...]:
    """Models of GPUs that the service has."""
    return tuple(sorted({one.gpu for one in MACHINES if one.service == service}))
