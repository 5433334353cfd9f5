"""Quotas: how far the stack may grow, judged on the ranges of its autoscaling and not on what runs now.

Everything here reads plain inputs. A value that becomes known only during the update cannot be counted, so it is a
violation and not a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pulumi_policy import Severity

from components.capacity.clouds import CATALOGUES, MACHINES
from components.capacity.ec2 import CATALOGUE
from components.capacity.quotas import QUOTA_CODES, NodeRange, needs_of, vcpu_family
from components.settings import Settings
from policies.gcp import places
from policies.gcp import types as google
from policies.objects import Namespaces, quantity, volume_claims_gib
from policies.registry import Context, Finding, Rule
from policies.view import UNKNOWN, Resource, at, listed, mapping

NODE_GROUP: Final = "aws:eks/nodeGroup:NodeGroup"
INSTANCE: Final = "aws:ec2/instance:Instance"
TEMPLATE: Final = "aws:ec2/launchTemplate:LaunchTemplate"
DATABASE: Final = "aws:rds/instance:Instance"
VOLUME: Final = "aws:ebs/volume:Volume"
RELEASE: Final = "kubernetes:helm.sh/v3:Release"
SERVICE: Final = "kubernetes:core/v1:Service"
RESOURCE_QUOTA: Final = "kubernetes:core/v1:ResourceQuota"

_NODES: Final = (NODE_GROUP, INSTANCE, google.NODE_POOL)
_NOT_PLAIN: Final = "must be plain at preview, or no quota can be held against it"


@dataclass(frozen=True)
class Uncountable(Exception):  # noqa: N818 carries a finding, not a failure
    """A resource that cannot be counted."""

    resource: Resource
    reason: str

    def finding(self) -> Finding:
        """The same as a violation."""
        return Finding(f"{self.resource.name} {self.reason}", self.resource)


def node_range(resource: Resource) -> NodeRange:
    """What a node group or an instance may grow to.

    Raises:
        Uncountable: What must be plain is not, or a type is not in the catalogue.
    """
    if resource.type == INSTANCE:
        types: Any = [resource.get("instanceType")]
        size: Any = 1
        capacity: Any = resource.get("instanceMarketOptions", "marketType") or "ON_DEMAND"
    elif resource.type == google.NODE_POOL:
        types, size, capacity = places.machines_of(resource)
    else:
        types, size = resource.get("instanceTypes"), resource.get("scalingConfig", "maxSize")
        capacity = resource.get("capacityType")
    for name, value in (("instanceTypes", types), ("maxSize", size), ("capacityType", capacity)):
        if value is UNKNOWN or value is None or (isinstance(value, list) and (not value or UNKNOWN in value)):
            raise Uncountable(resource, f"has {name} that {_NOT_PLAIN}")
    here = CATALOGUES["gcp" if resource.type == google.NODE_POOL else "aws"]
    if unknown := [kind for kind in types if kind not in here.machines]:
        raise Uncountable(resource, f"uses {', '.join(unknown)}, which {here.source} does not know")
    spot = str(capacity).lower() == "spot"
    try:
        for kind in types:
            if kind in CATALOGUE:  # other clouds have no quota of vCPUs that a setting limits
                vcpu_family(kind, spot)
    except ValueError as error:
        raise Uncountable(resource, f"cannot be counted: {error}") from None
    return NodeRange(name=resource.name, instance_types=tuple(types), max_size=int(size), spot=spot)


def ranges(resources: Sequence[Resource]) -> tuple[list[NodeRange], list[Finding]]:
    """What can be counted, and a finding for each resource that cannot."""
    counted: list[NodeRange] = []
    findings: list[Finding] = []
    for resource in resources:
        if resource.type in _NODES:
            try:
                counted.append(node_range(resource))
            except Uncountable as error:
                findings.append(error.finding())
    return counted, findings


def _widest(groups: Sequence[NodeRange], key: Callable[[NodeRange], int]) -> str:
    return max(groups, key=key).name


def _gpus(resources: Sequence[Resource], context: Context) -> Iterator[Finding]:
    groups, uncounted = ranges(resources)
    yield from uncounted
    quotas = context.settings.quotas
    for model, needed in sorted(needs_of(groups).gpus.items()):
        limit = quotas.gpus.get(model, 0)
        if needed > limit:
            mine = [one for one in groups if any(MACHINES[kind].gpu_model == model for kind in one.instance_types)]
            yield Finding(
                f"nodes may grow to {needed} {model} GPUs, the quota is {limit}: lower maxSize of "
                f"{_widest(mine, lambda group: group.max_gpus)}, or raise quotas.gpus.{model}"
            )


def _vcpus(resources: Sequence[Resource], context: Context) -> Iterator[Finding]:
    groups, uncounted = ranges(resources)
    yield from uncounted
    for family, needed in sorted(needs_of(groups).vcpu.items()):
        limit = context.settings.quotas.vcpu.of(family)
        if needed > limit:
            mine = [one for one in groups if family in _families(one)]
            yield Finding(
                f"nodes may grow to {needed} vCPU, the quota {family} ({QUOTA_CODES[family]}) is {limit}: lower "
                f"maxSize of {_widest(mine, lambda group: group.max_vcpu)}, or raise quotas.vcpu.{family}"
            )


def _families(group: NodeRange) -> set[str]:
    return {vcpu_family(kind, group.spot) for kind in group.instance_types if kind in CATALOGUE}


def _node_count(resources: Sequence[Resource], context: Context) -> Iterator[Finding]:
    groups, uncounted = ranges(resources)
    yield from uncounted
    needed, limit = needs_of(groups).nodes, context.settings.quotas.nodes
    if needed > limit:
        yield Finding(
            f"groups may grow to {needed} nodes, the quota is {limit}: lower maxSize of "
            f"{_widest(groups, lambda group: group.max_size)}, or raise quotas.nodes"
        )


_CLASSES: Final[dict[str, tuple[str, ...]]] = {
    NODE_GROUP: ("instanceTypes",),
    INSTANCE: ("instanceType",),
    TEMPLATE: ("instanceType",),
    DATABASE: ("instanceClass",),
    "aws:elasticache/replicationGroup:ReplicationGroup": ("nodeType",),
    "aws:elasticache/cluster:Cluster": ("nodeType",),
    google.NODE_POOL: ("nodeConfig", "machineType"),
    google.DATABASE: ("settings", "tier"),
}


def _types_are_allowed(resource: Resource, context: Context) -> Iterator[str]:
    path = _CLASSES[resource.type]
    value = resource.get(*path)
    if value is UNKNOWN or (isinstance(value, list) and UNKNOWN in value):
        yield f"{'.'.join(path)} {_NOT_PLAIN}"
        return
    kinds = [str(kind) for kind in (listed(value) or [value]) if kind]
    if wrong := [kind for kind in kinds if not context.settings.quotas.allows(kind)]:
        allowed = ", ".join(context.settings.quotas.instance_types) or "none"
        yield f"{', '.join(wrong)} is not among quotas.instanceTypes ({allowed})"


def _regions(resources: Sequence[Resource], context: Context) -> Iterator[Finding]:
    allowed = context.settings.quotas.regions
    for resource in resources:
        region = _region_of(resource)
        if isinstance(region, str) and not places.is_within(region, allowed):
            yield Finding(
                f"{resource.name} is in {region}, quotas.regions has {', '.join(allowed) or 'none'}", resource
            )
        elif region is UNKNOWN and resource.type in ("pulumi:providers:aws", google.PROVIDER):
            yield Finding(f"the region of provider {resource.name} {_NOT_PLAIN}", resource)


def _region_of(resource: Resource) -> Any:
    if resource.type == google.PROVIDER or resource.type.startswith("gcp:"):
        return places.region_of(resource)
    return resource.get("region")


def storage_gib(resources: Sequence[Resource]) -> tuple[int, list[Finding]]:
    """Block storage when everything has grown to its maximum, and a finding for what cannot be counted."""
    total, findings = 0, list[Finding]()
    by_urn = {resource.urn: resource for resource in resources}
    for resource in resources:
        try:
            total += _gib(resource, by_urn)
        except Uncountable as error:
            findings.append(error.finding())
    return total, findings


def _gib(resource: Resource, by_urn: dict[str, Resource]) -> int:
    if resource.type == NODE_GROUP:
        return node_range(resource).max_size * _root_volume_gib(resource, by_urn)
    if resource.type == google.NODE_POOL:
        return node_range(resource).max_size * _plain_number(resource, "nodeConfig", "diskSizeGb")
    if resource.type == google.DATABASE:
        limit = resource.get("settings", "diskAutoresizeLimit")
        name = "diskSize" if limit in (None, UNKNOWN, 0) else "diskAutoresizeLimit"
        return _plain_number(resource, "settings", name)
    if resource.type == DATABASE:
        grown = resource.get("maxAllocatedStorage")
        return _plain_number(resource, "allocatedStorage" if grown in (None, UNKNOWN, 0) else "maxAllocatedStorage")
    if resource.type == VOLUME:
        return _plain_number(resource, "size")
    claims = volume_claims_gib(resource)
    if claims is UNKNOWN:
        raise Uncountable(resource, f"claims a volume whose size {_NOT_PLAIN}")
    return int(claims)


def _plain_number(resource: Resource, *path: str | int) -> int:
    value = resource.get(*path)
    try:
        return int(value)
    except (TypeError, ValueError):
        raise Uncountable(resource, f"has {'.'.join(map(str, path))} that {_NOT_PLAIN}") from None


def _root_volume_gib(group: Resource, by_urn: dict[str, Resource]) -> int:
    """From the launch template that the group's own property comes from, else from the group."""
    for urn in group.sources.get("launchTemplate", ()):
        template = by_urn.get(urn)
        if template and template.type == TEMPLATE:
            sizes = [
                _plain_number(template, "blockDeviceMappings", index, "ebs", "volumeSize")
                for index, _ in enumerate(template.items("blockDeviceMappings"))
            ]
            return sum(sizes)
    return _plain_number(group, "diskSize")


