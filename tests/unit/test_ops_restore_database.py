"""``ops restore database``, ``adopt`` and ``discard``, against a server that answers as RDS does."""

from __future__ import annotations

import copy
import itertools
import json
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from moto.moto_api._internal import moto_api_backend
from moto.rds.models import DBInstance
from typer.testing import CliRunner

from ops.progress import PatienceError, Progress, until
from ops.refusals import RefusedError
from ops.restore import adoption, contents, database
from ops.restore.adoption import adopt
from ops.restore.cli import app
from ops.restore.contents import losses
from ops.restore.database import carry_out, google_commands, moment_of, plan, target_name
from ops.restore.declared import Declared, adopted, completing_arguments, database_of, restore_arguments
from ops.restore.rds import Moment, Servers
from tests.unit import moto_account

pytestmark = pytest.mark.unit

REGION, NAME = "us-east-1", "llmops-dev-postgres"
URN = "urn:pulumi:dev::llmops::llmops:aws:Foundation$llmops:aws:Database$aws:rds/instance:Instance::foundation-server"


@pytest.fixture(scope="module")
def account() -> Iterator[dict[str, Any]]:
    with moto_account.clients("rds", "ec2", "kms", region=REGION) as made:
        yield made


@pytest.fixture
def clients(account: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    moto_api_backend.reset()
    numbers, made = itertools.count(), DBInstance.__init__

    def create(self: DBInstance, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        self.dbi_resource_id = f"db-{next(numbers):026d}"  # moto gives all servers the same
        self.__dict__["seen"] = 0

    def status(self: DBInstance) -> str:
        """As RDS: a server is not available when it is first looked at."""
        self.__dict__["seen"] += 1
        return ("creating", "creating", "backing-up")[seen] if (seen := self.__dict__["seen"] - 1) < 3 else "available"

    monkeypatch.setattr(DBInstance, "__init__", create)
    monkeypatch.setattr(DBInstance, "status", property(status, lambda *_: None), raising=False)
    return account


@pytest.fixture
def rds(clients: dict[str, Any]) -> Any:
    """A stack's server, with a snapshot, and what stands around it."""
    rds, ec2, kms = clients["rds"], clients["ec2"], clients["kms"]
    found = ec2.describe_subnets()["Subnets"]
    vpc, subnets = found[0]["VpcId"], [subnet["SubnetId"] for subnet in found]
    group = ec2.create_security_group(GroupName="clients", Description="clients", VpcId=vpc)["GroupId"]
    rds.create_db_subnet_group(DBSubnetGroupName="subnets", DBSubnetGroupDescription="-", SubnetIds=subnets)
    rds.create_db_parameter_group(DBParameterGroupName="tuned", DBParameterGroupFamily="postgres17", Description="-")
    rds.stack_group, rds.stack_key = group, kms.create_key()["KeyMetadata"]["Arn"]
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
        KmsKeyId=rds.stack_key,
        DBSubnetGroupName="subnets",
        VpcSecurityGroupIds=[group],
        DBParameterGroupName="tuned",
    )
    rds.create_db_snapshot(DBInstanceIdentifier=NAME, DBSnapshotIdentifier="before-upgrade")
    return rds


def describe(rds: Any, identifier: str = NAME) -> Mapping[str, Any]:
    return rds.describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]


def names(rds: Any) -> set[str]:
    return {one["DBInstanceIdentifier"] for one in rds.describe_db_instances()["DBInstances"]}


@pytest.fixture
def state(rds: Any) -> dict[str, Any]:
    """The stack's state, as the engine exports it."""
    server = describe(rds)
    inputs = {
        "identifier": NAME,
        "engine": "postgres",
        "username": "platform",
        "storageEncrypted": True,
        "kmsKeyId": rds.stack_key,
        "instanceClass": "db.m7g.large",
        "dbSubnetGroupName": "subnets",
        "vpcSecurityGroupIds": [rds.stack_group],
        "parameterGroupName": "tuned",
        "backupRetentionPeriod": 7,
        "backupWindow": "03:00-04:00",
        "maintenanceWindow": "sun:04:30-sun:05:30",
        "masterUserSecretKmsKeyId": rds.stack_key,
        "maxAllocatedStorage": 100,
        "deletionProtection": True,
        "enabledCloudwatchLogsExports": ["postgresql", "upgrade"],
    }
    outputs = {
        **inputs,
        "id": server["DbiResourceId"],
        "resourceId": server["DbiResourceId"],
        "region": REGION,
        "tagsAll": {"stack": "llmops-dev"},
    }
    database = {
        "urn": URN,
        "type": "aws:rds/instance:Instance",
        "id": server["DbiResourceId"],
        "inputs": inputs,
        "outputs": outputs,
        "protect": True,
    }
    alarm = {"urn": "urn:other", "type": "aws:cloudwatch/metricAlarm:MetricAlarm", "id": "a", "dependencies": [URN]}
    return {"version": 3, "deployment": {"resources": [alarm, database]}}


