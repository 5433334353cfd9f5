"""What Google Cloud would refuse although each setting by itself is valid: paths and messages."""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from components.capacity.gce import CATALOGUE, REGIONS, gpu_zones_of

if TYPE_CHECKING:
    from components.settings.root import Settings

SECTIONS: Final = frozenset(
    {
        "gcp",
        "network",
        "cluster",
        "node_groups",
        "database",
        "objects",
        "owner",
        "cost_center",
        "tags",
        "teams",
        "files",
        "platform",
    }
)
"""What the rules read."""

# Resource Manager, "Creating and managing labels": what a label's key and value may be.
_LABEL_KEY: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE: Final = re.compile(r"[a-z0-9_-]{1,63}")
_POOL_NAME: Final = 40
_NETWORKS: Final = 50
# Cloud SQL, "Machine types": shared-core, custom (Enterprise) and predefined (Enterprise Plus).
_TIER: Final = re.compile(r"db-(f1-micro|g1-small|custom-\d+-\d+|perf-optimized-N-\d+)")


def problems(settings: Settings) -> Iterator[tuple[str, str]]:
    """Everything that Google Cloud would refuse."""
    for rule in (
        _project,
        _labels,
        _ranges,
        _pods,
        _gpu_zones,
        _names,
        _database,
        _replication,
        _people,
        _files,
        _api_server,
        _pipelines,
        _controllers,
    ):
        yield from rule(settings)


def _project(settings: Settings) -> Iterator[tuple[str, str]]:
    if not settings.gcp.project:
        yield "gcp.project", "must be set: the id of the project that everything is created in"


def _labels(settings: Settings) -> Iterator[tuple[str, str]]:
    """What is a tag on AWS is a label here, and labels take less."""
    for path, value in (("owner", settings.owner), ("costCenter", settings.cost_center)):
        if not _LABEL_VALUE.fullmatch(value):
            yield path, f"must be lower-case letters, digits, - and _, at most 63, for a label; got {value}"
    for key, value in settings.tags.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            yield f"tags.{key}", f"must be lower-case letters, digits, - and _, at most 63, for a label; got {value}"


def _ranges(settings: Settings) -> Iterator[tuple[str, str]]:
    ranges: Mapping[str, str] = {
        "network.cidr": settings.network.cidr,
        "gcp.podCidr": settings.gcp.pod_cidr,
        "cluster.serviceCidr": settings.cluster.service_cidr,
    }
    for (one, first), (other, second) in itertools.combinations(ranges.items(), 2):
        if {one, other} == {"network.cidr", "cluster.serviceCidr"}:
            continue  # said for every cloud
        if ipaddress.IPv4Network(first).overlaps(ipaddress.IPv4Network(second)):
            yield other, f"must not overlap {one} {first}; got {second}"


def _pods(settings: Settings) -> Iterator[tuple[str, str]]:
    nodes, most = sum(group.max_size for group in settings.node_groups), settings.gcp.nodes_at_most
    # While a pool is upgraded it has one node more.
    needed = nodes + len(settings.node_groups)
    if needed > most:
        yield (
            "gcp.podCidr",
            f"too small: {settings.gcp.pod_cidr} has addresses for the pods of {most} nodes, the node groups at their "
            f"maximum need {needed}; take a larger range or lower maxSize",
        )
    node_range = ipaddress.IPv4Network(settings.network.cidr).num_addresses // 4 - 4  # 4 addresses are Google's own
    if needed > node_range:
        yield (
            "network.cidr",
            f"too small: a quarter of {settings.network.cidr} is the nodes' subnet, {node_range} addresses, the node "
            f"groups at their maximum need {needed}; take a larger network or lower maxSize",
        )


def _gpu_zones(settings: Settings) -> Iterator[tuple[str, str]]:
    having = gpu_zones_of(settings.gcp.region)
    for index, group in enumerate(settings.node_groups):
        if not CATALOGUE[group.instance_types[0]].gpus:
            continue
        wanted = group.zones or settings.zones
        if not set(wanted) & set(having):
            yield (
                f"nodeGroups[{index}].zones",
                f"must hold a zone with {CATALOGUE[group.instance_types[0]].gpu_model} GPUs, "
                f"{', '.join(having) or 'of which the region has none'}; got {', '.join(wanted)}",
            )


def _names(settings: Settings) -> Iterator[tuple[str, str]]:
    for index, group in enumerate(settings.node_groups):
        if group.desired_size is not None:
            yield (
                f"nodeGroups[{index}].desiredSize",
                "must not be set: GKE's autoscaler sizes a pool between its bounds",
            )
        if len(group.name) > _POOL_NAME:
            yield f"nodeGroups[{index}].name", f"must have at most {_POOL_NAME} characters; got {len(group.name)}"


