"""Compute Engine machine types that node pools may use, and what the kubelet of a GKE node leaves of them.

Sources of the numbers: Compute Engine, "General-purpose machine family" and "Accelerator-optimized machine family"
(G2); GKE, "Plan GKE Standard node sizes" (reservations). Written down from these pages' formulas, not measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Final

from components.capacity import NodeShape


@dataclass(frozen=True, kw_only=True)
class MachineType:
    """Nominal figures of a machine type.

    Attributes:
        vcpu: Virtual CPUs.
        memory_mib: Memory on the price list.
        gpus: Number of GPUs.
        gpu_model: Lower-case model.
        gpu_memory_mib: Memory of each GPU as the driver reports it.
        local_ssds: Local SSDs of 375 GiB that a node gets; GKE makes one file system of them.
        accelerator: Name of the GPU at Compute Engine, such as ``nvidia-l4``.
    """

    name: str
    vcpu: int
    memory_mib: int
    gpus: int = 0
    gpu_model: str = ""
    gpu_memory_mib: int = 0
    local_ssds: int = 0
    accelerator: str = ""

    @property
    def family(self) -> str:
        """Such as ``g2-standard``."""
        return self.name.rpartition("-")[0]


def _general(family: str, sizes: tuple[int, ...]) -> list[MachineType]:
    """Four GiB a vCPU."""
    return [MachineType(name=f"{family}-{vcpu}", vcpu=vcpu, memory_mib=vcpu * 4096) for vcpu in sizes]


# vCPU, GPUs, local SSDs. Of the memory that Google calls GB, the page gives 4 a vCPU.
_G2: Final = ((4, 1, 1), (8, 1, 1), (12, 1, 1), (16, 1, 1), (24, 2, 2), (32, 1, 1), (48, 4, 4), (96, 8, 8))


def _g2() -> list[MachineType]:
    return [
        MachineType(
            name=f"g2-standard-{vcpu}",
            vcpu=vcpu,
            memory_mib=vcpu * 4096,
            gpus=gpus,
            gpu_model="l4",
            gpu_memory_mib=22888,  # the same card as in EC2's g6
            local_ssds=ssds,
            accelerator="nvidia-l4",
        )
        for vcpu, gpus, ssds in _G2
    ]


CATALOGUE: Final[dict[str, MachineType]] = {
    kind.name: kind
    for kind in (
        *_general("e2-standard", (2, 4, 8, 16, 32)),
        *_general("n2-standard", (2, 4, 8, 16, 32, 48, 64, 80)),
        *_general("n2d-standard", (2, 4, 8, 16, 32, 48, 64, 80)),
        *_g2(),
    )
}

MAX_PODS: Final = 110
"""Pods a node: GKE's default, for which each node takes a /24 of the pods' range."""

NODE_POD_PREFIX: Final = 24
"""Prefix of a node's part of the pods' range with :data:`MAX_PODS` (GKE, "Configure maximum Pods per node")."""

# Share of the nominal memory that the guest does not see. GKE's pages name no number; 3 % is on the safe side of what
# nodes of these families show as capacity (from memory, unproven).
_UNSEEN_MEMORY: Final = 0.03
# GKE, "Plan GKE Standard node sizes": share reserved of each part of the memory, in MiB from and to.
_MEMORY_TIERS: Final = (
    (0, 4096, 0.25),
    (4096, 8192, 0.20),
    (8192, 16384, 0.10),
    (16384, 131072, 0.06),
    (131072, 10**9, 0.02),
)
_EVICTION_MIB: Final = 100
_EVICTION_DISK: Final = 0.10
_LOCAL_SSD_GIB: Final = 375
# The same page: reserved on local SSDs, by their number; more than three as three.
_LOCAL_RESERVED_GIB: Final = {1: 50, 2: 75, 3: 100}


def _reserved_millicores(vcpu: int) -> int:
    """6 % of the first core, 1 % of the second, 0.5 % of the next two, 0.25 % of the rest."""
    total = vcpu * 1000
    tiers = ((0, 1000, 600), (1000, 2000, 100), (2000, 4000, 50), (4000, max(total, 4000), 25))
    return sum(max(0, min(total, end) - start) * share // 10000 for start, end, share in tiers)


def _reserved_mib(memory_mib: int) -> int:
    return math.ceil(sum(max(0, min(memory_mib, end) - start) * share for start, end, share in _MEMORY_TIERS))


def _disk_gib(kind: MachineType, boot_disk_gib: int) -> int:
    """Disk for pods: the local SSDs where there are any, else the boot disk."""
    if kind.local_ssds:
        total = kind.local_ssds * _LOCAL_SSD_GIB
        return math.floor(total * (1 - _EVICTION_DISK)) - _LOCAL_RESERVED_GIB[min(kind.local_ssds, 3)]
    reserved = min(0.5 * boot_disk_gib, 6 + 0.35 * boot_disk_gib, 100)
    return math.floor(boot_disk_gib * (1 - _EVICTION_DISK) - reserved)


@cache
def shape_of(machine_type: str, boot_disk_gib: int) -> NodeShape:
    """What the scheduler may give to pods on a node of this type."""
    kind = CATALOGUE[machine_type]
    seen_mib = kind.memory_mib - math.ceil(kind.memory_mib * _UNSEEN_MEMORY)
    return NodeShape(
        instance_type=kind.name,
        architecture="amd64",
        cpu_millicores=kind.vcpu * 1000 - _reserved_millicores(kind.vcpu),
        memory_mib=seen_mib - _reserved_mib(kind.memory_mib) - _EVICTION_MIB,
        ephemeral_storage_gib=_disk_gib(kind, boot_disk_gib),
        gpus=kind.gpus,
        gpu_model=kind.gpu_model,
        gpu_memory_mib=kind.gpu_memory_mib,
        max_pods=MAX_PODS,
    )


@dataclass(frozen=True, kw_only=True)
class Region:
    """What a region offers.

    Attributes:
        zones: Letters of its zones.
        gpu_zones: Letters of those with L4 GPUs.
        continent: Multi-region that it belongs to: of buckets in two regions, and of the keys that encrypt them.
    """

    zones: str
    gpu_zones: str
    continent: str

    @property
    def families(self) -> frozenset[str]:
        """All families of the catalogue in this region."""
        general = {"e2-standard", "n2-standard", "n2d-standard"}
        return frozenset({*general, "g2-standard"} if self.gpu_zones else general)


def _region(zones: str, gpu_zones: str, continent: str) -> Region:
    return Region(zones=zones, gpu_zones=gpu_zones, continent=continent)


# Compute Engine, "GPU regions and zones" (L4), from memory: a zone that lost or won its L4s shows at preflight.
REGIONS: Final[dict[str, Region]] = {
    "asia-east1": _region("abc", "abc", "asia"),
    "asia-northeast1": _region("abc", "abc", "asia"),
    "asia-northeast3": _region("abc", "ab", "asia"),
    "asia-south1": _region("abc", "abc", "asia"),
    "asia-southeast1": _region("abc", "abc", "asia"),
    "europe-north1": _region("abc", "", "eu"),
    "europe-west1": _region("bcd", "bc", "eu"),
    "europe-west2": _region("abc", "ab", "eu"),
    "europe-west3": _region("abc", "ab", "eu"),
    "europe-west4": _region("abc", "abc", "eu"),
    "europe-west6": _region("abc", "bc", "eu"),
    "northamerica-northeast2": _region("abc", "ab", ""),
    "us-central1": _region("abcf", "abc", "us"),
    "us-east1": _region("bcd", "bcd", "us"),
    "us-east4": _region("abc", "ac", "us"),
    "us-west1": _region("abc", "abc", "us"),
    "us-west4": _region("abc", "ac", "us"),
}


def zones_of(region: str) -> list[str]:
    """Names of the zones of a region."""
    return [f"{region}-{letter}" for letter in REGIONS[region].zones]


def gpu_zones_of(region: str) -> list[str]:
    """Names of those with L4 GPUs."""
    return [f"{region}-{letter}" for letter in REGIONS[region].gpu_zones]