def _storage(resources: Sequence[Resource], context: Context) -> Iterator[Finding]:
    needed, uncounted = storage_gib(resources)
    yield from uncounted
    if needed > (limit := context.settings.quotas.storage_gib):
        yield Finding(f"block storage may grow to {needed} GiB, the quota is {limit}: raise quotas.storageGib")


# Charts whose service is a load balancer unless the values say otherwise (their own values.yaml).
_BALANCED_CHARTS: Final = ("gateway",)


def load_balancers(resource: Resource) -> int:
    """Load balancers that a resource is or asks for."""
    if resource.type.startswith(("aws:lb/loadBalancer", "aws:alb/loadBalancer", "aws:elb/loadBalancer")):
        return 1
    if resource.type in google.FORWARDING_RULES:
        return 1
    if resource.type == SERVICE:
        return int(resource.get("spec", "type") == "LoadBalancer")
    if resource.type == RELEASE:
        asked = _balanced_services(resource.get("values"))
        chart = str(resource.get("chart") or "").rpartition("/")[2]
        unsaid = at(resource.get("values"), "service", "type") in (None, UNKNOWN)
        return asked + int(chart in _BALANCED_CHARTS and unsaid)
    return 0


def _balanced_services(values: Any) -> int:
    """How often the values of a chart ask for a load balancer."""
    own = int(at(values, "service", "type") == "LoadBalancer")
    return own + sum(_balanced_services(value) for value in mapping(values).values())


