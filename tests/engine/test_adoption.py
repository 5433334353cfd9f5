"""A restored database takes the place of the old one in the state of a stack, and the engine replaces nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ops.restore import adoption
from ops.restore.adoption import PulumiEngine
from ops.restore.declared import adopted, database_of
from sandbox.store import Store
from tests.engine.harness import Sandbox

pytestmark = pytest.mark.engine

NAME = "llmops-dev-postgres"
PROGRAM = f"""
    import pulumi
    from pulumi_aws import cloudwatch, rds

    server = rds.Instance("server", identifier="{NAME}", instance_class="db.t4g.medium", allocated_storage=20,
                          engine="postgres", username="platform", manage_master_user_password=True,
                          backup_retention_period=7, skip_final_snapshot=True, deletion_protection=True,
                          opts=pulumi.ResourceOptions(protect=True))
    cloudwatch.MetricAlarm("cpu", metric_name="CPUUtilization", namespace="AWS/RDS",
                           comparison_operator="GreaterThanThreshold", evaluation_periods=1, period=300,
                           statistic="Average", threshold=80,
                           dimensions={{"DBInstanceIdentifier": server.identifier}})
    pulumi.export("id", server.id)
    pulumi.export("host", server.address)
    pulumi.export("secret", server.master_user_secrets[0].secret_arn)
"""


def test_an_adopted_server_is_the_stacks_own_and_nothing_is_replaced(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """As after the renames of ``ops restore adopt``: the old server is aside, the restored one has its name."""
    sandbox.write(PROGRAM)
    sandbox.up()
    before = sandbox.outputs()
    exported = sandbox.export()
    (old,) = [record for record in sandbox.account() if record.type == "aws:rds/instance:Instance"]
    new_id = "db-RESTORED00000000000000000A"
    secret = old.outputs["masterUserSecrets"][0]["secretArn"].replace(old.id, new_id)
    outputs = {
        **old.outputs,
        "resourceId": new_id,
        "masterUserSecrets": [{**old.outputs["masterUserSecrets"][0], "secretArn": secret}],
    }
    assert sandbox.run("account", "set", old.id, "identifier=aside").code == 0
    store = Store(sandbox.home / "stacks" / "dev" / "account.sqlite")
    store.insert(replace(old, id=new_id, urn="", outputs=outputs))
    store.close()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(adoption, "pulumi", lambda arguments, **_more: sandbox.succeed(*arguments))
    declared = database_of(exported)
    PulumiEngine("dev", sandbox=False).replace(adopted(exported, declared.urn, new_id), declared.urn)

    server = sandbox.state()["server"]
    assert (server["id"], server["protect"], server["inputs"]["identifier"]) == (new_id, True, NAME)
    changed = sandbox.up()
    assert "3 unchanged" in changed
    after = sandbox.outputs()
    assert (after["id"], after["host"]) == (new_id, before["host"])
    assert after["secret"] == secret != before["secret"]
    sandbox.up("--expect-no-changes")
    aside = {record.id: record.inputs["identifier"] for record in sandbox.account() if record.type == old.type}
    assert aside == {old.id: "aside", new_id: NAME}
