"""What is read of stores that run in the cluster; a cloud's stores are watched by the cloud."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from components.contract import StorePods, StoreSoftware
from components.platform.observability.monitors.model import Monitor
from components.platform.openings import SCRAPER, Opening
from components.platform.site import Site

_WHY: Final[Mapping[StoreSoftware, str]] = {
    "cloudnative-pg": "Leader, replicas, archive and backups of the database.",
    "seaweedfs": "Drives, copies and errors of the object store.",
    "valkey": "Memory and evictions of the cache.",
}
_DROPPED: Final[Mapping[StoreSoftware, tuple[str, ...]]] = {
    "cloudnative-pg": ("go_.*", "cnpg_pg_extensions_.*"),
    "seaweedfs": ("go_.*", "SeaweedFS_.*_bucket"),
    "valkey": ("redis_commands_latencies_.*", "redis_latency_.*"),
}


def of_stores(site: Site) -> Iterator[Monitor]:
    """Stores of the foundation, as far as they are pods."""
    for one in site.foundation.store_pods:
        yield Monitor(
            name=job(one),
            namespaces=[one.namespace],
            labels=one.labels,
            port=one.port,
            container=one.container,
            drop=_DROPPED[one.software],
            why=_WHY[one.software],
        )


def job(one: StorePods) -> str:
    """Label ``job`` of its series."""
    return f"{one.software}-{one.part}" if one.part else one.software


def ways_to_stores(site: Site) -> Iterator[Opening]:
    """The reader's ways to them; their namespace is the foundation's, and so is the other half of each way."""
    pods = site.foundation.store_pods
    if ports := tuple(sorted({one.port for one in pods})):
        yield Opening(source=SCRAPER, target="stores", ports=ports, why="Metrics of the stores in the cluster.")
