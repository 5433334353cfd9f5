"""Failures: the cloud refuses, runs out, or the engine is killed; the next update always goes on to the end."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable

import pytest

from tests.engine.harness import Sandbox, engine_of, kill_group, wait_for_end_of, wait_until

pytestmark = pytest.mark.engine

SUBNET = "aws:ec2/subnet:Subnet"
PROGRAM = """
    from pulumi_aws import ec2

    vpc = ec2.Vpc("vpc", cidr_block="10.0.0.0/16")
    subnets = [ec2.Subnet(f"subnet-{i}", vpc_id=vpc.id, cidr_block=f"10.0.{i}.0/24") for i in range(6)]
"""
EVERYTHING = {"aws:ec2/vpc:Vpc": 1, SUBNET: 6}
FOR_EVER = "86400"  # seconds; no test waits for it


def _made(sandbox: Sandbox) -> Counter[str]:
    return Counter(record.type for record in sandbox.account())


def _is_whole(sandbox: Sandbox) -> None:
    """Everything exists once, and the engine knows all of it."""
    assert _made(sandbox) == EVERYTHING
    known = {resource["id"] for resource in sandbox.state().values() if resource["type"].startswith("aws:")}
    assert {record.id for record in sandbox.account()} == known


def test_a_resource_that_fails_stops_nothing_else_and_the_next_update_makes_it(sandbox: Sandbox):
    sandbox.write(PROGRAM)
    armed = ("fault", "add", "--type", SUBNET, "--name", "subnet-3", "--error", "InsufficientFreeAddresses: none left")
    assert sandbox.run(*armed, "--times", "1").code == 0
    failed = sandbox.pulumi("up", "--yes", "--skip-preview")
    assert failed.code != 0
    assert "InsufficientFreeAddresses: none left" in failed.text
    assert "Traceback" not in failed.text
    assert "subnet-3" not in sandbox.state()
    sandbox.up()
    _is_whole(sandbox)


def test_a_quota_that_runs_out_is_said_as_the_cloud_says_it_and_lifting_it_lets_the_update_go_on(sandbox: Sandbox):
    sandbox.write(PROGRAM)
    assert sandbox.run("fault", "quota", "--type", SUBNET, "--most", "2").code == 0
    failed = sandbox.pulumi("up", "--yes", "--skip-preview")
    assert failed.code != 0
    assert "LimitExceeded: you have reached the limit of 2" in failed.text
    assert _made(sandbox)[SUBNET] == 2
    assert sandbox.run("fault", "clear").code == 0
    sandbox.up()
    _is_whole(sandbox)


def test_after_kill_9_of_the_engine_the_next_update_takes_over_what_was_left(sandbox: Sandbox):
    """The cloud finishes a resource while the engine is frozen, so that no state can know of it; then it is killed."""
    sandbox.write(PROGRAM)
    assert sandbox.run("fault", "add", "--type", SUBNET, "--name", "subnet-0", "--latency", FOR_EVER).code == 0
    process = sandbox.start("--", "pulumi", "up", "--yes", "--skip-preview")
    engine = engine_of(process)
    wait_until(lambda: _made(sandbox)[SUBNET] == 5, process)  # all but the one that is held up
    os.kill(engine, signal.SIGSTOP)
    assert sandbox.run("fault", "clear").code == 0  # which lets the call go on
    wait_until(lambda: _made(sandbox)[SUBNET] == 6, process)
    os.kill(engine, signal.SIGKILL)
    process.communicate()
    assert process.returncode != 0
    assert "subnet-0" not in sandbox.state()
    made = {record.id for record in sandbox.account()}

    said = sandbox.up()
    assert "released the lock of an update that was killed" in said
    assert "which an interrupted update had created" in said
    assert {record.id for record in sandbox.account()} == made
    _is_whole(sandbox)
    sandbox.destroy()
    assert sandbox.account() == []


def _power_cut(process: subprocess.Popen[str]) -> None:
    """Sandbox, engine and program are gone at once."""
    kill_group(process)


def _only_the_sandbox(process: subprocess.Popen[str]) -> None:
    """The clouds are gone; the engine finds nobody there, and ends."""
    engine = engine_of(process)
    process.kill()
    process.communicate()
    wait_for_end_of(engine)


@pytest.mark.parametrize("kill", [_power_cut, _only_the_sandbox])
def test_an_update_that_dies_in_the_middle_is_ended_by_the_next_one(
    sandbox: Sandbox, kill: Callable[[subprocess.Popen[str]], None]
):
    """Everything but one subnet is made, and that one is still in the making."""
    sandbox.write(PROGRAM)
    assert sandbox.run("fault", "add", "--type", SUBNET, "--name", "subnet-5", "--latency", FOR_EVER).code == 0
    process = sandbox.start("--", "pulumi", "up", "--yes", "--skip-preview")
    wait_until(lambda: _made(sandbox)[SUBNET] == 5, process)
    kill(process)
    assert _made(sandbox) == {"aws:ec2/vpc:Vpc": 1, SUBNET: 5}  # the latency held the sixth
    # Files that are not written in one step would be half there after a kill at the wrong moment.
    assert not list((sandbox.home / "state").rglob("*.attrs"))

    assert sandbox.run("fault", "clear").code == 0
    sandbox.up()
    _is_whole(sandbox)


def test_a_delete_that_is_refused_keeps_the_resource_and_the_next_destroy_ends_clean(sandbox: Sandbox):
    sandbox.write(PROGRAM)
    sandbox.up()
    armed = ("fault", "add", "--type", SUBNET, "--operation", "delete", "--error", "DependencyViolation: in use")
    assert sandbox.run(*armed, "--name", "subnet-2").code == 0
    failed = sandbox.pulumi("destroy", "--yes", "--skip-preview")
    assert failed.code != 0
    assert "DependencyViolation: in use" in failed.text
    assert _made(sandbox) == {"aws:ec2/vpc:Vpc": 1, SUBNET: 1}
    sandbox.destroy()
    assert (sandbox.account(), sandbox.state()) == ([], {})
