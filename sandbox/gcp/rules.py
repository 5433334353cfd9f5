"""What Google Cloud refuses although the types are right: a table of forms, choices and ranges with their sources."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sandbox.gcp.choices import BOUNDS, CHOICES
from sandbox.gcp.together import together, values
from sandbox.provider import CheckFailure
from sandbox.values import Properties, is_object


@dataclass(frozen=True)
class Rule:
    """What one property may be.

    Attributes:
        type: Resource type without its package and module path, such as ``compute/network:Network``.
        path: Property; items of lists are all judged.
        source: Page of Google's documentation, method or field of its APIs' discovery documents, or the provider's own
            schema; docs/gcp.md has them with their dates.
        form: Regular expression of the whole text.
        choices: Allowed values.
        least: Smallest number allowed.
        most: Largest number allowed.
        prefix: Lengths of an IPv4 range, shortest and longest.
    """

    type: str
    path: str
    source: str
    form: str = ""
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    prefix: tuple[int, int] | None = None

    def refuses(self, value: Any) -> str | None:
        """Return what is wrong with a known value, or None."""
        if self.form and not (isinstance(value, str) and re.fullmatch(self.form, value)):
            return f"must match {self.form}; got {value!r} ({self.source})"
        if self.choices and value not in self.choices:
            return f"must be one of {', '.join(self.choices)}; got {value!r} ({self.source})"
        if self.least is not None and (not isinstance(value, (int, float)) or value < self.least):
            return f"must be at least {self.least:g}; got {value!r} ({self.source})"
        if self.most is not None and (not isinstance(value, (int, float)) or value > self.most):
            return f"must be at most {self.most:g}; got {value!r} ({self.source})"
        return None if self.prefix is None else _range_problem(value, self.prefix, self.source)


def _range_problem(value: Any, prefix: tuple[int, int], source: str) -> str | None:
    try:
        network = ipaddress.IPv4Network(value)
    except ValueError as error:
        return f"must be an IPv4 range: {error}"
    if not prefix[0] <= network.prefixlen <= prefix[1]:
        return f"must be between /{prefix[0]} and /{prefix[1]}; got {value!r} ({source})"
    return None


_GCE_NAME: Final = "[a-z]([-a-z0-9]{0,61}[a-z0-9])?"  # RFC 1035, Compute Engine "Naming resources"
_GKE_NAME: Final = "[a-z]([-a-z0-9]{0,38}[a-z0-9])?"
_LABEL: Final = "[a-z0-9_-]{0,63}"
_NODES: Final = "container/nodePool:NodePool"
_CLUSTER: Final = "container/cluster:Cluster"
_SQL: Final = "sql/databaseInstance:DatabaseInstance"
_REDIS: Final = "redis/instance:Instance"
_FILES: Final = "filestore/instance:Instance"
_BUCKET: Final = "storage/bucket:Bucket"
_LOGS: Final = "logging/projectBucketConfig:ProjectBucketConfig"
_ALERT: Final = "monitoring/alertPolicy:AlertPolicy"
_SMALLEST_DISK: Final = "GKE API, NodeConfig.diskSizeGb"  # 12; 15 from 1.36.3 on
_BACKUPS: Final = "Cloud SQL, Automated backups"
_CLEANUP: Final = "Artifact Registry API, Repository.cleanupPolicies"

_PROVIDER: Final = "provider 7.31.0"
_POSTGRES: Final = tuple(f"POSTGRES_{version}" for version in ("9_6", *range(10, 21)))

RULES: Final[Sequence[Rule]] = (
    *(
        Rule(f"compute/{kind}", "name", "Compute Engine API, name", form=_GCE_NAME)
        for kind in (
            "address:Address",
            "firewall:Firewall",
            "globalAddress:GlobalAddress",
            "network:Network",
            "router:Router",
            "subnetwork:Subnetwork",
        )
    ),
    Rule("compute/routerNat:RouterNat", "name", _PROVIDER, form="[a-z][-a-z0-9]{0,61}[a-z0-9]"),
    Rule("compute/network:Network", "mtu", "VPC, Maximum transmission unit", least=1300, most=8896),
    Rule("compute/subnetwork:Subnetwork", "ipCidrRange", "VPC, Subnet ranges", prefix=(4, 29)),
    Rule("compute/subnetwork:Subnetwork", "secondaryIpRanges.ipCidrRange", "VPC, Subnet ranges", prefix=(4, 29)),
    Rule("compute/subnetwork:Subnetwork", "secondaryIpRanges.rangeName", _PROVIDER, form=_GCE_NAME),
    Rule("compute/subnetwork:Subnetwork", "logConfig.flowSampling", "VPC, Flow logs", least=0, most=1),
    Rule("compute/globalAddress:GlobalAddress", "prefixLength", "VPC, Private services access", least=8, most=29),
    Rule(_CLUSTER, "name", "GKE API, Cluster.name", form=_GKE_NAME),
    Rule(_CLUSTER, "privateClusterConfig.masterIpv4CidrBlock", _PROVIDER, prefix=(28, 28)),
    Rule(_CLUSTER, "masterAuthorizedNetworksConfig.cidrBlocks.cidrBlock", _PROVIDER, prefix=(0, 32)),
    Rule(_CLUSTER, "defaultMaxPodsPerNode", "GKE, Flexible Pod CIDR", least=8, most=256),
    Rule(_CLUSTER, "nodeConfig.diskSizeGb", _SMALLEST_DISK, least=12),
    Rule(_NODES, "name", "GKE API, NodePool.name", form=_GKE_NAME),
    Rule(_NODES, "maxPodsPerNode", "GKE, Flexible Pod CIDR", least=8, most=256),
    Rule(_NODES, "nodeConfig.diskSizeGb", _SMALLEST_DISK, least=12),
    Rule(_SQL, "name", "Cloud SQL, Instance settings", form="[a-z]([-a-z0-9]{0,96}[a-z0-9])?"),
    Rule(_SQL, "databaseVersion", "Cloud SQL Admin API", form=f"({'|'.join(_POSTGRES)}|MYSQL_.+|SQLSERVER_.+)"),
    Rule(_SQL, "settings.tier", "Cloud SQL, Instance settings", form="db-(custom|perf-optimized|f1|g1|n1|c4a|n4).*"),
    Rule(_SQL, "settings.diskSize", "Cloud SQL Admin API, Settings.dataDiskSizeGb", least=10, most=65536),
    Rule(
        _SQL, "settings.insightsConfig.queryStringLength", "Cloud SQL Admin API, InsightsConfig", least=256, most=4500
    ),
    Rule(_SQL, "settings.backupConfiguration.startTime", "Cloud SQL Admin API", form="([01][0-9]|2[0-3]):[0-5][0-9]"),
    Rule(_SQL, "settings.backupConfiguration.backupRetentionSettings.retainedBackups", _BACKUPS, least=1, most=365),
    Rule(_REDIS, "name", "Memorystore for Redis API, instanceId", form="[a-z]([-a-z0-9]{0,38}[a-z0-9])?"),
    Rule(_REDIS, "memorySizeGb", "Memorystore for Redis, Instance sizes", least=1, most=300),
    Rule(_REDIS, "redisVersion", "Memorystore for Redis API", form="REDIS_(3_2|4_0|5_0|6_X|7_0|7_2)"),
    Rule(_FILES, "name", "Filestore, Creating instances", form=_GCE_NAME),
    Rule(
        _FILES,
        "tier",
        "Filestore API, Instance.tier",
        choices=("STANDARD", "PREMIUM", "BASIC_HDD", "BASIC_SSD", "HIGH_SCALE_SSD", "ZONAL", "REGIONAL", "ENTERPRISE"),
    ),
    Rule(_FILES, "fileShares.name", "Filestore API, FileShareConfig.name", form="[a-z][a-z0-9_]{0,62}"),
    Rule(_BUCKET, "name", "Cloud Storage, Bucket naming", form="[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"),
    Rule(
        _BUCKET, "publicAccessPrevention", "Cloud Storage, Public access prevention", choices=("inherited", "enforced")
    ),
    Rule(
        _BUCKET,
        "storageClass",
        "Cloud Storage, Classes",
        choices=("STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE", "MULTI_REGIONAL", "REGIONAL"),
    ),
    Rule("kms/keyRing:KeyRing", "name", "Cloud KMS API, keyRingId", form="[a-zA-Z0-9_-]{1,63}"),
    Rule("kms/cryptoKey:CryptoKey", "name", "Cloud KMS API, cryptoKeyId", form="[a-zA-Z0-9_-]{1,63}"),
    Rule("secretmanager/secret:Secret", "secretId", "Secret Manager API, secretId", form="[a-zA-Z0-9_-]{1,255}"),
    Rule("serviceaccount/account:Account", "accountId", "IAM API, accountId", form="[a-z]([-a-z0-9]{4,28}[a-z0-9])"),
    Rule("serviceaccount/account:Account", "displayName", "IAM API, ServiceAccount", form="(?s).{0,100}"),
    Rule("serviceaccount/account:Account", "description", "IAM API, ServiceAccount", form="(?s).{0,256}"),
    Rule("projects/iAMCustomRole:IAMCustomRole", "roleId", "IAM API, roleId", form=r"[a-zA-Z0-9_.]{3,64}"),
    Rule("projects/iAMCustomRole:IAMCustomRole", "title", "IAM API, Role.title", form="(?s).{0,100}"),
    Rule(
        "artifactregistry/repository:Repository",
        "repositoryId",
        "Artifact Registry API",
        form="[a-z]([-a-z0-9]{0,61}[a-z0-9])?",
    ),
    Rule("artifactregistry/repository:Repository", "cleanupPolicies.id", _CLEANUP, form="(?s).{1,127}"),
    Rule("billing/budget:Budget", "displayName", "Budget API, Budget.displayName", form="(?s).{0,60}"),
    Rule("billing/budget:Budget", "thresholdRules.thresholdPercent", "Budget API, ThresholdRule", least=0),
    Rule(_LOGS, "retentionDays", "Cloud Logging, Buckets", least=1, most=3650),
    Rule(_LOGS, "bucketId", "Logging API, bucketId", form="[a-zA-Z0-9][a-zA-Z0-9_.-]{0,99}"),
    Rule("logging/projectSink:ProjectSink", "name", "Logging API, LogSink", form="[a-zA-Z0-9][a-zA-Z0-9_.-]{0,99}"),
    Rule(_ALERT, "displayName", "Monitoring API, AlertPolicy", form="(?s).{1,512}"),
    Rule(_ALERT, "documentation.content", "Monitoring API, Documentation", form="(?s).{0,8192}"),
    Rule("dns/managedZone:ManagedZone", "name", "Cloud DNS API, ManagedZone.name", form=_GCE_NAME),
    Rule("dns/managedZone:ManagedZone", "dnsName", "Cloud DNS API", form=r"([a-z0-9_-]+\.)+"),
    Rule("dns/managedZone:ManagedZone", "description", "Cloud DNS API", form="(?s).{1,1024}"),
    Rule("dns/recordSet:RecordSet", "name", _PROVIDER, form=r".*\."),
    *(
        Rule(type_, path, _PROVIDER, choices=(*words, ""))
        for type_, paths in CHOICES.items()
        for path, words in paths.items()
    ),
    *(
        Rule(type_, path, _PROVIDER, least=least, most=most)
        for type_, paths in BOUNDS.items()
        for path, (least, most) in paths.items()
    ),
)


def refused_inputs(type_token: str, inputs: Properties) -> list[CheckFailure]:
    """Return Google Cloud's refusals of what was asked for; unknown values are not judged."""
    short = type_token.removeprefix("gcp:")
    failures = [
        CheckFailure(where, reason)
        for rule in RULES
        if rule.type == short
        for where, value in values(inputs, rule.path)
        if (reason := rule.refuses(value))
    ]
    return [*failures, *_labels(short, inputs), *together(short, inputs)]


def _labels(short: str, inputs: Properties) -> Iterator[CheckFailure]:
    """Labels of resources: "Requirements for labels", Resource Manager."""
    if short == "monitoring/notificationChannel:NotificationChannel":
        return  # its labels are its settings, such as an e-mail address
    for name in ("labels", "resourceLabels", "userLabels"):
        labels = inputs.get(name)
        if not is_object(labels):
            continue
        if len(labels) > 64:
            yield CheckFailure(name, f"at most 64 labels a resource; got {len(labels)}")
        for key, value in labels.items():
            if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key):
                yield CheckFailure(f"{name}.{key}", "a label's key has lower-case letters, digits, - and _ only")
            if isinstance(value, str) and not re.fullmatch(_LABEL, value):
                yield CheckFailure(f"{name}.{key}", f"{value!r}: a label has lower-case letters, digits, - and _ only")
