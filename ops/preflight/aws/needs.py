"""What a stack takes of an account's quotas when it stands at its maximum. Nothing is asked here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from components.capacity.quotas import QUOTA_CODES, NodeRange, VcpuFamily, needs_of
from components.settings import Settings
from ops.preflight.aws.resources import BUCKETS, KEY_DOMAINS, REPLICATED, copied

Counter = Literal[
    "vcpu.onDemandStandard",
    "vcpu.onDemandG",
    "vcpu.spotStandard",
    "vcpu.spotG",
    "addresses",
    "vpcs",
    "internetGateways",
    "natGateways",
    "gatewayEndpoints",
    "clusters",
    "groups",
    "databases",
    "databaseStorage",
    "cacheNodes",
    "balancers",
    "volumes",
    "fileSystems",
    "buckets",
    "keys",
    "nothing",
]
"""What is counted to find out how much of a quota is in use; ``nothing`` where only this stack can use it."""

GLOBAL_REGION: Final = "us-east-1"
"""Where Service Quotas answers for quotas of the whole account."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """What is needed of one quota.

    Attributes:
        service: Service code at Service Quotas.
        code: Quota code.
        name: AWS's name of the quota.
        amount: How much the stack takes at most.
        region: Where.
        counter: What is in use already.
        place: Zone, where the quota is one for each zone.
        lower: Setting that lowers the need.
    """

    service: str
    code: str
    name: str
    amount: float
    region: str
    counter: Counter
    place: str = ""
    lower: str = ""


# Names as Service Quotas has them.
_VCPU: Final[dict[VcpuFamily, tuple[str, Counter]]] = {
    "onDemandStandard": (
        "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances, vCPU",
        "vcpu.onDemandStandard",
    ),
    "onDemandG": ("Running On-Demand G and VT instances, vCPU", "vcpu.onDemandG"),
    "spotStandard": (
        "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests, vCPU",
        "vcpu.spotStandard",
    ),
    "spotG": ("All G and VT Spot Instance Requests, vCPU", "vcpu.spotG"),
}


def needs(settings: Settings) -> list[Need]:
    """Every quota that the stack comes near to, the scarcest first.

    Quotas with room for a hundred such stacks in a new account (roles, secrets, log groups, alarms, security groups)
    are left out.
    """
    return [*_compute(settings), *_network(settings), *_cluster(settings), *_stores(settings), *_keys(settings)]


def _compute(settings: Settings) -> Iterator[Need]:
    region = settings.aws.region
    ranges = {
        group.name: NodeRange(
            name=group.name,
            instance_types=group.instance_types,
            max_size=group.max_size,
            spot=group.capacity == "spot",
        )
        for group in settings.node_groups
    }
    taken = needs_of(ranges.values()).vcpu
    for family, (name, counter) in _VCPU.items():
        if not taken.get(family):
            continue
        groups = [one for one, range_ in ranges.items() if needs_of([range_]).vcpu.get(family)]
        yield Need(
            service="ec2",
            code=QUOTA_CODES[family],
            name=name,
            amount=taken[family],
            region=region,
            counter=counter,
            lower=f"maxSize of {', '.join(groups)}",
        )
    roots = sum(group.max_size * group.root_volume_gib for group in settings.node_groups)
    # The declared quota also covers the database, which is no volume of ours, and volume claims, which are.
    volumes = max(roots, settings.quotas.storage_gib - 2 * settings.database.storage_gib)
    yield Need(
        service="ebs",
        code="L-7A658B76",
        name="Storage for General Purpose SSD (gp3) volumes, TiB",
        amount=round(volumes / 1024, 2),
        region=region,
        counter="volumes",
        lower="rootVolumeGib or maxSize of node groups",
    )


def _network(settings: Settings) -> Iterator[Need]:
    region, lower = settings.aws.region, "network.natGateways: single"
    zones = settings.zones[:1] if settings.network.nat_gateways == "single" else settings.zones
    yield Need(
        service="ec2", code="L-0263D0A3", name="EC2-VPC Elastic IPs", amount=len(zones), region=region,
        counter="addresses", lower=lower if len(zones) > 1 else "",
    )  # fmt: skip
    yield Need(service="vpc", code="L-F678F1CE", name="VPCs per Region", amount=1, region=region, counter="vpcs")
    yield Need(
        service="vpc", code="L-A4707A72", name="Internet gateways per Region", amount=1, region=region,
        counter="internetGateways",
    )  # fmt: skip
    for zone in zones:
        yield Need(
            service="vpc", code="L-FE5A380F", name="NAT gateways per Availability Zone", amount=1, region=region,
            counter="natGateways", place=zone,
        )  # fmt: skip
    yield Need(
        service="vpc", code="L-1B52E74A", name="Gateway VPC endpoints per Region", amount=1, region=region,
        counter="gatewayEndpoints",
    )  # fmt: skip
    if endpoints := len(settings.network.interface_endpoints):
        yield Need(
            service="vpc", code="L-29B6F2EB", name="Interface VPC endpoints per VPC", amount=endpoints, region=region,
            counter="nothing", lower="network.interfaceEndpoints",
        )  # fmt: skip


def _cluster(settings: Settings) -> Iterator[Need]:
    region, groups = settings.aws.region, settings.node_groups
    yield Need(service="eks", code="L-1194D53C", name="Clusters", amount=1, region=region, counter="clusters")
    yield Need(
        service="eks", code="L-6D54EA21", name="Managed node groups per cluster", amount=len(groups), region=region,
        counter="nothing", lower="nodeGroups",
    )  # fmt: skip
    yield Need(
        service="eks", code="L-BD136A63", name="Nodes per managed node group",
        amount=max(group.max_size for group in groups), region=region, counter="nothing", lower="maxSize",
    )  # fmt: skip
    yield Need(
        service="autoscaling", code="L-CDE20ADC", name="Auto Scaling groups per region", amount=len(groups),
        region=region, counter="groups", lower="nodeGroups",
    )  # fmt: skip
    if settings.platform.controllers.load_balancer_controller.enabled:
        yield Need(
            service="elasticloadbalancing", code="L-69A177A2", name="Network Load Balancers per Region",
            amount=max(1, settings.quotas.load_balancers), region=region, counter="balancers",
            lower="quotas.loadBalancers",
        )  # fmt: skip


def _stores(settings: Settings) -> Iterator[Need]:
    region = settings.aws.region
    yield Need(service="rds", code="L-7B6409FD", name="DB instances", amount=1, region=region, counter="databases")
    yield Need(
        service="rds", code="L-7ADDB58A", name="Total storage for all DB instances, GiB",
        amount=2 * settings.database.storage_gib, region=region, counter="databaseStorage", lower="database.storageGib",
    )  # fmt: skip
    yield Need(
        service="elasticache", code="L-DFE45DF3", name="Nodes per Region", amount=1 + settings.cache.replicas,
        region=region, counter="cacheNodes", lower="cache.replicas",
    )  # fmt: skip
    yield Need(
        service="elasticfilesystem", code="L-848C634D", name="File systems per account", amount=1, region=region,
        counter="fileSystems",
    )  # fmt: skip
    copies = len(REPLICATED) if settings.objects.replicate else 0
    yield Need(
        service="s3", code="L-DC2B2D3D", name="General purpose buckets", amount=len(BUCKETS) + copies,
        region=GLOBAL_REGION, counter="buckets", lower="objects.replicate" if copies else "",
    )  # fmt: skip


def _keys(settings: Settings) -> Iterator[Need]:
    yield Need(
        service="kms", code="L-C2F1777E", name="Customer Master Keys (CMKs)", amount=len(KEY_DOMAINS),
        region=settings.aws.region, counter="keys",
    )  # fmt: skip
    if domains := copied(settings):
        yield Need(
            service="kms", code="L-C2F1777E", name="Customer Master Keys (CMKs)", amount=len(domains),
            region=settings.aws.dr_region, counter="keys",
        )  # fmt: skip
