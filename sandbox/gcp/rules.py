"""What Google Cloud refuses although the types are right: a table of forms, choices and ranges with their sources."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sandbox.provider import CheckFailure
from sandbox.values import UNKNOWN, Properties, is_list, is_object


@dataclass(frozen=True)
class Rule:
    """What one property may be.

    Attributes:
        type: Resource type without its package and module path, such as ``compute/network:Network``.
        path: Property; items of lists are all judged.
        source: Page of Google's documentation, or ``provider schema`` for what pulumi-gcp itself refuses.
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
_SCHEMA: Final = "provider schema"
_NODES: Final = "container/nodePool:NodePool"
_CLUSTER: Final = "container/cluster:Cluster"
_SQL: Final = "sql/databaseInstance:DatabaseInstance"
_REDIS: Final = "redis/instance:Instance"
_FILES: Final = "filestore/instance:Instance"
_BUCKET: Final = "storage/bucket:Bucket"

RULES: Final[Sequence[Rule]] = (
    *(
        Rule(f"compute/{kind}", "name", "Compute Engine, Naming resources", form=_GCE_NAME)
        for kind in (
            "address:Address",
            "firewall:Firewall",
            "globalAddress:GlobalAddress",
            "network:Network",
            "router:Router",
            "routerNat:RouterNat",
            "subnetwork:Subnetwork",
        )
    ),
    Rule("compute/network:Network", "mtu", "VPC, Maximum transmission unit", least=1300, most=8896),
    Rule("compute/network:Network", "routingMode", _SCHEMA, choices=("REGIONAL", "GLOBAL")),
    Rule("compute/subnetwork:Subnetwork", "ipCidrRange", "VPC, Subnet ranges", prefix=(4, 29)),
    Rule("compute/subnetwork:Subnetwork", "secondaryIpRanges.ipCidrRange", "VPC, Subnet ranges", prefix=(4, 29)),
    Rule("compute/subnetwork:Subnetwork", "secondaryIpRanges.rangeName", _SCHEMA, form=_GCE_NAME),
    Rule("compute/subnetwork:Subnetwork", "logConfig.flowSampling", "VPC, Flow logs", least=0, most=1),
    Rule("compute/globalAddress:GlobalAddress", "prefixLength", "VPC, Private services access", least=8, most=29),
    Rule("compute/firewall:Firewall", "priority", _SCHEMA, least=0, most=65535),
    Rule("compute/firewall:Firewall", "direction", _SCHEMA, choices=("INGRESS", "EGRESS")),
    Rule("compute/routerNat:RouterNat", "natIpAllocateOption", _SCHEMA, choices=("MANUAL_ONLY", "AUTO_ONLY")),
    Rule(
        "compute/routerNat:RouterNat",
        "sourceSubnetworkIpRangesToNat",
        _SCHEMA,
        choices=(
            "ALL_SUBNETWORKS_ALL_IP_RANGES",
            "ALL_SUBNETWORKS_ALL_PRIMARY_IP_RANGES",
            "LIST_OF_SUBNETWORKS",
        ),
    ),
    Rule(_CLUSTER, "name", "GKE API, projects.locations.clusters", form=_GKE_NAME),
    Rule(_CLUSTER, "privateClusterConfig.masterIpv4CidrBlock", "GKE, Private clusters", prefix=(28, 28)),
    Rule(
        _CLUSTER,
        "releaseChannel.channel",
        _SCHEMA,
        choices=("UNSPECIFIED", "RAPID", "REGULAR", "STABLE", "EXTENDED"),
    ),
    Rule(_CLUSTER, "datapathProvider", _SCHEMA, choices=("LEGACY_DATAPATH", "ADVANCED_DATAPATH")),
    Rule(
        _CLUSTER,
        "databaseEncryption.state",
        _SCHEMA,
        choices=("ENCRYPTED", "ALL_OBJECTS_ENCRYPTION_ENABLED", "DECRYPTED"),
    ),
    Rule(_CLUSTER, "defaultMaxPodsPerNode", "GKE, Flexible Pod CIDR", least=8, most=256),
    Rule(_NODES, "name", "GKE API, projects.locations.clusters.nodePools", form=_GKE_NAME),
    Rule(_NODES, "maxPodsPerNode", "GKE, Flexible Pod CIDR", least=8, most=256),
    Rule(_NODES, "nodeConfig.diskSizeGb", _SCHEMA, least=10),
    Rule(_NODES, "nodeConfig.taints.effect", _SCHEMA, choices=("NO_SCHEDULE", "PREFER_NO_SCHEDULE", "NO_EXECUTE")),
    Rule(_NODES, "autoscaling.locationPolicy", _SCHEMA, choices=("BALANCED", "ANY")),
    Rule(_NODES, "nodeConfig.workloadMetadataConfig.mode", _SCHEMA, choices=("GCE_METADATA", "GKE_METADATA")),
    Rule(
        _NODES,
        "nodeConfig.guestAccelerators.gpuDriverInstallationConfig.gpuDriverVersion",
        _SCHEMA,
        choices=("INSTALLATION_DISABLED", "DEFAULT", "LATEST"),
    ),
    Rule(_SQL, "name", "Cloud SQL, Instance settings", form="[a-z][a-z0-9-]{0,96}[a-z0-9]"),
    Rule(_SQL, "settings.tier", "Cloud SQL, Instance settings", form="db-(custom|perf-optimized|f1|g1|n1|c4a|n4).*"),
    Rule(_SQL, "settings.availabilityType", _SCHEMA, choices=("REGIONAL", "ZONAL")),
    Rule(_SQL, "settings.edition", _SCHEMA, choices=("ENTERPRISE", "ENTERPRISE_PLUS")),
    Rule(_SQL, "settings.diskSize", "Cloud SQL, Instance settings", least=10, most=65536),
    Rule(
        _SQL,
        "settings.ipConfiguration.sslMode",
        _SCHEMA,
        choices=("ALLOW_UNENCRYPTED_AND_ENCRYPTED", "ENCRYPTED_ONLY", "TRUSTED_CLIENT_CERTIFICATE_REQUIRED"),
    ),
    Rule(_SQL, "settings.backupConfiguration.transactionLogRetentionDays", "Cloud SQL, Backups", least=1, most=35),
    Rule(_REDIS, "name", _SCHEMA, form="[a-z][a-z0-9-]{0,38}[a-z0-9]"),
    Rule(_REDIS, "memorySizeGb", "Memorystore for Redis, Instance sizes", least=1, most=300),
    Rule(_REDIS, "tier", _SCHEMA, choices=("BASIC", "STANDARD_HA")),
    Rule(_REDIS, "transitEncryptionMode", _SCHEMA, choices=("SERVER_AUTHENTICATION", "DISABLED")),
    Rule(_REDIS, "connectMode", _SCHEMA, choices=("DIRECT_PEERING", "PRIVATE_SERVICE_ACCESS")),
    Rule(_FILES, "name", "Filestore, Creating instances", form=_GCE_NAME),
    Rule(
        _FILES,
        "tier",
        "Filestore, Service tiers",
        choices=("STANDARD", "PREMIUM", "BASIC_HDD", "BASIC_SSD", "HIGH_SCALE_SSD", "ZONAL", "REGIONAL", "ENTERPRISE"),
    ),
    Rule(_FILES, "fileShares.name", "Filestore, File share names", form="[a-zA-Z][a-zA-Z0-9_]{0,62}"),
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
    Rule("kms/keyRing:KeyRing", "name", "Cloud KMS API", form="[a-zA-Z0-9_-]{1,63}"),
    Rule("kms/cryptoKey:CryptoKey", "name", "Cloud KMS API", form="[a-zA-Z0-9_-]{1,63}"),
    Rule("secretmanager/secret:Secret", "secretId", "Secret Manager API", form="[a-zA-Z0-9_-]{1,255}"),
    Rule("serviceaccount/account:Account", "accountId", "IAM API", form="[a-z]([-a-z0-9]{4,28}[a-z0-9])"),
    Rule("serviceaccount/account:Account", "displayName", "IAM API", form="(?s).{0,100}"),
    Rule("projects/iAMCustomRole:IAMCustomRole", "roleId", _SCHEMA, form=r"[a-zA-Z0-9_.]{3,64}"),
    Rule(
        "artifactregistry/repository:Repository",
        "repositoryId",
        "Artifact Registry API",
        form="[a-z]([-a-z0-9]{0,61}[a-z0-9])?",
    ),
    Rule(
        "logging/projectBucketConfig:ProjectBucketConfig", "retentionDays", "Cloud Logging, Buckets", least=1, most=3650
    ),
    Rule(
        "monitoring/alertPolicy:AlertPolicy", "combiner", _SCHEMA, choices=("AND", "OR", "AND_WITH_MATCHING_RESOURCE")
    ),
    Rule("dns/managedZone:ManagedZone", "dnsName", "Cloud DNS API", form=r"([a-z0-9_-]+\.)+"),
    Rule("dns/managedZone:ManagedZone", "visibility", _SCHEMA, choices=("private", "public")),
)


