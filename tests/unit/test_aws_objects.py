"""Buckets: nothing public, nothing unencrypted, nothing kept or lost by accident; and their copies abroad."""

from __future__ import annotations

import json

import pulumi
import pytest
from aws_stack import ABROAD, HERE, KEY, OTHER_KEY, PREFIX, TOPIC, rendered, run, statements
from conftest import ACCOUNT, REGION, Recorder
from pulumi_aws import Provider

from components.aws.bucket import bucket_name, bucket_policy, lifecycle_rules
from components.aws.objects import Objects, ObjectsArgs
from components.aws.policy import Account
from components.aws.replication import REPLICATED, Replication, ReplicationArgs, replication_permissions
from components.buckets import ROLES, Lifecycle, key_domain
from workloads.artifacts.links import MAX_SECONDS

pytestmark = pytest.mark.unit
ALL = {f"objects-{role}" for role in (*ROLES, "access-logs")}


def objects(*, force_destroy=False, protect=True):
    return Objects(
        "objects",
        ObjectsArgs(
            prefix=PREFIX,
            account=HERE,
            kms_key_arns={role: OTHER_KEY if key_domain(role) == "backups" else KEY for role in ROLES},
            tier_after_days=45,
            noncurrent_days=30,
            log_retention_days=90,
            force_destroy=force_destroy,
            protect=protect,
        ),
    )


def replication():
    sources = objects().secure_buckets
    Replication(
        "replication",
        ReplicationArgs(
            prefix=PREFIX,
            source_account=HERE,
            replica_account=ABROAD,
            replica_provider=Provider("abroad", region=ABROAD.region),
            sources={role: sources[role] for role in REPLICATED},
            source_kms_key_arn=KEY,
            replica_kms_key_arn=OTHER_KEY,
            force_destroy=False,
            protect=True,
            alarm_topic_arn=TOPIC,
        ),
    )


def test_there_is_one_bucket_for_every_role_and_one_for_access_logs(recorded: Recorder):
    run(objects)
    buckets = recorded.of("aws:s3/bucket:Bucket")
    assert set(buckets) == ALL
    assert buckets["objects-data"].inputs["bucket"] == f"{PREFIX}-data-{ACCOUNT}-{REGION}"
    assert recorded.component_outputs["objects"]["buckets"]["data"] == f"{PREFIX}-data-{ACCOUNT}-{REGION}"


@pytest.mark.parametrize(
    "type_",
    [
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        "aws:s3/bucketVersioning:BucketVersioning",
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "aws:s3/bucketPolicy:BucketPolicy",
    ],
)
def test_no_bucket_goes_without_any_of_its_guards(type_, recorded: Recorder):
    run(objects)
    assert set(recorded.of(type_)) == ALL


def test_every_way_to_make_a_bucket_public_is_blocked(recorded: Recorder):
    run(objects)
    for block in recorded.of("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock").values():
        switches = {key: value for key, value in block.inputs.items() if key != "bucket"}
        assert switches == {
            "blockPublicAcls": True,
            "blockPublicPolicy": True,
            "ignorePublicAcls": True,
            "restrictPublicBuckets": True,
        }


