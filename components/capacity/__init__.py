"""What one node offers to pods, what a pod asks for, and whether the one fits on the other.

Nothing here knows a cloud: the numbers come from a catalogue such as :mod:`components.capacity.ec2`. The real
scheduler decides in the cluster; these functions say the same thing early, at preview.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Architecture = Literal["amd64", "arm64"]


@dataclass(frozen=True, kw_only=True)
class NodeShape:
    """One node of an instance type, as the scheduler sees it.

    Attributes:
        instance_type: Name at the cloud, such as ``g5.2xlarge``.
        architecture: Of the CPU, as Kubernetes labels it.
        cpu_millicores: Allocatable CPU.
        memory_mib: Allocatable memory.
        ephemeral_storage_gib: Allocatable disk for images, logs, ``emptyDir`` and the model cache.
        gpus: GPUs, each schedulable as one ``nvidia.com/gpu``.
        gpu_model: Lower-case model such as ``a10g``; empty without a GPU.
        gpu_memory_mib: Memory of each GPU.
        max_pods: Pods that the kubelet accepts.
    """

    instance_type: str
    architecture: Architecture
    cpu_millicores: int
    memory_mib: int
    ephemeral_storage_gib: int
    gpus: int
    gpu_model: str
    gpu_memory_mib: int
    max_pods: int

    def __str__(self) -> str:
        gpus = f", {self.gpus} {self.gpu_model}" if self.gpus else ""
        return (
            f"{self.instance_type} ({_vcpu(self.cpu_millicores)} vCPU, {_gib(self.memory_mib)} GiB memory, "
            f"{self.ephemeral_storage_gib} GiB disk{gpus})"
        )


@dataclass(frozen=True, kw_only=True)
class Request:
    """What pods ask for; the units are those of :class:`NodeShape`.

    Attributes:
        gpu_model: A model that the pods insist on; empty for any.
    """

    cpu_millicores: int = 0
    memory_mib: int = 0
    ephemeral_storage_gib: int = 0
    gpus: int = 0
    gpu_model: str = ""

    def __str__(self) -> str:
        disk = f", {self.ephemeral_storage_gib} GiB disk" if self.ephemeral_storage_gib else ""
        gpus = f", {self.gpus} {self.gpu_model or 'GPU'}" if self.gpus else ""
        return f"{_vcpu(self.cpu_millicores)} vCPU, {_gib(self.memory_mib)} GiB memory{disk}{gpus}"


# Requests of the pods that run on every node. An allowance, not a sum: network plugin (50m), kube-proxy (100m) and
# three CSI node plugins (about 60m, 200 MiB) come with the cluster; the rest is kept for the mesh's node proxy, the
# log collector, the node exporter and, on GPU nodes, the device plugin and the DCGM exporter.
DAEMONSETS: Final = Request(cpu_millicores=500, memory_mib=1024)


def for_workloads(shape: NodeShape) -> Request:
    """What is left of a node for workloads when the pods that run on every node have taken their part."""
    return Request(
        cpu_millicores=shape.cpu_millicores - DAEMONSETS.cpu_millicores,
        memory_mib=shape.memory_mib - DAEMONSETS.memory_mib,
        ephemeral_storage_gib=shape.ephemeral_storage_gib,
        gpus=shape.gpus,
        gpu_model=shape.gpu_model,
    )


def times(offer: Request, nodes: int) -> Request:
    """The same on several nodes together."""
    return Request(
        cpu_millicores=offer.cpu_millicores * nodes,
        memory_mib=offer.memory_mib * nodes,
        ephemeral_storage_gib=offer.ephemeral_storage_gib * nodes,
        gpus=offer.gpus * nodes,
        gpu_model=offer.gpu_model,
    )


def total(offers: Iterable[Request]) -> Request:
    """Everything together; GPUs of different models lose their model."""
    known = list(offers)
    models = {offer.gpu_model for offer in known if offer.gpus}
    return Request(
        cpu_millicores=sum(offer.cpu_millicores for offer in known),
        memory_mib=sum(offer.memory_mib for offer in known),
        ephemeral_storage_gib=sum(offer.ephemeral_storage_gib for offer in known),
        gpus=sum(offer.gpus for offer in known),
        gpu_model=models.pop() if len(models) == 1 else "",
    )


def shortfalls(request: Request, offer: Request) -> list[str]:
    """What ``offer`` lacks, in words; empty when ``request`` fits into it."""
    short: list[str] = []
    if request.cpu_millicores > offer.cpu_millicores:
        short.append(f"{_vcpu(offer.cpu_millicores)} of {_vcpu(request.cpu_millicores)} vCPU")
    if request.memory_mib > offer.memory_mib:
        short.append(f"{_gib(offer.memory_mib)} of {_gib(request.memory_mib)} GiB memory")
    if request.ephemeral_storage_gib > offer.ephemeral_storage_gib:
        short.append(f"{offer.ephemeral_storage_gib} of {request.ephemeral_storage_gib} GiB disk")
    if request.gpus > offer.gpus:
        short.append(f"{offer.gpus} of {request.gpus} GPUs")
    elif request.gpus and request.gpu_model not in ("", offer.gpu_model):
        short.append(f"{offer.gpu_model or 'mixed'} instead of {request.gpu_model} GPUs")
    return short


def fits(request: Request, shape: NodeShape) -> bool:
    """Whether a node that runs only the pods of every node can take ``request``."""
    return not shortfalls(request, for_workloads(shape))


def smallest_fitting(request: Request, catalogue: Iterable[NodeShape]) -> NodeShape | None:
    """The shape with the fewest GPUs, then CPUs, then memory, that takes ``request``; none when there is none."""
    return min(
        (shape for shape in catalogue if fits(request, shape)),
        key=lambda shape: (shape.gpus, shape.cpu_millicores, shape.memory_mib, shape.instance_type),
        default=None,
    )


def _vcpu(millicores: int) -> str:
    return f"{millicores / 1000:g}"


def _gib(mib: int) -> str:
    return f"{mib / 1024:.1f}".removesuffix(".0")
