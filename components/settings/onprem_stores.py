"""Stores of an on-prem stack: how large they are, where the object store is, what the database archives to."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.settings.base import Name, Section

Host = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{2,5})?$")]
"""A DNS name or an address, with a port where it is not 443."""


class StoreSizeSettings(Section):
    """What one server of a store in the cluster may use; requests and, for memory, the limit.

    Attributes:
        cpu_millicores: CPU requested.
        memory_mib: Memory in MiB, requested and the limit.
    """

    cpu_millicores: Annotated[int, Field(ge=50)] = 500
    memory_mib: Annotated[int, Field(ge=256)] = 1024


def size(cpu_millicores: int, memory_mib: int) -> StoreSizeSettings:
    """A size as a default of another section."""
    return StoreSizeSettings.model_validate({"cpuMillicores": cpu_millicores, "memoryMib": memory_mib})


class ArchiveSettings(Section):
    """Where the database archives to within its store, and what it begins with where the server before it is lost.

    Attributes:
        name: Folder of this server's base backups and log. A server that begins anew needs another one than the server
            before it: one archive holds one history, and the operator refuses to write into a second one's.
        recover_from: Folder of an earlier server, which this one is recovered from when it is made; empty to begin
            empty. What is there already is not touched by it.
        recover_to: How far its log is read, such as ``2026-11-22T03:00:00Z``; empty for all of it.
    """

    name: Name = "database"
    recover_from: Name | Literal[""] = ""
    recover_to: Annotated[str, Field(pattern=r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d))?$")] = ""

    @model_validator(mode="after")
    def _what_is_read_is_not_written(self) -> ArchiveSettings:
        if self.recover_from == self.name:
            raise ValueError(f"name must be another than recoverFrom, which is only read; got {self.name} for both")
        if self.recover_to and not self.recover_from:
            raise ValueError("recoverTo needs recoverFrom")
        return self


class SecondStoreSettings(Section):
    """Another object store, elsewhere, for backups: one in the same cluster is lost together with it.

    Its keys are the stack's secret ``onprem:backupKeys``.

    Attributes:
        endpoint: Host of its S3 API; TLS is spoken.
        bucket: A bucket that exists.
        region: What requests are signed for.
    """

    endpoint: Host
    bucket: Annotated[str, Field(min_length=3, max_length=63)]
    region: str = "us-east-1"


class OnPremObjectSettings(Section):
    """The object store.

    Attributes:
        kind: ``in-cluster`` runs SeaweedFS (docs/decisions/0015); ``existing`` uses a store that is there, such as
            Ceph or StorageGRID, with the keys of the stack's secret ``onprem:objectKeys``.
        endpoint: ``existing``: host of its S3 API; TLS is spoken.
        region: What requests are signed for.
        bucket_prefix: What bucket names begin with; empty for ``<project>-<stack>``. With ``existing`` the buckets
            ``<prefix>-data``, ``-models`` … must exist.
            Every workload signs with the same key: what separates workloads there is the store's own business.
        ca: ``existing``: PEM certificates that sign the server's, where no public authority does.
        servers: ``in-cluster``: servers with disks. Three or more keep two copies of everything.
        disk_gib: ``in-cluster``: disk of each server.
        size: ``in-cluster``: what one server may use.
        backup: Where backups go; unset for the same store, which is lost together with the cluster.
    """

    kind: Literal["in-cluster", "existing"] = "in-cluster"
    endpoint: Host | Literal[""] = ""
    region: str = "us-east-1"
    bucket_prefix: Annotated[str, Field(pattern=r"^([a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?)?$")] = ""
    ca: str = ""
    servers: Annotated[int, Field(ge=1, le=64)] = 1
    disk_gib: Annotated[int, Field(ge=20)] = 500
    size: StoreSizeSettings = size(500, 2048)
    backup: SecondStoreSettings | None = None

    @model_validator(mode="after")
    def _an_existing_store_can_be_reached(self) -> OnPremObjectSettings:
        if self.kind == "existing" and not self.endpoint:
            raise ValueError("kind existing needs endpoint")
        return self

    @model_validator(mode="after")
    def _copies_are_on_different_servers(self) -> OnPremObjectSettings:
        if self.kind == "in-cluster" and self.servers == 2:
            raise ValueError("servers: must be 1 (one copy) or at least 3 (two copies and a majority); got 2")
        return self
