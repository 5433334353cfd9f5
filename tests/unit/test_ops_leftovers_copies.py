"""Copies of a database's backups that a destroy leaves in the other region: told before, found after, and removed."""

from __future__ import annotations

from typing import Any, cast

import pytest

from ops.destroy.protection import delayed
from ops.leftovers.aws.look import Look
from ops.leftovers.aws.removal import remove
from ops.leftovers.aws.stores import databases
from ops.leftovers.record import Record
from ops.preflight.aws.account import Account

pytestmark = pytest.mark.unit

HERE, ABROAD = "us-east-1", "us-west-2"
COPIES = f"arn:aws:rds:{ABROAD}:123456789012:auto-backup:ab-1"
SERVER = "llmops-prod-postgres"


class Rds:
    """An account that has the same server's backups in both regions, and remembers what it was told to delete."""

    def __init__(self, status: str) -> None:
        self.deleted: list[tuple[str, dict[str, Any]]] = []
        self._backup = {
            "DbiResourceId": "db-1",
            "DBInstanceIdentifier": SERVER,
            "Status": status,
            "Region": HERE,  # of the server, whichever region is asked
        }

    def pages(self, _service: str, operation: str, _key: str, region: str, **_: Any) -> list[dict[str, Any]]:
        arn = COPIES if region == ABROAD else COPIES.replace(ABROAD, HERE)
        return [self._backup | {"DBInstanceAutomatedBackupsArn": arn}] if "automated" in operation else []

    def call(self, _service: str, operation: str, region: str, **parameters: Any) -> dict[str, Any]:
        assert operation == "delete_db_instance_automated_backup"
        self.deleted.append((region, parameters))
        return {}


def found(rds: Rds, region: str) -> list[Any]:
    record = Record(project="llmops", stack="prod", cloud="aws", regions=(HERE, ABROAD))
    return list(databases(Look(account=cast("Account", rds), record=record, region=region, home=region == HERE)))


@pytest.mark.parametrize("status", ["retained", "Retained"])
def test_copies_in_the_other_region_are_found_there_and_deleted_by_their_own_name(status: str):
    rds = Rds(status)
    (copied,), (own,) = found(rds, ABROAD), found(rds, HERE)
    assert f"--db-instance-automated-backups-arn {COPIES} --region {ABROAD}" in copied.command
    assert f"--dbi-resource-id db-1 --region {HERE}" in own.command
    assert remove(cast("Account", rds), [copied, own], HERE, lambda _: None, seconds=0) == []
    assert rds.deleted == [
        (ABROAD, {"DBInstanceAutomatedBackupsArn": COPIES}),
        (HERE, {"DbiResourceId": "db-1"}),
    ]


def test_copies_that_are_still_made_are_nothing_that_is_left():
    assert found(Rds("replicating"), ABROAD) == []


def test_a_destroy_says_beforehand_that_copies_stay_until_they_expire():
    kind = "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication"
    one = {"urn": "urn:copies", "type": kind, "id": COPIES, "outputs": {"retentionPeriod": 9}}
    (told,) = delayed({"resources": [one]})
    assert (told.name, "9 days" in told.what) == (COPIES, True)
