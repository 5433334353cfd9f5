"""PostgreSQL on Cloud SQL: the GCP twin of ``Database``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_gcp import dns, sql

from components.contract import SecretRef
from components.credentials import Credential, Generated
from components.gcp.alarms import Alarm, log_alarm, metric_alarm
from components.gcp.project import Project, unique
from components.gcp.secrets import SecretVault, keep

PORT: Final = 5432

CREDENTIAL: Final = Credential(
    purpose="database-admin",
    description="Administrator of PostgreSQL; jobs create databases and users with it.",
    fixed={"username": "platform"},
    generated={"password": Generated(length=40)},
)

# Cloud SQL, "Point-in-time recovery": days of write-ahead logs, at most, in each edition.
_LOG_DAYS: Final = {"ENTERPRISE": 7, "ENTERPRISE_PLUS": 35}


@dataclass(frozen=True, kw_only=True)
class DatabaseArgs:
    """What a database needs from its surroundings.

    Attributes:
        prefix: ``<project>-<stack>``; begins the instance's name.
        project: Where it lives.
        network_id: The network, peered with that of Google's services.
        allocated_range: Name of the addresses that it takes one of.
        kms_key: Key of the disk and of backups.
        vault: How the administrator's password is kept.
        labels: Labels of the instance, which default labels do not reach.
        engine_version: Major version of PostgreSQL.
        instance_class: Cloud SQL tier; plain, because the cost model reads it at preview.
        storage_gib: Disk in GiB; grows by itself up to twice this.
        highly_available: A standby in a second zone; failover takes about 60 s (Cloud SQL, "About high availability").
        backup_retention_days: Daily backups kept, and days of point-in-time recovery up to what the edition has.
        protect: Refuse deletion, here and in Cloud SQL.
        channels: Who hears of alarms.
        max_connections: Connections at most; the alarm fires at 80 %.
    """

    prefix: str
    project: Project
    network_id: pulumi.Input[str]
    allocated_range: pulumi.Input[str]
    kms_key: pulumi.Input[str]
    vault: SecretVault
    labels: Mapping[str, str]
    engine_version: str
    instance_class: str
    storage_gib: int
    highly_available: bool
    backup_retention_days: int
    protect: bool
    channels: tuple[pulumi.Input[str], ...]
    max_connections: int = 200


class Database(pulumi.ComponentResource):
    """One PostgreSQL server with a private address; it refuses connections without TLS."""

    host: pulumi.Output[str]
    port: pulumi.Output[int]
    admin: SecretRef
    instance_id: pulumi.Output[str]
    ca_certificates: pulumi.Output[str]
    """The authorities that sign the server's certificates, as PEM; the same for all instances of a region."""

    def __init__(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:gcp:Database", name, None, opts)
        kind = edition(args.instance_class)
        server = sql.DatabaseInstance(
            f"{name}-server",
            name=unique(f"{name}-server", f"{args.prefix}-postgres", self),
            region=args.project.region,
            database_version=f"POSTGRES_{args.engine_version}",
            encryption_key_name=args.kms_key,
            deletion_protection=args.protect,
            settings={
                "tier": args.instance_class,
                "edition": kind,
                "availability_type": "REGIONAL" if args.highly_available else "ZONAL",
                "deletion_protection_enabled": args.protect,  # the same at the API, whoever asks
                "disk_type": "PD_SSD",
                "disk_size": args.storage_gib,
                "disk_autoresize": True,
                "disk_autoresize_limit": 2 * args.storage_gib,
                "ip_configuration": {
                    "ipv4_enabled": False,
                    "private_network": args.network_id,
                    "allocated_ip_range": args.allocated_range,
                    "ssl_mode": "ENCRYPTED_ONLY",
                    # Its certificates hold the instance's DNS name, which clients then verify; those of the other mode
                    # hold the instance's id.
                    "server_ca_mode": "GOOGLE_MANAGED_CAS_CA",
                },
                "backup_configuration": {
                    "enabled": True,
                    "start_time": "03:00",  # UTC
                    "location": args.project.region,  # where the key is
                    "point_in_time_recovery_enabled": True,
                    "transaction_log_retention_days": min(args.backup_retention_days, _LOG_DAYS[kind]),
                    "backup_retention_settings": {
                        "retained_backups": args.backup_retention_days,
                        "retention_unit": "COUNT",
                    },
                },
                "retain_backups_on_delete": args.protect,
                "maintenance_window": {"day": 7, "hour": 4, "update_track": "stable"},  # Sunday, UTC, after the backup
                "insights_config": {"query_insights_enabled": True, "query_string_length": 1024},
                "database_flags": [{"name": key, "value": value} for key, value in flags(args.max_connections).items()],
                "user_labels": dict(args.labels),
            },
            # The disk grows by itself, and cannot shrink: the size that the settings began with is no drift.
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect, ignore_changes=["settings.diskSize"]),
        )
        credential = keep(name, CREDENTIAL, args.vault, parent=self)
        user = sql.User(
            f"{name}-admin",
            instance=server.name,
            name=CREDENTIAL.fixed["username"],
            password=credential.values["password"],
            type="BUILT_IN",
            # It owns what the jobs make, so PostgreSQL would refuse to drop it; it goes with the server.
            deletion_policy="ABANDON",
            opts=pulumi.ResourceOptions(parent=self),
        )
        for metric, alarm in alarms(args.max_connections).items():
            metric_alarm(
                f"{name}-{metric}",
                alarm,
                display_name=f"{args.prefix} PostgreSQL: {metric}",
                labels={"database_id": pulumi.Output.concat(args.project.id, ":", server.name)},
                channels=args.channels,
                opts=pulumi.ResourceOptions(parent=self),
            )
        log_alarm(
            f"{name}-backups",
            display_name=f"{args.prefix} PostgreSQL: backups",
            description="The daily backup of PostgreSQL failed: docs/recovery.md#databasebackupmissed",
            filter=failed_backups(args.project.id, server.name),
            channels=args.channels,
            opts=pulumi.ResourceOptions(parent=self),
        )
        record = self._named(name, args, server)
        # Once the administrator exists: whoever connects does so as one whom it made.
        self.host = pulumi.Output.all(record.name, user.id).apply(lambda values: str(values[0]).rstrip("."))
        self.port = pulumi.Output.from_input(PORT)
        self.admin = credential.ref
        self.instance_id = server.name
        self.ca_certificates = server.server_ca_certs.apply(
            lambda certificates: "\n".join(one.cert or "" for one in certificates)
        )
        self.register_outputs(
            {"host": self.host, "port": self.port, "admin": self.admin.key, "instanceId": self.instance_id}
        )

    def _named(self, name: str, args: DatabaseArgs, server: sql.DatabaseInstance) -> dns.RecordSet:
        """Let the name in the server's certificate lead to its private address, inside this network only."""
        child = pulumi.ResourceOptions(parent=self)
        full_name = server.dns_name.apply(lambda found: f"{found.rstrip('.')}.")
        zone = dns.ManagedZone(
            f"{name}-zone",
            name=f"{args.prefix}-postgres",
            dns_name=full_name,
            description="The name of PostgreSQL",
            visibility="private",
            private_visibility_config={"networks": [{"network_url": args.network_id}]},
            opts=child,
        )
        return dns.RecordSet(
            f"{name}-name",
            managed_zone=zone.name,
            name=full_name,
            type="A",
            ttl=60,  # seconds; the address stays through a failover
            rrdatas=[server.private_ip_address],
            opts=child,
        )


