"""A removal of leftovers that meets refusals: held, denied, gone meanwhile; and a bucket of thousands of versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from moto.s3.models import s3_backends

from ops.leftovers.aws.buckets import BATCH, NotEmptiedError, empty
from ops.leftovers.aws.removal import remove
from ops.leftovers.model import Leftover
from ops.preflight.aws.account import BotoAccount
from tests.unit.moto_account import ACCOUNT, REGION, World, acting_as_administrator, served, sharing_clients
from tests.unit.scripted_account import Scripted, refusal

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with served() as made, acting_as_administrator(made), sharing_clients(made):
        yield made


def leftover(kind: str, name: str, **more: Any) -> Leftover:
    given: dict[str, Any] = {"region": REGION, "made_by": "x", "command": "x", "fate": "safe", **more}
    return Leftover(kind=kind, name=name, **given)


def test_a_bucket_of_thousands_of_versions_is_emptied_by_batches(world: World):
    s3 = world.client("s3")
    s3.create_bucket(Bucket="many")
    s3.put_bucket_versioning(Bucket="many", VersioningConfiguration={"Status": "Enabled"})
    inside: Any = s3_backends[ACCOUNT]["aws"]  # by HTTP this would take longer than all else here
    for number in range(2500):
        inside.put_object("many", f"key-{number % 7}", b"x")
    s3.delete_objects(Bucket="many", Delete={"Objects": [{"Key": f"key-{number}"} for number in range(7)]})
    account, said = Counting(BotoAccount()), list[int]()

    gone = empty(account, "many", REGION, said.append)

    # moto loses some deletes of calls that come at the same time; the next round finds what it kept.
    assert gone >= 2500 + 7, "delete markers are versions too"
    assert 3 <= account.calls.count("delete_objects") <= 3 + -(-gone // BATCH)
    assert said[-1] == gone
    assert "Versions" not in s3.list_object_versions(Bucket="many")
    s3.delete_bucket(Bucket="many")


class Counting(BotoAccount):
    """An account that counts what is asked of it."""

    def __init__(self, account: BotoAccount) -> None:
        self.calls: list[str] = []
        self._account = account

    def call(self, service: str, operation: str, region: str, /, **parameters: Any) -> dict[str, Any]:
        self.calls.append(operation)
        return self._account.call(service, operation, region, **parameters)

    def pages(self, service: str, operation: str, key: str, region: str, /, **parameters: Any) -> Iterator[Any]:
        return self._account.pages(service, operation, key, region, **parameters)


def test_versions_that_s3_keeps_are_said_and_not_counted_as_gone():
    kept = [{"Key": "locked", "VersionId": "1", "Message": "Object is WORM protected"}]
    account = Scripted(
        list_object_versions={"Versions": [{"Key": "locked", "VersionId": "1"}]}, delete_objects={"Errors": kept}
    )
    with pytest.raises(NotEmptiedError, match="WORM protected"):
        empty(account, "audit", REGION)


def test_what_something_still_holds_is_tried_again_until_it_lets_go():
    held = refusal("DependencyViolation")
    rules = [{"SecurityGroupRuleId": "sgr-1", "IsEgress": False}, {"SecurityGroupRuleId": "sgr-2", "IsEgress": True}]
    account = Scripted(
        describe_security_group_rules={"SecurityGroupRules": rules}, delete_security_group=[held, held, {}]
    )
    pauses: list[float] = []
    assert (
        remove(account, [leftover("security group", "sg-1")], REGION, lambda _: None, seconds=60, pause=pauses.append)
        == []
    )
    assert len(pauses) == 2
    revoked = {name: told["SecurityGroupRuleIds"] for name, told in account.calls if name.startswith("revoke")}
    assert revoked == {"revoke_security_group_ingress": ["sgr-1"], "revoke_security_group_egress": ["sgr-2"]}


def test_an_interface_that_ec2_calls_in_use_is_tried_again():
    account = Scripted(delete_network_interface=[refusal("InvalidNetworkInterface.InUse"), {}])
    wanted = [leftover("network interface", "eni-1")]
    assert remove(account, wanted, REGION, lambda _: None, seconds=60, pause=lambda _: None) == []


def test_what_is_refused_for_another_reason_is_told_and_stops_nothing_else():
    account = Scripted(delete_volume=refusal("UnauthorizedOperation"), delete_snapshot={})
    said: list[str] = []
    wanted = [leftover("volume", "vol-1"), leftover("snapshot", "snap-1")]
    refused = remove(account, wanted, REGION, said.append, seconds=60, pause=lambda _: None)
    assert len(refused) == 1
    assert refused[0].startswith("volume vol-1: not allowed")
    assert said == ["snapshot snap-1: removed"]


def test_what_went_meanwhile_is_no_error():
    account = Scripted(delete_load_balancer=refusal("LoadBalancerNotFound"))
    assert remove(account, [leftover("load balancer", "arn")], REGION, lambda _: None, seconds=0) == []
