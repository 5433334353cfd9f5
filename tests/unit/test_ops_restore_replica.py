"""A lost region's database, from the copies of its backups, against a server that answers as RDS does.

moto knows neither copied backups nor a restore from them: both are planted in it here, and botocore holds what is asked
against RDS's own model.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore import loaders, session
from moto.moto_api._internal import moto_api_backend
from moto.rds.models import DBInstance, RDSBackend
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner

from ops.progress import PatienceError, Progress, until
from ops.refusals import RefusedError
from ops.restore import adoption, carrying, database
from ops.restore.adoption import adopt, next_step
from ops.restore.cli import app
from ops.restore.database import Plan, carry_out, plan
from ops.restore.declared import copying_of, database_of, restore_arguments
from ops.restore.rds import Moment, Servers
from ops.restore.replica import Copies, checked, copies_of, window_words

pytestmark = pytest.mark.unit

LOST, HERE, ACCOUNT = "us-east-1", "us-west-2", "123456789012"
NAME, LOST_NAME = "llmops-prod-west-postgres", "llmops-prod-postgres"
SERVER = "aws:rds/instance:Instance"
LATEST = datetime(2026, 11, 22, 2, 55, 30, tzinfo=UTC)
TARGET = f"{NAME}-at-20261122-0255"
BACKUPS = f"arn:aws:rds:{HERE}:{ACCOUNT}:auto-backup:ab-l2ijcexjp7xq7hoj4si"


@pytest.fixture(scope="module")
def account() -> Iterator[dict[str, Any]]:
    loader = loaders.create_loader()  # reading AWS's service models takes longer than the tests
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "create_loader", lambda *_arguments, **_named: loader)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "AKIAADMINISTRATOR000")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "administrator")
        for variable in ("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_SESSION_TOKEN"):
            patch.delenv(variable, raising=False)
        yield {service: boto3.client(service, region_name=HERE) for service in ("rds", "ec2", "kms")}
        server.stop()


def backup(key: str, **more: Any) -> SimpleNamespace:
    """Copied backups, as RDS describes them in the region where they are."""
    told = {
        "db_instance_arn": f"arn:aws:rds:{LOST}:{ACCOUNT}:db:{LOST_NAME}",
        "dbi_resource_id": "db-LOST",
        "region": LOST,
        "db_instance_identifier": LOST_NAME,
        "db_instance_automated_backups_arn": BACKUPS,
        "restore_window": SimpleNamespace(earliest_time=LATEST - timedelta(days=7), latest_time=LATEST),
        "status": "Replicating",
        "allocated_storage": 50,
        "backup_retention_period": 7,
        "engine": "postgres",
        "engine_version": "17.5",
        "master_username": "platform",
        "encrypted": True,
        "kms_key_id": key,
    }
    return SimpleNamespace(**told | more)


@pytest.fixture
def rds(account: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The other region: copies of the lost server's backups, and the empty server of a new stack."""
    moto_api_backend.reset()
    rds, ec2, kms = (account[service] for service in ("rds", "ec2", "kms"))
    rds.key_of_copies, rds.key = (kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    rds.backups, rds.asked, made = [backup(rds.key_of_copies)], [], DBInstance.__init__

    def create(self: DBInstance, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        self.dbi_resource_id = f"db-{self.db_instance_identifier.upper()}"  # moto gives all servers the same

    def restore(self: RDSBackend, source: str | None, target: str, overrides: dict[str, Any]) -> Any:
        (found,) = (
            one
            for one in rds.backups
            if one.db_instance_automated_backups_arn == overrides["source_db_instance_automated_backups_arn"]
        )
        assert source is None
        rds.asked.append(overrides)
        origin = {name: getattr(found, name) for name in ("allocated_storage", "engine", "engine_version")}
        here = {name: value for name, value in overrides.items() if not name.startswith(("source_", "target_", "use_"))}
        named = {"db_instance_identifier": target, "master_username": found.master_username, "storage_encrypted": True}
        return self.create_db_instance({**origin, **here, **named, "kms_key_id": found.kms_key_id})

    monkeypatch.setattr(DBInstance, "__init__", create)
    monkeypatch.setattr(RDSBackend, "describe_db_instance_automated_backups", lambda _self, **_: rds.backups)
    monkeypatch.setattr(RDSBackend, "restore_db_instance_to_point_in_time", restore)
    found = ec2.describe_subnets()["Subnets"]
    group = ec2.create_security_group(GroupName="c", Description="c", VpcId=found[0]["VpcId"])["GroupId"]
    rds.group = group
    rds.create_db_subnet_group(
        DBSubnetGroupName="subnets", DBSubnetGroupDescription="-", SubnetIds=[one["SubnetId"] for one in found]
    )
    rds.create_db_parameter_group(DBParameterGroupName="tuned", DBParameterGroupFamily="postgres17", Description="-")
    rds.create_db_instance(
        DBInstanceIdentifier=NAME,
        Engine="postgres",
        EngineVersion="17.5",
        DBInstanceClass="db.m7g.large",
        AllocatedStorage=50,
        MasterUsername="platform",
        ManageMasterUserPassword=True,
        BackupRetentionPeriod=7,
        StorageEncrypted=True,
        KmsKeyId=rds.key,
        DBSubnetGroupName="subnets",
        VpcSecurityGroupIds=[group],
        DBParameterGroupName="tuned",
    )
    return rds


def describe(rds: Any, identifier: str) -> Mapping[str, Any]:
    return rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]


def names(rds: Any) -> set[str]:
    return {one["DBInstanceIdentifier"] for one in rds.describe_db_instances()["DBInstances"]}


def manual(rds: Any) -> set[str]:
    return {one["DBSnapshotIdentifier"] for one in rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]}