def failed_backups(project_id: str, instance: pulumi.Input[str]) -> pulumi.Output[str]:
    """What Cloud SQL writes down of a backup that failed (Cloud SQL, "View audit logs for automated backups")."""
    return pulumi.Output.concat(
        f'logName="projects/{project_id}/logs/cloudaudit.googleapis.com%2Fsystem_event" '
        f'AND resource.type="cloudsql_database" AND resource.labels.database_id="{project_id}:',
        instance,
        '" AND protoPayload.methodName="cloudsql.instances.automatedBackup" '
        'AND protoPayload.metadata.windowStatus=~"FAIL"',
    )


def edition(tier: str) -> str:
    """Edition that a tier belongs to (Cloud SQL, "Cloud SQL editions")."""
    return "ENTERPRISE_PLUS" if tier.startswith("db-perf-optimized-") else "ENTERPRISE"


def flags(max_connections: int) -> dict[str, str]:
    """Settings of the server. Cloud SQL takes ``on`` and ``off`` for what PostgreSQL calls true and false."""
    return {
        "log_min_duration_statement": "1000",  # ms; slower statements are logged
        "log_lock_waits": "on",
        "max_connections": str(max_connections),
    }


def alarms(max_connections: int) -> dict[str, Alarm]:
    """What is worth a message, by a short name."""
    return {
        "cpu": Alarm(
            description="PostgreSQL is above 80 % CPU for 15 minutes: look for slow statements in Query Insights.",
            metric="cloudsql.googleapis.com/database/cpu/utilization",
            resource="cloudsql_database",
            above=0.8,
        ),
        "storage": Alarm(
            description="PostgreSQL uses more than 95 % of its disk, and it did not grow: raise database.storageGib.",
            metric="cloudsql.googleapis.com/database/disk/utilization",
            resource="cloudsql_database",
            above=0.95,
            aligner="ALIGN_MAX",
            duration_seconds=300,
        ),
        "connections": Alarm(
            description="PostgreSQL uses more than 80 % of its connections: look for pools that are too large.",
            metric="cloudsql.googleapis.com/database/postgresql/num_backends",
            resource="cloudsql_database",
            above=0.8 * max_connections,
            aligner="ALIGN_MAX",
        ),
    }
