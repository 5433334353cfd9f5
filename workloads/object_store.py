"""How pods of ours find the object store: one answer for all workloads."""

from __future__ import annotations

from components.contract import ObjectStore


def store_variables(objects: ObjectStore) -> dict[str, str]:
    """Environment of a pod whose clients are botocore's: boto3, s3fs, and MLflow through them."""
    if objects.protocol != "s3":
        return {}  # clients of Google's store need no address
    # Of the two names of the region botocore reads the second; AWS' other SDKs read the first.
    region = {"AWS_REGION": objects.region, "AWS_DEFAULT_REGION": objects.region}
    # A cloud's own clients know its endpoint, and name buckets in the host; with an endpoint they would not.
    elsewhere = {"AWS_ENDPOINT_URL_S3": f"https://{objects.endpoint}"} if objects.signing == "keys" else {}
    return {**region, **elsewhere}
