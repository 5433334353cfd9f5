"""The vector database."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components.settings.base import Section
from components.settings.platform.backups import Cron


class VectorBackupSettings(Section):
    """Backups of the vector database.

    Attributes:
        enabled: Take them. Restoring needs no more than what this installs.
        schedule: When, in UTC: minute, hour, day of the month, month, day of the week.
        retention_days: How long a backup is kept.
    """

    enabled: bool = True
    schedule: Cron = "0 2 * * *"
    retention_days: Annotated[int, Field(ge=1, le=365)] = 30


class VectorSettings(Section):
    """The vector database (Milvus).

    Attributes:
        enabled: Install it.
        mode: One process, or one for each task with replicas; unset, the latter where ``highlyAvailable`` is set. The
            two keep their metadata alike, but a running database is better moved by backup and restore.
        query_nodes: Replicas that hold loaded collections and search them; in mode ``cluster``.
        query_memory_gib: Memory of each in GiB, and of the one process in mode ``standalone``: an estimate of it is
            4 bytes a dimension for each vector, and half as much again for the index.
        metadata_gib: Volume of each metadata server (etcd) in GiB.
        backups: Backups.
    """

    enabled: bool = True
    mode: Literal["standalone", "cluster"] | None = None
    query_nodes: Annotated[int, Field(ge=1, le=50)] = 2
    query_memory_gib: Annotated[int, Field(ge=2, le=512)] = 6
    metadata_gib: Annotated[int, Field(ge=1, le=100)] = 10
    backups: VectorBackupSettings = VectorBackupSettings()