def _count(resources: Sequence[Resource], limit: int, what: str, key: str) -> Iterator[Finding]:
    if (needed := len(resources)) > limit:
        names = ", ".join(resource.name for resource in resources)
        yield Finding(f"{needed} {what} ({names}), the quota is {limit}: remove some, or raise quotas.{key}")


def _load_balancers(resources: Sequence[Resource], context: Context) -> Iterator[Finding]:
    found = [resource for resource in resources for _ in range(load_balancers(resource))]
    yield from _count(found, context.settings.quotas.load_balancers, "load balancers", "loadBalancers")


def _elastic_ips(resources: Sequence[Resource], context: Context) -> Iterator[Finding]:
    public = [one for one in resources if one.get("addressType") != "INTERNAL"]
    yield from _count(public, context.settings.quotas.elastic_ips, "public addresses", "elasticIps")


def _clusters(resources: Sequence[Resource], context: Context) -> Iterator[Finding]:
    yield from _count(list(resources), context.settings.quotas.clusters, "clusters", "clusters")


def team_shares(settings: Settings) -> dict[str, dict[str, str]]:
    """What each team's namespace must be held to, in the words of a ResourceQuota."""
    return {
        f"team-{team.name}": {
            "requests.nvidia.com/gpu": str(team.gpus),
            "requests.cpu": str(team.vcpu),
            "requests.memory": f"{team.memory_gib}Gi",
            "requests.storage": f"{team.storage_gib}Gi",
        }
        for team in settings.teams
    }


