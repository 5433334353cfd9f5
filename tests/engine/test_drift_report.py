"""``python -m ops drift`` on a real engine: drift that was planted is found, and told from what an autoscaler did."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.engine.harness import Sandbox

pytestmark = pytest.mark.engine

PROGRAM = """
    from pulumi_aws import ec2, eks, rds, s3

    vpc = ec2.Vpc("vpc", cidr_block="10.0.0.0/16")
    subnet = ec2.Subnet("subnet", vpc_id=vpc.id, cidr_block="10.0.1.0/24")
    s3.Bucket("models")
    rds.Instance("database", identifier="database", instance_class="db.t4g.medium", allocated_storage=20,
                 engine="postgres", username="platform", manage_master_user_password=True,
                 backup_retention_period=7, skip_final_snapshot=True)
    eks.NodeGroup("workers", cluster_name="cluster", node_role_arn="arn:aws:iam::123456789012:role/nodes",
                  subnet_ids=["subnet-0123456789abcdef0"],
                  scaling_config={"min_size": 0, "max_size": 4, "desired_size": 0})
"""


def drift(sandbox: Sandbox) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "ops", "drift", "--stack", "dev", "--sandbox", "--json"]
    done = subprocess.run(
        command, cwd=sandbox.project, env=sandbox.environment, capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_planted_drift_is_found_sorted_and_left_as_it_is(sandbox: Sandbox):
    sandbox.write(PROGRAM)
    sandbox.up()
    assert drift(sandbox)[0] == 0

    before = sandbox.state()
    assert sandbox.run("account", "set", "workers", 'scalingConfig={"minSize":0,"maxSize":4,"desiredSize":3}').code == 0
    code, found = drift(sandbox)
    assert (code, found["real"]) == (0, 0)
    (workers,) = found["resources"]
    assert workers["properties"][0]["noise"] == "the cluster autoscaler sets the number of nodes"

    assert sandbox.run("account", "set", "database", "backupRetentionPeriod=0").code == 0
    assert sandbox.run("account", "delete", "subnet").code == 0
    assert sandbox.run("account", "delete", "models").code == 0
    code, found = drift(sandbox)
    assert code == 1
    assert {one["resource"]: one["remedy"] for one in found["resources"]} == {
        "models": "restore",
        "subnet": "up",
        "database": "adopt-or-up",
        "workers": "none",
    }
    (retention,) = next(one["properties"] for one in found["resources"] if one["resource"] == "database")
    assert (retention["path"], retention["expected"], retention["found"]) == ("backupRetentionPeriod", "7", "0")
    assert sandbox.state() == before, "a report changes nothing, not even the state"

    sandbox.up("--refresh")
    assert drift(sandbox)[0] == 0