def refused_inputs(type_token: str, inputs: Properties) -> list[CheckFailure]:
    """Return Google Cloud's refusals of what was asked for; unknown values are not judged."""
    short = type_token.removeprefix("gcp:")
    failures = [
        CheckFailure(where, reason)
        for rule in RULES
        if rule.type == short
        for where, value in _values(inputs, rule.path.split("."), "")
        if (reason := rule.refuses(value))
    ]
    return [*failures, *_labels(short, inputs), *_together(short, inputs)]


def _values(value: Any, path: Sequence[str], where: str) -> Iterator[tuple[str, Any]]:
    """Every known value at a path, each with its own path."""
    if value is None or value is UNKNOWN:
        return
    if is_list(value):
        for index, item in enumerate(value):
            yield from _values(item, path, f"{where}[{index}]")
    elif not path:
        yield where, value
    elif is_object(value):
        yield from _values(value.get(path[0]), path[1:], f"{where}.{path[0]}".lstrip("."))


def _labels(short: str, inputs: Properties) -> Iterator[CheckFailure]:
    """Labels of resources: "Requirements for labels", Resource Manager."""
    if short == "monitoring/notificationChannel:NotificationChannel":
        return  # its labels are its settings, such as an e-mail address
    for name in ("labels", "resourceLabels"):
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


