"""Leftovers in an account that moto serves: planted, found, removed in order, proven; and what is not ours stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from moto.s3.models import s3_backends
from typer.testing import CliRunner

from ops.leftovers import record as records
from ops.leftovers.aws.buckets import BATCH, NotEmptiedError, empty
from ops.leftovers.aws.look import Look
from ops.leftovers.aws.removal import removable, remove
from ops.leftovers.aws.search import FINDERS, search
from ops.leftovers.cli import app
from ops.leftovers.model import Leftover, Proof, Unseen, proof
from ops.leftovers.record import Known, Record
from ops.preflight.aws.account import AwsError, BotoAccount
from tests.unit.moto_account import ACCOUNT, REGION, World, acting_as_administrator, served

pytestmark = pytest.mark.unit

PREFIX = "llmops-dev"
OWN = [{"Key": "stack", "Value": PREFIX}]
OTHERS = [{"Key": "stack", "Value": "llmops-dev-eu"}]
OF_CLUSTER = [{"Key": "elbv2.k8s.aws/cluster", "Value": PREFIX}, {"Key": "service.k8s.aws/stack", "Value": "chat/door"}]
# moto does not know these; what they would find has tests of its own.
ASKABLE = {what: finder for what, finder in FINDERS.items() if what not in ("recovery points",)}


@pytest.fixture(scope="module")
def server() -> Iterator[World]:
    with served() as world:
        yield world


@pytest.fixture
def world(server: World) -> Iterator[World]:
    server.reset()
    with acting_as_administrator(server):
        yield server


def record(**more: Any) -> Record:
    given: dict[str, Any] = {"regions": (REGION,), "cluster": PREFIX, **more}
    return Record(project="llmops", stack="dev", cloud="aws", **given)


class Planted:
    """Leftovers of each kind, and their twins of another stack."""

    def __init__(self, world: World) -> None:
        ec2, elbv2 = world.client("ec2"), world.client("elbv2")
        self.vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnets = [
            ec2.create_subnet(VpcId=self.vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"{REGION}{zone}")["Subnet"][
                "SubnetId"
            ]
            for n, zone in enumerate("ab")
        ]
        self.volume = self._volume(ec2, OWN)
        self.foreign_volume = self._volume(ec2, OTHERS)
        self.untagged_volume = self._volume(ec2, [])
        self.group = ec2.create_security_group(GroupName="k8s-chat-door", Description="x", VpcId=self.vpc)["GroupId"]
        ec2.create_tags(Resources=[self.group], Tags=OF_CLUSTER)
        self.interface = ec2.create_network_interface(SubnetId=self.subnets[0], Groups=[self.group])[
            "NetworkInterface"
        ]["NetworkInterfaceId"]
        self.balancer = elbv2.create_load_balancer(
            Name="k8s-chat-door", Type="network", Subnets=self.subnets, Tags=OF_CLUSTER
        )["LoadBalancers"][0]["LoadBalancerArn"]
        self.targets = elbv2.create_target_group(
            Name="k8s-chat-door", Protocol="TCP", Port=443, VpcId=self.vpc, TargetType="ip", Tags=OF_CLUSTER
        )["TargetGroups"][0]["TargetGroupArn"]
        self.address = ec2.allocate_address(Domain="vpc")["AllocationId"]
        ec2.create_tags(Resources=[self.address], Tags=OWN)
        secrets = world.client("secretsmanager")
        secrets.create_secret(Name=f"{PREFIX}/grafana", SecretString="x")
        secrets.delete_secret(SecretId=f"{PREFIX}/grafana", RecoveryWindowInDays=7)
        secrets.create_secret(Name="llmops-dev-eu/grafana", SecretString="x", Tags=OTHERS)
        logs = world.client("logs")
        logs.create_log_group(logGroupName=f"/aws/eks/{PREFIX}/cluster")
        logs.create_log_group(logGroupName="/aws/eks/llmops-dev-eu/cluster")
        self.bucket = f"{PREFIX}-data-{ACCOUNT}-{REGION}"
        fill(world, self.bucket, versions=3, tags=OWN)
        fill(world, f"llmops-dev-eu-data-{ACCOUNT}-{REGION}", versions=1, tags=OTHERS)
        iam = world.client("iam")
        iam.create_role(RoleName=f"{PREFIX}-velero", AssumeRolePolicyDocument="{}", Tags=OWN)
        iam.put_role_policy(RoleName=f"{PREFIX}-velero", PolicyName="p", PolicyDocument=POLICY)
        iam.create_role(RoleName="llmops-dev-eu-velero", AssumeRolePolicyDocument="{}", Tags=OTHERS)

    @staticmethod
    def _volume(ec2: Any, tags: list[dict[str, str]]) -> str:
        given = {"TagSpecifications": [{"ResourceType": "volume", "Tags": tags}]} if tags else {}
        return ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=8, **given)["VolumeId"]


POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})


def fill(world: World, bucket: str, *, versions: int, tags: list[dict[str, str]]) -> None:
    s3 = world.client("s3")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    for number in range(versions):
        s3.put_object(Bucket=bucket, Key="kept", Body=str(number).encode())
    s3.delete_object(Bucket=bucket, Key="kept")
    s3.create_multipart_upload(Bucket=bucket, Key="half")


def kinds(found: Proof) -> list[str]:
    return [one.kind for one in found.found]


def names(found: Proof, kind: str) -> set[str]:
    return {one.name for one in found.found if one.kind == kind}


def test_everything_that_controllers_and_services_leave_is_found_and_nothing_of_another_stack(world: World):
    planted = Planted(world)
    found = search(BotoAccount(read_seconds=60), record(volumes=(planted.untagged_volume,)), ASKABLE)

    assert found.unseen == ()
    assert names(found, "volume") == {planted.volume, planted.untagged_volume}, "by tag, and by the record"
    assert names(found, "load balancer") == {planted.balancer}
    assert names(found, "target group") == {planted.targets}
    assert names(found, "security group") == {planted.group}
    assert names(found, "network interface") == {planted.interface}
    assert names(found, "address") == {planted.address}
    assert names(found, "secret") == {f"{PREFIX}/grafana"}
    assert names(found, "log group") == {f"/aws/eks/{PREFIX}/cluster"}
    assert names(found, "bucket") == {planted.bucket}
    assert names(found, "role") == {f"{PREFIX}-velero"}
    assert "llmops-dev-eu" not in json.dumps(found.as_json())
    assert all(one.command and one.made_by for one in found.found)
    secret = next(one for one in found.found if one.kind == "secret")
    assert "recovery window" in secret.note
    assert next(one for one in found.found if one.kind == "load balancer").note == "Service chat/door"


def test_what_holds_on_to_others_goes_first(world: World):
    Planted(world)
    order = kinds(search(BotoAccount(read_seconds=60), record(), ASKABLE))
    before = [("load balancer", "target group"), ("network interface", "security group"), ("snapshot", "volume")]
    for first, second in before:
        if first in order and second in order:
            assert order.index(first) < order.index(second)
    assert order.index("load balancer") < order.index("network interface")


def test_safe_things_go_without_data_and_data_goes_when_it_is_wanted_and_then_nothing_remains(world: World):
    planted = Planted(world)
    account, known = BotoAccount(read_seconds=60), record(volumes=(planted.untagged_volume,))

    def sweep(*, data: bool) -> Proof:
        wanted = [one for one in search(account, known, ASKABLE).found if removable(one, data=data)]
        assert remove(account, wanted, REGION, lambda _: None, seconds=0, pause=lambda _: None) == []
        return search(account, known, ASKABLE)

    left = sweep(data=False)
    assert set(kinds(left)) == {"volume", "bucket", "secret"}, "what holds data is not removed by accident"
    assert left.exit_code == 1
    clean = sweep(data=True)
    assert (clean.found, clean.unseen, clean.exit_code) == ((), (), 0)

    ec2, s3 = world.client("ec2"), world.client("s3")
    assert planted.foreign_volume in {one["VolumeId"] for one in ec2.describe_volumes()["Volumes"]}
    assert [one["Name"] for one in s3.list_buckets()["Buckets"]] == [f"llmops-dev-eu-data-{ACCOUNT}-{REGION}"]
    world.client("secretsmanager").create_secret(Name=f"{PREFIX}/grafana", SecretString="the name is free again")


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


class Scripted:
    """An account that answers what a test says; lists are answers in turn, errors are raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.calls = answers, list[tuple[str, dict[str, Any]]]()

    def call(self, _service: str, operation: str, _region: str, /, **parameters: Any) -> dict[str, Any]:
        self.calls.append((operation, parameters))
        told = self.answers.get(operation, {})
        answer: Any = cast("list[Any]", told).pop(0) if isinstance(told, list) else told
        if isinstance(answer, Exception):
            raise answer
        return answer

    def pages(self, service: str, operation: str, key: str, region: str, /, **parameters: Any) -> Iterator[Any]:
        yield from self.call(service, operation, region, **parameters).get(key, ())


