"""``ops destroy`` and ``ops leftovers`` as commands, in an account in which two stacks left all that stacks leave."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from ops import stack as stacks
from ops.cli import app
from ops.destroy import account as accounts
from ops.destroy import running
from ops.leftovers.record import Record
from ops.preflight.aws.account import AwsError, CredentialsError
from tests.unit.moto_account import ACCOUNT, REGION, World, acting_as_administrator, served, sharing_clients
from tests.unit.planted_account import KUBECTL, Planted, inventory, tags

pytestmark = pytest.mark.unit

STACK = "dev"
OURS, THEIRS = "llmops-dev", "llmops-dev-eu"
DATA = {"volume", "snapshot", "recovery point", "database snapshot", "repository", "secret"}
OF_CONTROLLERS = {"load balancer", "target group"}
ORPHANS = {"instance group", "instance", "network interface", "security group", "log group"}


@pytest.fixture(scope="module")
def server() -> Iterator[World]:
    with served() as world:
        yield world


@pytest.fixture
def world(server: World) -> Iterator[World]:
    server.reset()
    with acting_as_administrator(server), sharing_clients(server):
        yield server


@dataclass
class Engine:
    """The engine: deletes what its state has from the account, last made first, until something refuses.

    Attributes:
        world: The account.
        resources: Its state.
        rounds: What was in the account at the beginning of each destroy.
        calls: What it was asked for.
    """

    world: World
    resources: list[dict[str, Any]]
    rounds: list[set[str]] = field(default_factory=list)
    calls: list[tuple[str, ...]] = field(default_factory=list)

    def export(self, _stack: str, *, sandbox: bool) -> dict[str, Any]:
        assert not sandbox
        outputs = {"cloud": "aws", "region": REGION, "clusterName": OURS}
        root = {
            "type": "pulumi:pulumi:Stack", "urn": "urn:pulumi:dev::llmops::pulumi:pulumi:Stack::llmops-dev",
            "outputs": outputs,
        }  # fmt: skip
        return {"deployment": {"resources": [root, *self.resources] if self.resources else []}}

    def ask(self, arguments: Sequence[str], *, sandbox: bool) -> str:
        assert not sandbox
        self.calls.append(tuple(arguments))
        if arguments[:2] == ["state", "unprotect"]:
            for one in self.resources:
                one.pop("protect", None)
        return "{}"

    def stream(self, arguments: Sequence[str], **_: Any) -> int:
        self.calls.append(tuple(arguments))
        assert arguments[0] == "destroy", arguments
        self.rounds.append(inventory(self.world))
        while self.resources:
            one = self.resources[-1]
            assert not one.get("protect")
            try:
                self._delete(one["type"], one["id"])
            except ClientError:
                return 1
            self.resources.pop()
        return 0

    def _delete(self, type_: str, id_: str) -> None:
        client, ec2 = self.world.client, self.world.client("ec2")
        match type_:
            case "aws:ec2/vpc:Vpc":
                here = [{"Name": "vpc-id", "Values": [id_]}]
                groups = ec2.describe_security_groups(Filters=here)["SecurityGroups"]
                if len(groups) > 1:  # moto lets the network go, and AWS does not
                    raise ClientError({"Error": {"Code": "DependencyViolation"}}, "DeleteVpc")
                ec2.delete_vpc(VpcId=id_)
            case "aws:ec2/subnet:Subnet":
                here = [{"Name": "subnet-id", "Values": [id_]}]
                if ec2.describe_network_interfaces(Filters=here)["NetworkInterfaces"]:
                    raise ClientError({"Error": {"Code": "DependencyViolation"}}, "DeleteSubnet")
                ec2.delete_subnet(SubnetId=id_)
            case "aws:ec2/securityGroup:SecurityGroup":
                ec2.delete_security_group(GroupId=id_)
            case "aws:s3/bucket:Bucket":
                client("s3").delete_bucket(Bucket=id_)
            case "aws:cloudwatch/logGroup:LogGroup":
                client("logs").delete_log_group(logGroupName=id_)
            case "aws:secretsmanager/secret:Secret":
                client("secretsmanager").delete_secret(SecretId=id_, RecoveryWindowInDays=7)
            case "aws:rds/instance:Instance":
                client("rds").delete_db_instance(DBInstanceIdentifier=id_, SkipFinalSnapshot=True)
            case "aws:iam/role:Role":
                client("iam").delete_role(RoleName=id_)
            case "aws:eks/cluster:Cluster":
                client("eks").delete_cluster(name=id_)
            case _:
                pass


Ops = Callable[..., Any]


@pytest.fixture
def theirs(world: World) -> set[str]:
    """Another stack, whose name begins as ours does, and what of others looks most like ours."""
    other = Planted(world, THEIRS, "10.1").engine().leave()
    world.client("secretsmanager").create_secret(
        Name=f"{OURS}/lent", SecretString="x", Tags=tags(stack=THEIRS)
    )  # a name of ours, and their tag
    world.client("ec2").create_volume(AvailabilityZone=f"{REGION}a", Size=8)  # nobody's
    assert other.resources
    return inventory(world)


@pytest.fixture
def planted(world: World, theirs: set[str]) -> Planted:
    assert theirs
    return Planted(world, OURS, "10.0").engine().leave()


@pytest.fixture
def engine(world: World, planted: Planted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engine:
    made = Engine(world, planted.resources)
    for name, function in (("stack_export", made.export), ("pulumi", made.ask), ("pulumi_streamed", made.stream)):
        monkeypatch.setattr(running, name, function)
    monkeypatch.setattr(stacks, "pulumi", made.ask)
    program = tmp_path / "kubectl"
    program.write_text(KUBECTL)
    program.chmod(0o755)
    (tmp_path / "volumes.json").write_text(planted.volumes())
    monkeypatch.setenv("KUBECTL", str(program))
    monkeypatch.setenv("LLMOPS_RECORDS", str(tmp_path / "records"))
    monkeypatch.setattr("ops.leftovers.cli._SECONDS", 0.0)
    return made


def ops(*arguments: str) -> Any:
    """``python -m ops``, with a thousandth of its patience where it has any."""
    patience = ["--patience", "0.001"] if arguments[0] == "destroy" else []
    answer = CliRunner().invoke(app, [*arguments, "--stack", STACK, *patience])
    assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.exception
    return answer


def told(answer: Any) -> Any:
    return json.loads(answer.stdout)


def kinds(found: Sequence[Mapping[str, Any]]) -> set[str]:
    return {str(one["kind"]) for one in found}


def names(found: Sequence[Mapping[str, Any]]) -> set[str]:
    return {str(one["name"]) for one in found}


def test_a_plan_tells_the_whole_account_in_order_and_changes_nothing(engine: Engine, planted: Planted):
    before = inventory(engine.world)
    answer = ops("destroy", "--json")
    assert answer.exit_code == 0, answer.output
    account = told(answer)["account"]
    made = planted.made
    assert names(account["controllers"]) == {made[one] for one in ("alb", "alb-targets", "nlb", "nlb-targets")}
    assert account["buckets"] == [made["bucket"]]
    after = ("nodes", "node", "interface", "door-group", "traffic-group", "log")
    assert names(account["after"]) == {made[one] for one in after}, "and nothing that the engine deletes itself"
    kept = ("volume", "untagged", "snapshot", "recovery-point", "final", "images", "forgotten")
    assert names(account["kept"]) == {made[one] for one in kept}
    assert account["unseen"] == []
    assert THEIRS not in answer.stdout

    shown = " ".join(ops("destroy").stdout.split())
    order = ["2. the account", "3. pulumi destroy: ", "4. what is left of this", "5. leftovers", "nothing was changed"]
    places = [shown.index(line) for line in order]
    assert places == sorted(places)
    assert "--remove --data --confirm dev" in shown

    assert inventory(engine.world) == before
    assert engine.rounds == []


def test_everything_goes_in_order_what_holds_data_when_it_is_told_to_and_nothing_of_another_stack(
    engine: Engine, planted: Planted, theirs: set[str]
):
    made = planted.made
    first = ops("leftovers", "--json")
    assert first.exit_code == 1, first.output
    assert kinds(told(first)["leftovers"]) >= {*OF_CONTROLLERS, *ORPHANS, "snapshot", "repository", "secret"}
    assert names(told(first)["leftovers"]) >= {made[one] for one in ("volume", "final", "log", "images", "alb")}

    done = ops("destroy", "--yes", "--json")
    assert done.exit_code == 1, done.output
    assert told(done)["destroyed"]
    at_first, then = engine.rounds
    gone = {made[one] for one in ("alb", "nlb", "alb-targets", "nlb-targets")}
    assert not at_first & gone, "a network with a load balancer in it cannot go"
    assert not any("#" in one for one in at_first - theirs), "the bucket was not emptied before its deletion"
    assert made["interface"] in at_first, "an interface in a live cluster may be in use in the next moment"
    held = {made[one] for one in ("interface", "node", "door-group", "traffic-group")}
    assert not [one for one in then if one.split(" ")[0] in held], "the network was not cleared for the second round"
    left = told(done)["leftovers"]["leftovers"]
    assert kinds(left) == DATA, "what holds data is not removed by accident, and nothing else remains"
    assert {made["untagged"], f"{OURS}/grafana", made["forgotten"]} <= names(left)

    again = ops("leftovers", "--json")
    assert again.exit_code == 1
    assert kinds(told(again)["leftovers"]) == DATA
    refused = ops("leftovers", "--remove", "--data", "--yes")
    assert refused.exit_code == 1
    assert "--confirm dev" in refused.stderr

    clean = ops("leftovers", "--remove", "--data", "--yes", "--confirm", STACK, "--json")
    assert clean.exit_code == 0, clean.output
    assert told(clean)["leftovers"] == []
    assert "nothing remains" in ops("leftovers").stdout
    assert inventory(engine.world) == theirs, "more or less than before the stack came"


def test_a_second_destroy_goes_on_and_ends_with_the_proof(engine: Engine, planted: Planted):
    assert ops("destroy", "--yes").exit_code == 1
    group = engine.world.client("logs")
    group.create_log_group(logGroupName=f"/aws/eks/{OURS}/cluster")  # EKS writes once more
    again = ops("destroy", "--yes", "--json")
    assert len(engine.rounds) == 2, "there is nothing left for the engine"
    assert kinds(told(again)["leftovers"]["leftovers"]) == DATA
    assert planted.made["volume"] in names(told(again)["leftovers"]["leftovers"])


def locked(world: World, bucket: str) -> None:
    """A bucket whose versions nobody can delete for a while."""
    s3 = world.client("s3")
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    days = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 30}}
    s3.put_object_lock_configuration(
        Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": days}
    )
    s3.put_object(Bucket=bucket, Key="audit", Body=b"x")


def test_what_is_protected_is_refused_all_at_once_with_the_way_out_before_anything_goes(
    engine: Engine, planted: Planted
):
    world, made, audit = engine.world, planted.made, f"{OURS}-audit-{ACCOUNT}-{REGION}"
    next(one for one in planted.resources if one["id"] == made["vpc"])["protect"] = True
    declared = next(one for one in planted.resources if one["id"] == made["bucket"])
    locked(world, audit)
    planted.resources.append({**declared, "id": audit, "urn": f"{declared['urn']}-audit"})
    # Somebody has set these by hand: the engine's state does not know of it.
    server = f"{OURS}-postgres"
    world.client("rds").modify_db_instance(DBInstanceIdentifier=server, DeletionProtection=True, ApplyImmediately=True)
    attribute = {"Key": "deletion_protection.enabled", "Value": "true"}
    world.client("elbv2").modify_load_balancer_attributes(LoadBalancerArn=made["nlb"], Attributes=[attribute])
    before = inventory(world)

    planning = ops("destroy", "--json")
    assert planning.exit_code == 1
    refusing = {one["name"]: one for one in told(planning)["protected"]}
    assert refusing.keys() == {made["vpc"], audit, server, made["nlb"]}
    assert all(one["unprotect"] for one in refusing.values())

    for arguments in ((), ("--unprotect", "--confirm", STACK)):
        refused = ops("destroy", "--yes", *arguments)
        assert refused.exit_code == 1, refused.output
        for text in (
            f"pulumi state unprotect --stack {STACK}",
            f"modify-db-instance --no-deletion-protection --apply-immediately --region {REGION}",
            "--bypass-governance-retention",
            "take it out of the annotations of Service chat/door",
            "nothing was deleted",
        ):
            assert text in refused.stderr
    assert inventory(world) == before
    assert engine.rounds == []
    assert any(one.get("protect") for one in planted.resources), "Pulumi's was lifted though the account still refuses"

    world.client("rds").modify_db_instance(DBInstanceIdentifier=server, DeletionProtection=False, ApplyImmediately=True)
    off = {**attribute, "Value": "false"}
    world.client("elbv2").modify_load_balancer_attributes(LoadBalancerArn=made["nlb"], Attributes=[off])
    s3 = world.client("s3")
    (version,) = s3.list_object_versions(Bucket=audit)["Versions"]
    s3.delete_object(Bucket=audit, Key="audit", VersionId=version["VersionId"], BypassGovernanceRetention=True)
    assert ops("destroy", "--yes").exit_code == 1, "it was protected: the name is wanted"
    done = ops("destroy", "--yes", "--unprotect", "--confirm", STACK, "--json")
    assert told(done)["destroyed"], done.output
    assert kinds(told(done)["leftovers"]["leftovers"]) == DATA


def test_a_vault_that_lets_nobody_delete_is_named_with_what_changes_it(engine: Engine, planted: Planted):
    engine.world.guarded.add("aws/efs/automatic-backup-vault")
    ops("destroy", "--yes")
    kept = ops("leftovers", "--remove", "--data", "--yes", "--confirm", STACK, "--json")
    assert kept.exit_code == 1
    assert names(told(kept)["leftovers"]) == {planted.made["recovery-point"]}
    assert "put-backup-vault-access-policy" in kept.stderr


@pytest.mark.usefixtures("engine")
def test_credentials_that_end_on_the_way_are_said_and_nothing_is_called_clean(monkeypatch: pytest.MonkeyPatch):
    def ended(*_: Any, **__: Any) -> None:
        raise CredentialsError("AWS does not take the credentials: ExpiredToken")

    monkeypatch.setattr(accounts, "prepare", ended)
    answer = ops("destroy", "--yes")
    assert answer.exit_code == 2
    assert "ExpiredToken" in answer.stderr


def test_without_credentials_the_plan_says_what_it_did_not_ask(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", "/nonexistent")
    answer = ops("destroy", "--json")
    assert answer.exit_code == 0, answer.output
    assert told(answer)["account"] is None
    assert "AWS_PROFILE" in told(answer)["withoutAccount"]
    assert ops("destroy", "--yes").exit_code == 2
    assert engine.rounds == []


class Emptied:
    """An account in which a bucket is gone, though the state of the engine still has it."""

    def call(self, _service: str, operation: str, region: str, /, **_: Any) -> dict[str, Any]:
        raise AwsError("NoSuchBucket", operation, region, "gone")

    def pages(self, *_arguments: str, **_: Any) -> Iterator[Any]:
        yield from ()


def test_a_bucket_that_is_gone_already_holds_nothing_up(capsys: pytest.CaptureFixture[str]):
    record = Record(project="llmops", stack="dev", cloud="aws", regions=(REGION,), cluster=OURS)
    bucket = {"type": "aws:s3/bucket:Bucket", "id": "gone", "urn": "u", "outputs": {"forceDestroy": True}}
    accounts.prepare(Emptied(), record, [bucket], frozenset(), scale=0)
    assert "gone: it is gone already" in capsys.readouterr().err
