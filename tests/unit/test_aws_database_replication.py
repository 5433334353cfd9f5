"""Copies of the database's backups in the second region: when they are made, with which key, and what a change does."""

from __future__ import annotations

from typing import Any

import pytest
from aws_stack import ABROAD, HERE, run
from conftest import ACCOUNT, Recorder
from pulumi_aws import Provider

from components.aws.database_replication import DatabaseReplication, DatabaseReplicationArgs
from components.aws.foundation import AwsFoundation, AwsFoundationArgs, second_region_keys
from components.aws.keys import key_policy
from components.settings import parse

pytestmark = pytest.mark.unit

REPLICATION = "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication"
SOURCE = f"arn:aws:rds:{HERE.region}:{ACCOUNT}:db:llmops-test-postgres"
KEY = f"arn:aws:kms:{ABROAD.region}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
TO_THE_OTHER_REGION = {"aws": {"drRegion": ABROAD.region}}


def replication() -> DatabaseReplication:
    return DatabaseReplication(
        "copies",
        DatabaseReplicationArgs(
            source_arn=SOURCE,
            replica_provider=Provider("abroad", region=ABROAD.region),
            replica_kms_key_arn=KEY,
            retention_days=9,
        ),
    )


def settings(**given: Any) -> Any:
    return parse({"owner": "ml", "costCenter": "ml", **given})


def foundation(**given: Any) -> AwsFoundation:
    return AwsFoundation("foundation", AwsFoundationArgs(settings=settings(**given), project="llmops", stack="test"))


def test_copying_is_asked_for_in_the_region_of_the_copies_with_a_key_of_that_region(recorded: Recorder):
    run(replication)
    made = recorded.one(REPLICATION)
    assert made.provider == "abroad"
    assert (made.inputs["sourceDbInstanceArn"], made.inputs["kmsKeyId"]) == (SOURCE, KEY)
    assert made.inputs["retentionPeriod"] == 9


def test_another_retention_or_key_stops_copying_before_it_begins_anew(recorded: Recorder):
    """Both are one call for one server: begun first, it would be refused, or stopped in the place of the old one."""
    run(replication)
    assert recorded.one(REPLICATION).delete_before_replace
    assert not recorded.one(REPLICATION).protect


@pytest.mark.parametrize(
    ("given", "copied"),
    [
        ({}, ()),
        ({"objects": {"replicate": True}}, ("objects", "database")),
        ({"objects": {"replicate": True}, "database": {"replicateBackups": False}}, ("objects",)),
        ({"database": {"replicateBackups": True}}, ("database",)),
    ],
)
def test_backups_are_copied_where_the_buckets_are_unless_it_is_said(given: dict[str, Any], copied: tuple[str, ...]):
    assert second_region_keys(settings(**TO_THE_OTHER_REGION, **given)) == copied


def test_the_foundation_copies_the_backups_of_its_server_under_a_key_of_the_other_region(recorded: Recorder):
    run(lambda: foundation(**TO_THE_OTHER_REGION, objects={"replicate": True}, database={"backupRetentionDays": 14}))
    made = recorded.one(REPLICATION)
    assert made.provider == "foundation-aws-dr"
    # It goes before them, and is made after them: on a way back nothing is deleted that is still copied.
    assert {"foundation-database-server", "foundation-dr-keys-database"} <= made.depends_on
    assert made.inputs["retentionPeriod"] == 14
    assert recorded.one("aws:kms/key:Key", "foundation-dr-keys-database").provider == "foundation-aws-dr"


def test_backups_alone_are_copied_without_any_bucket(recorded: Recorder):
    run(lambda: foundation(**TO_THE_OTHER_REGION, database={"replicateBackups": True}))
    assert recorded.of(REPLICATION)
    assert not recorded.of("aws:s3/bucketReplicationConfig:BucketReplicationConfig")
    assert "foundation-dr-keys-objects" not in recorded.of("aws:kms/key:Key")


def test_a_stack_that_copies_nothing_has_nothing_in_the_other_region(recorded: Recorder):
    run(lambda: foundation(**TO_THE_OTHER_REGION))
    assert not recorded.of(REPLICATION)
    assert {one.provider for one in recorded.resources if one.type.startswith("aws:")} == {"foundation-aws"}


def test_the_key_of_the_copies_names_no_service():
    """RDS acts with grants that whoever starts or restores must be allowed to give; the account's IAM says who is."""
    (statement,) = key_policy("database", ABROAD)
    assert statement.principal == {"AWS": ABROAD.root_arn}
