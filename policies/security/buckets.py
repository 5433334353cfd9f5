"""Buckets with what is configured beside them: S3 splits one bucket over many resources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from policies.view import UNKNOWN, Resource

BUCKET: Final = "aws:s3/bucket:Bucket"

Part = Literal["encryption", "policy", "access", "versioning", "lifecycle", "logging"]

PARTS: Final[dict[Part, str]] = {
    "encryption": "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "policy": "aws:s3/bucketPolicy:BucketPolicy",
    "access": "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
    "versioning": "aws:s3/bucketVersioning:BucketVersioning",
    "lifecycle": "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
    "logging": "aws:s3/bucketLogging:BucketLogging",
}


class Buckets:
    """All buckets of a stack."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self.all = [resource for resource in resources if resource.type == BUCKET]
        self._resources = resources

    def part(self, bucket: Resource, part: Part) -> Resource | None:
        """What configures one side of a bucket: by where its ``bucket`` comes from, else by the bucket's name."""
        for resource in self._resources:
            if resource.type != PARTS[part]:
                continue
            sources = resource.sources.get("bucket", ())
            names = (resource.get("bucket"), bucket.get("bucket"))
            if bucket.urn in sources or (not sources and names[0] == names[1] and names[0] not in (None, UNKNOWN)):
                return resource
        return None
