"""What no resource tells: how much a stack is used. Each is a range, and each can be set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ops.cost.model import Range


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """One assumption.

    Attributes:
        value: Idle, expected, at most.
        unit: Of what.
        why: Where the numbers come from.
    """

    value: Range
    unit: str
    why: str


def _is(low: float, expected: float, high: float, unit: str, why: str) -> Assumption:
    return Assumption(value=Range(low=low, expected=expected, high=high), unit=unit, why=why)


_SHARE = "of the nodes between minSize and maxSize, on average over the month"

ASSUMPTIONS: Final[dict[str, Assumption]] = {
    "nodes.system": _is(0, 0.25, 1, _SHARE, "controllers run all the time; the rest is room for upgrades"),
    "nodes.cpu": _is(0, 0.05, 1, _SHARE, "batch jobs at full width for 37 h"),
    "nodes.gpu-training": _is(0, 0.1, 1, _SHARE, "training at full width for 73 h"),
    "nodes.gpu-inference": _is(0, 0.2, 1, _SHARE, "full width in working hours, 146 h"),
    "nodes.other": _is(0, 0.25, 1, _SHARE, "a group without a role of ours"),
    "spot.price": _is(
        0.27,
        0.45,
        1,
        "of the on-demand price",
        "g5, g6e in us-east-1, SkyPilot catalog v8, commit e385a0d: 0.27 to 0.50 by zone and size; the price is never "
        "above on-demand (EC2 user guide, spot prices)",
    ),
    "nat.data": _is(0, 100, 1000, "GB a gateway", "images and packages from outside; stores have endpoints"),
    "endpoint.data": _is(0, 20, 200, "GB an endpoint", "calls of AWS APIs, and image layers of a start or two a day"),
    "balancer.units": _is(
        0, 1, 10, "capacity units on average", "a unit is 1 GB an hour, or 25 new connections a second"
    ),
    "internet.data": _is(0, 100, 1000, "GB out to the internet", "tokens are small; artifacts are not"),
    "zone.data": _is(0, 500, 5000, "GB between zones, counted both ways", "replicas, and pods in different zones"),
    "bucket.stored": _is(0, 50, 1000, "GB a bucket", "an 8B model is 16 GB, a dataset of text a few GB"),
    "bucket.replicated": _is(0, 20, 400, "GB a month for each replicated bucket", "new versions of models and data"),
    "logs.cluster": _is(1, 10, 50, "GB ingested", "audit logs of a cluster with some twenty controllers"),
    "logs.flows": _is(1, 10, 100, "GB ingested", "accepted and rejected flows of a VPC with a dozen nodes"),
    "logs.other": _is(0, 1, 5, "GB ingested by each other log group", "servers that log errors and slow statements"),
    "files.stored": _is(0, 50, 500, "GB a file system", "weights that several nodes read"),
    "files.read": _is(0, 200, 2000, "GB", "each cold start reads the weights once"),
    "files.written": _is(0, 50, 500, "GB", "what is stored, written once"),
    "registry.stored": _is(0, 20, 100, "GB a repository", "serving images are 8 to 20 GB"),
    "database.backup": _is(0, 0, 1, "of the storage, above what is free", "RDS gives the storage's size free"),
    "database.copied": _is(
        0.1,
        0.5,
        2,
        "of the storage, in the other region",
        "a snapshot of what is used and a week's changes; what is free is the size of servers in the same region",
    ),
    "database.moved": _is(
        0.05, 0.5, 3, "of the storage a month", "each day's changes, twice: in its snapshot and in the log"
    ),
    "cache.backup": _is(0, 1, 10, "GB a snapshot kept", "cached answers and counters"),
    "sql.backup": _is(0.2, 0.5, 2, "of the storage", "seven daily backups, which hold changes only, and the logs"),
    "gcp.key-versions": _is(1, 4, 12, "paid versions of a key of Cloud KMS", "one each 90 days; old ones still read"),
    "kms.versions": _is(1, 1, 3, "paid versions of a key that rotates", "a year each; from the third on they are free"),
}


class AssumptionError(Exception):
    """An assumption that cannot be set so."""


def with_settings(settings: Iterable[str]) -> Mapping[str, Assumption]:
    """The table with ``name=value`` or ``name=min:expected:max`` set.

    Raises:
        AssumptionError: There is none of that name, or the numbers are no range.
    """
    table = dict(ASSUMPTIONS)
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in table:
            raise AssumptionError(f"there is no assumption {name!r}; there are {', '.join(sorted(table))}")
        try:
            numbers = [float(part) for part in text.split(":")]
        except ValueError:
            numbers = []
        if len(numbers) == 1:
            numbers *= 3
        if len(numbers) != 3 or numbers != sorted(numbers) or numbers[0] < 0:
            raise AssumptionError(f"{name} must be one number or min:expected:max in order; got {text!r}")
        low, expected, high = numbers
        table[name] = Assumption(
            value=Range(low=low, expected=expected, high=high), unit=table[name].unit, why="set for this run"
        )
    return table
