"""What cannot work although each setting by itself is valid: found at preview, before anything is created."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import get_args

from components.capacity import DAEMONSETS, for_workloads, shortfalls, smallest_fitting, times, total
from components.capacity.clouds import CATALOGUES, Cloud, families_of, shape_of, zones_of
from components.capacity.ec2 import CATALOGUE, pod_addresses
from components.settings import flow_checks, gcp_checks, model_checks
from components.settings.nodes import NodeGroupSettings
from components.settings.platform import rules
from components.settings.root import Settings
from components.settings.workloads import WorkloadSettings


@dataclass(frozen=True)
class Problem:
    """One line of a refusal.

    Attributes:
        path: The setting, such as ``nodeGroups[2].maxSize``.
        message: What is wrong, what is allowed, what to do.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True)
class Check:
    """A rule over several sections; it runs only when each of them is valid by itself.

    Attributes:
        sections: Fields of :class:`Settings` that it reads.
        find: Yields what is wrong.
        clouds: Where it holds.
    """

    sections: frozenset[str]
    find: Callable[[Settings], Iterator[Problem]]
    clouds: frozenset[Cloud] = frozenset({"aws", "gcp", "onprem"})


def _zones_are_in_the_region(settings: Settings) -> Iterator[Problem]:
    known = zones_of(settings.cloud, settings.region)
    for index, zone in enumerate(settings.network.zones):
        if zone not in known:
            yield Problem(
                f"network.zones[{index}]", f"must be one of {', '.join(known)} in {settings.region}; got {zone}"
            )


def _group_zones_are_in_the_network(settings: Settings) -> Iterator[Problem]:
    for index, group in enumerate(settings.node_groups):
        for place, zone in enumerate(group.zones):
            if zone not in settings.zones:
                message = f"must be one of the network's zones {', '.join(settings.zones)}; got {zone}"
                yield Problem(f"nodeGroups[{index}].zones[{place}]", message)


def _types_are_in_the_region(settings: Settings) -> Iterator[Problem]:
    region, machines = settings.region, CATALOGUES[settings.cloud].machines
    offered = families_of(settings.cloud, region)
    for index, group in enumerate(settings.node_groups):
        for place, kind in enumerate(group.instance_types):
            if (family := machines[kind].family) not in offered:
                message = f"must be of {', '.join(sorted(offered))}: {region} has no {family}; got {kind}"
                yield Problem(f"nodeGroups[{index}].instanceTypes[{place}]", message)


def _group_names_are_unique(settings: Settings) -> Iterator[Problem]:
    counts = Counter(group.name for group in settings.node_groups)
    for index, group in enumerate(settings.node_groups):
        if counts[group.name] > 1:
            yield Problem(
                f"nodeGroups[{index}].name", f"must be unique; {counts[group.name]} groups are named {group.name}"
            )


def _system_nodes_are_there(settings: Settings) -> Iterator[Problem]:
    if not any(group.role == "system" and group.min_size for group in settings.node_groups):
        yield Problem(
            "nodeGroups", "must hold a group of role system with minSize 1 or more: DNS and the controllers run there"
        )


def _kube_proxy_matches_the_cluster(settings: Settings) -> Iterator[Problem]:
    minor, kube_proxy = settings.cluster.kubernetes_version, settings.cluster.addons["kube-proxy"]
    if not kube_proxy.startswith(f"v{minor}."):
        message = (
            f"must be set to a version for Kubernetes {minor}, such as v{minor}.0-eksbuild.2 "
            f"(aws eks describe-addon-versions --addon-name kube-proxy lists them); got {kube_proxy}"
        )
        yield Problem("cluster.addonVersions.kube-proxy", message)


def _access_teams_exist(settings: Settings) -> Iterator[Problem]:
    teams = [team.name for team in settings.teams]
    for index, one in enumerate(settings.cluster.access):
        for place, team in enumerate(one.teams):
            if team not in teams:
                known = f"one of the stack's teams {', '.join(teams)}" if teams else "a team, and the stack has none"
                yield Problem(f"cluster.access[{index}].teams[{place}]", f"must be {known}; got {team}")


def _team_names_are_unique(settings: Settings) -> Iterator[Problem]:
    counts = Counter(team.name for team in settings.teams)
    for index, team in enumerate(settings.teams):
        if counts[team.name] > 1:
            yield Problem(f"teams[{index}].name", f"must be unique; {counts[team.name]} teams are named {team.name}")


def _team_gpus_exist(settings: Settings) -> Iterator[Problem]:
    wanted = sum(team.gpus for team in settings.teams)
    there = sum(group.max_size * settings.shapes(group)[0].gpus for group in settings.node_groups)
    if wanted > there:
        asked = ", ".join(f"{team.name} {team.gpus}" for team in settings.teams if team.gpus)
        message = (
            f"together ask for {wanted} GPUs ({asked}), the node groups at their maximum have {there}; raise maxSize "
            "of a GPU group or lower gpus of a team"
        )
        yield Problem("teams", message)