def test_objects_are_encrypted_with_our_key_but_access_logs_with_the_only_kind_that_s3_allows(recorded: Recorder):
    run(objects)
    made = recorded.of("aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration")
    for name, encryption in made.items():
        (rule,) = encryption.inputs["rules"]
        default = rule["applyServerSideEncryptionByDefault"]
        if name == "objects-access-logs":
            assert default == {"sseAlgorithm": "AES256"}
        else:
            key = OTHER_KEY if name == "objects-backups" else KEY
            assert default == {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": key}
            assert rule["bucketKeyEnabled"] is True


def test_what_is_replicated_is_under_the_one_key_that_replication_may_use():
    assert {key_domain(role) for role in REPLICATED} == {"objects"}


def test_requests_without_tls_are_denied_on_the_bucket_and_on_its_objects(recorded: Recorder):
    run(objects)
    arn = f"arn:aws:s3:::{PREFIX}-models-{ACCOUNT}-{REGION}"
    deny = statements(recorded, "aws:s3/bucketPolicy:BucketPolicy", "objects-models")["OnlyWithTls"]
    assert (deny["Effect"], deny["Principal"], deny["Action"]) == ("Deny", {"AWS": "*"}, ["s3:*"])
    assert deny["Resource"] == [arn, f"{arn}/*"]
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


@pytest.mark.parametrize(
    ("kind", "key", "denied"),
    [
        (None, None, False),  # gets the bucket's default: our key
        ("aws:kms", KEY, False),
        ("AES256", None, True),
        ("aws:kms", OTHER_KEY, True),
        ("aws:kms", None, True),  # would get the account's default key for S3
    ],
)
def test_an_object_is_written_with_the_key_of_its_bucket_or_not_at_all(kind, key, denied, recorded: Recorder):
    header = "s3:x-amz-server-side-encryption"
    request = {header: kind, f"{header}-aws-kms-key-id": key}
    policy = rendered(bucket_policy("arn:aws:s3:::models", KEY))
    writes = [statement for statement in policy.values() if statement["Action"] == ["s3:PutObject"]]
    assert all(statement["Effect"] == "Deny" for statement in writes)
    assert any(holds(statement["Condition"], request) for statement in writes) is denied


@pytest.mark.parametrize("key", [KEY, None])
def test_a_link_that_somebody_signed_for_longer_than_ours_last_is_of_no_use(key):
    """S3 counts the age of a signature in milliseconds; what is not signed has none, and the rule does not hold."""
    statement = rendered(bucket_policy("arn:aws:s3:::models", key))["NoOldLinks"]
    assert (statement["Effect"], statement["Resource"]) == ("Deny", ["arn:aws:s3:::models/*"])
    assert statement["Condition"] == {"NumericGreaterThan": {"s3:signatureAge": str(MAX_SECONDS * 1000)}}


def holds(condition: dict[str, dict[str, str]], request: dict[str, str | None]) -> bool:
    """IAM's evaluation of the operators that we use: a negated one also holds where the request says nothing."""
    operators = {
        "Null": lambda wanted, value: (value is None) == (wanted == "true"),
        "StringEquals": lambda wanted, value: value == wanted,
        "StringNotEquals": lambda wanted, value: value != wanted,
    }
    return all(
        operators[operator](wanted, request[key])
        for operator, tests in condition.items()
        for key, wanted in tests.items()
    )


def test_accesses_of_every_bucket_are_logged_and_only_s3_may_write_those_logs(recorded: Recorder):
    run(objects)
    logged = recorded.of("aws:s3/bucketLogging:BucketLogging")
    assert set(logged) == {f"objects-{role}" for role in ROLES}
    target = f"{PREFIX}-access-logs-{ACCOUNT}-{REGION}"
    assert {logging.inputs["targetBucket"] for logging in logged.values()} == {target}
    for logging in logged.values():
        assert "objects-access-logs" in logging.depends_on, "S3 refuses a target that it may not write to yet"
    arrive = statements(recorded, "aws:s3/bucketPolicy:BucketPolicy", "objects-access-logs")["AccessLogsArrive"]
    assert arrive["Principal"] == {"Service": "logging.s3.amazonaws.com"}
    assert arrive["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
    assert set(arrive["Condition"]["ArnEquals"]["aws:SourceArn"]) == {
        f"arn:aws:s3:::{PREFIX}-{role}-{ACCOUNT}-{REGION}" for role in ROLES
    }


@pytest.mark.parametrize(("force_destroy", "protect"), [(True, False), (False, True)])
def test_a_development_stack_ends_clean_and_a_production_bucket_does_not_end(
    force_destroy, protect, recorded: Recorder
):
    run(lambda: objects(force_destroy=force_destroy, protect=protect))
    for bucket in recorded.of("aws:s3/bucket:Bucket").values():
        assert bucket.inputs["forceDestroy"] is force_destroy
        assert bucket.protect is protect


def test_logs_expire_and_everything_else_only_loses_its_old_versions(recorded: Recorder):
    run(objects)
    made = recorded.of("aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration")
    expiring = set()
    for name, lifecycle in made.items():
        rules = {rule["id"]: rule for rule in lifecycle.inputs["rules"]}
        assert rules["abandoned-uploads"]["abortIncompleteMultipartUpload"] == {"daysAfterInitiation": 7}
        assert rules["noncurrent-versions"]["noncurrentVersionExpiration"] == {"noncurrentDays": 30}
        if "expire" in rules:
            expiring.add(name)
            assert rules["expire"]["expiration"] == {"days": 90}
    assert expiring == {"objects-logs", "objects-access-logs"}


def test_only_what_is_read_rarely_after_a_while_changes_its_tier(recorded: Recorder):
    """Models are read at every cold start; moving them would gain nothing."""
    run(objects)
    made = recorded.of("aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration")
    tiers = {name: [r["transitions"] for r in m.inputs["rules"] if r["id"] == "tier"] for name, m in made.items()}
    moved = [[{"days": 45, "storageClass": "INTELLIGENT_TIERING"}]]
    assert {name: transitions for name, transitions in tiers.items() if transitions} == {
        "objects-data": moved,
        "objects-mlflow": moved,
        "objects-pipelines": moved,
    }


def test_a_bucket_that_keeps_all_for_ever_still_drops_abandoned_uploads():
    assert [rule["id"] for rule in lifecycle_rules(Lifecycle())] == ["abandoned-uploads"]


def test_a_name_that_s3_would_refuse_is_refused_with_the_remedy():
    long = Account(id=ACCOUNT, partition="aws", region="ap-southeast-2")
    with pytest.raises(pulumi.RunError, match=r"has 64 characters, S3 allows 63: shorten .* by 1$"):
        bucket_name("a" * 24, "access-logs", long)


def test_data_models_and_experiments_are_copied_abroad_under_a_key_of_that_region(recorded: Recorder):
    run(replication)
    configured = recorded.of("aws:s3/bucketReplicationConfig:BucketReplicationConfig")
    assert set(configured) == {"replication-data", "replication-models", "replication-mlflow"}
    for replica in configured.values():
        (rule,) = replica.inputs["rules"]
        assert rule["status"] == "Enabled"
        assert rule["destination"]["encryptionConfiguration"] == {"replicaKmsKeyId": OTHER_KEY}
        assert rule["sourceSelectionCriteria"]["sseKmsEncryptedObjects"] == {"status": "Enabled"}
    for name in configured:
        assert recorded.one("aws:s3/bucket:Bucket", name).provider.endswith("abroad")


def test_replication_waits_for_versioning_on_both_sides_and_for_its_permissions(recorded: Recorder):
    """S3 refuses the one, and fails every copy without the other."""
    run(replication)
    waits = recorded.one("aws:s3/bucketReplicationConfig:BucketReplicationConfig", "replication-data").depends_on
    assert {"objects-data", "replication-data", "replication-permissions"} <= waits


def test_copies_are_kept_without_limit_and_deletions_are_not_copied(recorded: Recorder):
    run(replication)
    for role in REPLICATED:
        lifecycle = recorded.one(
            "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration", f"replication-{role}"
        )
        assert [rule["id"] for rule in lifecycle.inputs["rules"]] == ["abandoned-uploads"]
        config = recorded.one("aws:s3/bucketReplicationConfig:BucketReplicationConfig", f"replication-{role}")
        assert config.inputs["rules"][0]["deleteMarkerReplication"] == {"status": "Disabled"}
    assert "s3:ReplicateDelete" not in json.dumps(
        statements(recorded, "aws:iam/rolePolicy:RolePolicy", "replication-permissions")
    )


def test_the_replication_role_reads_here_and_writes_there_with_the_key_of_each_side(recorded: Recorder):
    source, replica = "arn:aws:s3:::here", "arn:aws:s3:::there"
    policy = rendered(
        replication_permissions(
            sources=[source],
            replicas=[replica],
            source_key=KEY,
            replica_key=OTHER_KEY,
            source_region="us-east-1",
            replica_region="us-west-2",
        )
    )
    assert policy["ReadVersions"]["Resource"] == [f"{source}/*"]
    assert policy["WriteCopies"]["Resource"] == [f"{replica}/*"]
    assert policy["DecryptVersions"]["Resource"] == [KEY]
    assert policy["DecryptVersions"]["Condition"] == {
        "StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"},
        "StringLike": {"kms:EncryptionContext:aws:s3:arn": [source, f"{source}/*"]},
    }
    assert policy["EncryptCopies"]["Resource"] == [OTHER_KEY]
    assert policy["EncryptCopies"]["Condition"]["StringEquals"] == {"kms:ViaService": "s3.us-west-2.amazonaws.com"}


def test_a_failed_or_late_copy_raises_an_alarm(recorded: Recorder):
    run(replication)
    alarms = recorded.of("aws:cloudwatch/metricAlarm:MetricAlarm")
    assert set(alarms) == {f"replication-{role}-{what}" for role in REPLICATED for what in ("failed", "late")}
    rule_ids = {
        config.inputs["rules"][0]["id"]
        for config in recorded.of("aws:s3/bucketReplicationConfig:BucketReplicationConfig").values()
    }
    assert {alarm.inputs["dimensions"]["RuleId"] for alarm in alarms.values()} == rule_ids
