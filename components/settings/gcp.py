"""The Google Cloud project: where, which, and what only Google Cloud asks."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from components.capacity.gce import NODE_POD_PREFIX, REGIONS
from components.settings.base import Cidr, Email, Section
from components.settings.nodes import PlatformRole


def _number(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class GcpSettings(Section):
    """The Google Cloud project.

    Attributes:
        project: Id of the project; must be set where ``cloud`` is ``gcp``.
        project_number: Its number, by which Google's service agents are called; empty asks the API for it.
        region: Region of everything.
        dr_region: Second region of the buckets where ``objects.replicate`` is on; on the same continent.
        billing_account: Account that pays, such as ``012345-6789AB-CDEF01``; empty for no budget.
        dns_zone: Public managed zone of Cloud DNS with the platform's domain, by its name in this project; certificates
            from a public authority are proven there. Empty for none.
        enable_apis: Switch on the project's APIs that the stack needs; ``false`` where somebody else does.
        release_channel: Channel of GKE's upgrades. A minor version is raised by ``cluster.kubernetesVersion`` or by
            GKE, whichever is first.
        pod_cidr: Addresses of pods, outside of ``network.cidr``; each node takes a /24. A change replaces the cluster.
        security_group: Google group ``gke-security-groups@<domain>`` that holds all groups that may be named in
            Kubernetes; empty lets no group in.
        groups: Google group of everybody with a role, by role.
        team_groups: Google group of a team's members, by team.
        cache_memory_gib: Memory of the cache; Memorystore has sizes instead of node types.
        files_tier: Filestore tier: ``ZONAL`` in the first zone, ``REGIONAL`` in three; both take our key.
        files_capacity_gib: Its size in GiB, 1024 at least.
    """

    # Resource Manager, "Creating and managing projects".
    project: Annotated[str, Field(pattern=r"^([a-z][a-z0-9-]{4,28}[a-z0-9])?$")] = ""
    project_number: Annotated[str, BeforeValidator(_number), Field(pattern=r"^(\d{6,19})?$")] = ""
    region: str = "us-central1"
    dr_region: str = ""
    billing_account: Annotated[str, Field(pattern=r"^([0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6})?$")] = ""
    dns_zone: Annotated[str, Field(pattern=r"^([a-z]([a-z0-9-]{0,61}[a-z0-9])?)?$")] = ""
    enable_apis: bool = True
    release_channel: Literal["RAPID", "REGULAR", "STABLE", "EXTENDED"] = "REGULAR"
    pod_cidr: Cidr = "10.64.0.0/14"
    security_group: Annotated[str, Field(pattern=r"^(gke-security-groups@[^@\s]+)?$")] = ""
    groups: dict[PlatformRole, Email] = Field(default_factory=dict[PlatformRole, str])
    team_groups: dict[str, Email] = Field(default_factory=dict[str, str])
    cache_memory_gib: Annotated[int, Field(ge=1, le=300)] = 1
    files_tier: Literal["ZONAL", "REGIONAL"] = "ZONAL"
    files_capacity_gib: Annotated[int, Field(ge=1024, le=102400)] = 1024

    @field_validator("region", "dr_region")
    @classmethod
    def _region_is_known(cls, value: str) -> str:
        if value and value not in REGIONS:
            raise ValueError(f"must be one of {', '.join(REGIONS)}; got {value}")
        return value

    @field_validator("region")
    @classmethod
    def _region_is_set(cls, value: str) -> str:
        if not value:
            raise ValueError("must not be empty")
        return value

    @field_validator("pod_cidr")
    @classmethod
    def _pods_have_room(cls, value: str) -> str:
        network = ipaddress.IPv4Network(value)
        allowed = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
        if not any(network.subnet_of(ipaddress.IPv4Network(block)) for block in allowed):
            raise ValueError(f"must lie in {', '.join(allowed)}; got {value}")
        if not 9 <= network.prefixlen <= NODE_POD_PREFIX - 3:
            raise ValueError(
                f"must be a /9 to /{NODE_POD_PREFIX - 3}: each node takes a /{NODE_POD_PREFIX}; got {value}"
            )
        return value

    @property
    def nodes_at_most(self) -> int:
        """Nodes whose pods have addresses."""
        return 2 ** (NODE_POD_PREFIX - ipaddress.IPv4Network(self.pod_cidr).prefixlen)