def _service_range_is_outside(settings: Settings) -> Iterator[Problem]:
    vpc, services = settings.network.cidr, settings.cluster.service_cidr
    if ipaddress.IPv4Network(vpc).overlaps(ipaddress.IPv4Network(services)):
        yield Problem("cluster.serviceCidr", f"must not overlap network.cidr {vpc}; got {services}")


def _pods_have_addresses(settings: Settings) -> Iterator[Problem]:
    offered = len(settings.zones) * ipaddress.IPv4Network(settings.network.cidr).num_addresses // 4
    needed = sum(
        g.max_size * max(pod_addresses(CATALOGUE[kind]) for kind in g.instance_types) for g in settings.node_groups
    )
    if needed > offered:
        message = (
            f"too small: the node groups at their maximum take {needed} addresses for pods, the private subnets of "
            f"{settings.network.cidr} hold {offered}; take a larger network or lower maxSize"
        )
        yield Problem("network.cidr", message)


def _recovery_region_is_another(settings: Settings) -> Iterator[Problem]:
    if settings.aws.dr_region == settings.aws.region:
        yield Problem("aws.drRegion", f"must differ from aws.region; got {settings.aws.dr_region}")


def _replication_has_a_target(settings: Settings) -> Iterator[Problem]:
    if settings.objects.replicate and not settings.aws.dr_region:
        yield Problem("objects.replicate", "needs aws.drRegion, the region that receives the copies")


def _backups_have_a_target(settings: Settings) -> Iterator[Problem]:
    if settings.database.replicate_backups and not settings.aws.dr_region:
        yield Problem("database.replicateBackups", "needs aws.drRegion, the region that receives the copies")


def _only_rds_copies_backups(settings: Settings) -> Iterator[Problem]:
    if settings.database.replicate_backups:
        yield Problem("database.replicateBackups", f"is for RDS, on aws; got true on {settings.cloud}")


def _stores_in_the_cluster_do_what_they_can(settings: Settings) -> Iterator[Problem]:
    """What a cloud's stores do, and those in a cluster do not: better refused than believed."""
    if settings.objects.replicate:
        yield Problem(
            "objects.replicate",
            "must be false on premises: an existing store copies itself (onprem.objects.kind: existing), and "
            "onprem.objects.backup keeps the database's backups elsewhere",
        )
    if settings.cache.replicas:
        yield Problem(
            "cache.replicas", f"must be 0 on premises, where the cache is one server; got {settings.cache.replicas}"
        )


def _workloads_fit(settings: Settings) -> Iterator[Problem]:
    for index, row in enumerate(settings.workloads):
        groups = [group for group in settings.node_groups if group.role == row.role]
        problem = _one_node_fits(row, groups, settings) if row.gpus else _all_nodes_fit(row, groups, settings)
        if problem:
            yield Problem(f"workloads[{index}]", f"{row.name} ({row.request}) {problem}")


def _one_node_fits(row: WorkloadSettings, groups: list[NodeGroupSettings], settings: Settings) -> str:
    """Why no group is sure to start a node that takes the row; empty when one is.

    A group counts only when each of its types fits: the autoscaler cannot choose between the types of one group.
    """
    tried: list[str] = []
    for group in groups:
        lacking = [
            f"{shape} lacks: {', '.join(short)}"
            for shape in settings.shapes(group)
            if (short := shortfalls(row.request, for_workloads(shape)))
        ]
        if not lacking:
            return ""
        tried.append(f"{group.name} has {'; '.join(lacking)}")
    offered = families_of(settings.cloud, settings.region)
    disk_gib = max((group.root_volume_gib for group in groups), default=100)
    machines = CATALOGUES[settings.cloud].machines.values()
    candidates = (shape_of(kind.name, disk_gib) for kind in machines if kind.family in offered)
    best = smallest_fitting(row.request, candidates)
    remedy = (
        f"add a node group with role {row.role} and instanceTypes [{best.instance_type}]"
        if best
        else f"no type in {settings.region} takes it; lower the request"
    )
    what = " | ".join(tried) or f"there is no group with role {row.role}"
    return f"fits no node (allocatable, less {DAEMONSETS} for the pods of every node): {what}; {remedy}"


def _all_nodes_fit(row: WorkloadSettings, groups: list[NodeGroupSettings], settings: Settings) -> str:
    """Why the groups of the role do not carry the row together; empty when they do."""
    least = [times(for_workloads(settings.shapes(group)[0]), group.max_size) for group in groups]
    short = shortfalls(row.request, total(least))
    if not short:
        return ""
    tried = " | ".join(f"{g.name} has at most {g.max_size} x {settings.shapes(g)[0]}" for g in groups)
    what = tried or f"there is no group with role {row.role}"
    return f"does not fit on all nodes together, only {', '.join(short)}: {what}; raise maxSize or take larger types"


def _acme_can_prove_the_domain(settings: Settings) -> Iterator[Problem]:
    zones = {"aws": ("aws.hostedZoneId", settings.aws.hosted_zone_id), "gcp": ("gcp.dnsZone", settings.gcp.dns_zone)}
    setting, zone = zones.get(settings.cloud, ("", ""))
    for path, message in rules.acme(settings.platform, setting, zone):
        yield Problem(path, message)


