"""The emulated account: what is in it, what a killed update left, and what goes wrong on demand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.store import AlreadyExistsError, Fault, Record, Store

pytestmark = pytest.mark.unit

VPC = "aws:ec2/vpc:Vpc"
URN = "urn:pulumi:dev::probe::aws:ec2/vpc:Vpc::main"
RECORD = Record(VPC, "vpc-1", URN, "us-east-1", {"cidrBlock": "10.0.0.0/16"}, {"arn": "arn:…"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "account.sqlite")
    yield opened
    opened.close()


def test_what_is_inserted_is_there_for_the_next_process(store: Store, tmp_path: Path):
    store.insert(RECORD)
    again = Store(tmp_path / "account.sqlite")
    assert again.records() == [RECORD]
    assert again.find(VPC, "vpc-1") == RECORD
    assert again.find(VPC, "vpc-2") is None
    again.close()


def test_an_identifier_is_taken_once_in_a_region_and_free_in_another(store: Store):
    store.insert(RECORD)
    with pytest.raises(AlreadyExistsError):
        store.insert(replace(RECORD, urn="another"))
    elsewhere = replace(RECORD, urn="another", region="us-west-2")
    store.insert(elsewhere)
    assert store.find(VPC, "vpc-1", "another") == elsewhere
    assert store.delete(VPC, "vpc-1", "another")
    assert store.records() == [RECORD]


def test_deleting_what_is_gone_says_so(store: Store):
    assert not store.delete(VPC, "vpc-1")


def test_what_the_state_does_not_know_is_an_orphan_until_it_is_taken_over(store: Store):
    store.insert(RECORD)
    store.insert(replace(RECORD, id="vpc-2", urn="known"))
    assert [record.id for record in store.mark_orphans([(VPC, "vpc-2")])] == ["vpc-1"]
    orphan = store.orphan_of(URN)
    assert orphan is not None
    assert orphan.id == "vpc-1"
    assert store.orphan_of("known") is None
    store.update(replace(orphan, outputs={"arn": "new"}))
    assert store.orphan_of(URN) is None


def test_a_failed_transaction_leaves_nothing(store: Store):
    def insert_and_fail() -> None:
        with store.transaction():
            store.insert(RECORD)
            raise KeyError

    with pytest.raises(KeyError):
        insert_and_fail()
    assert store.records() == []


def test_a_fault_strikes_what_it_is_armed_for_as_often_as_it_is_told(store: Store):
    store.add_fault(Fault(type=VPC, name="main", operation="create", error="no", remaining=2))
    assert store.strike(VPC, "other", "create") is None
    assert store.strike(VPC, "main", "delete") is None
    assert store.strike("aws:ec2/subnet:Subnet", "main", "create") is None
    assert [store.strike(VPC, "main", "create") is not None for _ in range(3)] == [True, True, False]
    assert store.faults() == []


def test_a_fault_for_everything_strikes_for_ever_until_it_is_cleared(store: Store):
    store.add_fault(Fault(type="*", operation="*", error="no", remaining=-1))
    assert all(store.strike(VPC, str(number), "read") for number in range(5))
    store.clear_faults()
    assert store.strike(VPC, "main", "read") is None


def test_a_quota_holds_until_it_is_lifted(store: Store):
    assert store.quotas().get(VPC) is None
    store.set_quota(VPC, 5)
    store.set_quota(VPC, 2)
    assert store.quotas().get(VPC) == 2
    store.clear_faults()
    assert store.quotas().get(VPC) is None


def test_many_threads_write_at_once(store: Store):
    def insert(start: int) -> None:
        for number in range(start, start + 20):
            store.insert(replace(RECORD, id=f"vpc-{number}"))

    threads = [threading.Thread(target=insert, args=(100 * index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.records()) == 160
