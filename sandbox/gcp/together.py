"""What Google Cloud refuses because of two properties together, or of a number that grows in steps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from components.capacity.gce import CATALOGUE
from sandbox.provider import CheckFailure
from sandbox.values import UNKNOWN, Properties, is_list, is_object

_DAY: Final = 86_400  # seconds


def values(value: Any, path: str, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every known value at a path, each with its own path; items of lists are all taken."""
    if value is None or value is UNKNOWN:
        return
    if is_list(value):
        for index, item in enumerate(value):
            yield from values(item, path, f"{where}[{index}]")
    elif not path:
        yield where, value
    elif is_object(value):
        first, _, rest = path.partition(".")
        yield from values(value.get(first), rest, f"{where}.{first}".lstrip("."))


def _one(inputs: Properties, path: str) -> Any:
    """The value at a path where there is one; nothing where it is not known."""
    return next((value for _, value in values(inputs, path)), None)


def _seconds(text: Any) -> float | None:
    found = re.fullmatch(r"([0-9.]+)s", str(text))
    return float(found[1]) if found else None


def _many(inputs: Properties, path: str, most: int, what: str) -> Iterator[CheckFailure]:
    *parents, name = path.split(".")
    held = _one(inputs, ".".join(parents)) if parents else inputs
    found: Any = held.get(name) if is_object(held) else None
    if (is_list(found) or is_object(found)) and len(found) > most:
        yield CheckFailure(path, f"at most {most} {what}; got {len(found)}")


def _nodes(inputs: Properties) -> Iterator[CheckFailure]:
    if is_object(sizes := inputs.get("autoscaling")):
        for least, most in (("minNodeCount", "maxNodeCount"), ("totalMinNodeCount", "totalMaxNodeCount")):
            low, high = sizes.get(least), sizes.get(most)
            if isinstance(low, int) and isinstance(high, int) and low > high:
                yield CheckFailure(f"autoscaling.{least}", f"{least} {low} is above {most} {high}")
        if {"minNodeCount", "maxNodeCount"} & sizes.keys() and {
            "totalMinNodeCount",
            "totalMaxNodeCount",
        } & sizes.keys():
            yield CheckFailure("autoscaling", "sizes are given for each zone or in total, not both")
    machine = CATALOGUE.get(str(_one(inputs, "nodeConfig.machineType")))
    count = _one(inputs, "nodeConfig.guestAccelerators.count")
    # A G2 machine has its GPUs built in: Compute Engine, "GPU machine types".
    if machine is not None and isinstance(count, int) and count != machine.gpus:
        yield CheckFailure("nodeConfig.guestAccelerators", f"{machine.name} has {machine.gpus} GPUs; got {count}")
    labels = _one(inputs, "nodeConfig.labels")
    if is_object(labels) and sum(len(key) + len(str(value)) for key, value in labels.items()) > 1024:
        yield CheckFailure("nodeConfig.labels", "at most 1,024 characters together (GKE API, NodeConfig.labels)")
    if _one(inputs, "nodeConfig.spot") is True and _one(inputs, "nodeConfig.preemptible") is True:
        yield CheckFailure("nodeConfig.spot", "a node is spot or preemptible, not both")


def _cluster(inputs: Properties) -> Iterator[CheckFailure]:
    # GKE API, MasterAuthorizedNetworksConfig.cidrBlocks.
    yield from _many(inputs, "masterAuthorizedNetworksConfig.cidrBlocks", 50, "networks")


