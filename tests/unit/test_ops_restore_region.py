"""``ops restore region``: buckets filled from their copies, against a server that answers as S3 does."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from moto.moto_api._internal import moto_api_backend
from moto.s3.models import s3_backends
from typer.testing import CliRunner

from ops.progress import Progress
from ops.refusals import RefusedError
from ops.restore import region
from ops.restore.cli import app
from ops.restore.copying import Item, Tally, copy_bucket, differences, items, missing
from ops.restore.moving import moved
from ops.restore.region import replicas, targets
from ops.stack import Stack
from tests.unit import moto_account

pytestmark = pytest.mark.unit

LOST, TO, ACCOUNT = "us-east-1", "us-west-2", "123456789012"
ROLES = ("data", "models", "mlflow", "logs")
COPIED = ("data", "models", "mlflow")
THOUSANDS = 2500  # three pages of a listing
CUT_OFF = 2400  # of them are there already


@pytest.fixture(scope="module")
def s3_and_kms() -> Iterator[tuple[Any, Any]]:
    with moto_account.clients("s3", "kms", region=TO) as made:
        yield made["s3"], made["kms"]


def stack(name: str, where: str, cloud: str = "aws") -> Stack:
    buckets = {role: f"s3://llmops-{name}-{role}-{ACCOUNT}-{where}" for role in ROLES}
    address = f"llmops-{name}-postgres.abc.{where}.rds.amazonaws.com"
    return Stack(name, False, {"cloud": cloud, "region": where, "buckets": buckets, "databaseHost": address})


def copy_of(role: str) -> str:
    return f"llmops-prod-{role}-{ACCOUNT}-{TO}"


def new(role: str) -> str:
    return f"llmops-prod-west-{role}-{ACCOUNT}-{TO}"


@pytest.fixture
def s3(s3_and_kms: tuple[Any, Any]) -> Any:
    """Copies of three buckets and the empty buckets of a new stack, each with a key of its own."""
    moto_api_backend.reset()
    s3, kms = s3_and_kms
    for role in COPIED:
        for name in (copy_of(role), new(role)):
            s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": TO})
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
            key = kms.create_key()["KeyMetadata"]["Arn"]
            rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
            s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]})
    return s3


def key_of(s3: Any, bucket: str) -> str:
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    return rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"]


@pytest.fixture
def run(s3: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The command line, on a lost stack and a new one."""
    stacks = {"prod": stack("prod", LOST), "prod-west": stack("prod-west", TO), "elsewhere": stack("x", "eu-west-1")}
    monkeypatch.setattr(region.Stack, "read", staticmethod(lambda name, **_more: stacks[name]))
    s3.backups = []  # moto does not know copied ones
    pages = SimpleNamespace(paginate=lambda **_: [{"DBInstanceAutomatedBackups": s3.backups}])
    rds = SimpleNamespace(get_paginator={"describe_db_instance_automated_backups": pages}.get)
    monkeypatch.setattr(region, "aws", lambda service, _region: {"s3": s3, "rds": rds}[service])
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["region", "--stack", "prod", "--to", TO, *arguments])


def put(s3: Any, bucket: str, number: int) -> None:
    s3.put_object(Bucket=bucket, Key=f"models/{number:05}/weights.bin", Body=b"%d" % number)


def test_of_thousands_of_objects_those_that_are_not_there_are_copied_and_both_sides_compared(s3: Any, run: Any):
    store = s3_backends[ACCOUNT]["aws"]  # planted inside of the server: HTTP takes a minute for thousands
    for bucket, count in ((copy_of("models"), THOUSANDS), (new("models"), CUT_OFF)):
        for number in range(count):
            store.put_object(bucket, f"models/{number:05}/weights.bin", b"%d" % number)
    done = run("--into", "prod-west", "--yes", "--json")
    assert done.exit_code == 0, done.stderr
    (models,) = [one for one in json.loads(done.stdout)["buckets"] if one["bucket"] == "models"]
    size = sum(len(str(number)) for number in range(THOUSANDS))
    assert (models["objects"], models["bytes"], models["copied"]) == (THOUSANDS, size, THOUSANDS - CUT_OFF)
    assert [item.key for item in items(s3, new("models"))] == [item.key for item in items(s3, copy_of("models"))]
    assert s3.get_object(Bucket=new("models"), Key="models/02468/weights.bin")["Body"].read() == b"2468"
    again = json.loads(run("--into", "prod-west", "--yes", "--json").stdout)["buckets"]
    assert sum(one["copied"] for one in again) == 0


def test_copies_are_under_the_new_key_with_metadata_tags_and_the_current_version(s3: Any):
    source, target = copy_of("mlflow"), new("mlflow")
    s3.put_object(Bucket=source, Key="run/model", Body=b"old")
    s3.put_object(
        Bucket=source, Key="run/model", Body=b"new!", Metadata={"run": "7"}, ContentType="text/x", Tagging="kept=yes"
    )
    s3.put_object(Bucket=source, Key="run/deleted", Body=b"gone")
    s3.delete_object(Bucket=source, Key="run/deleted")
    copy_bucket(s3, source, target, Progress(), label="mlflow")
    found = s3.get_object(Bucket=target, Key="run/model")
    assert found["Body"].read() == b"new!"
    assert (found["Metadata"], found["ContentType"]) == ({"run": "7"}, "text/x")
    assert found["SSEKMSKeyId"] == key_of(s3, target) != key_of(s3, source)
    assert s3.get_object_tagging(Bucket=target, Key="run/model")["TagSet"] == [{"Key": "kept", "Value": "yes"}]
    assert [item.key for item in items(s3, target)] == ["run/model"]


