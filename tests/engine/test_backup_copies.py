"""Copies of a database's backups in another region, through the engine: begun, begun anew, stopped."""

from __future__ import annotations

import pytest

from ops.restore.declared import copying_of
from sandbox.store import Record
from tests.engine.harness import Sandbox

pytestmark = pytest.mark.engine

REPLICATION = "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication"
PROGRAM = """
    import pulumi
    from pulumi_aws import Provider, kms, rds
    from components.aws.database_replication import DatabaseReplication, DatabaseReplicationArgs

    here, abroad = Provider("here", region="us-east-1"), Provider("abroad", region="us-west-2")
    in_, out = pulumi.ResourceOptions(provider=here), pulumi.ResourceOptions(provider=abroad)
    server = rds.Instance("server", identifier="llmops-dev-postgres", instance_class="db.t4g.medium",
                          allocated_storage=20, engine="postgres", username="platform", storage_encrypted=True,
                          manage_master_user_password=True, backup_retention_period=RETENTION,
                          skip_final_snapshot=True, opts=in_)
    DatabaseReplication("copies", DatabaseReplicationArgs(
        source_arn=server.arn, replica_provider=abroad, retention_days=RETENTION,
        replica_kms_key_arn=kms.Key("key", opts=out).arn), in_)
"""


def copies(sandbox: Sandbox) -> list[Record]:
    return [record for record in sandbox.account() if record.type == REPLICATION]


def test_copying_begins_in_the_other_region_anew_with_another_retention_and_ends_with_the_stack(sandbox: Sandbox):
    """The account refuses to copy a server twice, so what is begun before the old is stopped would fail here."""
    sandbox.write(PROGRAM.replace("RETENTION", "7"))
    sandbox.up()
    (first,) = copies(sandbox)
    assert (first.region, first.inputs["retentionPeriod"]) == ("us-west-2", 7)
    sandbox.up("--expect-no-changes")

    sandbox.write(PROGRAM.replace("RETENTION", "9"))
    sandbox.up()
    (second,) = copies(sandbox)
    assert (second.id != first.id, second.inputs["retentionPeriod"]) == (True, 9)

    # As `ops restore adopt` says: the server's ARN is as before, and to the engine nothing has changed.
    sandbox.up("--replace", copying_of(sandbox.export()))
    (third,) = copies(sandbox)
    assert third.id not in (first.id, second.id)

    sandbox.destroy()
    assert sandbox.account() == []
