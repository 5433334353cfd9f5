"""The emulated Google Cloud, called as the engine calls it."""

from __future__ import annotations

from typing import Any

from sandbox.gcp.provider import GcpProvider
from sandbox.provider import Resource
from sandbox.values import Properties

SEED = bytes(range(32))
NETWORK, SUBNETWORK = "gcp:compute/network:Network", "gcp:compute/subnetwork:Subnetwork"
BUCKET, OBJECT = "gcp:storage/bucket:Bucket", "gcp:storage/bucketObject:BucketObject"
CLUSTER, NODE_POOL = "gcp:container/cluster:Cluster", "gcp:container/nodePool:NodePool"
SQL = "gcp:sql/databaseInstance:DatabaseInstance"
REDIS, FILES = "gcp:redis/instance:Instance", "gcp:filestore/instance:Instance"
KEY_RING, KEY = "gcp:kms/keyRing:KeyRing", "gcp:kms/cryptoKey:CryptoKey"
KEY_GRANT = "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember"
CONNECTION = "gcp:servicenetworking/connection:Connection"


def resource(kind: str, name: str = "thing") -> Resource:
    return Resource(f"urn:pulumi:dev::probe::{kind}::{name}")


def refusals(gcp: GcpProvider, kind: str, **inputs: Any) -> dict[str, str]:
    """What is refused before anything is created, by path."""
    _, failures = gcp.check(resource(kind), {}, inputs, SEED)
    return {failure.property: failure.reason for failure in failures}


def create(gcp: GcpProvider, kind: str, called: str = "thing", /, **inputs: Any) -> tuple[str, Properties]:
    checked, failures = gcp.check(resource(kind, called), {}, inputs, SEED)
    assert not failures, failures
    return gcp.create(resource(kind, called), checked, 0, preview=False)


def preview(gcp: GcpProvider, kind: str, **inputs: Any) -> Properties:
    checked, failures = gcp.check(resource(kind), {}, inputs, SEED)
    assert not failures, failures
    return gcp.create(resource(kind), checked, 0, preview=True)[1]


def delete(gcp: GcpProvider, kind: str, resource_id: str, name: str = "thing") -> None:
    gcp.delete(resource(kind, name), resource_id, {}, {}, 0)


def replaced(gcp: GcpProvider, kind: str, old: Properties, new: Properties) -> set[str]:
    """Paths of the changes that replace."""
    diff = gcp.diff(resource(kind), "id", old, new, {})
    return {difference.path for difference in diff.differences if difference.replaces}
