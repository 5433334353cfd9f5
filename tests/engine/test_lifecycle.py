"""A stack from the first preview to the end, on the real engine."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sandbox.engine import Engine
from tests.engine.conftest import ROOT, Sandbox

pytestmark = pytest.mark.engine

PROGRAM = """
    import pulumi, pulumi_kubernetes as k8s, pulumi_random as random
    from pulumi_aws import Provider, ec2, s3, secretsmanager

    west = Provider("west", region="us-west-2", default_tags={"tags": {"owner": "tests"}})
    vpc = ec2.Vpc("vpc", cidr_block="10.0.0.0/16", tags={"Name": "main"})
    subnets = [ec2.Subnet(f"subnet-{i}", vpc_id=vpc.id, cidr_block=f"10.0.{i}.0/24") for i in range(2)]
    bucket = s3.Bucket("bucket", opts=pulumi.ResourceOptions(provider=west))
    password = random.RandomPassword("password", length=40, special=False)
    secret = secretsmanager.Secret("secret")
    secretsmanager.SecretVersion("version", secret_id=secret.id, secret_string=password.result)
    namespace = k8s.core.v1.Namespace("namespace", metadata={"name": "probe"})
    k8s.core.v1.Secret("credentials", metadata={"name": "credentials", "namespace": namespace.metadata.name},
                       string_data={"password": password.result})
    pulumi.export("vpc", vpc.id)
    pulumi.export("bucketArn", bucket.arn)
    pulumi.export("password", password.result)
"""
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"  # how the engine's JSON shows a value that only exists later


def test_a_stack_comes_up_stays_as_it_is_and_leaves_nothing_behind(sandbox: Sandbox):
    """The whole life of a stack: up, up again, refresh, preview and destroy."""
    sandbox.write(PROGRAM)
    sandbox.up()
    first = sandbox.state()
    assert sandbox.outputs()["vpc"] == first["vpc"]["id"]
    assert {record.id for record in sandbox.account()} == {
        resource["id"] for resource in first.values() if resource["type"].startswith("aws:")
    }
    assert len(sandbox.recorded_objects()) == 2

    assert "9 unchanged" in sandbox.up().replace("10 unchanged", "9 unchanged")
    sandbox.succeed("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    sandbox.succeed("preview", "--expect-no-changes")
    assert sandbox.state().keys() == first.keys()

    sandbox.destroy()
    assert (sandbox.state(), sandbox.account(), sandbox.recorded_objects()) == ({}, [], [])
