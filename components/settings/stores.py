"""Where data lives: database, cache, buckets, shared files."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from components.settings.base import LogDays, Name, Section, Version


def _postgresql(value: str) -> str:
    # A minor version would be older than the server after its first automatic upgrade, and RDS does not go back.
    if value not in ("15", "16", "17", "18"):
        raise ValueError(f"must be a major version of PostgreSQL: 15, 16, 17 or 18; got {value}")
    return value


class DatabaseSettings(Section):
    """PostgreSQL for the experiment tracker and the gateway.

    Attributes:
        instance_class: RDS class such as ``db.m7g.large``, or Cloud SQL tier such as ``db-custom-2-8192``; another one
            takes effect in the maintenance window, Sunday 04:30 UTC; on Cloud SQL at once, with a restart.
        storage_gib: Allocated storage in GiB; grows by itself up to twice this.
        highly_available: A standby in a second zone; failover takes 60-120 s.
        backup_retention_days: Days of automated backups (point in time).
        replicate_backups: Copy the automated backups to ``aws.drRegion``, where they are kept for as many days; unset,
            as ``objects.replicate`` says. On AWS only.
        engine_version: Major version of PostgreSQL; RDS keeps the minor version current. RDS refuses a change, on
            purpose: upgrade the server by hand after a snapshot, then set the new version here.
        log_retention_days: How long the server's logs are kept.
        monitoring_seconds: Interval of operating-system metrics (0, 1, 5, 10, 15, 30 or 60); 0 turns them off.
    """

    instance_class: Annotated[str, Field(pattern=r"^db(\.[a-z0-9]+\.[a-z0-9]+|-[a-zA-Z0-9-]+)$")] = "db.t4g.medium"
    storage_gib: Annotated[int, Field(ge=20, le=32768)] = 50
    highly_available: bool = False
    backup_retention_days: Annotated[int, Field(ge=1, le=35)] = 7
    replicate_backups: bool | None = None
    engine_version: Annotated[Version, AfterValidator(_postgresql)] = "17"
    log_retention_days: LogDays = 30
    monitoring_seconds: Literal[0, 1, 5, 10, 15, 30, 60] = 60

    def has_replica(self, objects: ObjectSettings) -> bool:
        """Whether RDS copies the backups to the second region: as the buckets, unless it is said."""
        return objects.replicate if self.replicate_backups is None else self.replicate_backups


def _valkey(value: str) -> str:
    if value not in ("7.2", "8.0", "8.1"):
        raise ValueError(f"must be a version of Valkey: 7.2, 8.0 or 8.1; got {value}")
    return value


class CacheSettings(Section):
    """The Redis-protocol cache of the gateway.

    Attributes:
        node_type: ElastiCache node type; another one takes effect at once.
        replicas: Read replicas; with at least one the cache fails over to another zone by itself.
        engine_version: Version of Valkey, 7.2 or newer (docs/decisions/0002-valkey-with-a-token.md). A lower version
            than before replaces the cache and loses what is in it.
        snapshot_retention_days: Days that daily snapshots are kept; 0 makes none.
    """

    node_type: Annotated[str, Field(pattern=r"^cache\.[a-z0-9]+\.[a-z0-9]+$")] = "cache.t4g.small"
    replicas: Annotated[int, Field(ge=0, le=5)] = 0
    engine_version: Annotated[Version, AfterValidator(_valkey)] = "8.1"
    snapshot_retention_days: Annotated[int, Field(ge=0, le=35)] = 1


class ObjectSettings(Section):
    """The buckets.

    Attributes:
        replicate: Copy data, models and artifacts to ``aws.drRegion`` and keep the copies without limit. Only what is
            written after it was switched on; S3 Batch Replication copies the rest.
        log_retention_days: Days that access logs are kept.
        infrequent_access_days: Days until data moves to the cheaper class; S3 takes 30 at least.
        noncurrent_version_days: Days that overwritten and deleted versions are kept.
    """

    replicate: bool = False
    log_retention_days: Annotated[int, Field(ge=1)] = 90
    infrequent_access_days: Annotated[int, Field(ge=30)] = 30
    noncurrent_version_days: Annotated[int, Field(ge=1)] = 30


class FileSettings(Section):
    """The file system that many nodes mount at once.

    Attributes:
        throughput_mode: ``elastic`` is paid by the GB moved, ``bursting`` comes with the GB stored.
        backups: Daily backups by AWS Backup, kept 35 days.
        access_points: One directory with an owner of its own for each name.
    """

    throughput_mode: Literal["elastic", "bursting"] = "elastic"
    backups: bool = True
    access_points: Annotated[tuple[Name, ...], Field(min_length=1)] = ("models",)
