"""Copies of the database's automated backups in a second region, from which a server is restored there."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_aws import Provider, rds


@dataclass(frozen=True, kw_only=True)
class DatabaseReplicationArgs:
    """What replication of backups needs.

    Attributes:
        source_arn: The server, in the first region.
        replica_provider: AWS provider of the second region, where the copying is asked for.
        replica_kms_key_arn: Key of the copies, in the second region: a key never leaves its own, and RDS does not copy
            backups of an encrypted server without one.
        retention_days: How long copies are kept, 1 to 35.
    """

    source_arn: pulumi.Input[str]
    replica_provider: Provider
    replica_kms_key_arn: pulumi.Input[str]
    retention_days: int


class DatabaseReplication(pulumi.ComponentResource):
    """RDS copies each snapshot and the log of changes as soon as they are there; a standby changes nothing of that."""

    backups_arn: pulumi.Output[str]

    def __init__(self, name: str, args: DatabaseReplicationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:aws:DatabaseReplication", name, None, opts)

        replication = rds.InstanceAutomatedBackupsReplication(
            f"{name}-backups",
            source_db_instance_arn=args.source_arn,
            kms_key_id=args.replica_kms_key_arn,
            retention_period=args.retention_days,
            opts=pulumi.ResourceOptions(
                parent=self,
                provider=args.replica_provider,
                # Any change replaces it, and a server is copied to a region once. To delete it is to stop: the copies
                # stay until they expire. Made first, the new one would be refused, or stopped in the place of the old.
                # Not protected for the same reason: nothing is lost with it, and a new retention must get through.
                delete_before_replace=True,
            ),
        )
        self.backups_arn = replication.id  # its identifier is the ARN of the copies
        self.register_outputs({"backupsArn": self.backups_arn})