def _systems_have_what_they_need(settings: Settings) -> Iterator[Problem]:
    platform = settings.platform
    for rule in (
        rules.gateway,
        rules.vectors,
        rules.delivery,
        rules.experiments,
        rules.workflows,
        rules.training,
        rules.serving,
        rules.grafana,
    ):
        for path, message in rule(platform):
            yield Problem(path, message)


def _pipelines_have_what_they_need(settings: Settings) -> Iterator[Problem]:
    for path, message in rules.pipelines(settings.platform, [team.name for team in settings.teams]):
        yield Problem(path, message)


def _alerts_reach_people(settings: Settings) -> Iterator[Problem]:
    for path, message in rules.alerting(settings.platform, [team.name for team in settings.teams]):
        yield Problem(path, message)


def _the_bucket_keeps_what_is_indexed(settings: Settings) -> Iterator[Problem]:
    for path, message in rules.retention(settings.platform, settings.objects.log_retention_days):
        yield Problem(path, message)


def _the_model_gateway_has_what_it_needs(settings: Settings) -> Iterator[Problem]:
    for path, message in rules.model_gateway(settings.platform, [model.name for model in settings.hosted_models]):
        yield Problem(path, message)


def _models_can_be_served(settings: Settings) -> Iterator[Problem]:
    for path, message in model_checks.models(settings):
        yield Problem(path, message)


def _flows_can_run(settings: Settings) -> Iterator[Problem]:
    for path, message in flow_checks.flows(settings):
        yield Problem(path, message)


def _google_cloud_takes_it(settings: Settings) -> Iterator[Problem]:
    for path, message in gcp_checks.problems(settings):
        yield Problem(path, message)


_AWS: frozenset[Cloud] = frozenset({"aws"})
_GCP: frozenset[Cloud] = frozenset({"gcp"})
_PUBLIC: frozenset[Cloud] = _AWS | _GCP

CHECKS: tuple[Check, ...] = (
    Check(frozenset({"cloud", "aws", "gcp", "network"}), _zones_are_in_the_region, _PUBLIC),
    Check(frozenset({"cloud", "aws", "gcp", "network", "node_groups"}), _group_zones_are_in_the_network, _PUBLIC),
    Check(frozenset({"cloud", "aws", "gcp", "node_groups"}), _types_are_in_the_region, _PUBLIC),
    Check(frozenset({"cloud", *gcp_checks.SECTIONS}), _google_cloud_takes_it, _GCP),
    Check(frozenset({"node_groups"}), _group_names_are_unique),
    Check(frozenset({"node_groups"}), _system_nodes_are_there),
    Check(frozenset({"cluster"}), _kube_proxy_matches_the_cluster, _AWS),
    Check(frozenset({"cluster", "teams"}), _access_teams_exist),
    Check(frozenset({"teams"}), _team_names_are_unique),
    Check(frozenset({"cloud", "onprem", "node_groups", "teams"}), _team_gpus_exist),
    Check(frozenset({"network", "cluster"}), _service_range_is_outside, _PUBLIC),
    Check(frozenset({"aws", "network", "node_groups"}), _pods_have_addresses, _AWS),
    Check(frozenset({"aws"}), _recovery_region_is_another),
    Check(frozenset({"aws", "objects"}), _replication_has_a_target, _AWS),
    Check(frozenset({"aws", "database"}), _backups_have_a_target, _AWS),
    Check(frozenset({"cloud", "database"}), _only_rds_copies_backups, frozenset({"gcp", "onprem"})),
    Check(frozenset({"objects", "cache"}), _stores_in_the_cluster_do_what_they_can, frozenset({"onprem"})),
    Check(frozenset({"cloud", "aws", "gcp", "onprem", "node_groups", "workloads"}), _workloads_fit),
    Check(frozenset({"cloud", "aws", "gcp", "platform"}), _acme_can_prove_the_domain),
    Check(frozenset({"platform"}), _systems_have_what_they_need),
    Check(frozenset({"platform", "teams"}), _pipelines_have_what_they_need),
    Check(frozenset({"platform", "teams"}), _alerts_reach_people),
    Check(frozenset({"objects", "platform"}), _the_bucket_keeps_what_is_indexed),
    Check(frozenset({"platform", "hosted_models"}), _the_model_gateway_has_what_it_needs),
    Check(model_checks.SECTIONS, _models_can_be_served),
    Check(flow_checks.SECTIONS, _flows_can_run),
)


def find(settings: Settings, invalid: frozenset[str] = frozenset()) -> list[Problem]:
    """Everything that cannot work, leaving out rules that read an ``invalid`` section."""
    judged = [check for check in CHECKS if not check.sections & invalid]
    # Where `cloud` itself is wrong nobody knows which rules hold; those of every cloud do.
    here = frozenset(get_args(Cloud)) if "cloud" in invalid else frozenset({settings.cloud})
    return [problem for check in judged if here <= check.clouds for problem in check.find(settings)]
