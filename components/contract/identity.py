"""What pods may do at the cloud, and how they act there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import pulumi

from components.contract.cluster import AuditLog
from components.contract.stores import BucketRole

Access = Literal["read", "read-write"]


@dataclass(frozen=True, kw_only=True)
class ObjectGrant:
    """Access to a bucket, with the key that encrypts it.

    Attributes:
        bucket: Which bucket.
        access: Read, or read and write.
        prefix: Only keys below this prefix; empty for the whole bucket.
        lists_bucket: Whether names of objects outside of the prefix may be listed too: some tools look for the bucket
            by listing it from its root. What is in those objects stays closed.
    """

    bucket: BucketRole
    access: Access
    prefix: str = ""
    lists_bucket: bool = False


@dataclass(frozen=True, kw_only=True)
class SecretGrant:
    """Read access to entries of the secret store, with the key that encrypts them.

    Attributes:
        entries: Names of :attr:`SecretStore.entries`; ``database-admin`` and ``cache-auth`` are always there.
    """

    entries: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class DnsGrant:
    """Writing TXT records of the stack's DNS zone, to prove to a certificate authority that the domain is ours."""


@dataclass(frozen=True, kw_only=True)
class HostedModelGrant:
    """Asking models that the cloud hosts; nothing else of that service.

    Attributes:
        models: Identifiers as the cloud's service takes them, such as ``anthropic.claude-3-haiku-20240307-v1:0``; the
            cloud's profiles over several regions too.
        region: Region of the endpoint that is asked; plain.
    """

    models: Sequence[str]
    region: str


@dataclass(frozen=True, kw_only=True)
class EndpointGrant:
    """Asking models on endpoints that a cloud manages for this stack; changing nothing about them.

    Attributes:
        service: Whose endpoints they are.
        endpoints: Their names.
        components: Names of the parts of those endpoints that are asked by a name of their own.
        region: Region of the endpoints; plain.
    """

    service: Literal["sagemaker", "vertex"]
    endpoints: Sequence[str]
    components: Sequence[str] = ()
    region: str


@dataclass(frozen=True, kw_only=True)
class AuditLogGrant:
    """Reading the record of calls of the Kubernetes API.

    Attributes:
        log: The record, as the cluster names it.
    """

    log: AuditLog


Grant = ObjectGrant | SecretGrant | DnsGrant | HostedModelGrant | EndpointGrant | AuditLogGrant


@dataclass(frozen=True, kw_only=True)
class ServiceIdentity:
    """What a pod needs to act as its cloud identity.

    Attributes:
        annotations: Annotations of its Kubernetes service account.
        ready: Resources that must exist before the pod starts; for ``depends_on``.
    """

    annotations: Mapping[str, pulumi.Input[str]]
    ready: tuple[pulumi.Resource, ...]


class Identity(Protocol):
    """Gives one Kubernetes service account one least-privilege identity."""

    def grant(
        self, name: str, *, namespace: str, service_account: str, grants: Sequence[Grant], parent: pulumi.Resource
    ) -> ServiceIdentity:
        """Create the identity of ``namespace/service_account``; it can do what ``grants`` say and no more."""
        ...


@runtime_checkable
class NamespacedIdentity(Identity, Protocol):
    """An identity that puts objects beside the service account, and so needs the namespace first."""

    def within(self, namespaces: Mapping[str, Sequence[pulumi.Resource]], parent: pulumi.Resource) -> Identity:
        """The same, for service accounts of ``namespaces``: for each what must exist before something is put there."""
        ...
