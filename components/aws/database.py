"""PostgreSQL on RDS: the AWS twin of ``Database``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_aws import cloudwatch, iam, rds
from pulumi_random import RandomId

from components.aws.access import store_security_group
from components.aws.alarms import Alarm, absence_alarm, metric_alarm
from components.aws.policy import Account, service_trust
from components.contract import SecretRef

PORT: Final = 5432
CA_BUNDLE_URL: Final = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"
_LOGS: Final = ("postgresql", "upgrade")
_BACKUP_FINISHED: Final = "RDS-EVENT-0002"  # RDS user guide, "Amazon RDS event categories and event messages"


@dataclass(frozen=True, kw_only=True)
class DatabaseArgs:
    """What a database needs from its surroundings.

    Attributes:
        prefix: ``<project>-<stack>``; the server is named ``<prefix>-postgres``.
        account: Where the server lives.
        vpc_id: Network of the subnets.
        subnet_ids: Isolated subnets, in at least two zones.
        client_security_group_ids: Groups that may connect, by a short name; plain keys, so that the rules are known.
        kms_key_arn: Key of storage, snapshots and performance insights.
        secrets_kms_key_arn: Key of the administrator's password.
        logs_kms_key_arn: Key of the server's logs.
        engine_version: Major version such as ``17``; RDS picks the minor version.
        instance_class: RDS class; plain, because the cost model reads it at preview.
        storage_gib: Allocated storage in GiB, at least 20 (RDS, gp3); grows by itself up to twice this.
        highly_available: A standby in a second zone; failover takes 60-120 s (RDS user guide).
        backup_retention_days: Automated backups, 1 to 35.
        log_retention_days: Of the server's logs.
        monitoring_seconds: Interval of enhanced monitoring: 0 (off), 1, 5, 10, 15, 30 or 60.
        protect: Refuse deletion, here and in RDS; keep a final snapshot and the automated backups.
        alarm_topic_arn: Where alarms and events go.
        max_connections: Connections at most; the alarm fires at 80 %. The default is safe with 4 GiB of memory: RDS
            itself would allow one for each 9.1 MiB (RDS user guide).
    """

    prefix: str
    account: Account
    vpc_id: pulumi.Input[str]
    subnet_ids: pulumi.Input[Sequence[pulumi.Input[str]]]
    client_security_group_ids: Mapping[str, pulumi.Input[str]]
    kms_key_arn: pulumi.Input[str]
    secrets_kms_key_arn: pulumi.Input[str]
    logs_kms_key_arn: pulumi.Input[str]
    engine_version: str
    instance_class: str
    storage_gib: int
    highly_available: bool
    backup_retention_days: int
    log_retention_days: int
    monitoring_seconds: int
    protect: bool
    alarm_topic_arn: pulumi.Input[str]
    max_connections: int = 200


class Database(pulumi.ComponentResource):
    """One PostgreSQL server; RDS makes and rotates its password, which never leaves Secrets Manager."""

    host: pulumi.Output[str]
    port: pulumi.Output[int]
    admin: SecretRef
    instance_id: pulumi.Output[str]
    arn: pulumi.Output[str]

    def __init__(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:aws:Database", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        identifier = f"{args.prefix}-postgres"

        subnets = rds.SubnetGroup(f"{name}-subnets", subnet_ids=args.subnet_ids, opts=child)
        admission = store_security_group(
            f"{name}-clients",
            description="PostgreSQL, from pods of the platform",
            vpc_id=args.vpc_id,
            port=PORT,
            clients=args.client_security_group_ids,
            opts=child,
        )
        parameters = rds.ParameterGroup(
            f"{name}-parameters",
            family=f"postgres{args.engine_version.split('.')[0]}",
            parameters=[
                {"name": "rds.force_ssl", "value": "1"},
                {"name": "log_min_duration_statement", "value": "1000"},  # ms; slower statements are logged
                {"name": "log_lock_waits", "value": "1"},
                {"name": "max_connections", "value": str(args.max_connections), "apply_method": "pending-reboot"},
            ],
            opts=child,
        )
        log_groups = [
            cloudwatch.LogGroup(
                f"{name}-{log}",
                name=f"/aws/rds/instance/{identifier}/{log}",
                retention_in_days=args.log_retention_days,
                kms_key_id=args.logs_kms_key_arn,
                opts=child,
            )
            for log in _LOGS
        ]
        server = rds.Instance(
            f"{name}-server",
            identifier=identifier,
            engine="postgres",
            engine_version=args.engine_version,
            auto_minor_version_upgrade=True,
            instance_class=args.instance_class,
            storage_type="gp3",
            allocated_storage=args.storage_gib,
            max_allocated_storage=2 * args.storage_gib,
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[admission.id],
            port=PORT,
            publicly_accessible=False,
            parameter_group_name=parameters.name,
            ca_cert_identifier="rds-ca-rsa2048-g1",
            username="platform",
            manage_master_user_password=True,
            master_user_secret_kms_key_id=args.secrets_kms_key_arn,
            kms_key_id=args.kms_key_arn,
            storage_encrypted=True,
            multi_az=args.highly_available,
            backup_retention_period=args.backup_retention_days,
            backup_window="03:00-04:00",  # UTC
            maintenance_window="sun:04:30-sun:05:30",  # UTC, after the backup
            copy_tags_to_snapshot=True,
            performance_insights_enabled=True,
            performance_insights_kms_key_id=args.kms_key_arn,
            performance_insights_retention_period=7,  # days; what is free
            monitoring_interval=args.monitoring_seconds,
            monitoring_role_arn=self._monitoring_role(name, args) if args.monitoring_seconds else None,
            enabled_cloudwatch_logs_exports=list(_LOGS),
            deletion_protection=args.protect,
            delete_automated_backups=not args.protect,
            skip_final_snapshot=not args.protect,
            final_snapshot_identifier=self._final_snapshot(name, identifier) if args.protect else None,
            # RDS makes log groups that do not exist yet: without key, without retention, and left behind.
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect, depends_on=log_groups),
        )
        self._watch(name, args, server, identifier)

        self.host = server.address
        self.port = server.port
        self.admin = SecretRef(
            key=server.master_user_secrets.apply(lambda secrets: secrets[0].secret_arn or ""),
            properties=("username", "password"),  # what RDS writes there
        )
        self.instance_id = server.identifier
        self.arn = server.arn
        self.register_outputs(
            {
                "host": self.host,
                "port": self.port,
                "admin": self.admin.key,
                "instanceId": self.instance_id,
                "arn": self.arn,
            }
        )

    def _monitoring_role(self, name: str, args: DatabaseArgs) -> pulumi.Output[str]:
        child = pulumi.ResourceOptions(parent=self)
        role = iam.Role(
            f"{name}-monitoring", assume_role_policy=service_trust("monitoring.rds.amazonaws.com"), opts=child
        )
        managed = f"arn:{args.account.partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
        attachment = iam.RolePolicyAttachment(f"{name}-monitoring", role=role.name, policy_arn=managed, opts=child)
        # The server needs the role with its policy, so the ARN is known only once both exist.
        return pulumi.Output.all(role.arn, attachment.id).apply(lambda values: str(values[0]))

    def _final_snapshot(self, name: str, identifier: str) -> pulumi.Output[str]:
        """A name that no earlier server of this stack has used for its last snapshot."""
        suffix = RandomId(f"{name}-final-snapshot", byte_length=4, opts=pulumi.ResourceOptions(parent=self))
        return pulumi.Output.concat(identifier, "-final-", suffix.hex)

    def _watch(self, name: str, args: DatabaseArgs, server: rds.Instance, identifier: str) -> None:
        for metric, alarm in alarms(args.storage_gib, args.max_connections).items():
            metric_alarm(
                f"{name}-{metric}",
                alarm,
                dimensions={"DBInstanceIdentifier": server.identifier},
                topic_arn=args.alarm_topic_arn,
                opts=pulumi.ResourceOptions(parent=self),
            )
        rds.EventSubscription(
            f"{name}-events",
            sns_topic=args.alarm_topic_arn,
            source_type="db-instance",
            source_ids=[server.identifier],
            event_categories=["availability", "failover", "failure", "low storage", "recovery"],
            opts=pulumi.ResourceOptions(parent=self),
        )
        absence_alarm(
            f"{name}-backups",
            description="PostgreSQL has had no backup for 26 hours: a server that is stopped or full has none. "
            "docs/recovery.md#databasebackupmissed",
            # Plain, so that the rule does not wait for the server: it counts the first backup, which comes with it.
            event={
                "source": ["aws.rds"],
                "detail-type": ["RDS DB Instance Event"],
                "detail": {"SourceIdentifier": [identifier], "EventID": [_BACKUP_FINISHED]},
            },
            hours=26,  # daily, at any moment of an hour's window, and it takes its time
            topic_arn=args.alarm_topic_arn,
            opts=pulumi.ResourceOptions(parent=self),
            after=[server],
        )


def alarms(storage_gib: int, max_connections: int) -> dict[str, Alarm]:
    """What is worth a message, by a short name."""
    return {
        "cpu": Alarm(
            description="PostgreSQL is above 80 % CPU for 15 minutes: look for slow statements in the server's log.",
            namespace="AWS/RDS",
            metric="CPUUtilization",
            above=80,
        ),
        "storage": Alarm(
            description="PostgreSQL has less than 5 % of its storage left, and it did not grow: raise storage_gib.",
            namespace="AWS/RDS",
            metric="FreeStorageSpace",
            statistic="Minimum",
            below=0.05 * storage_gib * 2**30,  # bytes; storage grows by itself below 10 % (RDS user guide)
            periods=1,
        ),
        "connections": Alarm(
            description="PostgreSQL uses more than 80 % of its connections: look for pools that are too large.",
            namespace="AWS/RDS",
            metric="DatabaseConnections",
            statistic="Maximum",
            above=0.8 * max_connections,
        ),
    }
