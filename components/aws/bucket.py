"""One private, versioned, encrypted S3 bucket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import s3

from components.aws.policy import ANYONE, Account, Condition, Statement, render
from components.buckets import MAX_LINK_SECONDS, Lifecycle

_MAX_NAME_LENGTH = 63  # S3 user guide, "Bucket naming rules"


@dataclass(frozen=True, kw_only=True)
class SecureBucketArgs:
    """What a bucket needs.

    Attributes:
        bucket_name: Name, known at preview, so that policies on it are too.
        account: Where the bucket lives.
        kms_key_arn: Key of its objects; None for keys of S3 itself, where S3 allows no other (access logs).
        lifecycle: How long it keeps things.
        force_destroy: Delete what is in it, all versions, when the bucket is destroyed.
        protect: Refuse deletion.
        access_logs_bucket: Where accesses are logged; None: nowhere.
        more_statements: Further statements of the bucket policy.
    """

    bucket_name: str
    account: Account
    kms_key_arn: pulumi.Input[str] | None
    lifecycle: Lifecycle
    force_destroy: bool
    protect: bool
    access_logs_bucket: pulumi.Input[str] | None = None
    more_statements: Sequence[Statement] = ()


class SecureBucket(pulumi.ComponentResource):
    """A bucket that is private, versioned, encrypted, reached only with TLS, and cleans up behind itself."""

    bucket_name: pulumi.Output[str]
    arn: pulumi.Output[str]
    versioning: s3.BucketVersioning
    policy: s3.BucketPolicy

    def __init__(self, name: str, args: SecureBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:aws:SecureBucket", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        bucket = s3.Bucket(
            name,
            bucket=args.bucket_name,
            force_destroy=args.force_destroy,
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        s3.BucketPublicAccessBlock(
            name,
            bucket=bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=child,
        )
        s3.BucketOwnershipControls(
            name, bucket=bucket.bucket, rule={"object_ownership": "BucketOwnerEnforced"}, opts=child
        )
        self.versioning = s3.BucketVersioning(
            name, bucket=bucket.bucket, versioning_configuration={"status": "Enabled"}, opts=child
        )
        s3.BucketServerSideEncryptionConfiguration(
            name, bucket=bucket.bucket, rules=[_encryption(args.kms_key_arn)], opts=child
        )
        s3.BucketLifecycleConfiguration(name, bucket=bucket.bucket, rules=lifecycle_rules(args.lifecycle), opts=child)
        self.policy = s3.BucketPolicy(
            name,
            bucket=bucket.bucket,
            policy=render([*bucket_policy(bucket_arn(args), args.kms_key_arn), *args.more_statements]),
            opts=child,
        )
        if args.access_logs_bucket is not None:
            s3.BucketLogging(
                name,
                bucket=bucket.bucket,
                target_bucket=args.access_logs_bucket,
                target_prefix=f"{args.bucket_name}/",
                target_object_key_format={"partitioned_prefix": {"partition_date_source": "EventTime"}},
                opts=child,
            )
        self.bucket_name = bucket.bucket
        self.arn = bucket.arn
        self.register_outputs({"bucketName": self.bucket_name, "arn": self.arn})


def bucket_name(prefix: str, purpose: str, account: Account) -> str:
    """Globally unique, stable name; refuses one that S3 would refuse."""
    name = f"{prefix}-{purpose}-{account.id}-{account.region}"
    if len(name) > _MAX_NAME_LENGTH:
        excess = len(name) - _MAX_NAME_LENGTH
        raise pulumi.RunError(
            f"bucket name {name} has {len(name)} characters, S3 allows {_MAX_NAME_LENGTH}: "
            f"shorten the project or stack name by {excess}"
        )
    return name


def bucket_arn(args: SecureBucketArgs) -> str:
    """ARN of the bucket; known at preview."""
    return f"arn:{args.account.partition}:s3:::{args.bucket_name}"


def bucket_policy(arn: str, kms_key_arn: pulumi.Input[str] | None) -> list[Statement]:
    """Nobody without TLS or by a link older than 12 hours; no new object under another key than the bucket's."""
    without_tls = Statement(
        sid="OnlyWithTls",
        effect="Deny",
        principal=ANYONE,
        actions=("s3:*",),  # a Deny: everything without TLS
        resources=(arn, f"{arn}/*"),
        conditions={"Bool": {"aws:SecureTransport": "false"}},
    )
    # Whoever signs links by hand can make them last 7 days; here they end where ours do. Other requests carry
    # signatures of some seconds (S3, "Bucket policy examples using condition keys", s3:signatureAge).
    old_link = Statement(
        sid="NoOldLinks",
        effect="Deny",
        principal=ANYONE,
        actions=("s3:*",),  # a Deny: whatever a link was signed for
        resources=(f"{arn}/*",),
        conditions={"NumericGreaterThan": {"s3:signatureAge": str(MAX_LINK_SECONDS * 1000)}},
    )
    if kms_key_arn is None:
        return [without_tls, old_link]
    kind, key = "s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id"
    # A request that names no encryption gets the bucket's own. "Not equal" also holds where there is nothing to
    # compare, hence the Null conditions. One that names KMS without a key would get the account's default key for S3.
    return [
        without_tls,
        old_link,
        _no_write(arn, "OnlyWithKms", {"Null": {kind: "false"}, "StringNotEquals": {kind: "aws:kms"}}),
        _no_write(arn, "OnlyWithOurKey", {"Null": {key: "false"}, "StringNotEquals": {key: kms_key_arn}}),
        _no_write(arn, "OnlyWithNamedKey", {"Null": {key: "true"}, "StringEquals": {kind: "aws:kms"}}),
    ]


