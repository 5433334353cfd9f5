"""What keeps data: objects, the database, the cache, files, secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pulumi

BucketRole = Literal["data", "models", "mlflow", "pipelines", "vectors", "logs", "backups"]
"""What a bucket is for: raw and processed data; registry artifacts and the Triton repository; MLflow artifacts;
pipeline artifacts; vectors; logs and traces; cluster and vector-store backups, under a key of their own."""


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """One object-store bucket.

    Attributes:
        name: Bucket name.
        url: URL with the scheme that clients understand: ``s3://…`` or ``gs://…``.
    """

    name: pulumi.Output[str]
    url: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True)
class ObjectStore:
    """Object storage.

    Attributes:
        protocol: What clients speak.
        endpoint: Host without a scheme, such as ``s3.us-east-1.amazonaws.com``.
        region: Region of the buckets; plain.
        buckets: One bucket a role.
        signing: What clients sign with: the identity of their pod, or keys in the file that
            ``AWS_SHARED_CREDENTIALS_FILE`` names, which every pod with a grant finds without being told.
        path_style: A bucket is named in the path and not in the host.
        link_signer: Role or account that signs links to artifacts (``ops artifacts link``), where there is one; else
            whoever calls signs by themselves.
    """

    protocol: Literal["s3", "gcs"]
    endpoint: str
    region: str
    buckets: Mapping[BucketRole, Bucket]
    signing: Literal["identity", "keys"] = "identity"
    path_style: bool = False
    link_signer: pulumi.Output[str] | None = None


def object_keys_secret(service_account: str) -> str:
    """Secret beside a service account with its keys of an object store whose clients sign with keys."""
    return f"{service_account}-objects"


@dataclass(frozen=True, kw_only=True)
class SecretRef:
    """Where a credential is kept; its value never passes through the program.

    Attributes:
        key: Name in the secret store (an ARN on AWS).
        properties: Fields of the JSON document that is stored there, such as ``username`` and ``password``.
    """

    key: pulumi.Output[str]
    properties: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Database:
    """The PostgreSQL server.

    Attributes:
        host: DNS name.
        port: TCP port.
        admin: Credentials of the administrator; jobs create databases and users with them.
        ca_bundle_url: Where clients find the certificates that sign the server's; empty where ``ca_certificates`` are.
        ca_certificates: These certificates themselves (PEM), where no address has them.
    """

    host: pulumi.Output[str]
    port: pulumi.Output[int]
    admin: SecretRef
    ca_bundle_url: str
    ca_certificates: pulumi.Output[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Cache:
    """The Redis-protocol cache; TLS always.

    Attributes:
        host: DNS name of the primary.
        port: TCP port.
        auth: Property ``token`` holds the password.
        ca_certificates: Certificates that sign the server's (PEM), where no public authority does.
        tcp_port: The same port, plain: network policies open it.
    """

    host: pulumi.Output[str]
    port: pulumi.Output[int]
    auth: SecretRef
    ca_certificates: pulumi.Output[str] | None = None
    tcp_port: int = 6379


@dataclass(frozen=True, kw_only=True)
class SharedFiles:
    """A file system that many nodes mount at once, for a shared model repository.

    Attributes:
        csi_driver: Name of the CSI driver.
        volumes: Volume handles by access point name, for static PersistentVolumes.
        attributes: What the driver wants of a volume besides its handle, by access point name.
    """

    csi_driver: str
    volumes: Mapping[str, pulumi.Output[str]]
    attributes: Mapping[str, Mapping[str, pulumi.Output[str]]] = field(
        default_factory=dict[str, Mapping[str, pulumi.Output[str]]]
    )


SecretStoreKind = Literal["aws-secrets-manager", "gcp-secret-manager", "in-cluster"]


@dataclass(frozen=True, kw_only=True)
class SecretStore:
    """The store that External Secrets reads.

    Attributes:
        kind: Which provider of External Secrets fits.
        region: Region or location; in a cluster the namespace that holds them; plain.
        entries: Credentials that the platform needs, by purpose (``litellm-master-key``, ``grafana-admin`` …).
        account: Account or project that holds them, where the kind must be told; plain.
    """

    kind: SecretStoreKind
    region: str
    entries: Mapping[str, SecretRef]
    account: str = ""


StoreSoftware = Literal["cloudnative-pg", "seaweedfs", "valkey"]
"""What stands in for a service of a cloud. Monitors and alerts know its metrics by this name, and not by a cloud's."""


@dataclass(frozen=True, kw_only=True)
class StorePods:
    """Pods of one part of a store that runs in the cluster: whoever watches them reads this. Everything here is plain.

    Attributes:
        software: What runs there.
        part: Which part of it; empty where it has one.
        namespace: Where they run.
        labels: Labels that select them, and no job beside them.
        port: Port of their metrics.
        container: Container with that port, where the pod does not declare it; empty where it does.
        servers: How many there are when all is well.
    """

    software: StoreSoftware
    part: str = ""
    namespace: str
    labels: Mapping[str, str]
    port: int
    container: str = ""
    servers: int = 1