def state_with(name: str, region: str, resource_id: str, **inputs: Any) -> dict[str, Any]:
    given = {"identifier": name, "engine": "postgres", "engineVersion": "17", "username": "platform", **inputs}
    server = {
        "urn": f"urn:pulumi:x::llmops::{SERVER}::foundation-database-server",
        "type": SERVER,
        "id": resource_id,
        "inputs": given,
        "outputs": {**given, "id": resource_id, "resourceId": resource_id, "region": region},
    }
    return {"version": 3, "deployment": {"resources": [server]}}


@pytest.fixture
def state(rds: Any) -> dict[str, Any]:
    """The new stack's."""
    return state_with(
        NAME,
        HERE,
        describe(rds, NAME)["DbiResourceId"],
        storageEncrypted=True,
        kmsKeyId=rds.key,
        instanceClass="db.m7g.large",
        dbSubnetGroupName="subnets",
        vpcSecurityGroupIds=[rds.group],
        parameterGroupName="tuned",
        multiAz=True,
        backupRetentionPeriod=7,
        backupWindow="03:00-04:00",
        maintenanceWindow="sun:04:30-sun:05:30",
        masterUserSecretKmsKeyId=rds.key,
        deletionProtection=True,
        enabledCloudwatchLogsExports=["postgresql", "upgrade"],
    )


@pytest.fixture
def servers(rds: Any) -> Servers:
    return Servers(rds, Progress(), pause_seconds=0)


