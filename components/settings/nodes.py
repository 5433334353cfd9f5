"""Node groups: the rows of the architecture's node table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationInfo, field_validator

from components.capacity.clouds import CATALOGUES, Cloud, Machine
from components.settings.base import Name, Section

PlatformRole = Literal["platform-admin", "ml-engineer", "viewer"]
"""Who people are to the platform."""

NodeRole = Literal["system", "cpu", "gpu-training", "gpu-inference"]

GPU_ROLES: Final = ("gpu-training", "gpu-inference")


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What the sections are judged against, handed over as pydantic's validation context.

    Attributes:
        cloud: Where the stack stands.
        machines: Types that its nodes may have.
    """

    cloud: Cloud = "aws"
    machines: Mapping[str, Machine]

    @property
    def gpu_models(self) -> frozenset[str]:
        """Models of GPUs among them."""
        return frozenset(machine.gpu_model for machine in self.machines.values()) - {""}


_OF_AWS: Final = Offer(machines=CATALOGUES["aws"].machines)


def offer(info: ValidationInfo) -> Offer:
    """What a section is judged against; by itself, without a stack, it is one of AWS."""
    return info.context if isinstance(info.context, Offer) else _OF_AWS


class NodeGroupSettings(Section):
    """One autoscaled group of nodes.

    Attributes:
        name: Unique in the cluster; at most 38 characters, or EKS's 63 do not hold it with what is added.
        role: Row of the architecture's node table; GPU roles get the NVIDIA image, a taint and GPU labels.
        capacity: Purchase option; ``spot`` nodes may leave with two minutes' notice.
        instance_types: Types, the smallest first: the autoscaler reckons with the first and may start any of them. On
            Google Cloud one: a node pool has one.
        min_size: Nodes kept when idle.
        max_size: Nodes at most; counts in full against quotas and the budget. Use ``pulumi up --refresh`` to change it,
            or the group goes back to the size that Pulumi last saw.
        desired_size: Nodes to have after the next update. Unset, the size is the autoscaler's. Set it for one update
            together with a minSize above the nodes that run now, which EKS refuses otherwise; then leave it out again.
        root_volume_gib: Root volume of each node in GiB; without instance store it also holds images and pod data.
        zones: Only these of the network's zones; empty for all. GPU types are not in every zone. Another list of types,
            zones or another purchase option replaces the group, within minutes and with both against the quota. To move
            a busy group gently, add another beside it, and remove it when it is empty.
    """

    name: Annotated[Name, Field(max_length=38)]
    role: NodeRole
    capacity: Literal["on-demand", "spot"] = "on-demand"
    instance_types: Annotated[tuple[str, ...], Field(min_length=1, max_length=15)]
    min_size: Annotated[int, Field(ge=0, le=450)] = 0
    max_size: Annotated[int, Field(ge=1, le=450)]
    desired_size: int | None = None
    root_volume_gib: Annotated[int, Field(ge=30, le=16384)] = 100
    zones: tuple[str, ...] = ()

    @field_validator("capacity")
    @classmethod
    def _system_nodes_stay(cls, value: str, info: ValidationInfo) -> str:
        if value == "spot" and info.data.get("role") == "system":
            raise ValueError("must be on-demand for role system: DNS and the controllers run there; got spot")
        return value

    @field_validator("instance_types")
    @classmethod
    def _types_are_known(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        here = offer(info)
        if unknown := [kind for kind in value if kind not in here.machines]:
            known = ", ".join(sorted({kind.family for kind in here.machines.values()}))
            source = CATALOGUES[here.cloud].source
            raise ValueError(f"must be sizes of {known} ({source}); got {', '.join(unknown)}")
        if len(set(value)) < len(value):
            raise ValueError("must name each type once")
        return value

    @field_validator("instance_types")
    @classmethod
    def _types_suit_the_role(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        kinds = [offer(info).machines[kind] for kind in value]
        if (role := info.data.get("role")) is None:
            return value
        wrong = [kind.name for kind in kinds if bool(kind.gpus) != (role in GPU_ROLES)]
        if wrong:
            gpu = "with a GPU" if role in GPU_ROLES else "without a GPU"
            raise ValueError(f"must be types {gpu} for role {role}; got {', '.join(wrong)}")
        if len({(kind.gpu_model, kind.gpus) for kind in kinds}) > 1:
            mixed = ", ".join(f"{kind.name} ({kind.gpus} {kind.gpu_model})" for kind in kinds)
            raise ValueError(f"must all have the same GPUs, or the autoscaler reckons wrong; got {mixed}")
        return value

    @field_validator("instance_types")
    @classmethod
    def _smallest_comes_first(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        kinds = [offer(info).machines[kind] for kind in value]
        smallest = min(kinds, key=lambda kind: (kind.vcpu, kind.memory_mib))
        if (smallest.vcpu, smallest.memory_mib) < (kinds[0].vcpu, kinds[0].memory_mib):
            raise ValueError(
                f"must start with the smallest, {smallest.name}: the autoscaler reckons with the first; got {value[0]}"
            )
        return value

    @field_validator("instance_types")
    @classmethod
    def _spot_has_a_choice(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if offer(info).cloud == "aws" and info.data.get("capacity") == "spot" and len(value) < 2:
            raise ValueError(
                f"must name several types for spot, or one shortage stops the group; got {', '.join(value)}"
            )
        return value

    @field_validator("instance_types")
    @classmethod
    def _a_node_pool_has_one_type(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if offer(info).cloud == "gcp" and len(value) > 1:
            raise ValueError(f"must name one type: a node pool of GKE has one; got {', '.join(value)}")
        return value

    @field_validator("max_size")
    @classmethod
    def _range_is_ordered(cls, value: int, info: ValidationInfo) -> int:
        if value < (least := info.data.get("min_size", 0)):
            raise ValueError(f"must be at least minSize {least}; got {value}")
        return value

    @field_validator("desired_size")
    @classmethod
    def _desire_is_in_the_range(cls, value: int | None, info: ValidationInfo) -> int | None:
        least, most = info.data.get("min_size", 0), info.data.get("max_size", 450)
        if value is not None and not least <= value <= most:
            raise ValueError(f"must be from minSize {least} to maxSize {most}; got {value}")
        return value


def table() -> tuple[NodeGroupSettings, ...]:
    """The architecture's four roles, small, with GPU sizes that its capacity table fits (docs/decisions/0001)."""
    rows = (
        {"name": "system", "role": "system", "instanceTypes": ["m6i.xlarge"], "minSize": 2, "maxSize": 6},
        {"name": "cpu", "role": "cpu", "instanceTypes": ["m6i.2xlarge"], "maxSize": 10},
        {
            "name": "gpu-training",
            "role": "gpu-training",
            "capacity": "spot",
            "instanceTypes": ["g5.4xlarge", "g5.8xlarge"],
            "maxSize": 8,
        },
        {"name": "gpu-inference", "role": "gpu-inference", "instanceTypes": ["g5.2xlarge"], "maxSize": 4},
    )
    return tuple(NodeGroupSettings.model_validate(row) for row in rows)