def test_what_is_too_large_for_one_request_is_copied_in_parts_with_all_that_belongs_to_it(s3: Any):
    part = 5 * 2**20  # the smallest that S3 takes
    content = b"0123456789abcdef" * (part // 16) + b"tail"
    source, target = copy_of("data"), new("data")
    s3.put_object(
        Bucket=source, Key="large", Body=content, Metadata={"sha": "1"}, ContentEncoding="zstd", Tagging="a=b%20c"
    )
    copy_bucket(s3, source, target, Progress(), label="data", in_parts_above=part)
    found = s3.get_object(Bucket=target, Key="large")
    assert found["Body"].read() == content
    assert "-2" in found["ETag"]  # of two parts
    assert (found["Metadata"], found["ContentEncoding"]) == ({"sha": "1"}, "zstd")
    assert s3.get_object_tagging(Bucket=target, Key="large")["TagSet"] == [{"Key": "a", "Value": "b c"}]


def test_a_copy_that_was_cut_off_goes_on_and_what_changed_since_is_copied_again(
    s3: Any, monkeypatch: pytest.MonkeyPatch
):
    source, target = copy_of("models"), new("models")
    for number in range(20):
        put(s3, source, number)
    copy, calls = s3.copy_object, itertools.count()

    def cut(**arguments: Any) -> Any:
        if next(calls) >= 8:
            raise s3.exceptions.ClientError({"Error": {"Code": "SlowDown", "Message": "later"}}, "CopyObject")
        return copy(**arguments)

    monkeypatch.setattr(s3, "copy_object", cut)
    first = copy_bucket(s3, source, target, Progress(), label="models", at_once=1)
    assert (first.copied, first.failures) == (8, 12)
    assert "SlowDown" in first.failed[0]
    assert differences(s3, source, target)[0].failures == 12
    monkeypatch.setattr(s3, "copy_object", copy)
    rest = copy_bucket(s3, source, target, Progress(), label="models")
    assert (rest.there, rest.copied, rest.failures) == (8, 12, 0)
    assert differences(s3, source, target) == (rest_of(rest), [])
    s3.put_object(Bucket=source, Key="models/00003/weights.bin", Body=b"333")
    changed = copy_bucket(s3, source, target, Progress(), label="models")
    assert (changed.copied, changed.there) == (1, 19)
    assert s3.get_object(Bucket=target, Key="models/00003/weights.bin")["Body"].read() == b"333"


def rest_of(tally: Tally) -> Tally:
    """What a comparison of the same objects says when nothing is missing."""
    return Tally(objects=tally.objects, size=tally.size, newest=tally.newest, there=tally.objects)


def test_an_object_of_the_same_size_that_was_written_later_is_copied_again():
    now = datetime(2026, 11, 22, tzinfo=UTC)
    source = [Item("a", 1, now), Item("b", 1, now), Item("c", 2, now)]
    target = [
        Item("0", 9, now),
        Item("a", 1, now - timedelta(1)),
        Item("b", 1, now),
        Item("c", 1, now),
        Item("z", 1, now),
    ]
    assert [item.key for item in missing(iter(source), iter(target), Tally())] == ["a", "c"]


def test_keys_are_compared_as_s3_sorts_them():
    """By bytes: U+FF5E sorts before U+1F600 there, and after it in UTF-16."""
    now = datetime(2026, 11, 22, tzinfo=UTC)
    keys = ["a", "a/", "é", "\uff5e", "\U0001f600"]
    both = [Item(key, 1, now) for key in keys]
    assert list(missing(iter(both), iter(both), Tally())) == []
    assert [item.key for item in missing(iter(both), iter(both[:3] + both[4:]), Tally())] == ["\uff5e"]


def test_a_copy_that_fails_is_told_and_the_command_ends_with_one(s3: Any, run: Any, monkeypatch: pytest.MonkeyPatch):
    put(s3, copy_of("data"), 1)

    def refuse(**_arguments: Any) -> None:
        raise s3.exceptions.ClientError({"Error": {"Code": "AccessDenied", "Message": "kms:Decrypt"}}, "CopyObject")

    monkeypatch.setattr(s3, "copy_object", refuse)
    failed = run("--into", "prod-west", "--yes")
    assert (failed.exit_code, "kms:Decrypt" in failed.stdout) == (1, True)


def test_without_yes_nothing_is_copied(s3: Any, run: Any):
    put(s3, copy_of("data"), 1)
    done = run("--into", "prod-west")
    assert (done.exit_code, "1 objects" in done.stdout) == (0, True), done.output
    assert list(items(s3, new("data"))) == []


def test_the_plan_says_what_the_copies_hold_and_writes_settings_for_the_other_region(s3: Any, run: Any):
    put(s3, copy_of("models"), 1)
    config = {
        "llmops:owner": "ml",
        "llmops:aws": {"region": LOST, "drRegion": TO},
        "llmops:network": {"zones": [f"{LOST}a", f"{LOST}b"]},
        "llmops:objects": {"replicate": True},
        "llmops:database": {"replicateBackups": True, "storageGib": 100},
        "llmops:quotas": {"regions": [LOST]},
        "llmops:registry": {"upstreams": {"docker.io": f"arn:aws:secretsmanager:{LOST}:1:secret:x"}},
    }
    Path("Pulumi.prod.yaml").write_text(yaml.safe_dump({"config": config}))
    done = run("--json", "--settings", "Pulumi.prod-west.yaml")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert {one["bucket"]: one["objects"] for one in told["copies"]} == {"data": 0, "models": 1, "mlflow": 0}
    assert told["lookAt"] == ["llmops:registry.upstreams.docker.io"]
    written = yaml.safe_load(Path("Pulumi.prod-west.yaml").read_text())["config"]
    assert written["llmops:aws"] == {"region": TO, "drRegion": LOST}
    assert written["llmops:network"]["zones"] == [f"{TO}a", f"{TO}b"]
    assert written["llmops:objects"]["replicate"] is False
    assert written["llmops:database"] == {"replicateBackups": False, "storageGib": 100}
    assert written["llmops:quotas"]["regions"] == [TO]
    again = run("--settings", "Pulumi.prod-west.yaml")
    assert (again.exit_code, "there already" in again.stderr) == (1, True)


def backups(latest: datetime) -> dict[str, Any]:
    return {
        "DBInstanceArn": f"arn:aws:rds:{LOST}:{ACCOUNT}:db:llmops-prod-postgres",
        "DBInstanceIdentifier": "llmops-prod-postgres",
        "DBInstanceAutomatedBackupsArn": f"arn:aws:rds:{TO}:{ACCOUNT}:auto-backup:ab-1",
        "RestoreWindow": {"EarliestTime": latest - timedelta(days=7), "LatestTime": latest},
        "Status": "replicating",
        "Engine": "postgres",
        "EngineVersion": "17.5",
        "BackupRetentionPeriod": 7,
        "AllocatedStorage": 100,
    }


def test_the_plan_says_what_the_copied_backups_of_the_database_hold_and_how_old_they_are(s3: Any, run: Any):
    latest = datetime.now(UTC) - timedelta(minutes=11)
    s3.backups.append(backups(latest))
    told = json.loads(run("--json").stdout)["database"]
    assert (told["server"], told["status"]) == ("llmops-prod-postgres", "replicating")
    assert (told["earliest"], told["latest"]) == ((latest - timedelta(days=7)).isoformat(), latest.isoformat())
    assert told["ageSeconds"] == pytest.approx(660, abs=60)
    said = run().stdout
    assert "11 minutes old; copying is replicating" in said
    assert "restore database --stack prod-us-west-2 --replica-of prod --yes" in said


def test_a_stack_without_copied_backups_is_told_so(s3: Any, run: Any):
    del s3
    assert json.loads(run("--json").stdout)["database"] is None
    assert "there are no copies of its backups" in run().stdout


def test_copied_backups_alone_are_a_plan_too(s3: Any, run: Any):
    """`database.replicateBackups` without `objects.replicate`."""
    s3.backups.append(backups(datetime.now(UTC)))
    for role in COPIED:
        s3.delete_bucket(Bucket=copy_of(role))
    done = run("--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["copies"] == []


def test_the_settings_of_production_can_be_moved():
    """The file in this checkout, so that a new setting with a region in it is noticed here first."""
    content = yaml.safe_load((Path(__file__).parents[2] / "Pulumi.prod.yaml").read_text())
    config, left = moved(content["config"], LOST, TO)
    assert config["llmops:aws"]["region"] == TO
    assert left == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--to", LOST], "is in us-east-1 itself"),
        (["--to", "eu-west-1"], "has a copy in eu-west-1"),
        (["--into", "elsewhere"], "is in eu-west-1"),
    ],
)
def test_what_has_no_copy_is_refused(run: Any, arguments: list[str], reason: str):
    refused = run(*arguments, "--yes")
    assert (refused.exit_code, reason in refused.stderr) == (1, True), refused.output


def test_a_stack_whose_buckets_are_the_copies_is_refused():
    """A stack of the same name in the other region would have them: bucket names end in the region."""
    found = replicas(stack("prod", LOST), TO, lambda name: "logs" not in name)
    assert [one.bucket for one in found] == [copy_of(role) for role in COPIED]
    with pytest.raises(RefusedError, match="cannot be filled from its own buckets"):
        targets(stack("prod", TO), TO, found)


def test_on_google_cloud_there_is_nothing_to_copy():
    with pytest.raises(RefusedError, match="two regions at once"):
        replicas(stack("gcp", "us-central1", "gcp"), "us-east1", lambda _: True)