def _together(short: str, inputs: Properties) -> Iterator[CheckFailure]:
    """Properties that are right each and wrong together."""
    if short == _NODES and is_object(sizes := inputs.get("autoscaling")):
        for least, most in (("minNodeCount", "maxNodeCount"), ("totalMinNodeCount", "totalMaxNodeCount")):
            low, high = sizes.get(least), sizes.get(most)
            if isinstance(low, int) and isinstance(high, int) and low > high:
                yield CheckFailure(f"autoscaling.{least}", f"{least} {low} is above {most} {high}")
        if {"minNodeCount", "maxNodeCount"} & sizes.keys() and {
            "totalMinNodeCount",
            "totalMaxNodeCount",
        } & sizes.keys():
            yield CheckFailure("autoscaling", "sizes are given for each zone or in total, not both")
    if short == _REDIS and inputs.get("tier") == "BASIC" and (inputs.get("replicaCount") or 0) > 0:
        yield CheckFailure("replicaCount", "the tier BASIC has no replicas")
    if short == _FILES:
        tier, location = inputs.get("tier"), inputs.get("location")
        zonal = isinstance(location, str) and re.search(r"-[a-z]$", location) is not None
        if tier in ("REGIONAL", "ENTERPRISE") and zonal:
            yield CheckFailure("location", f"the tier {tier} is regional; got the zone {location}")
        if tier in ("ZONAL", "BASIC_HDD", "BASIC_SSD") and isinstance(location, str) and not zonal:
            yield CheckFailure("location", f"the tier {tier} is of one zone; got {location}")
        yield from _capacities(str(tier), inputs)


# GiB at least and at most: Filestore, "Service tiers".
_CAPACITIES: Final = {
    "BASIC_HDD": (1024, 65433),
    "BASIC_SSD": (2560, 65433),
    "ZONAL": (1024, 102400),
    "REGIONAL": (1024, 102400),
    "ENTERPRISE": (1024, 10240),
}


def _capacities(tier: str, inputs: Properties) -> Iterator[CheckFailure]:
    least, most = _CAPACITIES.get(tier, (0, 10**9))
    for where, value in _values(inputs, ("fileShares", "capacityGb"), ""):
        if not least <= value <= most:
            yield CheckFailure(where, f"the tier {tier} has {least} to {most} GiB; got {value}")
