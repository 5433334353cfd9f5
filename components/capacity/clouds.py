"""The catalogues of all clouds under one roof, for what does not care which cloud it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from components.capacity import NodeShape, ec2, gce

Cloud = Literal["aws", "gcp", "onprem"]


class Machine(Protocol):
    """What every catalogue says of a type."""

    @property
    def name(self) -> str:
        """Name at the cloud; no two clouds share one."""
        ...

    @property
    def family(self) -> str:
        """What comes before the size."""
        ...

    @property
    def vcpu(self) -> int:
        """Virtual CPUs."""
        ...

    @property
    def memory_mib(self) -> int:
        """Memory on the price list."""
        ...

    @property
    def gpus(self) -> int:
        """Number of GPUs."""
        ...

    @property
    def gpu_model(self) -> str:
        """Lower-case model; empty without a GPU."""
        ...


@dataclass(frozen=True, kw_only=True)
class Server:
    """A kind of server of one's own; the attributes are those of :class:`Machine`."""

    name: str
    vcpu: int
    memory_mib: int
    gpus: int = 0
    gpu_model: str = ""

    @property
    def family(self) -> str:
        """There are no sizes."""
        return self.name


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """The types of one cloud.

    Attributes:
        source: Module where a type is added.
        price_prefix: What stands before a type in the price table.
        machines: Types by name.
    """

    source: str
    price_prefix: str
    machines: Mapping[str, Machine]


CATALOGUES: Final[Mapping[Cloud, Catalogue]] = {
    "aws": Catalogue(source="components/capacity/ec2.py", price_prefix="ec2", machines=ec2.CATALOGUE),
    "gcp": Catalogue(source="components/capacity/gce.py", price_prefix="gce", machines=gce.CATALOGUE),
    "onprem": Catalogue(source="onprem.machines", price_prefix="onprem", machines={}),  # the stack brings its own
}

MACHINES: Final[Mapping[str, Machine]] = {
    name: machine for catalogue in CATALOGUES.values() for name, machine in catalogue.machines.items()
}
"""Every type of every cloud."""


def shape_of(instance_type: str, disk_gib: int) -> NodeShape:
    """What one node of a type offers to pods, whichever cloud the type is of."""
    return (gce if instance_type in gce.CATALOGUE else ec2).shape_of(instance_type, disk_gib)


def zones_of(cloud: Cloud, region: str) -> list[str]:
    """Zones of a region; an existing cluster has none that we know."""
    match cloud:
        case "aws":
            return ec2.zones_of(region)
        case "gcp":
            return gce.zones_of(region)
        case "onprem":
            return []


def families_of(cloud: Cloud, region: str) -> frozenset[str]:
    """Families of the catalogue that a region offers."""
    match cloud:
        case "aws":
            return ec2.REGIONS[region].families
        case "gcp":
            return gce.REGIONS[region].families
        case "onprem":
            return frozenset()


def gpu_models() -> frozenset[str]:
    """Models of every catalogue."""
    return frozenset(machine.gpu_model for machine in MACHINES.values()) - {""}
