"""Ray: distributed data processing."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.settings.base import Section


class RayWorkerSettings(Section):
    """Workers of the standing cluster; they come and go with the work.

    Attributes:
        max_count: How many at most. With the head and the vector database they must fit the row ``data-processing`` of
            the capacity table, and what is left of it is for jobs that bring clusters of their own.
        vcpu: CPU of one.
        memory_gib: Memory of one in GiB; Ray keeps about 30 % of it for objects.
        disk_gib: Disk of one in GiB, where objects go that do not fit into memory.
        idle_seconds: How long one is kept without work.
    """

    max_count: Annotated[int, Field(ge=1, le=100)] = 5
    vcpu: Annotated[int, Field(ge=1, le=64)] = 3
    memory_gib: Annotated[int, Field(ge=2, le=512)] = 12
    disk_gib: Annotated[int, Field(ge=5, le=500)] = 20
    idle_seconds: Annotated[int, Field(ge=30, le=86400)] = 300


class RaySettings(Section):
    """Ray for data processing (KubeRay).

    Attributes:
        enabled: Install the operator. Jobs can then bring clusters of their own.
        standing_cluster: Keep a cluster for interactive work; its head keeps one CPU node running.
        workers: Workers of that cluster.
    """

    enabled: bool = True
    standing_cluster: bool = True
    workers: RayWorkerSettings = RayWorkerSettings()