def refusal(code: str) -> AwsError:
    return AwsError(code, "ec2:Something", REGION, "no")


def leftover(kind: str, name: str, **more: Any) -> Leftover:
    given: dict[str, Any] = {"region": REGION, "made_by": "x", "command": "x", "fate": "safe", **more}
    return Leftover(kind=kind, name=name, **given)


def test_versions_that_s3_keeps_are_said_and_not_counted_as_gone():
    kept = [{"Key": "locked", "VersionId": "1", "Message": "Object is WORM protected"}]
    account = Scripted(
        list_object_versions={"Versions": [{"Key": "locked", "VersionId": "1"}]}, delete_objects={"Errors": kept}
    )
    with pytest.raises(NotEmptiedError, match="WORM protected"):
        empty(account, "audit", REGION)


def test_what_something_still_holds_is_tried_again_until_it_lets_go():
    held = refusal("DependencyViolation")
    group = {"SecurityGroups": [{"GroupId": "sg-1"}]}
    account = Scripted(describe_security_groups=group, delete_security_group=[held, held, {}])
    pauses: list[float] = []
    assert (
        remove(account, [leftover("security group", "sg-1")], REGION, lambda _: None, seconds=60, pause=pauses.append)
        == []
    )
    assert len(pauses) == 2


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


