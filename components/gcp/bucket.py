"""One private, versioned, encrypted bucket of Cloud Storage."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_gcp import storage

from components.buckets import Lifecycle
from components.gcp.project import Project

_MAX_NAME_LENGTH = 63  # Cloud Storage, "Bucket names"


@dataclass(frozen=True, kw_only=True)
class SecureBucketArgs:
    """What a bucket needs.

    Attributes:
        bucket_name: Name, known at preview, so that conditions on it are too.
        location: Region, or multi-region where there are two regions.
        data_regions: The two regions of a bucket that lies in both; empty for one.
        kms_key: Key of its objects.
        lifecycle: How long it keeps things.
        force_destroy: Delete what is in it, all versions, when the bucket is destroyed.
        protect: Refuse deletion.
    """

    bucket_name: str
    location: str
    data_regions: tuple[str, ...] = ()
    kms_key: pulumi.Input[str]
    lifecycle: Lifecycle
    force_destroy: bool
    protect: bool


class SecureBucket(pulumi.ComponentResource):
    """A bucket that is private, versioned, encrypted, and cleans up behind itself; TLS is Google's only way in."""

    bucket_name: pulumi.Output[str]

    def __init__(self, name: str, args: SecureBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:gcp:SecureBucket", name, None, opts)
        bucket = storage.Bucket(
            name,
            name=args.bucket_name,
            location=args.location.upper(),  # as the API gives it back
            custom_placement_config=(
                {"data_locations": [region.upper() for region in args.data_regions]} if args.data_regions else None
            ),
            storage_class="STANDARD",
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            versioning={"enabled": True},
            # Versions already keep what is deleted; Google's own seven days on top would be paid for twice.
            soft_delete_policy={"retention_duration_seconds": 0},
            encryption={"default_kms_key_name": args.kms_key},
            lifecycle_rules=lifecycle_rules(args.lifecycle),
            force_destroy=args.force_destroy,
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        self.bucket_name = bucket.name
        self.register_outputs({"bucketName": self.bucket_name})


def bucket_name(prefix: str, purpose: str, project: Project) -> str:
    """Globally unique, stable name; refuses one that Cloud Storage would refuse."""
    name = f"{prefix}-{purpose}-{project.id}"
    if len(name) > _MAX_NAME_LENGTH:
        excess = len(name) - _MAX_NAME_LENGTH
        raise pulumi.RunError(
            f"bucket name {name} has {len(name)} characters, Cloud Storage allows {_MAX_NAME_LENGTH}: "
            f"shorten the stack's name by {excess}"
        )
    if "google" in name or "goog" in name[:4]:
        raise pulumi.RunError(f"bucket name {name}: Cloud Storage allows no name with google in it")
    return name


def lifecycle_rules(lifecycle: Lifecycle) -> list[storage.BucketLifecycleRuleArgsDict]:
    """Rules for the whole bucket; abandoned uploads always go, or they would be paid for unseen."""
    rules: list[storage.BucketLifecycleRuleArgsDict] = [
        {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 7}}
    ]
    if lifecycle.tier_after_days is not None:
        rules.append(
            {
                "action": {"type": "SetStorageClass", "storage_class": "NEARLINE"},
                "condition": {"age": lifecycle.tier_after_days, "matches_storage_classes": ["STANDARD"]},
            }
        )
    if lifecycle.expire_after_days is not None:
        rules.append({"action": {"type": "Delete"}, "condition": {"age": lifecycle.expire_after_days}})
    if lifecycle.expire_noncurrent_after_days is not None:
        rules.append(
            {
                "action": {"type": "Delete"},
                "condition": {
                    "days_since_noncurrent_time": lifecycle.expire_noncurrent_after_days,
                    "with_state": "ARCHIVED",
                },
            }
        )
    return rules
