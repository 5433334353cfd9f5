"""What resources of Google Cloud cost; one function for each type, which reads plain inputs only."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from components.capacity.gce import CATALOGUE
from ops.cost.items import Bill
from ops.cost.model import Range, Resource
from ops.cost.nodes import ROLE_LABEL, owned, share_of

Pricer = Callable[[Resource, Bill], None]

_DEFAULT_DISK_GIB: Final = 100  # GKE's own, for pools that name no disk
_PLUS: Final = re.compile(r"db-perf-optimized-N-(\d+)")
_CUSTOM: Final = re.compile(r"db-custom-(\d+)-(\d+)")
_PLUS_GIB_A_VCPU: Final = 8
# Where Memorystore's capacity tiers end, in GiB; the last has no end.
_CAPACITIES: Final = (("m1", 4), ("m2", 10), ("m3", 35), ("m4", 100))


def _cluster(resource: Resource, bill: Bill) -> None:
    bill.add(resource, "control plane", "gcp/gke-cluster")
    bill.add(resource, "data out to the internet", "gcp/internet", bill.usage("internet.data"), assumed=True)
    bill.add(resource, "data between zones", "gcp/zone-data", bill.usage("zone.data"), assumed=True)


def _node_pool(resource: Resource, bill: Bill) -> None:
    kind = resource.text("nodeConfig", "machineType", default="e2-medium")
    sizes = _sizes(resource)
    if sizes is None:
        bill.skip(resource, "a node pool whose size is not plain")
        return
    share = share_of(str(resource.get("nodeConfig", "labels", ROLE_LABEL) or "other"), bill)
    nodes = share.times(sizes[1] - sizes[0]).plus(Range.of(sizes[0]))
    rate = bill.rate(resource, f"gce/{kind}")
    if rate is not None:
        hourly = Range.of(rate)
        spot = resource.flag("nodeConfig", "spot")
        if spot:
            hourly = hourly.times(bill.usage("spot.price"))
        gpus = CATALOGUE[kind].gpus if kind in CATALOGUE else 0
        labels = resource.table("nodeConfig", "labels")
        for owner, count in owned(resource, bill, nodes, gpus, share.expected, labels):
            if count.high or not nodes.high:
                what = f"nodes, {kind}{', spot' if spot else ''}"
                bill.add(resource, what, f"gce/{kind}", count, rate=hourly, owner=owner)
    disk = resource.text("nodeConfig", "diskType", default="pd-balanced")
    size = resource.number("nodeConfig", "diskSizeGb") or _DEFAULT_DISK_GIB
    bill.add(resource, "boot disks", f"gcp/{disk}", nodes.times(size))
    if ssds := resource.number("nodeConfig", "ephemeralStorageLocalSsdConfig", "localSsdCount"):
        bill.add(resource, "local SSDs", "gcp/local-ssd", nodes.times(375 * ssds))


def _sizes(resource: Resource) -> tuple[float, float] | None:
    """Fewest and most nodes of a pool; sizes for each zone count in every zone."""
    least = resource.number("autoscaling", "totalMinNodeCount")
    most = resource.number("autoscaling", "totalMaxNodeCount")
    if most is not None:
        return least or 0, most
    zones = len(resource.items("nodeLocations")) or 3
    most = resource.number("autoscaling", "maxNodeCount")
    if most is not None:
        return (resource.number("autoscaling", "minNodeCount") or 0) * zones, most * zones
    fixed = resource.number("nodeCount")
    return None if fixed is None else (fixed * zones, fixed * zones)


def _database(resource: Resource, bill: Bill) -> None:
    tier = resource.text("settings", "tier")
    copies = 2 if resource.text("settings", "availabilityType") == "REGIONAL" else 1
    suffix = ", with a standby" if copies == 2 else ""
    if found := _CUSTOM.fullmatch(tier):
        vcpu, gib, kind = int(found[1]), int(found[2]) / 1024, "sql"
    elif found := _PLUS.fullmatch(tier):
        vcpu, gib, kind = int(found[1]), int(found[1]) * _PLUS_GIB_A_VCPU, "sql-plus"
    else:
        bill.skip(resource, f"Cloud SQL tier {tier or 'unset'}")
        return
    bill.add(resource, f"{vcpu} vCPU{suffix}", f"gcp/{kind}-vcpu", vcpu * copies)
    bill.add(resource, f"{gib:g} GiB memory{suffix}", f"gcp/{kind}-memory", gib * copies)
    stored = resource.number("settings", "diskSize") or 10
    grown = max(stored, resource.number("settings", "diskAutoresizeLimit") or 0)
    size = Range(low=stored, expected=stored, high=grown)
    disk = "hdd" if resource.text("settings", "diskType") == "PD_HDD" else "ssd"
    bill.add(resource, f"storage{suffix}", f"gcp/sql-{disk}", size.times(copies))
    if resource.flag("settings", "backupConfiguration", "enabled"):
        bill.add(resource, "backups", "gcp/sql-backup", size.times(bill.usage("sql.backup")), assumed=True)


def _cache(resource: Resource, bill: Bill) -> None:
    gib = resource.number("memorySizeGb") or 1
    nodes = 1 + (resource.number("replicaCount") or 0)
    kind = "standard" if resource.text("tier") == "STANDARD_HA" else "basic"
    capacity = next((name for name, most in _CAPACITIES if gib <= most), "m5")
    # Price of STANDARD_HA is for primary and replica together; with read replicas each node is paid for.
    count = gib * (nodes if nodes > 2 else 1)
    bill.add(resource, f"{gib:g} GiB, {kind}", f"gcp/redis-{kind}-{capacity}", count)


def _files(resource: Resource, bill: Bill) -> None:
    gib = resource.number("fileShares", "capacityGb")
    if gib is None:
        bill.skip(resource, "files whose capacity is not plain")
        return
    tier = resource.text("tier").lower().replace("_", "-").replace("enterprise", "regional")
    bill.add(resource, f"files, {tier}", f"gcp/filestore-{tier}", gib)


def _bucket(resource: Resource, bill: Bill) -> None:
    dual = bool(resource.items("customPlacementConfig", "dataLocations")) or "-" not in resource.text("location")
    key = "gcp/gcs-dual-region" if dual else "gcp/gcs-standard"
    bill.add(resource, "objects", key, bill.usage("bucket.stored"), assumed=True)
    if dual:
        bill.add(resource, "copies", "gcp/gcs-replication", bill.usage("bucket.replicated"), assumed=True)


def _nat(resource: Resource, bill: Bill) -> None:
    bill.add(resource, "NAT gateway", "gcp/nat")
    bill.add(resource, "data through it", "gcp/nat-data", bill.usage("nat.data"), assumed=True)


def _address(resource: Resource, bill: Bill) -> None:
    if resource.text("addressType", default="EXTERNAL") == "EXTERNAL":
        bill.add(resource, "public IPv4 address", "gcp/address")


def _key(resource: Resource, bill: Bill) -> None:
    rotates = resource.text("rotationPeriod") != ""
    # Old versions are needed to read what they encrypted, and each is paid for; four a year with 90 days.
    bill.add(resource, "key versions", "gcp/kms-key", bill.usage("gcp.key-versions") if rotates else Range.of(1))


def _secret_version(resource: Resource, bill: Bill) -> None:
    bill.add(resource, "secret", "gcp/secret-version")


def _repository(resource: Resource, bill: Bill) -> None:
    bill.add(resource, "images", "gcp/registry", bill.usage("registry.stored"), assumed=True)


def _log_bucket(resource: Resource, bill: Bill) -> None:
    ingested = bill.usage("logs.cluster")
    bill.add(resource, "logs taken in", "gcp/logging", ingested, assumed=True)
    months = max((resource.number("retentionDays") or 30) / 30 - 1, 0)  # the first 30 days are in the price above
    bill.add(resource, "logs kept", "gcp/logging-kept", ingested.times(months), assumed=True)


def _subnetwork(resource: Resource, bill: Bill) -> None:
    if resource.get("logConfig") is not None:
        bill.add(resource, "flow logs", "gcp/logging", bill.usage("logs.flows"), assumed=True)


def _forwarding_rule(resource: Resource, bill: Bill) -> None:
    balancer(resource, bill)


def balancer(resource: Resource, bill: Bill) -> None:
    """A load balancer, whoever makes it."""
    bill.add(resource, "load balancer", "gcp/balancer")
    bill.add(resource, "data through it", "gcp/balancer-data", bill.usage("internet.data"), assumed=True)


def _zone(resource: Resource, bill: Bill) -> None:
    bill.add(resource, "DNS zone", "gcp/dns-zone")


PRICERS: Final[Mapping[str, Pricer]] = {
    "gcp:artifactregistry/repository:Repository": _repository,
    "gcp:compute/address:Address": _address,
    "gcp:compute/forwardingRule:ForwardingRule": _forwarding_rule,
    "gcp:compute/globalAddress:GlobalAddress": _address,
    "gcp:compute/globalForwardingRule:GlobalForwardingRule": _forwarding_rule,
    "gcp:compute/routerNat:RouterNat": _nat,
    "gcp:compute/subnetwork:Subnetwork": _subnetwork,
    "gcp:container/cluster:Cluster": _cluster,
    "gcp:container/nodePool:NodePool": _node_pool,
    "gcp:dns/managedZone:ManagedZone": _zone,
    "gcp:filestore/instance:Instance": _files,
    "gcp:kms/cryptoKey:CryptoKey": _key,
    "gcp:logging/projectBucketConfig:ProjectBucketConfig": _log_bucket,
    "gcp:redis/instance:Instance": _cache,
    "gcp:secretmanager/secretVersion:SecretVersion": _secret_version,
    "gcp:sql/databaseInstance:DatabaseInstance": _database,
    "gcp:storage/bucket:Bucket": _bucket,
}

_CONFIGURES: Final = "configures another resource"
_IAM: Final = "IAM is free"
_NETWORK: Final = "part of a network, which is free"

FREE: Final[Mapping[str, str]] = {
    "gcp:billing/budget:Budget": "budgets are free",
    "gcp:compute/firewall:Firewall": _NETWORK,
    "gcp:compute/network:Network": _NETWORK,
    "gcp:compute/router:Router": _NETWORK,
    "gcp:dns/recordSet:RecordSet": "its zone is priced",
    "gcp:kms/keyRing:KeyRing": "its keys are priced",
    "gcp:logging/projectSink:ProjectSink": "where it sends to is priced",
    "gcp:monitoring/alertPolicy:AlertPolicy": "a few conditions on metrics of Google's own; cents a month",
    "gcp:monitoring/notificationChannel:NotificationChannel": _CONFIGURES,
    "gcp:projects/iAMCustomRole:IAMCustomRole": _IAM,
    "gcp:projects/service:Service": "an API is free; what is made with it is priced",
    "gcp:projects/serviceIdentity:ServiceIdentity": _IAM,
    "gcp:secretmanager/secret:Secret": "its versions are priced",
    "gcp:serviceaccount/account:Account": _IAM,
    "gcp:servicenetworking/connection:Connection": _NETWORK,
    "gcp:sql/database:Database": "part of its server",
    "gcp:sql/user:User": "part of its server",
}
_GRANT: Final = re.compile(r"gcp:\w+/\w*[iI](am|AM)(Member|Binding|Policy):\w+")


def why_free(kind: str) -> str | None:
    """The reason why a type of Google Cloud costs nothing; None where it is not known to be free."""
    return _IAM if _GRANT.fullmatch(kind) else FREE.get(kind)
