"""Data on Google Cloud: encrypted where it lies and where it moves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pulumi_policy import Severity
from pydantic import Field

from policies.gcp.types import (
    BUCKET,
    CACHE,
    CLUSTER,
    DATABASE,
    FILES,
    LOG_BUCKET,
    NODE_POOL,
    REPOSITORY,
    SECRET,
    STORAGE_CLASS,
)
from policies.registry import Context, Control, PolicyConfig, Rule
from policies.view import UNKNOWN, Resource, at, is_true


def cis(reference: str) -> Control:
    """A control of the CIS benchmark for the cloud as a whole."""
    return Control(standard="CIS Google Cloud Platform Foundation Benchmark", version="4.0.0", reference=reference)


def cis_gke(reference: str) -> Control:
    """A control of the CIS benchmark for GKE."""
    return Control(standard="CIS Google Kubernetes Engine Benchmark", version="1.8.0", reference=reference)


# Where each type names the key of what it stores.
_KEYS: Final[dict[str, tuple[str | int, ...]]] = {
    BUCKET: ("encryption", "defaultKmsKeyName"),
    CACHE: ("customerManagedKey",),
    CLUSTER: ("databaseEncryption", "keyName"),
    DATABASE: ("encryptionKeyName",),
    FILES: ("kmsKeyName",),
    LOG_BUCKET: ("cmekSettings", "kmsKeyName"),
    NODE_POOL: ("nodeConfig", "bootDiskKmsKey"),
    REPOSITORY: ("kmsKeyName",),
    STORAGE_CLASS: ("parameters", "disk-encryption-kms-key"),
}


class KeyedConfig(PolicyConfig):
    """What Google's own keys may encrypt.

    Attributes:
        without_key: Resource names.
    """

    without_key: tuple[str, ...] = Field(default=())


def _own_key(resource: Resource, context: Context) -> Iterator[str]:
    if resource.name in context.config.without_key or _holds_nothing(resource):
        return
    if resource.type == SECRET:
        yield from _secret_keys(resource)
        return
    path = _KEYS[resource.type]
    if not _named(resource.get(*path)):
        yield f"{'.'.join(map(str, path))} must name a key of the stack: Google's own keys cannot be withdrawn"
    if resource.type == CLUSTER and resource.get("databaseEncryption", "state") == "DECRYPTED":
        yield "databaseEncryption.state must be ENCRYPTED: Kubernetes secrets would lie in plain text"


def _named(value: Any) -> bool:
    return bool(value) or value is UNKNOWN


def _holds_nothing(resource: Resource) -> bool:
    """Copies of public images, and storage classes of other drivers."""
    if resource.type == REPOSITORY:
        return resource.get("mode") == "REMOTE_REPOSITORY"
    return resource.type == STORAGE_CLASS and resource.get("provisioner") != "pd.csi.storage.gke.io"


def _secret_keys(resource: Resource) -> Iterator[str]:
    replicas = resource.items("replication", "userManaged", "replicas")
    named = [at(one, "customerManagedEncryption", "kmsKeyName") for one in replicas]
    if not replicas:
        named = [resource.get("replication", "auto", "customerManagedEncryption", "kmsKeyName")]
    if not all(_named(key) for key in named):
        yield "replication must name a key of the stack for every copy: customerManagedEncryption.kmsKeyName"


def _tls(resource: Resource, _context: Context) -> Iterator[str]:
    if resource.type == DATABASE:
        mode = resource.get("settings", "ipConfiguration", "sslMode")
        if mode not in ("ENCRYPTED_ONLY", "TRUSTED_CLIENT_CERTIFICATE_REQUIRED"):
            yield "settings.ipConfiguration.sslMode must be ENCRYPTED_ONLY, or clients may connect without TLS"
        return
    if resource.get("transitEncryptionMode") != "SERVER_AUTHENTICATION":
        yield "transitEncryptionMode must be SERVER_AUTHENTICATION, or clients connect without TLS"
    if not is_true(resource.get("authEnabled")):
        yield "authEnabled must be true, or whoever reaches the cache may use it"


RULES: Final = (
    Rule(
        name="google-own-key", group="security", severity=Severity.HIGH, types=(*_KEYS, SECRET), resource=_own_key,
        config=KeyedConfig, control=cis("5.4"),
        description="On Google Cloud, everything that stores data names a key of the stack.",
    ),
    Rule(
        name="google-tls", group="security", severity=Severity.HIGH, types=(DATABASE, CACHE), resource=_tls,
        control=cis("6.4"),
        description="Cloud SQL and Memorystore speak TLS only, and Memorystore asks for its token.",
    ),
)  # fmt: skip
