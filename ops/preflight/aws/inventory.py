"""What of a quota is in use: by everybody, and by this stack, which needs it no second time."""

from __future__ import annotations

import threading
from collections import Counter as Count
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from components.capacity.quotas import VcpuFamily, vcpu_family
from ops.preflight.aws.account import Account, tags_of
from ops.preflight.aws.needs import Need
from ops.preflight.target import Target

_LIVE: Final = ("pending", "running", "stopping", "shutting-down")
_GIB_PER_TIB: Final = 1024
_TAGGED_AT_ONCE: Final = 20  # load balancers that DescribeTags takes in one call


@dataclass(frozen=True)
class Usage:
    """How much is in use.

    Attributes:
        total: By everybody in the account.
        own: By this stack.
    """

    total: float
    own: float = 0

    @property
    def others(self) -> float:
        """By everybody else."""
        return self.total - self.own


class Inventory:
    """Counts what exists in the account; each list is asked for once, whoever asks."""

    def __init__(self, account: Account, target: Target) -> None:
        self._account, self._target = account, target
        self._known: dict[tuple[str, str], Usage | Mapping[str, Usage]] = {}
        self._locks: dict[tuple[str, str], threading.Lock] = {}
        self._lock = threading.Lock()

    def used(self, need: Need) -> Usage:
        """How much of a quota is in use.

        Raises:
            UnansweredError: That cannot be found out.
        """
        if need.counter == "nothing":
            return Usage(0)
        kind, _, part = need.counter.partition(".")
        counted = self._once(kind, need.region)
        if isinstance(counted, Usage):
            return counted
        return counted.get(part or need.place, Usage(0))

    def _once(self, kind: str, region: str) -> Usage | Mapping[str, Usage]:
        key = (kind, region)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._known:
                self._known[key] = self._count(kind)(region)
            return self._known[key]

    def _count(self, kind: str) -> Callable[[str], Usage | Mapping[str, Usage]]:
        counters: Mapping[str, Callable[[str], Usage | Mapping[str, Usage]]] = {
            "vcpu": self._vcpu,
            "addresses": self._addresses,
            "vpcs": self._vpcs,
            "internetGateways": self._internet_gateways,
            "natGateways": self._nat_gateways,
            "gatewayEndpoints": self._gateway_endpoints,
            "clusters": self._clusters,
            "groups": self._groups,
            "databases": self._databases,
            "databaseStorage": self._database_storage,
            "cacheNodes": self._cache_nodes,
            "balancers": self._balancers,
            "volumes": self._volumes,
            "fileSystems": self._file_systems,
            "buckets": self._buckets,
            "keys": self._keys,
        }
        return counters[kind]

    def _tagged(self, things: Iterable[Mapping[str, Any]], tags: str = "Tags") -> Usage:
        """Things, and those of them that carry this stack's tag."""
        listed = list(things)
        return Usage(len(listed), sum(self._owns(one, tags) for one in listed))

    def _owns(self, thing: Mapping[str, Any], tags: str = "Tags") -> bool:
        return self._target.owns(tags_of(thing.get(tags)))

    def _weighed(self, things: Iterable[Mapping[str, Any]], weight: Callable[[Mapping[str, Any]], float]) -> Usage:
        total = own = 0.0
        for one in things:
            total += weight(one)
            own += weight(one) if self._owns(one, "TagList" if "TagList" in one else "Tags") else 0
        return Usage(total, own)

    def _vcpu(self, region: str) -> Mapping[str, Usage]:
        states = [{"Name": "instance-state-name", "Values": list(_LIVE)}]
        instances = [
            instance
            for reservation in self._account.pages("ec2", "describe_instances", "Reservations", region, Filters=states)
            for instance in reservation["Instances"]
        ]
        kinds = sorted({str(one["InstanceType"]) for one in instances})
        vcpu: dict[str, int] = {}
        for start in range(0, len(kinds), 100):  # types that DescribeInstanceTypes takes in one call
            some = kinds[start : start + 100]
            for kind in self._account.pages(
                "ec2", "describe_instance_types", "InstanceTypes", region, InstanceTypes=some
            ):
                vcpu[kind["InstanceType"]] = int(kind["VCpuInfo"]["DefaultVCpus"])
        total: Count[VcpuFamily] = Count()
        own: Count[VcpuFamily] = Count()
        for one in instances:
            kind = str(one["InstanceType"])
            try:
                family = vcpu_family(kind, one.get("InstanceLifecycle") == "spot")
            except ValueError:  # counts against a quota that the stack does not use
                continue
            total[family] += vcpu[kind]
            own[family] += vcpu[kind] if self._owns(one) else 0
        return {family: Usage(total[family], own[family]) for family in total}

    def _addresses(self, region: str) -> Usage:
        return self._tagged(self._account.call("ec2", "describe_addresses", region)["Addresses"])

    def _vpcs(self, region: str) -> Usage:
        return self._tagged(self._account.pages("ec2", "describe_vpcs", "Vpcs", region))

    def _internet_gateways(self, region: str) -> Usage:
        return self._tagged(self._account.pages("ec2", "describe_internet_gateways", "InternetGateways", region))

    def _gateway_endpoints(self, region: str) -> Usage:
        kind = [{"Name": "vpc-endpoint-type", "Values": ["Gateway"]}]
        return self._tagged(self._account.pages("ec2", "describe_vpc_endpoints", "VpcEndpoints", region, Filters=kind))

    def _nat_gateways(self, region: str) -> Mapping[str, Usage]:
        states = [{"Name": "state", "Values": ["pending", "available", "deleting"]}]
        gateways = list(self._account.pages("ec2", "describe_nat_gateways", "NatGateways", region, Filters=states))
        subnets = self._account.pages("ec2", "describe_subnets", "Subnets", region) if gateways else ()
        zones = {one["SubnetId"]: str(one["AvailabilityZone"]) for one in subnets}
        by_zone: dict[str, list[Mapping[str, Any]]] = {}
        for one in gateways:
            by_zone.setdefault(zones.get(one["SubnetId"], ""), []).append(one)
        return {zone: self._tagged(ones) for zone, ones in by_zone.items()}

    def _volumes(self, region: str) -> Usage:
        kind = [{"Name": "volume-type", "Values": ["gp3"]}]
        volumes = self._account.pages("ec2", "describe_volumes", "Volumes", region, Filters=kind)
        return self._weighed(volumes, lambda volume: volume["Size"] / _GIB_PER_TIB)

    def _clusters(self, region: str) -> Usage:
        found = [str(name) for name in self._account.pages("eks", "list_clusters", "clusters", region)]
        return Usage(len(found), found.count(self._target.prefix))

    def _groups(self, region: str) -> Usage:
        groups = self._account.pages("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups", region)
        clusters = [tags_of(group.get("Tags")).get("eks:cluster-name", "") for group in groups]  # EKS sets the tag
        return Usage(len(clusters), clusters.count(self._target.prefix))

    def _balancers(self, region: str) -> Usage:
        found = self._account.pages("elbv2", "describe_load_balancers", "LoadBalancers", region)
        arns = [str(one["LoadBalancerArn"]) for one in found if one.get("Type") == "network"]
        own = 0
        for start in range(0, len(arns), _TAGGED_AT_ONCE):
            some = arns[start : start + _TAGGED_AT_ONCE]
            for one in self._account.call("elbv2", "describe_tags", region, ResourceArns=some)["TagDescriptions"]:
                own += tags_of(one["Tags"]).get("elbv2.k8s.aws/cluster") == self._target.prefix
        return Usage(len(arns), own)

    def _databases(self, region: str) -> Usage:
        return self._tagged(self._account.pages("rds", "describe_db_instances", "DBInstances", region), "TagList")

    def _database_storage(self, region: str) -> Usage:
        servers = self._account.pages("rds", "describe_db_instances", "DBInstances", region)
        return self._weighed(servers, lambda server: float(server["AllocatedStorage"]))

    def _cache_nodes(self, region: str) -> Usage:
        total = own = 0
        for one in self._account.pages("elasticache", "describe_cache_clusters", "CacheClusters", region):
            nodes = int(one.get("NumCacheNodes") or 1)
            tags = self._account.call("elasticache", "list_tags_for_resource", region, ResourceName=one["ARN"])
            total += nodes
            own += nodes if self._target.owns(tags_of(tags.get("TagList"))) else 0
        return Usage(total, own)

    def _file_systems(self, region: str) -> Usage:
        return self._tagged(self._account.pages("efs", "describe_file_systems", "FileSystems", region))

    def _buckets(self, region: str) -> Usage:
        found = [str(one["Name"]) for one in self._account.pages("s3", "list_buckets", "Buckets", region)]
        # The name holds the account's number: in this account it can be nobody else's.
        return Usage(len(found), sum(name.startswith(f"{self._target.prefix}-") for name in found))

    def _keys(self, region: str) -> Usage:
        # AWS's own keys are in the list too, and this stack's are not told apart: rather too many than too few.
        return Usage(sum(1 for _ in self._account.pages("kms", "list_keys", "Keys", region)))