def test_recovery_points_of_the_file_system_are_found_by_the_record():
    arn = f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:file-system/fs-1"
    known = record(resources=(Known(type="aws:efs/fileSystem:FileSystem", id="fs-1", arn=arn),))
    account = Scripted(
        list_recovery_points_by_resource={"RecoveryPoints": [{"RecoveryPointArn": "rp-1", "BackupVaultName": "vault"}]}
    )
    found = search(account, known, {"recovery points": FINDERS["recovery points"]})
    assert [(one.kind, one.name, one.fate) for one in found.found] == [("recovery point", "rp-1", "data")]
    assert "--backup-vault-name vault" in found.found[0].command


def test_a_key_that_waits_for_its_deletion_is_shown_and_is_no_leftover(world: World):
    kms = world.client("kms")
    made = kms.create_key(Tags=[{"TagKey": "stack", "TagValue": PREFIX}])["KeyMetadata"]
    kms.schedule_key_deletion(KeyId=made["KeyId"], PendingWindowInDays=7)
    known = record(resources=(Known(type="aws:kms/key:Key", id=made["KeyId"], arn=made["Arn"]),))
    found = search(BotoAccount(read_seconds=60), known, ASKABLE)
    assert kinds(found) == ["key"]
    assert "costs nothing" in found.found[0].note
    assert found.exit_code == 0


def test_an_interface_in_use_is_named_with_its_user_and_left_alone():
    interface = {
        "NetworkInterfaceId": "eni-1",
        "Status": "in-use",
        "VpcId": "vpc-1",
        "Description": "RDSNetworkInterface",
    }
    account = Scripted(describe_network_interfaces={"NetworkInterfaces": [interface]})
    known = record(resources=(Known(type="aws:ec2/vpc:Vpc", id="vpc-1"),))
    (found,) = search(account, known, {"network interfaces": FINDERS["network interfaces"]}).found
    assert found.fate == "by hand"
    assert "RDSNetworkInterface" in found.note
    assert not removable(found, data=True)


