"""Is the quota there, less what others use of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from components.capacity.gce import CATALOGUE
from components.settings import Settings
from ops.preflight.gcp.account import Account
from ops.preflight.gcp.places import COMPUTE
from ops.preflight.model import Check, Finding
from ops.preflight.target import Target

_GPU_METRICS: Final[Mapping[str, tuple[str, str]]] = {"l4": ("NVIDIA_L4_GPUS", "PREEMPTIBLE_NVIDIA_L4_GPUS")}
# Families that have a quota of their own; the others count against CPUS (Compute Engine, "Allocation quotas").
_FAMILY_METRICS: Final[Mapping[str, str]] = {"n2": "N2_CPUS", "n2d": "N2D_CPUS"}


@dataclass(frozen=True, kw_only=True)
class Need:
    """What the stack takes of a quota when everything stands at its maximum.

    Attributes:
        metric: Name at Compute Engine.
        amount: How much.
        everywhere: The quota is the project's, not the region's.
    """

    metric: str
    amount: int
    everywhere: bool = False


def needs(settings: Settings) -> list[Need]:
    """Every quota that the stack counts against."""
    wanted: Counter[str] = Counter()
    gpus = 0
    for group in settings.node_groups:
        kind, spot = CATALOGUE[group.instance_types[0]], group.capacity == "spot"
        if not kind.gpus:  # machines with GPUs count by their GPUs
            family = kind.name.partition("-")[0]
            wanted["PREEMPTIBLE_CPUS" if spot else _FAMILY_METRICS.get(family, "CPUS")] += group.max_size * kind.vcpu
            wanted["SSD_TOTAL_GB"] += group.max_size * group.root_volume_gib  # pd-balanced counts as SSD
            continue
        wanted[_GPU_METRICS[kind.gpu_model][spot]] += group.max_size * kind.gpus
        gpus += group.max_size * kind.gpus
        wanted["SSD_TOTAL_GB"] += group.max_size * group.root_volume_gib
        wanted["LOCAL_SSD_TOTAL_GB"] += group.max_size * kind.local_ssds * 375
    addresses = len(settings.network.zones) if settings.network.nat_gateways == "per-zone" else 1
    wanted["STATIC_ADDRESSES"] += addresses
    found = [Need(metric=metric, amount=amount) for metric, amount in wanted.items() if amount]
    found.append(Need(metric="NETWORKS", amount=1, everywhere=True))
    if gpus:
        found.append(Need(metric="GPUS_ALL_REGIONS", amount=gpus, everywhere=True))
    return sorted(found, key=lambda need: need.metric)


def checks(account: Account, target: Target) -> Iterator[Check]:
    """One question for each quota."""
    for need in needs(target.settings):
        yield _check(account, target, need)


def _check(account: Account, target: Target, need: Need) -> Check:
    gcp = target.settings.gcp
    place = "the project" if need.everywhere else gcp.region
    url = f"{COMPUTE}/{gcp.project}" + ("" if need.everywhere else f"/regions/{gcp.region}")

    def ask() -> Iterator[Finding]:
        listed: list[dict[str, Any]] = account.get(url, fields="quotas").get("quotas") or []
        mine = next((one for one in listed if one.get("metric") == need.metric), None)
        link = (
            f"https://console.cloud.google.com/iam-admin/quotas?project={gcp.project}"
            f"&pageState=(%22allQuotasTable%22:(%22f%22:%22{need.metric}%22))"
        )
        if mine is None:
            message = f"needs {need.amount}; Compute Engine names no such quota in {place}"
            yield check.finding("unknown", message, link=link, figures={"needed": need.amount})
            return
        limit, used = float(mine["limit"]), float(mine.get("usage") or 0)
        figures = {"needed": float(need.amount), "limit": limit, "used": used}
        if need.amount > limit:
            yield check.finding(
                "refused", f"needs {need.amount}, the quota is {limit:g}", link=link, figures=figures,
                remedy="ask for more on the page of quotas, or lower maxSize in llmops:nodeGroups",
            )  # fmt: skip
        elif need.amount + used > limit:
            # Usage has no owner: a part of it may be this stack's own, from an earlier update.
            yield check.finding(
                "unknown", f"needs {need.amount} of {limit:g}; {used:g} are in use, by this stack or by others",
                link=link, figures=figures,
            )  # fmt: skip
        else:
            yield check.finding("ok", f"needs {need.amount} of {limit:g}; {used:g} are in use", figures=figures)

    check = Check(group="quota", subject=f"{need.metric}, {place}", ask=ask)
    return check
