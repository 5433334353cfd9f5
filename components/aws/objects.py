"""Object storage on S3: one bucket for each role, with logged accesses; the AWS twin of ``Objects``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.aws.bucket import SecureBucket, SecureBucketArgs, bucket_name
from components.aws.policy import Account, Statement
from components.buckets import ROLES, Lifecycle, lifecycle_of
from components.contract import Bucket, BucketRole


@dataclass(frozen=True, kw_only=True)
class ObjectsArgs:
    """What object storage needs.

    Attributes:
        prefix: ``<project>-<stack>``; bucket names are ``<prefix>-<role>-<account>-<region>``.
        account: Where the buckets live.
        kms_key_arns: Key of the objects in each bucket.
        tier_after_days: When data, experiments and pipeline artifacts move to Intelligent-Tiering.
        noncurrent_days: How long overwritten and deleted versions are kept.
        log_retention_days: How long logs, and logs of accesses, are kept.
        force_destroy: Delete the objects with the buckets.
        protect: Refuse deletion.
    """

    prefix: str
    account: Account
    kms_key_arns: Mapping[BucketRole, pulumi.Input[str]]
    tier_after_days: int
    noncurrent_days: int
    log_retention_days: int
    force_destroy: bool
    protect: bool


class Objects(pulumi.ComponentResource):
    """The stack's buckets."""

    buckets: Mapping[BucketRole, Bucket]
    arns: Mapping[BucketRole, pulumi.Output[str]]
    secure_buckets: Mapping[BucketRole, SecureBucket]

    def __init__(self, name: str, args: ObjectsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:aws:Objects", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        names = {role: bucket_name(args.prefix, role, args.account) for role in ROLES}
        access_logs_name = bucket_name(args.prefix, "access-logs", args.account)
        access_logs = SecureBucket(
            f"{name}-access-logs",
            SecureBucketArgs(
                bucket_name=access_logs_name,
                account=args.account,
                kms_key_arn=None,  # S3 user guide: a bucket that receives access logs cannot have SSE-KMS by default
                lifecycle=Lifecycle(
                    expire_after_days=args.log_retention_days, expire_noncurrent_after_days=args.noncurrent_days
                ),
                force_destroy=args.force_destroy,
                protect=args.protect,
                more_statements=(log_delivery(access_logs_name, tuple(names.values()), args.account),),
            ),
            child,
        )
        self.secure_buckets = {
            role: SecureBucket(
                f"{name}-{role}",
                SecureBucketArgs(
                    bucket_name=names[role],
                    account=args.account,
                    kms_key_arn=args.kms_key_arns[role],
                    lifecycle=lifecycle_of(
                        role,
                        tier_after_days=args.tier_after_days,
                        log_retention_days=args.log_retention_days,
                        noncurrent_days=args.noncurrent_days,
                    ),
                    force_destroy=args.force_destroy,
                    protect=args.protect,
                    # From the policy: S3 refuses a target that its log delivery may not write to yet.
                    access_logs_bucket=access_logs.policy.bucket,
                ),
                child,
            )
            for role in ROLES
        }
        self.buckets = {
            role: Bucket(name=bucket.bucket_name, url=pulumi.Output.concat("s3://", bucket.bucket_name))
            for role, bucket in self.secure_buckets.items()
        }
        self.arns = {role: bucket.arn for role, bucket in self.secure_buckets.items()}
        self.register_outputs(
            {"buckets": {role: bucket.name for role, bucket in self.buckets.items()}, "arns": dict(self.arns)}
        )


def log_delivery(target: str, sources: tuple[str, ...], account: Account) -> Statement:
    """S3 itself writes the access logs of the stack's buckets, and nothing else, into ``target``."""
    return Statement(
        sid="AccessLogsArrive",
        principal={"Service": "logging.s3.amazonaws.com"},
        actions=("s3:PutObject",),
        resources=(f"arn:{account.partition}:s3:::{target}/*",),
        conditions={
            "StringEquals": {"aws:SourceAccount": account.id},
            "ArnEquals": {"aws:SourceArn": [f"arn:{account.partition}:s3:::{source}" for source in sources]},
        },
    )