@pytest.mark.parametrize(
    ("tags", "names", "ours"),
    [
        ({"stack": PREFIX}, (), True),
        ({f"kubernetes.io/cluster/{PREFIX}": "owned"}, (), True),
        ({"cluster.k8s.amazonaws.com/name": PREFIX}, (), True),
        ({"elbv2.k8s.aws/cluster": "llmops-dev-eu"}, (), False),
        ({"stack": "llmops-dev-eu"}, ("sg-known",), False),
        ({"stack": "llmops-dev-eu", "eks:cluster-name": PREFIX}, (), False),
        ({}, ("sg-known",), True),
        ({}, ("sg-other",), False),
    ],
)
def test_tags_of_another_stack_decide_against_names_and_records(
    tags: dict[str, str], names: tuple[str, ...], ours: bool
):
    known = record(resources=(Known(type="aws:ec2/securityGroup:SecurityGroup", id="sg-known"),))
    look = Look(account=Scripted(), record=known, region=REGION, home=True)
    assert bool(look.maker(tags, *names)) is ours


def test_a_question_without_an_answer_proves_nothing():
    account = Scripted(describe_volumes=refusal("UnauthorizedOperation"))
    found = search(account, record(), {"volumes": FINDERS["volumes"]})
    assert found.exit_code == 2
    assert "not allowed to look" in found.unseen[0].why
    assert proof((), (Unseen(what="x", why="y"),)).exit_code == 2


def test_the_record_outlives_the_state_and_an_interrupted_destroy_forgets_nothing(tmp_path: Path):
    root = {"type": "pulumi:pulumi:Stack", "urn": "urn:pulumi:dev::llmops::pulumi:pulumi:Stack::llmops-dev"}
    outputs = {"cloud": "aws", "region": REGION, "clusterName": PREFIX}
    volume = {
        "type": "aws:ebs/volume:Volume",
        "custom": True,
        "id": "vol-1",
        "urn": "u",
        "outputs": {"region": "us-west-2"},
    }
    whole = records.of_state("org/llmops/dev", {"resources": [{**root, "outputs": outputs}, volume]})
    assert whole is not None
    assert (whole.prefix, whole.cluster, whole.regions) == (PREFIX, PREFIX, (REGION, "us-west-2"))
    half = records.of_state("dev", {"resources": [{**root, "outputs": {}}]})
    assert half is not None
    both = records.merged(whole, half)
    path = records.place("org/llmops/dev", tmp_path)
    records.write(both, path)
    assert records.read(path) == both
    assert both.ids == {"vol-1"}
    assert both.cluster == PREFIX
    assert records.of_state("dev", {"resources": []}) is None


def test_the_command_works_from_the_settings_alone_and_proves_what_it_can(world: World, tmp_path: Path):
    Planted(world)
    answer = run("--stack", "dev", "--json", "--record-folder", str(tmp_path))
    told = json.loads(answer.stdout)
    assert answer.exit_code == 1, answer.output
    assert not told["clean"]
    assert {"bucket", "secret", "log group", "load balancer"} <= {one["kind"] for one in told["leftovers"]}


def test_credentials_of_another_account_neither_prove_nor_remove_anything(world: World, tmp_path: Path):
    records.write(record(account="999999999999"), records.place("dev", tmp_path))
    answer = run("--stack", "dev", "--record-folder", str(tmp_path), "--remove", "--yes")
    assert answer.exit_code == 2
    assert f"account {ACCOUNT}; the stack is in 999999999999" in answer.stderr


def test_without_yes_nothing_is_removed_and_data_wants_the_name_again(world: World, tmp_path: Path):
    planted = Planted(world)
    folder = ("--record-folder", str(tmp_path))
    dry = run("--stack", "dev", "--remove", "--data", *folder)
    assert "nothing was removed" in dry.stderr
    refused = run("--stack", "dev", "--remove", "--data", "--yes", *folder)
    assert refused.exit_code == 1
    assert "--confirm dev" in refused.stderr
    assert world.client("s3").list_object_versions(Bucket=planted.bucket)["Versions"]
    done = run("--stack", "dev", "--remove", "--data", "--yes", "--confirm", "dev", *folder)
    assert done.exit_code in (0, 1), done.output
    assert planted.bucket not in {one["Name"] for one in world.client("s3").list_buckets()["Buckets"]}


def test_a_stack_of_which_nothing_is_known_is_refused_with_what_to_do(tmp_path: Path):
    answer = run("--stack", "nowhere", "--record-folder", str(tmp_path))
    assert answer.exit_code == 2
    assert "no record of a destroy" in answer.stderr


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)