@pytest.fixture
def servers(rds: Any) -> Servers:
    return Servers(rds, Progress(), pause_seconds=0)


@pytest.fixture
def run(state: dict[str, Any], rds: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line on that stack."""
    for module in (database, adoption):
        monkeypatch.setattr(module, "aws", lambda _service, _region: rds)
    monkeypatch.setattr(database, "stack_export", lambda _stack, **_more: copy.deepcopy(state))
    monkeypatch.setattr("ops.restore.rds.until", lambda look, **more: until(look, **{**more, "pause_seconds": 0}))
    return lambda *arguments: CliRunner().invoke(app, [*arguments, "--stack", "dev"])


class Memory:
    """An engine that remembers what it was given."""

    def __init__(self) -> None:
        self.states: list[Mapping[str, Any]] = []

    def replace(self, state: Mapping[str, Any], urn: str) -> None:
        assert urn == URN
        self.states.append(state)


def restored(state: Mapping[str, Any], servers: Servers, moment: Moment | None = None) -> str:
    made = plan(database_of(state), servers, moment or Moment())
    carry_out(made, servers, Progress())
    return made.target


def test_a_restore_goes_beside_with_the_network_key_and_class_of_the_stack(
    rds: Any, state: dict[str, Any], servers: Servers
):
    before = describe(rds)
    new = describe(rds, restored(state, servers))
    assert new["DbiResourceId"] != before["DbiResourceId"]
    assert [group["VpcSecurityGroupId"] for group in new["VpcSecurityGroups"]] == [rds.stack_group]
    assert new["DBSubnetGroup"]["DBSubnetGroupName"] == "subnets"
    assert [group["DBParameterGroupName"] for group in new["DBParameterGroups"]] == ["tuned"]
    assert (new["KmsKeyId"], new["StorageEncrypted"]) == (rds.stack_key, True)
    assert new["DeletionProtection"] is True
    assert new["MasterUserSecret"]["SecretArn"] != before["MasterUserSecret"]["SecretArn"]
    assert describe(rds)["DbiResourceId"] == before["DbiResourceId"]


def test_a_snapshot_is_restored_likewise(rds: Any, state: dict[str, Any], servers: Servers):
    target = restored(state, servers, Moment(snapshot="before-upgrade"))
    assert target == f"{NAME}-at-before-upgrade"
    assert describe(rds, target)["DBSubnetGroup"]["DBSubnetGroupName"] == "subnets"


def test_without_yes_nothing_is_made_and_the_backups_are_shown(rds: Any, run: Any):
    done = run("database", "--snapshot", "before-upgrade", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["into"] == f"{NAME}-at-before-upgrade"
    assert "before-upgrade" in {one["id"] for one in told["snapshots"]}
    assert names(rds) == {NAME}


def test_a_restore_that_was_cut_off_goes_on_with_the_same_server(rds: Any, run: Any):
    first = run("database", "--snapshot", "before-upgrade", "--yes")
    assert first.exit_code == 0, first.output
    resource_id = describe(rds, f"{NAME}-at-before-upgrade")["DbiResourceId"]
    again = run("database", "--snapshot", "before-upgrade", "--yes")
    assert (again.exit_code, "going on with it" in again.stderr) == (0, True)
    assert describe(rds, f"{NAME}-at-before-upgrade")["DbiResourceId"] == resource_id
    assert "restore adopt --stack dev" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--snapshot", "none"], "no snapshot none"),
        (["--at", "2031-01-01T00:00Z"], "outside of the backups"),
        (["--at", "2026-11-22T03:00"], "no time zone"),
        (["--at", "yesterday"], "is no moment"),
        (["--at", "2026-11-22T03:00Z", "--snapshot", "before-upgrade"], "one of them"),
        (["--as", NAME], "the stack's own server"),
    ],
)
def test_what_cannot_be_restored_is_refused_before_anything_is_made(
    rds: Any, run: Any, arguments: list[str], reason: str
):
    refused = run("database", "--yes", *arguments)
    assert (refused.exit_code, reason in refused.stderr) == (1, True), refused.stderr
    assert names(rds) == {NAME}


def test_a_deleted_server_is_restored_by_its_resource_id(state: dict[str, Any]):
    """Its automated backups are kept; its name is not known to RDS any more."""
    asked: dict[str, Any] = {}

    class Gone:
        class exceptions:  # noqa: N801 - as boto3 names it
            DBInstanceNotFoundFault = KeyError

        def describe_db_instances(self, **_: Any) -> None:
            raise KeyError

        def restore_db_instance_to_point_in_time(self, **arguments: Any) -> None:
            asked.update(arguments)

    declared = database_of(state)
    Servers(Gone(), Progress()).restore(declared, "new", Moment())
    assert asked["SourceDbiResourceId"] == declared.id
    assert "SourceDBInstanceIdentifier" not in asked
    assert asked["UseLatestRestorableTime"] is True


def test_both_restores_and_the_change_after_them_are_calls_that_rds_knows(rds: Any, state: dict[str, Any]):
    """Checked against the service model that botocore carries: no parameter that RDS would refuse."""
    declared = database_of(state)
    model = rds.meta.service_model
    common = set(restore_arguments(declared, "x")) - {"DBInstanceIdentifier"}
    for operation, own in (
        ("RestoreDBInstanceFromDBSnapshot", {"DBInstanceIdentifier", "DBSnapshotIdentifier"}),
        ("RestoreDBInstanceToPointInTime", {"TargetDBInstanceIdentifier", "SourceDbiResourceId", "RestoreTime"}),
    ):
        assert common | own <= set(model.operation_model(operation).input_shape.members)
    assert set(completing_arguments(declared)) <= set(model.operation_model("ModifyDBInstance").input_shape.members)


def test_logs_are_not_exported_under_the_name_beside(state: dict[str, Any]):
    declared = database_of(state)
    assert "EnableCloudwatchLogsExports" not in restore_arguments(declared, "x")
    assert "CloudwatchLogsExportConfiguration" not in completing_arguments(declared)


def test_adopting_gives_name_address_and_state_to_the_restored_server(
    rds: Any, state: dict[str, Any], servers: Servers
):
    address = describe(rds)["Endpoint"]["Address"]
    old, target, engine = describe(rds)["DbiResourceId"], restored(state, servers), Memory()
    new = describe(rds, target)["DbiResourceId"]
    adopt(state, target, "aside", servers, engine, Progress())
    assert names(rds) == {NAME, "aside"}
    assert describe(rds)["DbiResourceId"] == new
    assert describe(rds, "aside")["DbiResourceId"] == old
    assert describe(rds)["Endpoint"]["Address"] == address
    assert describe(rds)["EnabledCloudwatchLogsExports"] == ["postgresql", "upgrade"]
    assert "restored-from" not in {tag["Key"] for tag in describe(rds)["TagList"]}
    (written,) = engine.states
    assert database_of(written).id == new


def test_adopting_changes_the_state_in_the_servers_id_alone(state: dict[str, Any]):
    """A protected resource stays protected, dependents keep their references, nothing is left to be deleted."""
    changed = adopted(state, URN, "db-new")
    server = changed["deployment"]["resources"][1]
    assert (server["id"], server["outputs"]["id"], server["outputs"]["resourceId"]) == ("db-new",) * 3
    old = state["deployment"]["resources"][1]["id"]
    assert json.loads(json.dumps(changed).replace("db-new", old)) == state


def test_adopting_goes_on_after_each_step_at_which_it_can_be_cut_off(rds: Any, state: dict[str, Any], servers: Servers):
    target = restored(state, servers)
    new = describe(rds, target)["DbiResourceId"]
    servers.rename(NAME, "aside")
    engine = Memory()

    class Away(Memory):
        def replace(self, state: Mapping[str, Any], urn: str) -> None:
            raise PatienceError

    with pytest.raises(PatienceError):
        adopt(state, target, "another", servers, Away(), Progress())
    adopt(state, target, "another", servers, engine, Progress())
    assert names(rds) == {NAME, "aside"}
    assert database_of(engine.states[0]).id == new


def test_a_server_that_up_would_replace_is_not_adopted(rds: Any, state: dict[str, Any], servers: Servers):
    target = restored(state, servers)
    state["deployment"]["resources"][1]["inputs"]["kmsKeyId"] = "arn:aws:kms:us-east-1:123456789012:key/other"
    with pytest.raises(RefusedError, match="kmsKeyId"):
        adopt(state, target, "aside", servers, Memory(), Progress())
    assert names(rds) == {NAME, target}


def test_adopting_is_a_dry_run_without_yes_and_keeps_the_former_state_with_it(
    rds: Any, run: Any, state: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    engine = Memory()
    monkeypatch.setattr(adoption, "PulumiEngine", lambda _stack, **_more: engine)
    assert run("database", "--snapshot", "before-upgrade", "--yes").exit_code == 0
    target = f"{NAME}-at-before-upgrade"
    assert run("adopt", "--instance", target).exit_code == 0
    assert (names(rds), engine.states) == ({NAME, target}, [])
    done = run("adopt", "--instance", target, "--yes")
    assert done.exit_code == 0, done.output
    (kept,) = tmp_path.glob("dev-state-before-adoption-*.json")
    assert json.loads(kept.read_text()) == state
    assert kept.stat().st_mode & 0o077 == 0
    assert "pulumi up --stack dev" in done.stdout


def test_the_engine_imports_the_state_and_reads_the_server_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    asked: list[list[str]] = []

    def pulumi(arguments: list[str], *, sandbox: bool) -> str:
        if "--file" in arguments:
            assert json.loads(Path(arguments[-1]).read_text()) == {"version": 3}
        asked.append(arguments)
        return ""

    monkeypatch.setattr(adoption, "pulumi", pulumi)
    adoption.PulumiEngine("org/llmops/dev", sandbox=False).replace({"version": 3}, URN)
    assert [arguments[:2] for arguments in asked] == [["stack", "import"], ["refresh", "--stack"]]
    assert asked[1][asked[1].index("--target") + 1] == URN
    assert list(tmp_path.iterdir()) == []


def test_only_what_a_restore_made_is_discarded(rds: Any, run: Any):
    assert run("database", "--snapshot", "before-upgrade", "--yes").exit_code == 0
    target = f"{NAME}-at-before-upgrade"
    own = run("discard", "--instance", NAME, "--yes")
    assert (own.exit_code, "the stack's own" in own.stderr) == (1, True)
    assert run("discard", "--instance", target).exit_code == 0
    assert names(rds) == {NAME, target}
    done = run("discard", "--instance", target, "--yes")
    assert done.exit_code == 0, done.output
    assert names(rds) == {NAME}
    rds.create_db_instance(DBInstanceIdentifier="theirs", Engine="postgres", DBInstanceClass="db.t4g.micro")
    theirs = run("discard", "--instance", "theirs", "--yes")
    assert (theirs.exit_code, "no restore made it" in theirs.stderr, "theirs" in names(rds)) == (1, True, True)


def test_a_restore_that_fails_at_rds_ends_at_once(state: dict[str, Any]):
    class Failing:
        class exceptions:  # noqa: N801 - as boto3 names it
            DBInstanceNotFoundFault = KeyError

        def describe_db_instances(self, **_: Any) -> Mapping[str, Any]:
            return {"DBInstances": [{"DBInstanceStatus": "incompatible-restore"}]}

    with pytest.raises(RefusedError, match="incompatible-restore"):
        Servers(Failing(), Progress()).available("x")


def test_waiting_ends_when_patience_does():
    now = itertools.count(step=60)
    with pytest.raises(PatienceError, match="not within 10 minutes"):
        until(
            lambda: None, what="x", patience_seconds=600, pause_seconds=1, sleep=lambda _: None, clock=lambda: next(now)
        )


def test_the_same_moment_has_the_same_name_and_fits_what_rds_takes():
    moment = moment_of("2026-11-22T03:00Z", "")
    assert target_name(NAME, moment) == f"{NAME}-at-20261122-0300"
    berlin = Moment(at=datetime.fromisoformat("2026-11-22T04:00+01:00"))
    assert target_name(NAME, berlin) == target_name(NAME, moment)
    assert len(target_name("x" * 60, moment)) <= 63
    assert not target_name("x" * 59, moment).endswith("-")
    assert target_name(NAME, Moment(snapshot="rds:x-2026")) == f"{NAME}-at-x-2026"


def test_a_stack_without_a_clouds_database_says_so():
    with pytest.raises(RefusedError, match="on premises"):
        database_of({"deployment": {"resources": []}})


def test_of_cloud_sql_the_commands_of_its_own_tool_are_printed(run: Any, state: dict[str, Any]):
    server = state["deployment"]["resources"][1]
    server["type"] = "gcp:sql/databaseInstance:DatabaseInstance"
    server["outputs"] |= {"name": "llmops-gcp-postgres-1a2b", "project": "acme"}
    shown = run("database", "--at", "2026-11-22T03:00Z")
    assert shown.exit_code == 0, shown.output
    assert "--point-in-time '2026-11-22T03:00:00Z'" in shown.stdout
    asked = run("database", "--yes")
    assert asked.exit_code == 2
    commands = google_commands(database_of(state), Moment(snapshot="1763780400000"))
    first = next(number for number, command in enumerate(commands) if "backups restore" in command)
    own = next(number for number, command in enumerate(commands) if "backups create --instance llmops-gcp" in command)
    into_own = next(
        number for number, one in enumerate(commands) if "--restore-instance llmops-gcp-postgres-1a2b " in one
    )
    assert first < own < into_own  # the old server is saved before it is overwritten


def test_what_is_missing_after_a_restore_is_named():
    before = {"mlflow": {"public.runs": 10, "public.tags": 3}, "litellm": {"public.keys": 1}}
    after = {"mlflow": {"public.runs": 8, "public.metrics": 1}}
    assert losses(before, after) == [
        "database litellm is missing",
        "mlflow: public.runs 10 → 8",
        "mlflow: public.tags is missing",
    ]
    assert losses(after, {"mlflow": {"public.runs": 9, "public.metrics": 1}}) == []


def test_tables_are_counted_in_every_database_and_the_password_is_in_no_command(monkeypatch: pytest.MonkeyPatch):
    asked: list[list[str]] = []

    def psql(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        answer = '["mlflow"]' if "pg_database" in command[command.index("--command") + 1] else '{"public.runs": 4}'
        return subprocess.CompletedProcess(command, 0, answer, "")

    monkeypatch.setattr(subprocess, "run", psql)
    found = contents.counts("postgresql://platform@localhost:15432/postgres?sslmode=require")
    assert found == {"mlflow": {"public.runs": 4}}
    assert asked[1][-1] == "postgresql://platform@localhost:15432/mlflow?sslmode=require"
    with pytest.raises(RefusedError, match="PGPASSWORD"):
        contents.counts("postgresql://platform:secret@localhost/postgres")


def test_a_restore_that_lost_rows_ends_with_one(rds: Any, run: Any, monkeypatch: pytest.MonkeyPatch):
    rows = {"postgresql://new": {"mlflow": {"public.runs": 1}}, "postgresql://old": {"mlflow": {"public.runs": 2}}}
    monkeypatch.setattr(database.contents, "__defaults__", (lambda url: rows[url],))
    arguments = ["database", "--snapshot", "before-upgrade", "--yes", "--check", "postgresql://new"]
    assert run(*arguments).exit_code == 0
    lost = run(*arguments, "--against", "postgresql://old")
    assert (lost.exit_code, "public.runs 2 → 1" in lost.stdout) == (1, True)


def test_the_window_tells_the_moments_and_the_newest_snapshot_first(rds: Any, state: dict[str, Any], servers: Servers):
    declared: Declared = database_of(state)
    window = servers.window(declared)
    taken = [one["taken"] for one in window["snapshots"]]
    assert taken == sorted(taken, reverse=True)
    latest = datetime.fromisoformat(window["latest"])
    assert abs(datetime.now(UTC) - latest) < timedelta(hours=1)
