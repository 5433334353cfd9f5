"""EC2 instance types that node groups may use, and what the kubelet of an EKS node leaves of them.

Only x86-64: the GPU images that we serve and train with are built for it, and a cluster that mixes architectures needs
every other image in both. Sources of the numbers: EC2 ``DescribeInstanceTypes`` and ``DescribeInstanceTypeOfferings``
as mirrored in moto 5.2.5 (October 2026) and in Karpenter 1.14 (August 2026), which agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Final

from components.capacity import NodeShape


@dataclass(frozen=True, kw_only=True)
class InstanceType:
    """Nominal figures of an instance type.

    Attributes:
        vcpu: Virtual CPUs.
        memory_mib: Memory on the price list.
        enis: Network interfaces on its first network card.
        addresses_per_eni: IPv4 addresses of each.
        gpus: Number of GPUs.
        gpu_model: Lower-case model.
        gpu_memory_mib: Memory of each GPU as EC2 reports it.
        instance_store_gb: Local NVMe in GB (10^9 bytes), all disks together.
    """

    name: str
    vcpu: int
    memory_mib: int
    enis: int
    addresses_per_eni: int
    gpus: int = 0
    gpu_model: str = ""
    gpu_memory_mib: int = 0
    instance_store_gb: int = 0

    @property
    def family(self) -> str:
        """Such as ``g5``."""
        return self.name.partition(".")[0]


def _general(family: str) -> list[InstanceType]:
    """m6i and m7i, four GiB a vCPU; sizes of both families up to 16xlarge are the same."""
    rows = (
        ("large", 2, 3, 10),
        ("xlarge", 4, 4, 15),
        ("2xlarge", 8, 4, 15),
        ("4xlarge", 16, 8, 30),
        ("8xlarge", 32, 8, 30),
        ("12xlarge", 48, 8, 30),
        ("16xlarge", 64, 15, 50),
    )
    return [
        InstanceType(name=f"{family}.{size}", vcpu=vcpu, memory_mib=vcpu * 4096, enis=enis, addresses_per_eni=addresses)
        for size, vcpu, enis, addresses in rows
    ]


_GpuRow = tuple[str, int, int, int, int, int]


def _gpu(
    family: str, model: str, gpu_memory_mib: int, gib_per_vcpu: int, rows: tuple[_GpuRow, ...]
) -> list[InstanceType]:
    """One family of GPU instances; a row is size, vCPU, GPUs, instance store in GB, interfaces, addresses of each."""
    return [
        InstanceType(
            name=f"{family}.{size}",
            vcpu=vcpu,
            memory_mib=vcpu * gib_per_vcpu * 1024,
            enis=enis,
            addresses_per_eni=addresses,
            gpus=gpus,
            gpu_model=model,
            gpu_memory_mib=gpu_memory_mib,
            instance_store_gb=store,
        )
        for size, vcpu, gpus, store, enis, addresses in rows
    ]


_G5 = (
    ("xlarge", 4, 1, 250, 4, 15),
    ("2xlarge", 8, 1, 450, 4, 15),
    ("4xlarge", 16, 1, 600, 8, 30),
    ("8xlarge", 32, 1, 900, 8, 30),
    ("12xlarge", 48, 4, 3800, 15, 50),
    ("16xlarge", 64, 1, 1900, 8, 30),
    ("24xlarge", 96, 4, 3800, 15, 50),
    ("48xlarge", 192, 8, 7600, 7, 50),
)
_G6 = (
    ("xlarge", 4, 1, 250, 4, 15),
    ("2xlarge", 8, 1, 450, 4, 15),
    ("4xlarge", 16, 1, 600, 8, 30),
    ("8xlarge", 32, 1, 900, 8, 30),
    ("12xlarge", 48, 4, 3760, 8, 30),
    ("16xlarge", 64, 1, 1880, 15, 50),
    ("24xlarge", 96, 4, 3760, 15, 50),
    ("48xlarge", 192, 8, 7520, 15, 50),
)
_G6E = (
    ("xlarge", 4, 1, 250, 4, 15),
    ("2xlarge", 8, 1, 450, 4, 15),
    ("4xlarge", 16, 1, 600, 8, 30),
    ("8xlarge", 32, 1, 900, 8, 30),
    ("12xlarge", 48, 4, 3800, 10, 30),
    ("16xlarge", 64, 1, 1900, 15, 50),
    ("24xlarge", 96, 4, 3800, 20, 50),
    ("48xlarge", 192, 8, 7600, 40, 50),
)

CATALOGUE: Final[dict[str, InstanceType]] = {
    kind.name: kind
    for kind in (
        *_general("m6i"),
        *_general("m7i"),
        *_gpu("g5", "a10g", 22888, 4, _G5),
        *_gpu("g6", "l4", 22888, 4, _G6),
        *_gpu("g6e", "l40s", 45776, 8, _G6E),
    )
}

# Share of the nominal memory that the guest does not see (hypervisor, firmware, kernel): Karpenter's default
# VM_MEMORY_OVERHEAD_PERCENT, which is on the safe side for every type in the catalogue.
_UNSEEN_MEMORY: Final = 0.075
# nodeadm's kubelet defaults (awslabs/amazon-eks-ami, nodeadm/internal/kubelet/config.go, July 2026): hard eviction at
# memory.available 100Mi and nodefs.available 10 %; 1 GiB of disk reserved.
_EVICTION_MIB: Final = 100
_EVICTION_DISK: Final = 0.10
_RESERVED_DISK_GIB: Final = 1


# Pods a node. With prefix delegation every type in the catalogue has addresses for more; 110 is what the VPC CNI's
# authors advise below 30 vCPU, and GPU nodes above that run few pods.
MAX_PODS: Final = 110


def pod_addresses(kind: InstanceType) -> int:
    """VPC addresses that a full node holds: a /28 for each 16 pods, one prefix warm, one address for each interface."""
    prefixes = math.ceil(MAX_PODS / 16) + 1
    return 16 * prefixes + math.ceil(prefixes / (kind.addresses_per_eni - 1))


def _reserved_millicores(vcpu: int) -> int:
    """Tiers of nodeadm: 6 % of the first core, 1 % of the second, 0.5 % of the next two, 0.25 % of the rest."""
    total = vcpu * 1000
    tiers = ((0, 1000, 600), (1000, 2000, 100), (2000, 4000, 50), (4000, max(total, 4000), 25))
    return sum(max(0, min(total, end) - start) * share // 10000 for start, end, share in tiers)


@cache
def shape_of(instance_type: str, root_volume_gib: int) -> NodeShape:
    """What the scheduler may give to pods on a node of this type.

    The instance store, where there is one, carries the kubelet's and containerd's directories (``RAID0`` of nodeadm),
    so that it and not the root volume is the node's ephemeral storage.
    """
    kind = CATALOGUE[instance_type]
    seen_mib = kind.memory_mib - math.ceil(kind.memory_mib * _UNSEEN_MEMORY)
    disk_gib = kind.instance_store_gb * 10**9 / 2**30 if kind.instance_store_gb else root_volume_gib
    return NodeShape(
        instance_type=kind.name,
        architecture="amd64",
        cpu_millicores=kind.vcpu * 1000 - _reserved_millicores(kind.vcpu),
        memory_mib=seen_mib - (255 + 11 * MAX_PODS) - _EVICTION_MIB,  # 255 MiB and 11 MiB a pod are nodeadm's reserve
        ephemeral_storage_gib=math.floor(disk_gib * (1 - _EVICTION_DISK)) - _RESERVED_DISK_GIB,
        gpus=kind.gpus,
        gpu_model=kind.gpu_model,
        gpu_memory_mib=kind.gpu_memory_mib,
        max_pods=MAX_PODS,
    )


@dataclass(frozen=True, kw_only=True)
class Region:
    """What a region offers.

    Attributes:
        zones: Letters of its availability zones; which letter stands for which building differs by account.
        gpu_families: GPU families of the catalogue that are offered in at least one zone.
        general_families: The same for families without a GPU.
    """

    zones: str
    gpu_families: frozenset[str]
    general_families: frozenset[str] = frozenset({"m6i", "m7i"})

    @property
    def families(self) -> frozenset[str]:
        """All families of the catalogue in this region."""
        return self.gpu_families | self.general_families


def _region(zones: str, gpu: str, general: str = "m6i m7i") -> Region:
    return Region(zones=zones, gpu_families=frozenset(gpu.split()), general_families=frozenset(general.split()))


# us-east-1e is left out: EKS puts no control plane there (EKS user guide, "network requirements").
REGIONS: Final[dict[str, Region]] = {
    "af-south-1": _region("abc", ""),
    "ap-east-1": _region("abc", "g5"),
    "ap-northeast-1": _region("acd", "g5 g6 g6e"),
    "ap-northeast-2": _region("abcd", "g5 g6 g6e"),
    "ap-northeast-3": _region("abc", "g6e"),
    "ap-south-1": _region("abc", "g5 g6 g6e"),
    "ap-south-2": _region("abc", "g6 g6e"),
    "ap-southeast-1": _region("abc", ""),
    "ap-southeast-2": _region("abc", "g5 g6"),
    "ap-southeast-3": _region("abc", "g5"),
    "ap-southeast-4": _region("abc", "", "m7i"),
    "ap-southeast-5": _region("abc", "g6"),
    "ca-central-1": _region("abd", "g5 g6"),
    "ca-west-1": _region("abc", "", "m6i"),
    "eu-central-1": _region("abc", "g5 g6 g6e"),
    "eu-central-2": _region("abc", "g6"),
    "eu-north-1": _region("abc", "g5 g6 g6e"),
    "eu-south-1": _region("abc", ""),
    "eu-south-2": _region("abc", "g5 g6 g6e", "m7i"),
    "eu-west-1": _region("abc", "g5"),
    "eu-west-2": _region("abc", "g5 g6"),
    "eu-west-3": _region("abc", "g5 g6"),
    "il-central-1": _region("abc", "g5"),
    "me-central-1": _region("abc", "g5 g6 g6e"),
    "me-south-1": _region("abc", "", "m6i"),
    "sa-east-1": _region("abc", "g5 g6"),
    "us-east-1": _region("abcdf", "g5 g6 g6e"),
    "us-east-2": _region("abc", "g5 g6 g6e"),
    "us-west-1": _region("ab", ""),
    "us-west-2": _region("abcd", "g5 g6 g6e"),
}


def zones_of(region: str) -> list[str]:
    """Names of the availability zones of a region."""
    return [f"{region}{letter}" for letter in REGIONS[region].zones]
