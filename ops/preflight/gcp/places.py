"""Is the project there, and does the region have what the stack needs: zones, machine types, versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from components.capacity.gce import CATALOGUE
from components.gcp.project import SERVICES
from ops.preflight.gcp.account import Account, GoogleError
from ops.preflight.model import Check, Finding, Group
from ops.preflight.target import Target

COMPUTE: Final = "https://compute.googleapis.com/compute/v1/projects"
_CONSOLE: Final = "https://console.cloud.google.com"


def checks(account: Account, target: Target) -> Iterator[Check]:
    """One question for the project, its payment, its APIs, the region, each zone and each type in each zone."""
    gcp = target.settings.gcp
    yield _project(account, target)
    yield _billing(account, target)
    yield from (_service(account, target, service) for service in SERVICES)
    yield _zones(account, target)
    for group in target.settings.node_groups:
        kind = group.instance_types[0]
        zones = group.zones or tuple(target.settings.network.zones)
        for zone in zones:
            yield _type(account, gcp.project, zone, kind, f"{group.name}: {kind} in {zone}")
    yield _version(account, target)


def _project(account: Account, target: Target) -> Check:
    gcp = target.settings.gcp

    def ask() -> Iterator[Finding]:
        found = account.get(f"https://cloudresourcemanager.googleapis.com/v1/projects/{gcp.project}")
        state, number = str(found.get("lifecycleState")), str(found.get("projectNumber"))
        if state != "ACTIVE":
            yield check.finding("refused", f"the project is {state}")
        elif gcp.project_number and number != gcp.project_number:
            yield check.finding(
                "refused",
                f"the project's number is {number}, llmops:gcp.projectNumber says {gcp.project_number}",
                remedy=f"set llmops:gcp.projectNumber to {number}",
            )
        else:
            yield check.finding("ok", f"project {gcp.project}, number {number}")

    check = Check(group="account", subject=f"project {gcp.project}", ask=ask)
    return check


def _billing(account: Account, target: Target) -> Check:
    project = target.settings.gcp.project

    def ask() -> Iterator[Finding]:
        found = account.get(f"https://cloudbilling.googleapis.com/v1/projects/{project}/billingInfo")
        if found.get("billingEnabled"):
            yield check.finding("ok", f"paid by {found.get('billingAccountName')}")
        else:
            yield check.finding(
                "refused",
                "nobody pays for the project: no machine can be had",
                remedy=f"gcloud billing projects link {project} --billing-account=ACCOUNT",
                link=f"{_CONSOLE}/billing/linkedaccount?project={project}",
            )

    check = Check(group="account", subject="billing", ask=ask)
    return check


def _service(account: Account, target: Target, service: str) -> Check:
    gcp = target.settings.gcp

    def ask() -> Iterator[Finding]:
        found = account.get(f"https://serviceusage.googleapis.com/v1/projects/{gcp.project}/services/{service}")
        if found.get("state") == "ENABLED":
            yield check.finding("ok", "is on")
        elif gcp.enable_apis:
            yield check.finding("ok", "is off; the stack switches it on")
        else:
            yield check.finding(
                "refused",
                "is off, and llmops:gcp.enableApis is false",
                remedy=f"gcloud services enable {service} --project {gcp.project}",
            )

    check = Check(group="account", subject=f"API {service}", ask=ask)
    return check


def _zones(account: Account, target: Target) -> Check:
    gcp, wanted = target.settings.gcp, list(target.settings.network.zones)

    def ask() -> Iterator[Finding]:
        found = account.get(f"{COMPUTE}/{gcp.project}/regions/{gcp.region}")
        if found.get("status") != "UP":
            yield check.finding("refused", f"the region is {found.get('status')}")
            return
        there = {str(url).rpartition("/")[2] for url in found.get("zones") or ()}
        if missing := [zone for zone in wanted if zone not in there]:
            message = f"{', '.join(missing)} is not among the region's zones, {', '.join(sorted(there))}"
            yield check.finding("refused", message, remedy="change llmops:network.zones")
        else:
            yield check.finding("ok", f"has {', '.join(wanted) or 'its zones'}")

    check = Check(group="region", subject=f"region {gcp.region}", ask=ask)
    return check


def _type(account: Account, project: str, zone: str, kind: str, subject: str) -> Check:
    group: Group = "offer"

    def ask() -> Iterator[Finding]:
        machine = CATALOGUE[kind]
        try:
            found = account.get(f"{COMPUTE}/{project}/zones/{zone}/machineTypes/{kind}")
            if machine.accelerator:
                account.get(f"{COMPUTE}/{project}/zones/{zone}/acceleratorTypes/{machine.accelerator}")
        except GoogleError as error:
            if not error.absent:
                raise
            yield check.finding(
                "refused", f"{zone} does not offer it", remedy="name other zones in nodeGroups[].zones, or another type"
            )
            return
        figures = {"vcpu": float(found.get("guestCpus") or 0), "memoryMib": float(found.get("memoryMb") or 0)}
        if figures["vcpu"] != machine.vcpu or figures["memoryMib"] != machine.memory_mib:
            yield check.finding(
                "unknown", f"is offered with {figures['vcpu']:g} vCPU and {figures['memoryMib']:g} MiB, not with what "
                f"components/capacity/gce.py says ({machine.vcpu}, {machine.memory_mib})", figures=figures,
            )  # fmt: skip
        else:
            yield check.finding("ok", "is offered; whether there is one to be had at the moment nobody says")

    check = Check(group=group, subject=subject, ask=ask)
    return check


def _version(account: Account, target: Target) -> Check:
    gcp, wanted = target.settings.gcp, target.settings.cluster.kubernetes_version

    def ask() -> Iterator[Finding]:
        url = f"https://container.googleapis.com/v1/projects/{gcp.project}/locations/{gcp.region}/serverConfig"
        found = account.get(url)
        channels = {str(one.get("channel")): one for one in found.get("channels") or ()}
        channel = channels.get(gcp.release_channel, {})
        versions = [str(one) for one in channel.get("validVersions") or ()]
        minors = sorted({".".join(one.split(".")[:2]) for one in versions})
        if any(one == wanted or one.startswith(f"{wanted}.") for one in versions):
            yield check.finding("ok", f"the channel {gcp.release_channel} has it")
        elif not versions:
            yield check.finding("unknown", f"GKE names no versions of the channel {gcp.release_channel}")
        else:
            yield check.finding(
                "refused",
                f"the channel {gcp.release_channel} has {', '.join(minors)}",
                remedy="change llmops:cluster.kubernetesVersion or llmops:gcp.releaseChannel",
            )

    check = Check(group="region", subject=f"Kubernetes {wanted}", ask=ask)
    return check