def _database(inputs: Properties) -> Iterator[CheckFailure]:
    """Tiers and retention by edition: the provider's documentation of ``transaction_log_retention_days``."""
    tier, edition = str(_one(inputs, "settings.tier") or ""), _one(inputs, "settings.edition")
    plus = tier.startswith(("db-perf-optimized-", "db-c4a-"))
    # Where none is said Google decides, by the version of PostgreSQL.
    if tier and edition and plus != (edition == "ENTERPRISE_PLUS"):
        yield CheckFailure("settings.tier", f"{tier} is no tier of the edition {edition}")
    if custom := re.fullmatch(r"db-custom-(\d+)-(\d+)", tier):
        vcpu, mib = int(custom[1]), int(custom[2])
        right = vcpu == 1 or (vcpu % 2 == 0 and vcpu <= 96)
        if not right or mib % 256 or mib < 3840 or not 0.9 * 1024 * vcpu <= mib <= 6.5 * 1024 * vcpu:
            yield CheckFailure(
                "settings.tier",
                "1 or an even number of vCPUs up to 96, 0.9 to 6.5 GiB each, 3840 MiB at least, in steps of 256; "
                f"got {tier} (Cloud SQL, Instance settings)",
            )
    path, most = "settings.backupConfiguration.transactionLogRetentionDays", 7 if edition == "ENTERPRISE" else 35
    days = _one(inputs, path)
    if isinstance(days, int) and not 1 <= days <= most:
        yield CheckFailure(path, f"1 to {most} days of logs in the edition {edition or 'of the tier'}; got {days}")
    limit, size = _one(inputs, "settings.diskAutoresizeLimit"), _one(inputs, "settings.diskSize")
    if isinstance(limit, int) and isinstance(size, int) and 0 < limit < size:
        yield CheckFailure("settings.diskAutoresizeLimit", f"{limit} is below the disk's size {size}")


def _cache(inputs: Properties) -> Iterator[CheckFailure]:
    """Replicas by tier: Memorystore for Redis API, ``Instance.replicaCount``."""
    tier, replicas = inputs.get("tier") or "BASIC", inputs.get("replicaCount")
    readable = inputs.get("readReplicasMode") == "READ_REPLICAS_ENABLED"
    if tier == "BASIC" and readable:
        yield CheckFailure("readReplicasMode", "the tier BASIC has no replicas")
    if not isinstance(replicas, int):
        return
    if tier == "BASIC" and replicas > 0:
        yield CheckFailure("replicaCount", "the tier BASIC has no replicas")
    elif tier == "STANDARD_HA" and not 1 <= replicas <= (5 if readable else 1):
        yield CheckFailure("replicaCount", f"1{' to 5' if readable else ', without read replicas'}; got {replicas}")


# GiB at least and at most, and step: Filestore, "Service tiers". Above 10 TiB ZONAL and REGIONAL grow by 2.5 TiB.
_CAPACITIES: Final = {
    "BASIC_HDD": (1024, 65433, 1),
    "BASIC_SSD": (2560, 65433, 1),
    "ZONAL": (1024, 102400, 256),
    "REGIONAL": (1024, 102400, 256),
    "ENTERPRISE": (1024, 10240, 256),
}
_HIGH: Final = 10240
_HIGH_STEP: Final = 2560


def _files(inputs: Properties) -> Iterator[CheckFailure]:
    tier, location = str(inputs.get("tier")), inputs.get("location")
    zonal = isinstance(location, str) and re.search(r"-[a-z]$", location) is not None
    if tier in ("REGIONAL", "ENTERPRISE") and zonal:
        yield CheckFailure("location", f"the tier {tier} is regional; got the zone {location}")
    if tier in ("ZONAL", "BASIC_HDD", "BASIC_SSD") and isinstance(location, str) and not zonal:
        yield CheckFailure("location", f"the tier {tier} is of one zone; got {location}")
    if tier in ("STANDARD", "PREMIUM", "BASIC_HDD", "BASIC_SSD"):
        if inputs.get("kmsKeyName") is not None:
            yield CheckFailure("kmsKeyName", f"the tier {tier} takes no key of one's own")
        name = _one(inputs, "fileShares.name")
        if isinstance(name, str) and len(name) > 16:
            yield CheckFailure("fileShares.name", f"at most 16 characters in the tier {tier}; got {name}")
    yield from _capacity(tier, inputs)
    yield from _many(inputs, "fileShares.nfsExportOptions", 10, "export options")
    ranges = [found for _, found in values(inputs, "fileShares.nfsExportOptions.ipRanges")]
    if len(ranges) > 64:
        yield CheckFailure("fileShares.nfsExportOptions", f"at most 64 ranges of clients; got {len(ranges)}")


def _capacity(tier: str, inputs: Properties) -> Iterator[CheckFailure]:
    least, most, step = _CAPACITIES.get(tier, (0, 10**9, 1))
    for where, value in values(inputs, "fileShares.capacityGb"):
        if not least <= value <= most:
            yield CheckFailure(where, f"the tier {tier} has {least} to {most} GiB; got {value}")
            continue
        each = _HIGH_STEP if step > 1 and value > _HIGH else step
        if value % each:
            yield CheckFailure(where, f"the tier {tier} grows in steps of {each} GiB here; got {value}")


