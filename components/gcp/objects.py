"""Object storage on Cloud Storage: one bucket for each role; the GCP twin of ``Objects``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from components.buckets import ROLES, lifecycle_of
from components.contract import Bucket, BucketRole
from components.gcp.bucket import SecureBucket, SecureBucketArgs, bucket_name
from components.gcp.project import Project


@dataclass(frozen=True, kw_only=True)
class ObjectsArgs:
    """What object storage needs.

    Attributes:
        prefix: ``<project>-<stack>``; bucket names are ``<prefix>-<role>-<project id>``.
        project: Where the buckets live.
        location: The region; the multi-region where the buckets lie in two regions.
        data_regions: Those two; empty for one.
        kms_keys: Key of the objects in each bucket; where the bucket is.
        tier_after_days: When data, experiments and pipeline artifacts move to Nearline.
        noncurrent_days: How long overwritten and deleted versions are kept.
        log_retention_days: How long logs are kept.
        force_destroy: Delete the objects with the buckets.
        protect: Refuse deletion.
    """

    prefix: str
    project: Project
    location: str
    data_regions: tuple[str, ...]
    kms_keys: Mapping[BucketRole, pulumi.Input[str]]
    tier_after_days: int
    noncurrent_days: int
    log_retention_days: int
    force_destroy: bool
    protect: bool


class Objects(pulumi.ComponentResource):
    """The stack's buckets."""

    buckets: Mapping[BucketRole, Bucket]
    names: Mapping[BucketRole, str]
    """The same as plain texts: conditions of IAM are made of them."""

    def __init__(self, name: str, args: ObjectsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:gcp:Objects", name, None, opts)
        self.names = {role: bucket_name(args.prefix, role, args.project) for role in ROLES}
        buckets: dict[BucketRole, SecureBucket] = {
            role: SecureBucket(
                f"{name}-{role}",
                SecureBucketArgs(
                    bucket_name=self.names[role],
                    # All keys of buckets are where the copies are, and a bucket must be where its key is.
                    location=args.location,
                    data_regions=args.data_regions,
                    kms_key=args.kms_keys[role],
                    lifecycle=lifecycle_of(
                        role,
                        tier_after_days=args.tier_after_days,
                        log_retention_days=args.log_retention_days,
                        noncurrent_days=args.noncurrent_days,
                    ),
                    force_destroy=args.force_destroy,
                    protect=args.protect,
                ),
                pulumi.ResourceOptions(parent=self),
            )
            for role in ROLES
        }
        self.buckets = {
            role: Bucket(name=bucket.bucket_name, url=pulumi.Output.concat("gs://", bucket.bucket_name))
            for role, bucket in buckets.items()
        }
        self.register_outputs({"buckets": {role: bucket.name for role, bucket in self.buckets.items()}})
