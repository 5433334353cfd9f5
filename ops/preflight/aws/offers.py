"""Is what the stack is made of on offer: instance types in their zones, the database's class, versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from components.settings.nodes import NodeGroupSettings
from ops.preflight.aws.account import Account, AwsError
from ops.preflight.model import Check, Finding
from ops.preflight.target import Target


def checks(account: Account, target: Target) -> Iterator[Check]:
    """One question for each node group, the database, the cluster's version, and each add-on."""
    for index, group in enumerate(target.settings.node_groups):
        yield _group(account, target, index, group)
    yield _database(account, target)
    yield _version(account, target)
    for name, version in target.settings.cluster.addons.items():
        yield _addon(account, target, name, version)


def _group(account: Account, target: Target, index: int, group: NodeGroupSettings) -> Check:
    region, zones = target.settings.aws.region, group.zones or target.settings.zones

    def ask() -> Iterator[Finding]:
        filters = [
            {"Name": "instance-type", "Values": list(group.instance_types)},
            {"Name": "location", "Values": list(zones)},
        ]
        offered = {
            (str(one["InstanceType"]), str(one["Location"]))
            for one in account.pages(
                "ec2",
                "describe_instance_type_offerings",
                "InstanceTypeOfferings",
                region,
                LocationType="availability-zone",
                Filters=filters,
            )
        }
        lacking = [
            f"{zone} has no {' and no '.join(missing)}"
            for zone in zones
            if (missing := [kind for kind in group.instance_types if (kind, zone) not in offered])
        ]
        # EKS refuses the group where one type is missing in one of its zones, although the others would do.
        if not lacking:
            yield check.finding("ok", f"{', '.join(group.instance_types)} in {', '.join(zones)}")
            return
        whole = [zone for zone in zones if all((kind, zone) in offered for kind in group.instance_types)]
        remedy = f"nodeGroups[{index}].zones: [{', '.join(whole)}]" if whole else f"nodeGroups[{index}].instanceTypes"
        yield check.finding("refused", "; ".join(lacking), remedy=remedy)

    check = Check(group="offer", subject=f"instance types of {group.name}", ask=ask)
    return check


def _database(account: Account, target: Target) -> Check:
    settings = target.settings.database
    region, major = target.settings.aws.region, settings.engine_version

    def ask() -> Iterator[Finding]:
        options = [
            one
            for one in account.pages(
                "rds",
                "describe_orderable_db_instance_options",
                "OrderableDBInstanceOptions",
                region,
                Engine="postgres",
                DBInstanceClass=settings.instance_class,
                Vpc=True,
            )
            if str(one["EngineVersion"]).partition(".")[0] == major and one.get("StorageType") == "gp3"
        ]
        if settings.highly_available:
            options = [one for one in options if one.get("MultiAZCapable")]
        zones = {str(zone["Name"]) for one in options for zone in one.get("AvailabilityZones") or ()}
        here = [zone for zone in target.settings.zones if zone in zones]
        least = 2 if settings.highly_available else 1
        if len(here) >= least:
            yield check.finding("ok", f"in {', '.join(here)}")
        else:
            message = f"needs {least} of the network's zones, on offer in {', '.join(here) or 'none'}"
            yield check.finding("refused", message, remedy="database.instanceClass")

    standby = ", with a standby" if settings.highly_available else ""
    check = Check(group="offer", subject=f"PostgreSQL {major} on {settings.instance_class}{standby}", ask=ask)
    return check


def _version(account: Account, target: Target) -> Check:
    region, version = target.settings.aws.region, target.settings.cluster.kubernetes_version

    def ask() -> Iterator[Finding]:
        try:
            answer = account.call("eks", "describe_cluster_versions", region, clusterVersions=[version])
        except AwsError as error:
            if error.code not in ("InvalidParameterException", "ResourceNotFoundException"):
                raise
            answer = {}
        found = cast("list[dict[str, Any]]", answer.get("clusterVersions") or [])
        listed = [one for one in found if one.get("clusterVersion") == version]
        if not listed:
            yield check.finding("refused", "EKS does not have it", remedy="cluster.kubernetesVersion")
            return
        status = str(listed[0].get("versionStatus") or listed[0].get("status") or "").lower().replace("_", " ")
        end = listed[0].get("endOfStandardSupportDate")
        until = f", standard support until {end:%Y-%m-%d}" if end else ""
        if "extended" in status and target.settings.cluster.support == "standard":
            message = f"{status}{until}: EKS upgrades it by itself, because cluster.support is standard"
            yield check.finding("refused", message, remedy="cluster.kubernetesVersion, or cluster.support: extended")
        else:
            yield check.finding("ok", f"{status or 'listed'}{until}")

    check = Check(group="offer", subject=f"Kubernetes {version}", ask=ask)
    return check


def _addon(account: Account, target: Target, name: str, version: str) -> Check:
    region, minor = target.settings.aws.region, target.settings.cluster.kubernetes_version

    def ask() -> Iterator[Finding]:
        found = account.pages(
            "eks", "describe_addon_versions", "addons", region, addonName=name, kubernetesVersion=minor
        )
        versions = [str(one["addonVersion"]) for addon in found for one in addon["addonVersions"]]
        if version in versions:
            yield check.finding("ok", f"{version} for Kubernetes {minor}")
        else:
            message = f"EKS has no {version} for Kubernetes {minor}, but {', '.join(versions[:3]) or 'none at all'}"
            yield check.finding("refused", message, remedy=f"cluster.addonVersions.{name}")

    check = Check(group="offer", subject=f"add-on {name}", ask=ask)
    return check
