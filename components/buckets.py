"""Buckets as every cloud has them: which there are, how long each keeps things, whose key encrypts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from components.contract import BucketRole

ROLES: Final[tuple[BucketRole, ...]] = get_args(BucketRole)

# Datasets and runs are read rarely after a while. Models are read at every cold start, vectors and backups are managed
# by their own tools, and logs expire.
_TIERED: Final[frozenset[BucketRole]] = frozenset({"data", "mlflow", "pipelines"})


@dataclass(frozen=True, kw_only=True)
class Lifecycle:
    """How long a bucket keeps things.

    Attributes:
        tier_after_days: Objects move to cheaper storage of the same latency then; None: never.
        expire_after_days: Objects are deleted then; None: never.
        expire_noncurrent_after_days: Overwritten and deleted versions are kept this long; None: for ever.
    """

    tier_after_days: int | None = None
    expire_after_days: int | None = None
    expire_noncurrent_after_days: int | None = None


LINKED: Final[tuple[BucketRole, ...]] = ("models", "mlflow", "pipelines")
"""Buckets whose objects may be given to people by a link: models, and what runs and pipelines have written."""

MAX_LINK_SECONDS: Final = 12 * 3600
"""How long a signed link holds at most; ``workloads/artifacts/links.py`` says why."""


def key_domain(role: BucketRole) -> Literal["backups", "objects"]:
    """Which key encrypts the bucket of ``role``; who may use that of the data cannot read the backups."""
    return "backups" if role == "backups" else "objects"


def lifecycle_of(role: BucketRole, *, tier_after_days: int, log_retention_days: int, noncurrent_days: int) -> Lifecycle:
    """How long the bucket of ``role`` keeps things; backups are expired by the tool that makes them."""
    return Lifecycle(
        tier_after_days=tier_after_days if role in _TIERED else None,
        expire_after_days=log_retention_days if role == "logs" else None,
        expire_noncurrent_after_days=noncurrent_days,
    )