def _key(inputs: Properties) -> Iterator[CheckFailure]:
    """Cloud KMS API, ``CryptoKey.rotationPeriod``: a day to 876,000 hours."""
    seconds = _seconds(inputs.get("rotationPeriod"))
    if seconds is not None and not _DAY <= seconds <= 876_000 * 3600:
        yield CheckFailure("rotationPeriod", f"a day to 876,000 hours; got {inputs.get('rotationPeriod')}")


def _nat(inputs: Properties) -> Iterator[CheckFailure]:
    """Compute Engine API, ``RouterNat.maxPortsPerVm``."""
    least, most = inputs.get("minPortsPerVm"), inputs.get("maxPortsPerVm")
    if not isinstance(most, int) or not inputs.get("enableDynamicPortAllocation"):
        return
    if most & (most - 1) or most <= (least if isinstance(least, int) else 32):
        yield CheckFailure("maxPortsPerVm", f"a power of two above minPortsPerVm; got {most}")


def _bucket(inputs: Properties) -> Iterator[CheckFailure]:
    """Provider's documentation of ``custom_placement_config`` and ``soft_delete_policy``."""
    kept = _one(inputs, "softDeletePolicy.retentionDurationSeconds")
    if isinstance(kept, int) and kept != 0 and not 7 * _DAY <= kept <= 90 * _DAY:
        yield CheckFailure("softDeletePolicy.retentionDurationSeconds", f"0, or 7 to 90 days; got {kept} s")
    places = _one(inputs, "customPlacementConfig")
    regions = places.get("dataLocations") if is_object(places) else None
    if is_list(regions) and len(regions) != 2:
        yield CheckFailure("customPlacementConfig.dataLocations", f"two regions; got {len(regions)}")
    if is_list(regions) and str(inputs.get("location")).upper() not in ("US", "EU", "ASIA", "CA", "DE", "IN"):
        yield CheckFailure("location", "two regions want the continent as location")
    if "google" in str(inputs.get("name")) or str(inputs.get("name")).startswith("goog"):
        yield CheckFailure("name", "no name with google in it")


def _alert(inputs: Properties) -> Iterator[CheckFailure]:
    """Monitoring API: ``Aggregation.alignmentPeriod``, ``MetricThreshold.duration``, ``AlertStrategy``."""
    for where, text in values(inputs, "conditions.conditionThreshold.aggregations.alignmentPeriod"):
        seconds = _seconds(text)
        if seconds is not None and not 60 <= seconds <= 90_000:
            yield CheckFailure(where, f"60 to 90,000 seconds; got {text}")
    for where, text in values(inputs, "conditions.conditionThreshold.duration"):
        seconds = _seconds(text)
        if seconds is not None and seconds % 60:
            yield CheckFailure(where, f"whole minutes; got {text}")
    logs = any(values(inputs, "conditions.conditionMatchedLog.filter"))
    if logs and _one(inputs, "alertStrategy.notificationRateLimit") is None:
        yield CheckFailure("alertStrategy.notificationRateLimit", "must be set for a condition on logs")
    yield from _many(inputs, "conditions", 6, "conditions")


def _budget(inputs: Properties) -> Iterator[CheckFailure]:
    """Budget API: ``Filter.labels``, ``NotificationsRule.monitoringNotificationChannels``."""
    yield from _many(inputs, "budgetFilter.labels", 1, "label")
    yield from _many(inputs, "allUpdatesRule.monitoringNotificationChannels", 5, "channels")


_RULES: Final[Mapping[str, Callable[[Properties], Iterator[CheckFailure]]]] = {
    "billing/budget:Budget": _budget,
    "compute/routerNat:RouterNat": _nat,
    "container/cluster:Cluster": _cluster,
    "container/nodePool:NodePool": _nodes,
    "filestore/instance:Instance": _files,
    "kms/cryptoKey:CryptoKey": _key,
    "monitoring/alertPolicy:AlertPolicy": _alert,
    "redis/instance:Instance": _cache,
    "sql/databaseInstance:DatabaseInstance": _database,
    "storage/bucket:Bucket": _bucket,
}


def together(short: str, inputs: Properties) -> Iterator[CheckFailure]:
    """Properties that are right each and wrong together; ``short`` is the type without its package."""
    if rule := _RULES.get(short):
        yield from rule(inputs)
