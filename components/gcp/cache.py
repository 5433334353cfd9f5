"""A Redis-protocol cache on Memorystore for Redis: the GCP twin of ``Cache``.

Redis and not Valkey, which the AWS twin takes: Memorystore for Valkey knows IAM tokens that last an hour and no
password, and the clients of the platform know passwords only (docs/gcp.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_gcp import redis

from components.contract import SecretRef
from components.gcp.alarms import Alarm, metric_alarm
from components.gcp.project import Project
from components.gcp.secrets import SecretVault, keep_values

PORT: Final = 6378
"""Where Memorystore listens with TLS; it closes 6379 then (Memorystore for Redis, "In-transit encryption")."""

_READ_REPLICAS_GIB: Final = 5
"""The smallest instance with read replicas (the same, "Read replicas")."""


@dataclass(frozen=True, kw_only=True)
class CacheArgs:
    """What a cache needs from its surroundings.

    Attributes:
        prefix: ``<project>-<stack>``; begins the instance's name.
        project: Where it lives.
        network_id: The network, peered with that of Google's services.
        allocated_range: Name of the addresses that it takes some of.
        kms_key: Key of what is written to disk.
        vault: How the token is kept.
        engine_version: Redis version as Memorystore names it.
        memory_gib: Size; plain, because the cost model reads it at preview.
        replicas: Copies in other zones; with at least one, a replica takes over when the primary fails.
        snapshot_retention_days: 0 for no snapshots; Memorystore keeps the last one whatever the number.
        protect: Refuse deletion at the API.
        channels: Who hears of alarms.
    """

    prefix: str
    project: Project
    network_id: pulumi.Input[str]
    allocated_range: pulumi.Input[str]
    kms_key: pulumi.Input[str]
    vault: SecretVault
    engine_version: str = "REDIS_7_2"
    memory_gib: int
    replicas: int
    snapshot_retention_days: int
    protect: bool
    channels: tuple[pulumi.Input[str], ...]


class Cache(pulumi.ComponentResource):
    """One primary with its replicas; TLS and a token, always."""

    host: pulumi.Output[str]
    port: pulumi.Output[int]
    auth: SecretRef
    ca_certificates: pulumi.Output[str]
    """The instance's own authorities, as PEM; while one is replaced there are two."""

    def __init__(self, name: str, args: CacheArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:gcp:Cache", name, None, opts)
        readable = args.replicas > 0 and args.memory_gib >= _READ_REPLICAS_GIB
        instance = redis.Instance(
            f"{name}-instance",
            name=f"{args.prefix}-cache",
            region=args.project.region,
            tier="STANDARD_HA" if args.replicas else "BASIC",
            memory_size_gb=args.memory_gib,
            redis_version=args.engine_version,
            read_replicas_mode="READ_REPLICAS_ENABLED" if readable else None,
            replica_count=args.replicas if readable else None,  # below 5 GiB there is one, which cannot be read
            authorized_network=args.network_id,
            connect_mode="PRIVATE_SERVICE_ACCESS",
            reserved_ip_range=args.allocated_range,
            auth_enabled=True,
            transit_encryption_mode="SERVER_AUTHENTICATION",
            customer_managed_key=args.kms_key,
            # When memory is full, only keys with an expiry go: cached answers, but no queue and no cluster state.
            redis_configs={"maxmemory-policy": "volatile-lru"},
            persistence_config=(
                {"persistence_mode": "RDB", "rdb_snapshot_period": "TWENTY_FOUR_HOURS"}
                if args.snapshot_retention_days
                else {"persistence_mode": "DISABLED"}
            ),
            maintenance_policy={
                "weekly_maintenance_windows": [{"day": "SUNDAY", "start_time": {"hours": 4, "minutes": 30}}]  # UTC
            },
            deletion_protection=args.protect,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.auth = keep_values(
            name,
            "cache-auth",
            "Token of the cache; every client sends it.",
            {"token": pulumi.Output.secret(instance.auth_string)},
            args.vault,
            parent=self,
        )
        for metric, alarm in ALARMS.items():
            metric_alarm(
                f"{name}-{metric}",
                alarm,
                display_name=f"{args.prefix} cache: {metric}",
                labels={"instance_id": instance.id},  # the full name is what the metric's label holds
                channels=args.channels,
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.host = instance.host
        self.port = pulumi.Output.from_input(PORT)
        self.ca_certificates = instance.server_ca_certs.apply(
            lambda certificates: "\n".join(one.cert or "" for one in certificates)
        )
        self.register_outputs({"host": self.host, "port": self.port, "auth": self.auth.key})


ALARMS: Final = {
    "memory": Alarm(
        description="Cache is above 80 % of its memory for 15 minutes: raise gcp.cacheMemoryGib, or shorter expiry.",
        metric="redis.googleapis.com/stats/memory/usage_ratio",
        resource="redis_instance",
        above=0.8,
    ),
    "cpu": Alarm(
        description="The cache's main thread is busy 80 % of the time for 15 minutes: spread the load, or cache less.",
        metric="redis.googleapis.com/stats/cpu_utilization_main_thread",
        resource="redis_instance",
        above=0.8,
    ),
}
"""What is worth a message, by a short name."""
