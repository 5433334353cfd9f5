"""What changes behind the engine's back is found by a refresh and mended by the next update."""

from __future__ import annotations

import pytest

from tests.engine.harness import Sandbox

pytestmark = pytest.mark.engine

PROGRAM = """
    from pulumi_aws import ec2, rds

    vpc = ec2.Vpc("vpc", cidr_block="10.0.0.0/16")
    subnet = ec2.Subnet("subnet", vpc_id=vpc.id, cidr_block="10.0.1.0/24")
    rds.Instance("database", identifier="database", instance_class="db.t4g.medium", allocated_storage=20,
                 engine="postgres", username="platform", manage_master_user_password=True,
                 backup_retention_period=7, skip_final_snapshot=True)
"""


def test_drift_is_found_by_refresh_and_mended_by_up(sandbox: Sandbox):
    """Someone switches backups off and deletes a subnet in the console; the engine notices both and mends both."""
    sandbox.write(PROGRAM)
    sandbox.up()
    before = sandbox.state()
    assert sandbox.run("account", "set", "database", "backupRetentionPeriod=0").code == 0
    assert sandbox.run("account", "delete", "subnet").code == 0

    found = sandbox.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes", "--diff")
    assert found.code != 0
    assert "backupRetentionPeriod" in found.text
    assert "1 updated" in found.text
    assert "1 deleted" in found.text
    assert "subnet" not in sandbox.state()

    mended = sandbox.up()
    assert "1 created" in mended
    assert "1 updated" in mended
    account = {record.type.rsplit(":", 1)[1]: record for record in sandbox.account()}
    assert account["Instance"].inputs["backupRetentionPeriod"] == 7
    assert account["Instance"].id == before["database"]["id"]
    assert account["Subnet"].inputs["vpcId"] == before["vpc"]["id"]
    assert account["Subnet"].id != before["subnet"]["id"]
    sandbox.up("--expect-no-changes")


def test_what_is_not_in_the_account_cannot_be_changed_behind_its_back(sandbox: Sandbox):
    answer = sandbox.run("account", "delete", "nothing-of-that-name")
    assert answer.code == 1
    assert "nothing in the account has the identifier or name nothing-of-that-name" in answer.stderr