def _no_write(arn: str, sid: str, conditions: Condition) -> Statement:
    return Statement(
        sid=sid,
        effect="Deny",
        principal=ANYONE,
        actions=("s3:PutObject",),
        resources=(f"{arn}/*",),
        conditions=conditions,
    )


def _encryption(
    kms_key_arn: pulumi.Input[str] | None,
) -> s3.BucketServerSideEncryptionConfigurationRuleArgs:
    default = s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs
    if kms_key_arn is None:
        return s3.BucketServerSideEncryptionConfigurationRuleArgs(
            apply_server_side_encryption_by_default=default(sse_algorithm="AES256")
        )
    return s3.BucketServerSideEncryptionConfigurationRuleArgs(
        apply_server_side_encryption_by_default=default(sse_algorithm="aws:kms", kms_master_key_id=kms_key_arn),
        bucket_key_enabled=True,  # up to 99 % fewer KMS requests (S3 user guide, "Bucket Keys")
    )


def lifecycle_rules(lifecycle: Lifecycle) -> list[s3.BucketLifecycleConfigurationRuleArgsDict]:
    """Rules for the whole bucket; abandoned uploads always go, or they would be paid for unseen."""
    rules: list[s3.BucketLifecycleConfigurationRuleArgsDict] = [
        {
            "id": "abandoned-uploads",
            "status": "Enabled",
            "filter": {},
            "abort_incomplete_multipart_upload": {"days_after_initiation": 7},
        }
    ]
    if lifecycle.tier_after_days is not None:
        rules.append(
            {
                "id": "tier",
                "status": "Enabled",
                "filter": {},
                "transitions": [{"days": lifecycle.tier_after_days, "storage_class": "INTELLIGENT_TIERING"}],
            }
        )
    if lifecycle.expire_after_days is not None:
        rules.append(
            {
                "id": "expire",
                "status": "Enabled",
                "filter": {},
                "expiration": {"days": lifecycle.expire_after_days},
            }
        )
    if lifecycle.expire_noncurrent_after_days is not None:
        noncurrent: s3.BucketLifecycleConfigurationRuleArgsDict = {
            "id": "noncurrent-versions",
            "status": "Enabled",
            "filter": {},
            "noncurrent_version_expiration": {"noncurrent_days": lifecycle.expire_noncurrent_after_days},
        }
        if lifecycle.expire_after_days is None:  # S3 removes lone delete markers itself where objects expire
            noncurrent["expiration"] = {"expired_object_delete_marker": True}
        rules.append(noncurrent)
    return rules