def _teams(resources: Sequence[Resource], context: Context) -> Iterator[Finding]:
    settings = context.settings
    promised, whole = sum(team.gpus for team in settings.teams), sum(settings.quotas.gpus.values())
    if promised > whole:
        yield Finding(f"the teams may hold {promised} GPUs together, the stack's quota is {whole}: lower teams[].gpus")
    namespaces = Namespaces(resources)
    held: dict[str, dict[str, Any]] = {}
    for quota in (one for one in resources if one.type == RESOURCE_QUOTA and not one.get("spec", "scopeSelector")):
        for name in namespaces.of(quota):
            held.setdefault(name, {}).update(mapping(quota.get("spec", "hard")))
    for namespace, shares in team_shares(settings).items():
        if not namespaces.exists(namespace):
            continue  # a stack without the platform has no namespaces
        for key, share in shares.items():
            found = held.get(namespace, {}).get(key)
            if found is None or quantity(found) != quantity(share):
                what = "unset" if found is None else found
                yield Finding(f"the ResourceQuota of {namespace} has {key} {what}, teams declares {share}")


_COMPUTE: Final = (*_NODES, TEMPLATE)
_CLAIMING: Final = ("kubernetes:apps/v1:StatefulSet", "kubernetes:core/v1:PersistentVolumeClaim")

RULES: Final = (
    Rule(
        name="gpu-quota", group="quotas", severity=Severity.HIGH, types=_NODES, stack=_gpus,
        description="GPUs of each model stay within quotas.gpus when every group stands at its maximum.",
    ),
    Rule(
        name="vcpu-quota", group="quotas", severity=Severity.HIGH, types=_NODES, stack=_vcpus,
        description="vCPUs stay within the account's quotas by family and purchase option, every group at its maximum.",
    ),
    Rule(
        name="node-quota", group="quotas", severity=Severity.MEDIUM, types=_NODES, stack=_node_count,
        description="Nodes stay within quotas.nodes when every group stands at its maximum.",
    ),
    Rule(
        name="instance-types", group="quotas", severity=Severity.HIGH, types=tuple(_CLASSES),
        resource=_types_are_allowed,
        description="Nodes, databases and caches are of types that quotas.instanceTypes names.",
    ),
    Rule(
        name="regions", group="quotas", severity=Severity.HIGH, stack=_regions,
        types=("aws:", "gcp:", "pulumi:providers:aws", google.PROVIDER),
        description="Everything is created in the regions that quotas.regions names.",
    ),
    Rule(
        name="storage-quota", group="quotas", severity=Severity.MEDIUM, stack=_storage,
        types=(*_COMPUTE, DATABASE, google.DATABASE, VOLUME, *_CLAIMING),
        description="Block storage stays within quotas.storageGib when everything has grown to its maximum.",
    ),
    Rule(
        name="load-balancer-quota", group="quotas", severity=Severity.MEDIUM, stack=_load_balancers,
        types=("aws:lb/", "aws:alb/", "aws:elb/", *google.FORWARDING_RULES, SERVICE, RELEASE),
        description="Load balancers, those of Kubernetes services among them, stay within quotas.loadBalancers.",
    ),
    Rule(
        name="elastic-ip-quota", group="quotas", severity=Severity.MEDIUM, stack=_elastic_ips,
        types=("aws:ec2/eip:Eip", google.ADDRESS, google.GLOBAL_ADDRESS),
        description="Public addresses stay within quotas.elasticIps.",
    ),
    Rule(
        name="cluster-quota", group="quotas", severity=Severity.MEDIUM, stack=_clusters,
        types=("aws:eks/cluster:Cluster", google.CLUSTER),
        description="Clusters stay within quotas.clusters.",
    ),
    Rule(
        name="team-quota", group="quotas", severity=Severity.HIGH, stack=_teams,
        types=(RESOURCE_QUOTA, "kubernetes:core/v1:Namespace"),
        description="Each team's namespace is held to the share that teams declares, and all shares to quotas.gpus.",
    ),
)  # fmt: skip
