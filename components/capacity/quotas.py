"""What node groups take of a cloud account's compute quotas when they stand at their maximum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from components.capacity.clouds import MACHINES
from components.capacity.ec2 import CATALOGUE

VcpuFamily = Literal["onDemandStandard", "onDemandG", "spotStandard", "spotG"]
"""EC2's quotas on running instances, which count vCPUs by purchase option and kind of instance."""

# EC2 user guide, "Amazon EC2 instance type quotas", November 2026.
QUOTA_CODES: Final[dict[VcpuFamily, str]] = {
    "onDemandStandard": "L-1216C47A",
    "onDemandG": "L-DB2E81BA",
    "spotStandard": "L-34B43A08",
    "spotG": "L-3819A6DF",
}

# The same page: families whose name begins with one of these count as "Standard"; G and VT have a quota of their own.
_STANDARD: Final = ("a", "c", "d", "h", "i", "m", "r", "t", "z")


@dataclass(frozen=True, kw_only=True)
class NodeRange:
    """A group of nodes as a quota sees it: what it may grow to. Everything here is plain.

    Attributes:
        name: For messages.
        instance_types: Types that it may start; any mix of them.
        max_size: Nodes at most.
        spot: Bought as spot.
    """

    name: str
    instance_types: tuple[str, ...]
    max_size: int
    spot: bool = False

    @property
    def max_vcpu(self) -> int:
        """Virtual CPUs when all nodes are of the largest type."""
        return self.max_size * max((MACHINES[kind].vcpu for kind in self.instance_types), default=0)

    @property
    def max_gpus(self) -> int:
        """GPUs when all nodes are of the type with the most."""
        return self.max_size * max((MACHINES[kind].gpus for kind in self.instance_types), default=0)


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What groups take together.

    Attributes:
        gpus: GPUs by model.
        vcpu: vCPUs by EC2 quota.
        nodes: Nodes.
    """

    gpus: Mapping[str, int]
    vcpu: Mapping[VcpuFamily, int]
    nodes: int


def vcpu_family(instance_type: str, spot: bool) -> VcpuFamily:
    """The quota that an instance of this type counts against.

    Raises:
        ValueError: It counts against another one, which no setting limits.
    """
    family = instance_type.partition(".")[0]
    if family.startswith(("g", "vt")):
        return "spotG" if spot else "onDemandG"
    if family.startswith(_STANDARD) and not family.startswith(("inf", "trn", "dl", "hpc")):
        return "spotStandard" if spot else "onDemandStandard"
    raise ValueError(f"{instance_type} counts against a quota that is not declared")


def needs_of(groups: Iterable[NodeRange]) -> Needs:
    """What ``groups`` take when each stands at its maximum; every type must be in the catalogue."""
    gpus: Counter[str] = Counter()
    vcpu: Counter[VcpuFamily] = Counter()
    nodes = 0
    for group in groups:
        nodes += group.max_size
        counted = [kind for kind in group.instance_types if kind in CATALOGUE]  # the quotas are EC2's
        families: set[VcpuFamily] = {vcpu_family(kind, group.spot) for kind in counted}
        for family in families:
            vcpu[family] += group.max_vcpu
        for model in {MACHINES[kind].gpu_model for kind in group.instance_types} - {""}:
            gpus[model] += group.max_gpus
    return Needs(gpus=dict(gpus), vcpu=dict(vcpu), nodes=nodes)
