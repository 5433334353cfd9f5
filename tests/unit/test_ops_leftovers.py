"""Leftovers in an account that moto serves: planted, found, removed in order, proven; and what is not ours stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ops.leftovers import record as records
from ops.leftovers.aws.look import Look
from ops.leftovers.aws.removal import removable, remove
from ops.leftovers.aws.search import FINDERS, search
from ops.leftovers.cli import app
from ops.leftovers.model import Proof, Unseen, proof
from ops.leftovers.record import Known, Record
from ops.preflight.aws.account import BotoAccount
from tests.unit.moto_account import ACCOUNT, REGION, World, acting_as_administrator, served, sharing_clients
from tests.unit.planted_account import fill
from tests.unit.scripted_account import Scripted, refusal

pytestmark = pytest.mark.unit

PREFIX = "llmops-dev"
OWN = [{"Key": "stack", "Value": PREFIX}]
OTHERS = [{"Key": "stack", "Value": "llmops-dev-eu"}]
OF_CLUSTER = [{"Key": "elbv2.k8s.aws/cluster", "Value": PREFIX}, {"Key": "service.k8s.aws/stack", "Value": "chat/door"}]


@pytest.fixture(scope="module")
def server() -> Iterator[World]:
    with served() as world:
        yield world


@pytest.fixture
def world(server: World) -> Iterator[World]:
    server.reset()
    with acting_as_administrator(server), sharing_clients(server):
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
        fill(world, self.bucket, OWN)
        fill(world, f"llmops-dev-eu-data-{ACCOUNT}-{REGION}", OTHERS, versions=1)
        iam = world.client("iam")
        iam.create_role(RoleName=f"{PREFIX}-velero", AssumeRolePolicyDocument="{}", Tags=OWN)
        iam.put_role_policy(RoleName=f"{PREFIX}-velero", PolicyName="p", PolicyDocument=POLICY)
        iam.create_role(RoleName="llmops-dev-eu-velero", AssumeRolePolicyDocument="{}", Tags=OTHERS)

    @staticmethod
    def _volume(ec2: Any, tags: list[dict[str, str]]) -> str:
        given = {"TagSpecifications": [{"ResourceType": "volume", "Tags": tags}]} if tags else {}
        return ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=8, **given)["VolumeId"]


POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})


def kinds(found: Proof) -> list[str]:
    return [one.kind for one in found.found]


def names(found: Proof, kind: str) -> set[str]:
    return {one.name for one in found.found if one.kind == kind}


def test_everything_that_controllers_and_services_leave_is_found_and_nothing_of_another_stack(world: World):
    planted = Planted(world)
    found = search(BotoAccount(read_seconds=60), record(volumes=(planted.untagged_volume,)))

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
    order = kinds(search(BotoAccount(read_seconds=60), record()))
    before = [("load balancer", "target group"), ("network interface", "security group"), ("snapshot", "volume")]
    for first, second in before:
        if first in order and second in order:
            assert order.index(first) < order.index(second)
    assert order.index("load balancer") < order.index("network interface")


def test_safe_things_go_without_data_and_data_goes_when_it_is_wanted_and_then_nothing_remains(world: World):
    planted = Planted(world)
    account, known = BotoAccount(read_seconds=60), record(volumes=(planted.untagged_volume,))

    def sweep(*, data: bool) -> Proof:
        wanted = [one for one in search(account, known).found if removable(one, data=data)]
        assert remove(account, wanted, REGION, lambda _: None, seconds=0, pause=lambda _: None) == []
        return search(account, known)

    left = sweep(data=False)
    assert set(kinds(left)) == {"volume", "bucket", "secret"}, "what holds data is not removed by accident"
    assert left.exit_code == 1
    clean = sweep(data=True)
    assert (clean.found, clean.unseen, clean.exit_code) == ((), (), 0)

    ec2, s3 = world.client("ec2"), world.client("s3")
    assert planted.foreign_volume in {one["VolumeId"] for one in ec2.describe_volumes()["Volumes"]}
    assert [one["Name"] for one in s3.list_buckets()["Buckets"]] == [f"llmops-dev-eu-data-{ACCOUNT}-{REGION}"]
    world.client("secretsmanager").create_secret(Name=f"{PREFIX}/grafana", SecretString="the name is free again")


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
    found = search(BotoAccount(read_seconds=60), known)
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


def test_what_another_stack_has_put_into_our_network_is_named_and_left_to_it():
    """The network cannot go with it; but it is not ours to remove."""
    network = record(resources=(Known(type="aws:ec2/vpc:Vpc", id="vpc-1"),))
    place = {"VpcId": "vpc-1", "Groups": [{"GroupId": "sg-1"}]}
    account = Scripted(
        describe_security_groups={"SecurityGroups": [{**place, "GroupId": "sg-1", "GroupName": "x", "Tags": OTHERS}]},
        describe_network_interfaces={
            "NetworkInterfaces": [
                {**place, "NetworkInterfaceId": "eni-1", "Status": "available", "TagSet": OTHERS},
                {**place, "NetworkInterfaceId": "eni-2", "Status": "available", "TagSet": OWN},
            ]
        },
    )
    some = {what: FINDERS[what] for what in ("security groups", "network interfaces")}
    found = {one.name: one for one in search(account, network, some).found}
    assert {name: one.fate for name, one in found.items()} == {"sg-1": "by hand", "eni-1": "by hand", "eni-2": "safe"}
    assert "llmops-dev-eu" in found["sg-1"].note
    assert not removable(found["eni-1"], data=True)


def test_backups_and_images_with_a_tag_of_another_stack_are_its_own_whatever_their_name():
    snapshot = {"DBSnapshotIdentifier": "kept", "DBInstanceIdentifier": f"{PREFIX}-postgres"}
    repository = {"repositoryName": f"{PREFIX}/lent", "repositoryArn": "arn"}
    disk = {"SnapshotId": "snap-1", "VolumeId": "vol-1", "VolumeSize": 8}
    some = {what: FINDERS[what] for what in ("database backups", "repositories", "snapshots")}
    for tags, ours in ((OTHERS, set[str]()), ([], {"kept", f"{PREFIX}/lent", "snap-1"})):
        account = Scripted(
            describe_db_snapshots={"DBSnapshots": [{**snapshot, "TagList": tags}]},
            describe_repositories={"repositories": [repository]},
            list_tags_for_resource={"tags": tags},
            describe_snapshots={"Snapshots": [{**disk, "Tags": tags}]},
        )
        found = search(account, record(volumes=("vol-1",)), some)
        assert found.unseen == ()
        assert {one.name for one in found.found} == ours


@pytest.mark.parametrize(
    ("what", "operation", "answer"),
    [
        ("volumes", "describe_volumes", {"Volumes": [{"VolumeId": "vol-1", "Size": 8, "State": "deleting"}]}),
        (
            "instance groups",
            "describe_auto_scaling_groups",
            {"AutoScalingGroups": [{"AutoScalingGroupName": "nodes", "Status": "Delete in progress", "Tags": OWN}]},
        ),
        (
            "database backups",
            "describe_db_snapshots",
            {"DBSnapshots": [{"DBSnapshotIdentifier": "last", "Status": "deleting", "TagList": OWN}]},
        ),
    ],
)
def test_what_aws_is_deleting_already_is_shown_and_is_no_leftover(what: str, operation: str, answer: Any):
    found = search(Scripted(**{operation: answer}), record(volumes=("vol-1",)), {what: FINDERS[what]})
    assert [one.fate for one in found.found] == ["waits"]
    assert found.exit_code == 0


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
