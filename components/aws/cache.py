"""A Redis-protocol cache on ElastiCache for Valkey: the AWS twin of ``Cache``.

Valkey and not Redis: the same protocol and the same clients, an open licence, and a lower price per node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_aws import elasticache

from components.aws.access import store_security_group
from components.aws.alarms import Alarm, metric_alarm
from components.aws.secrets import SecretVault, keep
from components.contract import SecretRef
from components.credentials import Credential, Generated

PORT: Final = 6379

# ElastiCache takes 16 to 128 characters and few symbols; letters and digits also need no quoting in a redis:// URL.
CREDENTIAL: Final = Credential(
    purpose="cache-auth",
    description="Token of the cache; every client sends it.",
    generated={"token": Generated(length=64)},
    overlaps=True,
)


@dataclass(frozen=True, kw_only=True)
class CacheArgs:
    """What a cache needs from its surroundings.

    Attributes:
        vpc_id: Network of the subnets.
        subnet_ids: Isolated subnets, in at least two zones.
        client_security_group_ids: Groups that may connect, by a short name; plain keys, so that the rules are known.
        kms_key_arn: Key of what is written to disk and of snapshots.
        vault: How the token is kept.
        engine_version: Valkey version such as ``8.1``.
        node_type: ElastiCache node type; plain, because the cost model reads it at preview.
        replicas: Copies in other zones; with at least one, a replica takes over when the primary fails.
        snapshot_retention_days: Daily snapshots; 0 for none.
        alarm_topic_arn: Where alarms go.
    """

    vpc_id: pulumi.Input[str]
    subnet_ids: pulumi.Input[Sequence[pulumi.Input[str]]]
    client_security_group_ids: Mapping[str, pulumi.Input[str]]
    kms_key_arn: pulumi.Input[str]
    vault: SecretVault
    engine_version: str
    node_type: str
    replicas: int
    snapshot_retention_days: int
    alarm_topic_arn: pulumi.Input[str]


class Cache(pulumi.ComponentResource):
    """One primary with its replicas; TLS and a token, always."""

    host: pulumi.Output[str]
    port: pulumi.Output[int]
    auth: SecretRef

    def __init__(self, name: str, args: CacheArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:aws:Cache", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        nodes = 1 + args.replicas

        token = keep(name, CREDENTIAL, args.vault, parent=self)
        subnets = elasticache.SubnetGroup(f"{name}-subnets", subnet_ids=args.subnet_ids, opts=child)
        admission = store_security_group(
            f"{name}-clients",
            description="Redis protocol, from pods of the platform",
            vpc_id=args.vpc_id,
            port=PORT,
            clients=args.client_security_group_ids,
            opts=child,
        )
        parameters = elasticache.ParameterGroup(
            f"{name}-parameters",
            family=f"valkey{args.engine_version.split('.')[0]}",
            # When memory is full, only keys with an expiry go: cached answers, but no queue and no cluster state.
            parameters=[{"name": "maxmemory-policy", "value": "volatile-lru"}],
            opts=child,
        )
        group = elasticache.ReplicationGroup(
            f"{name}-group",
            description="Cache of the LLM platform",
            engine="valkey",
            engine_version=args.engine_version,
            # The version is a setting. Were AWS to raise it by itself, the setting would read as a downgrade, for which
            # the provider replaces the group and loses what is in it. Security patches come all the same.
            auto_minor_version_upgrade=False,
            node_type=args.node_type,
            num_cache_clusters=nodes,
            automatic_failover_enabled=args.replicas > 0,
            multi_az_enabled=args.replicas > 0,
            port=PORT,
            parameter_group_name=parameters.name,
            subnet_group_name=subnets.name,
            security_group_ids=[admission.id],
            at_rest_encryption_enabled=True,
            kms_key_id=args.kms_key_arn,
            transit_encryption_enabled=True,
            transit_encryption_mode="required",
            auth_token=token.values["token"],
            # ROTATE adds a token and keeps the one before. SET leaves the one that is given alone.
            auth_token_update_strategy="SET" if token.ended else "ROTATE",
            snapshot_retention_limit=args.snapshot_retention_days,
            snapshot_window="03:00-04:00",  # UTC
            maintenance_window="sun:04:30-sun:05:30",  # UTC, after the snapshot
            # At once and not in that window: until then, the old parameter group of another major version is in use and
            # cannot be deleted, and the update fails.
            apply_immediately=True,
            opts=child,
        )
        for number in range(1, nodes + 1):
            for metric, alarm in ALARMS.items():
                metric_alarm(
                    f"{name}-{metric}-{number}",
                    alarm,
                    # ElastiCache numbers the nodes of a group: <group>-001, <group>-002.
                    dimensions={"CacheClusterId": pulumi.Output.concat(group.id, f"-{number:03d}")},
                    topic_arn=args.alarm_topic_arn,
                    opts=child,
                )
        self.host = group.primary_endpoint_address
        self.port = group.port.apply(lambda port: port or PORT)
        self.auth = token.ref
        self.register_outputs({"host": self.host, "port": self.port, "auth": self.auth.key})


ALARMS: Final = {
    "cpu": Alarm(
        description="The cache is above 80 % of its one engine thread for 15 minutes: choose a larger node type.",
        namespace="AWS/ElastiCache",
        metric="EngineCPUUtilization",
        above=80,
    ),
    "memory": Alarm(
        description="Cache is above 80 % of its memory for 15 minutes: choose a larger node type, or shorter expiry.",
        namespace="AWS/ElastiCache",
        metric="DatabaseMemoryUsagePercentage",
        above=80,
    ),
}
"""What is worth a message, by a short name; on every node."""