@pytest.fixture
def run(state: dict[str, Any], rds: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line on the new stack; the lost one is told by its state alone."""
    stacks = {"prod-west": state, "prod": state_with(LOST_NAME, LOST, "db-LOST"), "near": state}
    for module in (database, adoption):
        monkeypatch.setattr(module, "aws", lambda _service, _region: rds)
    monkeypatch.setattr(database, "stack_export", lambda stack, **_more: copy.deepcopy(stacks[stack]))
    monkeypatch.setattr("ops.restore.rds.until", lambda look, **more: until(look, **{**more, "pause_seconds": 0}))
    arguments = ["database", "--stack", "prod-west"]
    return lambda *more, of="prod": CliRunner().invoke(app, [*arguments, "--replica-of", of, *more])


def planned(rds: Any, state: Mapping[str, Any], servers: Servers, at: datetime | None = None) -> Plan:
    declared = database_of(state)
    copies = checked(copies_of(rds, LOST_NAME, LOST, "db-LOST"), declared, LOST_NAME)
    return plan(declared, servers, Moment(at=at), "", copies)


def test_without_yes_the_copies_are_told_with_their_age_and_nothing_is_made(rds: Any, run: Any):
    done = run("--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["from"], told["into"]) == (LOST_NAME, TARGET)
    assert (told["earliest"], told["latest"]) == ((LATEST - timedelta(days=7)).isoformat(), LATEST.isoformat())
    assert told["copies"]["ageSeconds"] == pytest.approx((datetime.now(UTC) - LATEST).total_seconds(), abs=60)
    assert "under the stack's key" in " ".join(told["steps"])
    assert "copies of another region's, replicating" in run().stdout
    assert (names(rds), manual(rds), rds.asked) == ({NAME}, set(), [])


def test_the_lost_database_comes_into_the_new_network_under_the_new_key(rds: Any, run: Any):
    done = run("--yes")
    assert done.exit_code == 0, done.output
    server = describe(rds, TARGET)
    assert (server["KmsKeyId"], server["StorageEncrypted"]) == (rds.key, True)
    assert server["DBSubnetGroup"]["DBSubnetGroupName"] == "subnets"
    assert [group["VpcSecurityGroupId"] for group in server["VpcSecurityGroups"]] == [rds.group]
    assert [group["DBParameterGroupName"] for group in server["DBParameterGroups"]] == ["tuned"]
    assert server["MasterUserSecret"]["SecretStatus"] == "active"
    assert f"restore adopt --stack prod-west --instance {TARGET}" in done.stdout


def test_the_server_in_between_has_no_standby_and_no_protection_and_goes_with_its_snapshots(rds: Any, run: Any):
    assert run("--yes").exit_code == 0
    (asked,) = rds.asked
    assert asked["source_db_instance_automated_backups_arn"] == BACKUPS
    assert asked["use_latest_restorable_time"] is True
    assert (asked["multi_az"], asked["deletion_protection"], asked["backup_retention_period"]) == (False, False, 0)
    assert (names(rds), manual(rds)) == ({NAME, TARGET}, set())


def test_copies_under_the_stacks_own_key_are_restored_at_once(rds: Any, run: Any):
    rds.backups = [backup(rds.key)]
    assert len(json.loads(run("--json").stdout)["steps"]) == 1
    assert run("--yes").exit_code == 0
    (asked,) = rds.asked
    assert asked["target_db_instance_identifier"] == TARGET
    assert asked["multi_az"] is True
    assert manual(rds) == set()


def test_a_moment_is_asked_for_as_it_is(rds: Any, state: dict[str, Any], servers: Servers):
    carry_out(planned(rds, state, servers, LATEST - timedelta(days=1)), servers, Progress())
    (asked,) = rds.asked
    assert asked["restore_time"].replace(tzinfo=UTC) == LATEST - timedelta(days=1)
    assert "use_latest_restorable_time" not in asked


@pytest.mark.parametrize("step", ["available", "take_snapshot", "snapshot_available", "copy_snapshot", "restore"])
def test_a_restore_that_was_cut_off_at_any_step_goes_on_and_restores_the_copies_once(
    rds: Any, state: dict[str, Any], servers: Servers, monkeypatch: pytest.MonkeyPatch, step: str
):
    def away(*_arguments: Any, **_named: Any) -> None:
        raise PatienceError

    with monkeypatch.context() as cut:
        cut.setattr(servers, step, away)
        with pytest.raises(PatienceError):
            carry_out(planned(rds, state, servers), servers, Progress())
    carry_out(planned(rds, state, servers), servers, Progress())
    assert describe(rds, TARGET)["KmsKeyId"] == rds.key
    assert (len(rds.asked), names(rds), manual(rds)) == (1, {NAME, TARGET}, set())


def test_a_restore_without_a_moment_has_the_same_name_each_time(rds: Any, state: dict[str, Any], servers: Servers):
    """Copies of a lost region get no newer, so their last moment tells the runs apart from those of other copies."""
    assert planned(rds, state, servers).target == planned(rds, state, servers).target == TARGET


def test_what_comes_of_it_is_adopted(rds: Any, state: dict[str, Any], servers: Servers):
    carry_out(planned(rds, state, servers), servers, Progress())
    written: list[Mapping[str, Any]] = []
    engine = SimpleNamespace(replace=lambda changed, _urn: written.append(changed))
    adopt(state, TARGET, "aside", servers, engine, Progress())
    assert names(rds) == {NAME, "aside"}
    assert database_of(written[0]).id == describe(rds, NAME)["DbiResourceId"]
    assert describe(rds, NAME)["KmsKeyId"] == rds.key


@pytest.mark.parametrize(
    ("arguments", "of", "more", "reason"),
    [
        (["--at", "2026-11-22T03:30Z"], "prod", {}, "outside of the backups"),
        (["--at", "2026-11-01T03:30Z"], "prod", {}, "outside of the backups"),
        (["--snapshot", "x"], "prod", {}, "restored to a moment"),
        ([], "near", {}, "a stack in another region"),
        ([], "prod", {"db_instance_identifier": "other"}, "replicateBackups was off"),
        ([], "prod", {"restore_window": None, "status": "Pending"}, "are pending and hold no snapshot yet"),
        ([], "prod", {"engine_version": "16.9"}, "set database.engineVersion to 16"),
        ([], "prod", {"master_username": "root"}, "administrator of the copies is root"),
    ],
)
def test_what_the_copies_do_not_have_is_refused_before_anything_is_made(
    rds: Any, run: Any, arguments: list[str], of: str, more: dict[str, Any], reason: str
):
    rds.backups = [backup(rds.key_of_copies, **more)]
    refused = run(*arguments, "--yes", of=of)
    assert (refused.exit_code, reason in refused.stderr) == (1, True), refused.output
    assert (names(rds), rds.asked) == ({NAME}, [])


def test_a_snapshot_in_between_that_fails_ends_the_restore(state: dict[str, Any]):
    failed = SimpleNamespace(describe_db_snapshots=lambda **_: {"DBSnapshots": [{"Status": "failed"}]})
    with pytest.raises(RefusedError, match="is failed"):
        Servers(failed, Progress()).snapshot_available("x")


def test_of_several_copies_those_of_the_server_in_the_state_are_meant_else_the_newest(rds: Any):
    """A server that was put into the place of another is copied anew, and what was copied of the old one stays."""
    newer = SimpleNamespace(earliest_time=LATEST, latest_time=LATEST + timedelta(days=1))
    elsewhere = f"arn:aws:rds:eu-west-1:{ACCOUNT}:db:{LOST_NAME}"
    rds.backups = [
        backup("k", db_instance_automated_backups_arn="old"),
        backup("k", dbi_resource_id="db-NEW", db_instance_automated_backups_arn="new", restore_window=newer),
        backup("k", dbi_resource_id="db-X", db_instance_automated_backups_arn="none yet", restore_window=None),
        backup("k", dbi_resource_id="db-LOST", db_instance_arn=elsewhere, restore_window=newer),
    ]

    def chosen(resource_id: str) -> str:
        found = copies_of(rds, LOST_NAME, LOST, resource_id)
        return found.arn if found else ""

    assert (chosen("db-LOST"), chosen("db-NEW"), chosen("")) == ("old", "new", "new")


def test_each_call_of_a_restore_is_one_that_rds_knows(rds: Any, state: dict[str, Any]):
    """Checked against the service model that botocore carries: no parameter that RDS would refuse."""
    declared, model = database_of(state), rds.meta.service_model
    known = set(model.operation_model("RestoreDBInstanceToPointInTime").input_shape.members)
    own = {"TargetDBInstanceIdentifier", "SourceDBInstanceAutomatedBackupsArn", "RestoreTime", "BackupRetentionPeriod"}
    assert (set(restore_arguments(declared, "x")) - {"DBInstanceIdentifier"}) | own <= known
    assert "KmsKeyId" not in known  # else nothing would have to be carried
    assert "KmsKeyId" in model.operation_model("CopyDBSnapshot").input_shape.members


def test_names_in_between_fit_and_those_of_two_moments_are_never_the_same():
    long = [f"{'x' * 46}-at-20261122-{minute}" for minute in ("0255", "0300")]
    carriers = [carrying.between(target)[0] for target in long]
    assert all(len(name) <= 63 and "--" not in name for name in carriers)
    assert len({name for target in long for name in (target, *carrying.between(target))}) == 8


def test_age_and_window_are_said_in_words():
    copies = Copies("a", "db", "replicating", "", ("postgres", "17"), "p", 50, 7, LATEST - timedelta(days=7), LATEST)
    assert "12 minutes old; copying is replicating" in window_words(copies, LATEST + timedelta(minutes=12))
    assert "30 hours old" in window_words(copies, LATEST + timedelta(hours=30))


def test_after_an_adoption_the_copying_of_backups_is_begun_anew():
    """It belongs to the server that was renamed, and to the engine nothing has changed."""
    state = state_with(LOST_NAME, LOST, "db-LOST")
    assert copying_of(state) == ""
    assert [line.partition("#")[0].strip() for line in next_step("prod", state)] == ["pulumi up --stack prod"]
    kind = "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication"
    state["deployment"]["resources"].append({"urn": "urn:copying", "type": kind, "id": BACKUPS})
    assert next_step("prod", state)[0] == "pulumi up --stack prod --replace 'urn:copying'"