def _database(settings: Settings) -> Iterator[tuple[str, str]]:
    tier = settings.database.instance_class
    if not _TIER.fullmatch(tier):
        yield (
            "database.instanceClass",
            f"must be a tier of Cloud SQL such as db-custom-2-8192 or db-perf-optimized-N-2; got {tier}",
        )
        return
    if settings.database.highly_available and tier in ("db-f1-micro", "db-g1-small"):
        yield "database.instanceClass", f"must not be shared-core with highlyAvailable; got {tier}"
    if custom := re.fullmatch(r"db-custom-(\d+)-(\d+)", tier):
        yield from _custom_tier(int(custom[1]), int(custom[2]), tier)


def _custom_tier(vcpu: int, memory_mib: int, tier: str) -> Iterator[tuple[str, str]]:
    """Cloud SQL, "Create instances": 1 or an even number of vCPUs up to 96; 0.9 to 6.5 GiB each, steps of 256 MiB."""
    wrong = (
        not (vcpu == 1 or (vcpu % 2 == 0 and 2 <= vcpu <= 96))
        or memory_mib % 256
        or not 0.9 * 1024 * vcpu <= memory_mib <= 6.5 * 1024 * vcpu
        or memory_mib < 3840
    )
    if wrong:
        yield (
            "database.instanceClass",
            "must be db-custom-<vCPU>-<MiB> with 1 or an even number of vCPUs up to 96, and 0.9 to 6.5 GiB for each, "
            f"3840 MiB at least, in steps of 256 MiB; got {tier}",
        )


def _replication(settings: Settings) -> Iterator[tuple[str, str]]:
    gcp = settings.gcp
    if gcp.dr_region == gcp.region:
        yield "gcp.drRegion", f"must differ from gcp.region; got {gcp.dr_region}"
    if not settings.objects.replicate:
        return
    here = REGIONS[gcp.region].continent
    if not gcp.dr_region:
        yield "objects.replicate", "needs gcp.drRegion, the second region of the buckets"
    elif not here or REGIONS[gcp.dr_region].continent != here:
        near = [name for name, region in REGIONS.items() if here and region.continent == here and name != gcp.region]
        yield (
            "gcp.drRegion",
            f"must be on the continent of {gcp.region}, one of {', '.join(near) or 'none: replicate cannot be on'}; "
            f"got {gcp.dr_region}",
        )


def _files(settings: Settings) -> Iterator[tuple[str, str]]:
    if len(settings.files.access_points) > 1:
        yield "files.accessPoints", "must name one: an instance of Filestore has one share"
    # Filestore, "Service tiers": steps of 256 GiB, above 10 TiB of 2.5 TiB.
    size = settings.gcp.files_capacity_gib
    step = 2560 if size > 10240 else 256
    if size % step:
        yield "gcp.filesCapacityGib", f"must be a multiple of {step} there; got {size}"


def _api_server(settings: Settings) -> Iterator[tuple[str, str]]:
    """GKE API, ``MasterAuthorizedNetworksConfig.cidrBlocks``: 50 networks, of which two are the stack's own."""
    given = len(settings.cluster.public_access_cidrs)
    if given > _NETWORKS - 2:
        yield "cluster.publicAccessCidrs", f"must name at most {_NETWORKS - 2} networks; got {given}"


def _pipelines(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.platform.pipelines.enabled:
        yield "platform.pipelines.enabled", "must be false: its API server speaks S3 only; use Argo Workflows"


def _controllers(settings: Settings) -> Iterator[tuple[str, str]]:
    controllers = settings.platform.controllers
    for name, controller in (
        ("clusterAutoscaler", controllers.cluster_autoscaler),
        ("loadBalancerController", controllers.load_balancer_controller),
    ):
        if controller.enabled:
            yield f"platform.controllers.{name}.enabled", "must be false: GKE has its own"


def _people(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.cluster.access:
        yield "cluster.access", "is for principals of AWS; name Google groups in gcp.groups and gcp.teamGroups"
    teams = {team.name for team in settings.teams}
    for team in settings.gcp.team_groups:
        if team not in teams:
            yield f"gcp.teamGroups.{team}", f"must be one of the stack's teams {', '.join(sorted(teams)) or '(none)'}"
    if (settings.gcp.groups or settings.gcp.team_groups) and not settings.gcp.security_group:
        yield "gcp.securityGroup", "must be set: GKE knows only groups that are members of gke-security-groups@<domain>"
