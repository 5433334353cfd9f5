"""Quotas: how far a stack may grow."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from components.capacity import ec2, gce
from components.capacity.clouds import MACHINES, gpu_models
from components.capacity.quotas import VcpuFamily
from components.settings.base import Section
from components.settings.nodes import offer

_STORE_CLASS = re.compile(r"(db|cache)\.[a-z0-9*]+\.[a-z0-9*]+|db-[a-z0-9*-]+")
_REGIONS = (*ec2.REGIONS, *gce.REGIONS)

Limit = Annotated[int, Field(ge=0)]


class VcpuQuotas(Section):
    """vCPUs of running EC2 instances, by the account's quotas (Service Quotas, code in brackets).

    Attributes:
        on_demand_standard: On demand, families A, C, D, H, I, M, R, T, Z (L-1216C47A).
        on_demand_g: On demand, families G and VT (L-DB2E81BA); 0 in a new account.
        spot_standard: Spot, families A, C, D, H, I, M, R, T, Z (L-34B43A08).
        spot_g: Spot, families G and VT (L-3819A6DF); 0 in a new account.
    """

    on_demand_standard: Limit = 0
    on_demand_g: Limit = 0
    spot_standard: Limit = 0
    spot_g: Limit = 0

    def of(self, family: VcpuFamily) -> int:
        """The limit of one quota."""
        limits: dict[VcpuFamily, int] = {
            "onDemandStandard": self.on_demand_standard,
            "onDemandG": self.on_demand_g,
            "spotStandard": self.spot_standard,
            "spotG": self.spot_g,
        }
        return limits[family]


class QuotaSettings(Section):
    """How far the stack may grow, all groups at their maximum together; the policy pack holds the whole stack to it.

    What is not declared is 0: nothing of it may be there. The share of each team is in ``teams``.

    Attributes:
        gpus: GPUs by model, such as ``{a10g: 8}``.
        vcpu: vCPUs by the account's quotas.
        nodes: Nodes of all groups.
        instance_types: Types that may be used, ``*`` for any size: ``m6i.*``, ``db.m7g.*``, ``cache.t4g.small``.
        regions: Regions in which anything may be created.
        storage_gib: Block storage in GiB: root volumes of all nodes, the database fully grown, and volume claims.
        load_balancers: Load balancers, those that Kubernetes services ask for among them.
        elastic_ips: Public addresses; NAT gateways hold one each.
        clusters: Kubernetes clusters.
        idle_monthly_usd: What the stack may cost a month when nothing runs on it, every group at its minimum.
        max_monthly_usd: What it may cost a month with every group at its maximum. What is expected between the two is
            held against ``budget.monthlyUsd``.
    """

    gpus: dict[str, Limit] = Field(default_factory=dict[str, int])
    vcpu: VcpuQuotas = VcpuQuotas()
    nodes: Limit = 0
    instance_types: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    storage_gib: Limit = 0
    load_balancers: Limit = 0
    elastic_ips: Limit = 0
    clusters: Limit = 0
    idle_monthly_usd: Limit = 0
    max_monthly_usd: Limit = 0

    @field_validator("gpus")
    @classmethod
    def _models_are_known(cls, value: dict[str, int], info: ValidationInfo) -> dict[str, int]:
        here = offer(info)
        # Of a cloud, another one's are nothing to refuse: there are just none of them.
        known = here.gpu_models if here.cloud == "onprem" else gpu_models()
        if unknown := sorted(set(value) - known):
            raise ValueError(
                f"must name models of {', '.join(sorted(known)) or 'onprem.machines'}; got {', '.join(unknown)}"
            )
        return value

    @field_validator("regions")
    @classmethod
    def _regions_are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [region for region in value if region not in _REGIONS]:
            raise ValueError(f"must be of {', '.join(_REGIONS)}; got {', '.join(unknown)}")
        return value

    @field_validator("instance_types")
    @classmethod
    def _patterns_name_types(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [
            pattern
            for pattern in value
            if not _STORE_CLASS.fullmatch(pattern) and not any(fnmatchcase(kind, pattern) for kind in MACHINES)
        ]
        if wrong:
            raise ValueError(
                "must name types of components/capacity, or classes of the database and the cache such as "
                f"db.m7g.*; got {', '.join(wrong)}"
            )
        return value

    def allows(self, instance_type: str) -> bool:
        """Whether a type is on the list."""
        return any(fnmatchcase(instance_type, pattern) for pattern in self.instance_types)
