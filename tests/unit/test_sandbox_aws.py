"""The emulated AWS, called as the engine calls it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.aws.data_sources import DATA_SOURCES, answer
from sandbox.aws.identifiers import Place
from sandbox.aws.provider import AwsProvider
from sandbox.aws.replacements import ONLY_BY_NAME, REPLACING
from sandbox.aws.rules import refused_inputs
from sandbox.emulated import differences
from sandbox.provider import ProviderError, Resource
from sandbox.schema import resource_schema
from sandbox.store import Fault, Store
from sandbox.values import UNKNOWN, Properties, Secret

pytestmark = pytest.mark.unit

SEED = bytes(range(32))
EVERYONE = [{"type": "*", "identifiers": ["*"]}]
VPC, SUBNET, BUCKET = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:s3/bucket:Bucket"


def resource(kind: str, name: str = "thing") -> Resource:
    return Resource(f"urn:pulumi:dev::probe::{kind}::{name}")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "account.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def aws(store: Store) -> AwsProvider:
    return AwsProvider(store)


def create(aws: AwsProvider, kind: str, name: str = "thing", **inputs: Any) -> tuple[str, Properties]:
    checked, failures = aws.check(resource(kind, name), {}, inputs, SEED)
    assert not failures
    return aws.create(resource(kind, name), checked, 0, preview=False)


def delete(aws: AwsProvider, kind: str, resource_id: str, name: str = "thing") -> None:
    aws.delete(resource(kind, name), resource_id, {}, {}, 0)


# Names


def test_a_resource_without_a_name_gets_one_that_fits_and_keeps_it(aws: AwsProvider):
    long = resource(BUCKET, "a" * 80)
    first, _ = aws.check(long, {}, {}, SEED)
    assert re.fullmatch(r"a{55}-[0-9a-f]{7}", first["bucket"])
    again, _ = aws.check(long, first, {}, bytes(32))
    assert again["bucket"] == first["bucket"]


def test_a_name_or_a_prefix_of_the_program_is_left_alone(aws: AwsProvider):
    assert aws.check(resource(BUCKET), {}, {"bucket": "mine"}, SEED)[0] == {"bucket": "mine"}
    assert aws.check(resource(BUCKET), {}, {"bucketPrefix": "mine-"}, SEED)[0] == {"bucketPrefix": "mine-"}


# Identifiers


@pytest.mark.parametrize(
    ("region", "partition"), [("eu-west-1", "aws"), ("us-gov-west-1", "aws-us-gov"), ("cn-north-1", "aws-cn")]
)
def test_identifiers_say_partition_region_and_account(store: Store, region: str, partition: str):
    aws = AwsProvider(store)
    aws.configure({"region": region})
    _, key = create(aws, "aws:kms/key:Key")
    assert re.fullmatch(rf"arn:{partition}:kms:{region}:\d{{12}}:key/[0-9a-f-]{{36}}", key["arn"])
    assert key["region"] == region
    _, bucket = create(aws, BUCKET, bucket="b")
    assert bucket["arn"] == f"arn:{partition}:s3:::b"


def test_tags_of_the_provider_are_on_everything_and_the_resource_wins(store: Store):
    aws = AwsProvider(store)
    aws.configure({"defaultTags": json.dumps({"tags": {"owner": "all", "stack": "dev"}})})
    _, vpc = create(aws, VPC, cidrBlock="10.0.0.0/16", tags={"owner": "me"})
    assert vpc["tags"] == {"owner": "me"}
    assert vpc["tagsAll"] == {"owner": "me", "stack": "dev"}


def test_a_region_that_is_none_is_refused(aws: AwsProvider):
    assert [failure.property for failure in aws.check_config({"region": "mars"})] == ["region"]
    assert aws.check_config({"region": UNKNOWN}) == []


def test_every_declared_output_has_a_value_of_its_type(aws: AwsProvider):
    kind = "aws:rds/instance:Instance"
    _, outputs = create(aws, kind, instanceClass="db.t4g.medium", manageMasterUserPassword=True)
    missing = {name for name, spec in resource_schema(kind).outputs.items() if spec.required} - outputs.keys()
    assert missing == set()
    assert outputs["endpoint"] == f"{outputs['address']}:{outputs['port']}"
    assert outputs["masterUserSecrets"][0]["secretArn"].startswith("arn:aws:secretsmanager:us-east-1:")


def test_a_preview_knows_what_was_given_and_nothing_that_is_computed(aws: AwsProvider, store: Store):
    checked, _ = aws.check(resource(SUBNET), {}, {"vpcId": UNKNOWN, "cidrBlock": "10.0.0.0/24"}, SEED)
    resource_id, outputs = aws.create(resource(SUBNET), checked, 0, preview=True)
    assert resource_id == ""
    assert outputs["cidrBlock"] == "10.0.0.0/24"
    assert outputs["vpcId"] is outputs["arn"] is outputs["availabilityZone"] is UNKNOWN
    assert store.records() == []


# Changes


def test_nested_changes_are_named_by_their_path():
    old = {"a": {"b": [1, 2], "c": 3}, "gone": 1, "same": {"x": 1}, "__defaults": []}
    new = {"a": {"b": [1, 9], "c": 3}, "come": 2, "same": {"x": 1}, "__defaults": ["a"]}
    found = {difference.path: difference.kind for difference in differences(old, new, ())}
    assert found == {"a.b[1]": "update", "gone": "delete", "come": "add"}


@pytest.mark.parametrize(
    ("replacing", "path", "expected"),
    [
        ("vpcConfig", "vpcConfig.subnetIds[0]", True),
        ("vpcConfig.subnetIds", "vpcConfig.subnetIds[0]", True),
        ("vpcConfig.subnet", "vpcConfig.subnetIds[0]", False),
        ("subnetIds", "vpcConfig.subnetIds[0]", False),
    ],
)
def test_a_property_replaces_with_everything_below_it(replacing: str, path: str, expected: bool):
    (found,) = differences({"vpcConfig": {"subnetIds": ["a"]}}, {"vpcConfig": {"subnetIds": ["b"]}}, [replacing])
    assert (found.path, found.replaces) == (path, expected)


def test_what_becomes_unknown_may_change(aws: AwsProvider):
    diff = aws.diff(resource(SUBNET), "subnet-1", {"vpcId": "vpc-1"}, {"vpcId": UNKNOWN}, {})
    assert [difference.path for difference in diff.differences] == ["vpcId"]


def test_a_secret_that_stays_the_same_is_no_change(aws: AwsProvider):
    diff = aws.diff(resource(SUBNET), "subnet-1", {"vpcId": "vpc-1"}, {"vpcId": Secret("vpc-1")}, {})
    assert diff.differences == []


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in REPLACING.items() for name in names])
def test_every_replacing_property_exists_and_replaces(aws: AwsProvider, kind: str, name: str):
    fields = resource_schema(kind).inputs
    for part in name.split("."):
        assert part in fields, f"{kind} has no input {name}"
        inner = fields[part].type
        fields = (inner.element or inner).fields if inner.kind == "list" else inner.fields
    old, new = _nested(name, "before"), _nested(name, "after")
    diff = aws.diff(resource(kind), "id", {"fixed": 1, **old}, {"fixed": 1, **new}, {})
    assert [difference.replaces for difference in diff.differences] == [True]


def _nested(path: str, value: str) -> Properties:
    first, _, rest = path.partition(".")
    return {first: _nested(rest, value) if rest else value}


def test_a_replacement_under_a_fixed_name_deletes_first(aws: AwsProvider):
    kind = "aws:rds/instance:Instance"
    fixed = aws.diff(resource(kind), "id", {"identifier": "a"}, {"identifier": "b"}, {})
    assert not fixed.delete_before_replace
    replacing = REPLACING.get(kind)
    if not replacing:
        pytest.skip("no replacing property is listed for databases")
    diff = aws.diff(
        resource(kind), "id", {"identifier": "a", **_nested(replacing[0], "x")},
        {"identifier": "a", **_nested(replacing[0], "y")}, {},
    )  # fmt: skip
    assert diff.delete_before_replace


# The account


def test_a_taken_name_is_refused_and_nothing_is_overwritten(aws: AwsProvider, store: Store):
    create(aws, BUCKET, "mine", bucket="taken")
    with pytest.raises(ProviderError, match="already exists"):
        create(aws, BUCKET, "yours", bucket="taken")
    assert [record.urn.rsplit("::", 1)[1] for record in store.records()] == ["mine"]


def test_what_a_killed_update_left_is_taken_over_with_the_new_inputs(aws: AwsProvider, store: Store):
    first, _ = create(aws, VPC, cidrBlock="10.0.0.0/16")
    store.mark_orphans([])
    again, outputs = create(aws, VPC, cidrBlock="10.0.0.0/16", tags={"a": "b"})
    assert again == first
    assert outputs["tags"] == {"a": "b"}
    assert len(store.records()) == 1


def test_a_resource_that_is_gone_reads_as_gone_and_cannot_be_updated(aws: AwsProvider, store: Store):
    vpc, _ = create(aws, VPC, cidrBlock="10.0.0.0/16")
    store.delete(VPC, vpc)
    assert aws.read(resource(VPC), vpc, {}, {}) is None
    with pytest.raises(ProviderError, match="not found; run a refresh"):
        aws.update(resource(VPC), vpc, {}, {"cidrBlock": "10.0.0.0/16"}, {}, 0, preview=False)


def test_an_armed_fault_is_what_the_cloud_answers(aws: AwsProvider, store: Store):
    store.add_fault(Fault(type=VPC, error="VpcLimitExceeded: ask for more"))
    with pytest.raises(ProviderError, match="VpcLimitExceeded: ask for more"):
        create(aws, VPC, cidrBlock="10.0.0.0/16")
    create(aws, VPC, cidrBlock="10.0.0.0/16")


def test_a_launch_template_counts_its_versions_and_a_preview_does_not_guess(aws: AwsProvider):
    kind = "aws:ec2/launchTemplate:LaunchTemplate"
    template, outputs = create(aws, kind, imageId="ami-1")
    new = {"name": outputs["name"], "imageId": "ami-2"}
    assert outputs["latestVersion"] == 1
    assert aws.update(resource(kind), template, {}, new, outputs, 0, preview=True)["latestVersion"] is UNKNOWN
    assert aws.update(resource(kind), template, {}, new, outputs, 0, preview=False)["latestVersion"] == 2


# What AWS does not delete


def test_a_network_in_use_is_not_deleted_until_its_dependants_are_gone(aws: AwsProvider, store: Store):
    vpc, _ = create(aws, VPC, cidrBlock="10.0.0.0/16")
    subnet, _ = create(aws, SUBNET, "inside", vpcId=vpc, cidrBlock="10.0.0.0/24")
    with pytest.raises(ProviderError, match=rf"DependencyViolation: {subnet} \(inside\)"):
        delete(aws, VPC, vpc)
    delete(aws, SUBNET, subnet, "inside")
    delete(aws, VPC, vpc)
    assert store.records() == []


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"deletionProtection": True, "skipFinalSnapshot": True}, "deletion protection is on"),
        ({}, "finalSnapshotIdentifier is required"),
    ],
)
def test_a_database_that_would_be_lost_is_not_deleted(aws: AwsProvider, inputs: Properties, reason: str):
    kind = "aws:rds/instance:Instance"
    database, _ = create(aws, kind, instanceClass="db.t4g.medium", **inputs)
    with pytest.raises(ProviderError, match=reason):
        delete(aws, kind, database)


# Copies of a database's backups in another region

INSTANCE = "aws:rds/instance:Instance"
REPLICATION = "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication"
KEY_THERE = "arn:aws:kms:us-west-2:123456789012:key/0234abcd-12ab-34cd-56ef-1234567890ab"


def _copied(store: Store, server: Properties, **inputs: Any) -> tuple[str, Properties]:
    """What comes of copying the backups of a server in us-east-1 to us-west-2."""
    aws, there = AwsProvider(store), AwsProvider(store)
    there.configure({"region": "us-west-2"})
    _, source = create(aws, INSTANCE, identifier="db", instanceClass="db.t4g.medium", skipFinalSnapshot=True, **server)
    return create(there, REPLICATION, **{"sourceDbInstanceArn": source["arn"], **inputs})


def test_copies_of_backups_are_named_where_they_are(store: Store):
    server: Properties = {"storageEncrypted": True, "backupRetentionPeriod": 7}
    made, outputs = _copied(store, server, kmsKeyId=KEY_THERE, retentionPeriod=7)
    assert re.fullmatch(r"arn:aws:rds:us-west-2:\d{12}:auto-backup:ab-[a-z2-7]{39}", made)
    assert outputs["sourceDbInstanceArn"] == "arn:aws:rds:us-east-1:123456789012:db:db"
    assert outputs["region"] == "us-west-2"


@pytest.mark.parametrize(
    ("server", "inputs", "reason"),
    [
        ({"backupRetentionPeriod": 7, "storageEncrypted": True}, {}, "Encrypted instances require a valid KMS key"),
        (
            {"backupRetentionPeriod": 7},
            {"kmsKeyId": KEY_THERE.replace("us-west-2", "us-east-1")},
            "is not in us-west-2",
        ),
        ({"backupRetentionPeriod": 0}, {}, "automated backups of .* are off"),
        ({}, {"sourceDbInstanceArn": "arn:aws:rds:us-west-2:123456789012:db:db"}, "is in us-west-2 itself"),
        ({}, {"sourceDbInstanceArn": "arn:aws:rds:us-east-1:123456789012:db:none"}, "DBInstanceNotFound"),
    ],
)
def test_copies_that_aws_refuses_are_refused(store: Store, server: Properties, inputs: Properties, reason: str):
    with pytest.raises(ProviderError, match=reason):
        _copied(store, server, **inputs)


def test_backups_are_copied_to_a_region_once_until_that_is_stopped(store: Store):
    there = AwsProvider(store)
    there.configure({"region": "us-west-2"})
    first, outputs = _copied(store, {"backupRetentionPeriod": 7})
    again = {"sourceDbInstanceArn": outputs["sourceDbInstanceArn"], "retentionPeriod": 9}
    with pytest.raises(ProviderError, match="already replicating to us-west-2"):
        create(there, REPLICATION, "again", **again)
    delete(there, REPLICATION, first)
    assert create(there, REPLICATION, "again", **again)[1]["retentionPeriod"] == 9


def test_deleting_what_is_gone_already_succeeds(aws: AwsProvider):
    delete(aws, VPC, "vpc-00000000000000000")


# Data sources


def _document(**arguments: Any) -> Any:
    result = answer("aws:iam/getPolicyDocument:getPolicyDocument", Place("us-east-1"), arguments)
    assert result is not None
    assert json.loads(result["minifiedJson"]) == json.loads(result["json"])
    return json.loads(result["json"])


def test_a_policy_document_is_what_the_real_data_source_computes():
    assert _document(
        policyId="id",
        statements=[
            {
                "sid": "Read",
                "actions": ["s3:GetObject", "s3:ListBucket"],
                "resources": ["arn:aws:s3:::b/*"],
                "principals": [{"type": "AWS", "identifiers": ["111122223333"]}],
                "conditions": [
                    {"test": "StringEquals", "variable": "aws:SourceAccount", "values": ["111122223333"]},
                    {"test": "StringEquals", "variable": "aws:PrincipalType", "values": ["Role", "User"]},
                    {"test": "Bool", "variable": "aws:SecureTransport", "values": ["true"]},
                ],
            },
            {"effect": "Deny", "notActions": ["iam:*"], "notResources": ["*"], "principals": EVERYONE},
        ],
    ) == {
        "Version": "2012-10-17",
        "Id": "id",
        "Statement": [
            {
                "Sid": "Read",
                "Effect": "Allow",
                "Action": ["s3:ListBucket", "s3:GetObject"],
                "Resource": "arn:aws:s3:::b/*",
                "Principal": {"AWS": "111122223333"},
                "Condition": {
                    "StringEquals": {"aws:SourceAccount": "111122223333", "aws:PrincipalType": ["Role", "User"]},
                    "Bool": {"aws:SecureTransport": "true"},
                },
            },
            {"Effect": "Deny", "NotAction": "iam:*", "NotResource": "*", "Principal": "*"},
        ],
    }


def test_source_documents_come_first_and_overriding_ones_replace_by_sid():
    source = json.dumps({"Version": "2008-10-17", "Id": "theirs", "Statement": {"Sid": "A", "Effect": "Allow"}})
    override = json.dumps({"Statement": [{"Sid": "A", "Effect": "Deny"}, {"Effect": "Deny"}]})
    own = [{"sid": "B", "actions": ["s3:*"], "resources": ["arn:aws:s3:::&{aws:username}"]}]
    assert _document(sourcePolicyDocuments=[source], statements=own, overridePolicyDocuments=[override]) == {
        "Version": "2012-10-17",
        "Id": "theirs",
        "Statement": [
            {"Sid": "A", "Effect": "Deny"},
            {"Sid": "B", "Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::${aws:username}"},
            {"Effect": "Deny"},
        ],
    }


@pytest.mark.parametrize(
    ("principals", "expected"),
    [
        ([{"type": "*", "identifiers": ["*"]}], "*"),
        ([{"type": "AWS", "identifiers": ["*"]}], {"AWS": "*"}),
        ([{"type": "AWS", "identifiers": ["1"]}, {"type": "AWS", "identifiers": ["2"]}], {"AWS": ["2", "1"]}),
    ],
)
def test_principals_are_written_as_iam_takes_them(principals: list[Properties], expected: Any):
    (statement,) = _document(statements=[{"principals": principals}])["Statement"]
    assert statement["Principal"] == expected


@pytest.mark.parametrize(
    "arguments",
    [
        {"statements": [{"sid": "A"}, {"sid": "A"}]},
        {"sourcePolicyDocuments": ['{"Statement": [{"Sid": "A"}]}', '{"Statement": [{"Sid": "A"}]}']},
    ],
)
def test_a_sid_that_occurs_twice_is_refused(arguments: Properties):
    with pytest.raises(ProviderError, match=r"duplicate Sid \(A\)"):
        _document(**arguments)


def test_a_policy_of_something_unknown_is_unknown():
    result = answer("aws:iam/getPolicyDocument:getPolicyDocument", Place("us-east-1"), {"statements": [UNKNOWN]})
    assert result is not None
    assert result["json"] is UNKNOWN


def test_a_data_source_that_is_not_emulated_is_refused_with_those_that_are(aws: AwsProvider):
    with pytest.raises(ProviderError, match="does not answer the data source aws:ec2/getAmi:getAmi") as refused:
        aws.invoke("aws:ec2/getAmi:getAmi", {})
    assert all(token.rsplit(":", 1)[1] in str(refused.value) for token in DATA_SOURCES)


def test_data_sources_answer_for_the_place_that_asks(store: Store):
    aws = AwsProvider(store)
    aws.configure({"region": "cn-north-1"})
    zones, _ = aws.invoke("aws:index/getAvailabilityZones:getAvailabilityZones", {})
    partition, _ = aws.invoke("aws:index/getPartition:getPartition", {})
    assert zones["names"] == ["cn-north-1a", "cn-north-1b", "cn-north-1c"]
    assert (partition["partition"], partition["dnsSuffix"]) == ("aws-cn", "amazonaws.com.cn")


@pytest.mark.parametrize(
    ("kind", "inputs", "path"),
    [
        ("aws:eks/nodeGroup:NodeGroup", {"scalingConfig": {"minSize": 2, "desiredSize": 1, "maxSize": 3}}, "minSize"),
        (
            "aws:eks/nodeGroup:NodeGroup",
            {"scalingConfig": {"minSize": 0, "desiredSize": 4, "maxSize": 3}},
            "desiredSize",
        ),
        ("aws:ec2/securityGroup:SecurityGroup", {"description": "the cluster's pods"}, "description"),
    ],
)
def test_what_only_the_cloud_refuses_is_refused_here_with_its_path(kind, inputs, path):
    (failure,) = refused_inputs(kind, inputs)
    assert failure.property.endswith(path)


def test_sizes_and_descriptions_that_aws_takes_are_taken_and_unknown_ones_are_not_judged():
    sizes = {"minSize": 1, "desiredSize": 1, "maxSize": 3}
    assert refused_inputs("aws:eks/nodeGroup:NodeGroup", {"scalingConfig": sizes}) == []
    assert refused_inputs("aws:eks/nodeGroup:NodeGroup", {"scalingConfig": {**sizes, "minSize": UNKNOWN}}) == []
    assert refused_inputs("aws:ec2/securityGroup:SecurityGroup", {"description": "pods: 5432 (TLS)"}) == []


def test_an_update_keeps_what_the_cloud_had_computed_inside_an_object(aws: AwsProvider):
    """Else every rule that names the cluster's security group would lose it when another subnet is added."""
    kind = "aws:eks/cluster:Cluster"
    inputs = {
        "roleArn": "arn:aws:iam::123456789012:role/eks",
        "vpcConfig": {"subnetIds": ["subnet-1"], "publicAccessCidrs": ["198.51.100.0/24"]},
    }
    resource_id, outputs = create(aws, kind, **inputs)
    new = {**inputs, "vpcConfig": {"subnetIds": ["subnet-1", "subnet-2"]}}

    for preview in (True, False):
        updated = aws.update(resource(kind), resource_id, inputs, new, outputs, 0, preview=preview)
        assert updated["vpcConfig"]["clusterSecurityGroupId"] == outputs["vpcConfig"]["clusterSecurityGroupId"]
        assert updated["vpcConfig"]["subnetIds"] == ["subnet-1", "subnet-2"]
        assert "publicAccessCidrs" not in updated["vpcConfig"]
        assert updated["endpoint"] == outputs["endpoint"]


def test_every_type_of_the_shipped_stacks_was_held_against_the_real_provider():
    """A new type must be read off the provider's plans before the sandbox may say what replaces it."""
    golden = Path(__file__).resolve().parents[1] / "golden"
    named = {key.split(" ")[0] for path in golden.glob("*.yaml") for key in yaml.safe_load(path.read_text())}
    used = {name for name in named if name.startswith("aws:")}

    assert len(used) > 50
    assert used - set(REPLACING) - ONLY_BY_NAME == set()
