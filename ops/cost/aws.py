"""What AWS resources cost; one function for each type, which reads plain inputs only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Final

from ops.cost.items import Bill
from ops.cost.model import Range, Resource
from ops.cost.nodes import node_group

Pricer = Callable[[Resource, Bill], None]

# EKS user guide, release calendar: the day on which standard support ends.
STANDARD_SUPPORT_ENDS: Final[Mapping[str, date]] = {
    "1.32": date(2026, 3, 23),
    "1.33": date(2026, 7, 29),
    "1.34": date(2026, 12, 2),
    "1.35": date(2027, 3, 27),
}


def _cluster(resource: Resource, bill: Bill) -> None:
    ends = STANDARD_SUPPORT_ENDS.get(resource.text("version"))
    # With STANDARD, EKS upgrades the cluster when its version leaves standard support; EXTENDED is EKS's own default.
    may_extend = resource.text("upgradePolicy", "supportType", default="EXTENDED") == "EXTENDED"
    extended = may_extend and ends is not None and bill.today >= ends
    bill.add(resource, "control plane" + (", extended support" if extended else ""), f"eks/{_support(extended)}")
    if may_extend and ends is None:
        bill.skip(resource, f"whether Kubernetes {resource.text('version') or 'unset'} is in extended support")
    bill.add(resource, "data out to the internet", "transfer/internet", bill.usage("internet.data"), assumed=True)
    bill.add(resource, "data between zones", "transfer/zone", bill.usage("zone.data"), assumed=True)


def _support(extended: bool) -> str:
    return "extended" if extended else "standard"


def _database(resource: Resource, bill: Bill) -> None:
    copies = 2 if resource.flag("multiAz") else 1
    suffix = ", with a standby" if copies == 2 else ""
    engine, kind = resource.text("engine"), resource.text("instanceClass")
    bill.add(resource, f"{kind}{suffix}", f"rds/{engine}/{kind}", copies)
    stored = resource.number("allocatedStorage") or 0
    grown = max(stored, resource.number("maxAllocatedStorage") or 0)
    size = Range(low=stored, expected=stored, high=grown)
    bill.add(resource, f"storage{suffix}", f"rds/{resource.text('storageType', default='gp2')}", size.times(copies))
    if resource.number("backupRetentionPeriod") != 0:
        bill.add(resource, "backups", "rds/backup", size.times(bill.usage("database.backup")), assumed=True)
    if resource.flag("manageMasterUserPassword"):
        bill.add(resource, "managed password", "secrets/secret")
    if (resource.number("performanceInsightsRetentionPeriod") or 7) > 7:
        bill.skip(resource, "performance insights kept for more than 7 days")


def _backup_copies(resource: Resource, bill: Bill) -> None:
    servers = [one for one in bill.resources.values() if one.type == "aws:rds/instance:Instance"]
    # Which one is told by an ARN, unknown at preview; by the engine's dependencies, where it says them.
    server = next((one for one in servers if one.urn in resource.dependencies), servers[0] if servers else None)
    if server is None:
        bill.skip(resource, "copies of backups of a server that is not in the stack")
        return
    stored = server.number("allocatedStorage") or 0
    size = Range(low=stored, expected=stored, high=max(stored, server.number("maxAllocatedStorage") or 0))
    copied, moved = size.times(bill.usage("database.copied")), size.times(bill.usage("database.moved"))
    bill.add(resource, "copied backups", "rds/backup", copied, assumed=True)
    bill.add(resource, "backups to another region", "transfer/region", moved, assumed=True)


def _cache(resource: Resource, bill: Bill) -> None:
    groups = resource.number("numNodeGroups") or 1
    nodes = resource.number("numCacheClusters") or groups * (1 + (resource.number("replicasPerNodeGroup") or 0))
    kind = resource.text("nodeType")
    bill.add(resource, f"{nodes:g} x {kind}", f"elasticache/{resource.text('engine', default='redis')}/{kind}", nodes)
    kept = max((resource.number("snapshotRetentionLimit") or 0) - 1, 0)  # the space of one snapshot is free
    if kept:
        bill.add(resource, "snapshots", "elasticache/backup", bill.usage("cache.backup").times(kept), assumed=True)


def _nat(resource: Resource, bill: Bill) -> None:
    bill.add(resource, "NAT gateway", "nat/gateway")
    bill.add(resource, "data through it", "nat/data", bill.usage("nat.data"), assumed=True)


def _address(resource: Resource, bill: Bill) -> None:
    bill.add(resource, "public IPv4 address", "ipv4/address")


def _endpoint(resource: Resource, bill: Bill) -> None:
    if resource.text("vpcEndpointType", default="Gateway") != "Interface":
        return  # gateway endpoints are free
    zones = len(resource.items("subnetIds"))
    bill.add(resource, f"endpoint in {zones} zones", "endpoint/zone", zones)
    bill.add(resource, "data through it", "endpoint/data", bill.usage("endpoint.data"), assumed=True)


def _key(resource: Resource, bill: Bill) -> None:
    versions = bill.usage("kms.versions") if resource.flag("enableKeyRotation") else Range.of(1)
    bill.add(resource, "key", "kms/key", versions)


def _secret(resource: Resource, bill: Bill) -> None:
    bill.add(resource, "secret", "secrets/secret")


def _alarm(resource: Resource, bill: Bill) -> None:
    bill.add(resource, "alarm", "cloudwatch/alarm")


def _log_group(resource: Resource, bill: Bill) -> None:
    name = f"{resource.text('name')} {resource.name}"
    kind = "cluster" if "/aws/eks/" in name else "flows" if "flow" in name else "other"
    ingested = bill.usage(f"logs.{kind}")
    bill.add(resource, "logs taken in", "cloudwatch/logs-ingested", ingested, assumed=True)
    # CloudWatch stores compressed; 0.15 is the ratio that AWS's own examples use.
    months = (resource.number("retentionInDays") or 365) / 30
    kept = ingested.times(0.15 * months)
    bill.add(resource, "logs kept", "cloudwatch/logs-stored", kept, assumed=True)


def _bucket(resource: Resource, bill: Bill) -> None:
    bill.add(resource, "objects", "s3/standard", bill.usage("bucket.stored"), assumed=True)


def _replication(resource: Resource, bill: Bill) -> None:
    bill.add(resource, "copies to another region", "transfer/region", bill.usage("bucket.replicated"), assumed=True)


def _files(resource: Resource, bill: Bill) -> None:
    bill.add(resource, "files", "efs/standard", bill.usage("files.stored"), assumed=True)
    match resource.text("throughputMode", default="bursting"):
        case "elastic":
            bill.add(resource, "files read", "efs/elastic-read", bill.usage("files.read"), assumed=True)
            bill.add(resource, "files written", "efs/elastic-write", bill.usage("files.written"), assumed=True)
        case "provisioned":
            bill.skip(resource, "provisioned throughput")
        case _:
            pass


def _file_backup(resource: Resource, bill: Bill) -> None:
    if resource.text("backupPolicy", "status") == "ENABLED":
        bill.add(resource, "backups of files", "efs/backup", bill.usage("files.stored"), assumed=True)


def _repository(resource: Resource, bill: Bill) -> None:
    bill.add(resource, "images", "ecr/storage", bill.usage("registry.stored"), assumed=True)


def _balancer(resource: Resource, bill: Bill) -> None:
    kind = {"network": "nlb", "application": "alb"}.get(resource.text("loadBalancerType", default="application"))
    if kind is None:
        bill.skip(resource, f"load balancers of type {resource.text('loadBalancerType')}")
        return
    public = not resource.flag("internal")
    balancer(resource, bill, kind, max(len(resource.items("subnets")), 2) if public else 0)


def balancer(resource: Resource, bill: Bill, kind: str, public_addresses: int) -> None:
    """A load balancer, whoever makes it."""
    bill.add(resource, f"load balancer ({kind.upper()})", f"{kind}/balancer")
    bill.add(resource, "capacity units", f"{kind}/capacity-unit", bill.usage("balancer.units"), assumed=True)
    if public_addresses:
        bill.add(resource, f"{public_addresses} public IPv4 addresses", "ipv4/address", public_addresses)


def _volume(resource: Resource, bill: Bill) -> None:
    kind = resource.text("type", default="gp2")
    bill.add(resource, f"volume ({kind})", f"ebs/{kind}", resource.number("size") or 0)
    if (resource.number("iops") or 0) > 3000 or (resource.number("throughput") or 0) > 125:
        bill.skip(resource, "IOPS and throughput above what gp3 includes")


def _zone(resource: Resource, bill: Bill) -> None:
    bill.add(resource, "hosted zone", "route53/zone")


PRICERS: Final[Mapping[str, Pricer]] = {
    "aws:cloudwatch/logGroup:LogGroup": _log_group,
    "aws:cloudwatch/metricAlarm:MetricAlarm": _alarm,
    "aws:ebs/volume:Volume": _volume,
    "aws:ec2/eip:Eip": _address,
    "aws:ec2/natGateway:NatGateway": _nat,
    "aws:ec2/vpcEndpoint:VpcEndpoint": _endpoint,
    "aws:ecr/pullThroughCacheRule:PullThroughCacheRule": _repository,
    "aws:ecr/repository:Repository": _repository,
    "aws:efs/backupPolicy:BackupPolicy": _file_backup,
    "aws:efs/fileSystem:FileSystem": _files,
    "aws:eks/cluster:Cluster": _cluster,
    "aws:eks/nodeGroup:NodeGroup": node_group,
    "aws:elasticache/replicationGroup:ReplicationGroup": _cache,
    "aws:kms/key:Key": _key,
    "aws:kms/replicaKey:ReplicaKey": _key,
    "aws:lb/loadBalancer:LoadBalancer": _balancer,
    "aws:rds/instance:Instance": _database,
    "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication": _backup_copies,
    "aws:route53/zone:Zone": _zone,
    "aws:s3/bucket:Bucket": _bucket,
    "aws:s3/bucketReplicationConfig:BucketReplicationConfig": _replication,
    "aws:secretsmanager/secret:Secret": _secret,
}
