"""Pods of the stores in the cluster, as whoever watches them finds them; on a cloud, the cloud watches its own."""

from __future__ import annotations

from typing import Final

from components.contract import StorePods
from components.onprem.names import (
    CACHE_METRICS_PORT,
    DATABASE_METRICS_PORT,
    OBJECTS_METRICS_PORT,
    OBJECTS_METRICS_PORT_OF_ONE,
    STORES,
)

_NAME: Final = "app.kubernetes.io/name"
_INSTANCE: Final = "app.kubernetes.io/instance"
_COMPONENT: Final = "app.kubernetes.io/component"
_CONTAINER: Final = "seaweedfs"
_MASTERS: Final = 3
_GATEWAYS: Final = 2


def of_database(cluster: str, *, servers: int) -> tuple[StorePods, ...]:
    """Servers of a Cluster of CloudNativePG; its jobs have the first label too."""
    return (
        StorePods(
            software="cloudnative-pg",
            namespace=STORES,
            labels={"cnpg.io/cluster": cluster, "cnpg.io/podRole": "instance"},
            port=DATABASE_METRICS_PORT,
            servers=servers,
        ),
    )


def of_cache(name: str) -> tuple[StorePods, ...]:
    """The server of Valkey, with the exporter beside it."""
    return (
        StorePods(
            software="valkey",
            namespace=STORES,
            labels={_NAME: "valkey", _INSTANCE: name},
            port=CACHE_METRICS_PORT,
        ),
    )


def of_objects(release: str, *, servers: int) -> tuple[StorePods, ...]:
    """Parts of SeaweedFS, each by its own label: the job that makes the buckets has the others.

    Some parts declare the port of their metrics only beside monitors of the chart's own, so it is said here.
    """
    common = {_NAME: "seaweedfs", _INSTANCE: release}
    if servers == 1:
        return (
            StorePods(
                software="seaweedfs",
                part="all-in-one",
                namespace=STORES,
                labels={**common, _COMPONENT: "seaweedfs-all-in-one"},
                port=OBJECTS_METRICS_PORT_OF_ONE,
                container=_CONTAINER,
            ),
        )
    parts = {"master": _MASTERS, "volume": servers, "filer": 1, "s3": _GATEWAYS}
    return tuple(
        StorePods(
            software="seaweedfs",
            part=part,
            namespace=STORES,
            labels={**common, _COMPONENT: part},
            port=OBJECTS_METRICS_PORT,
            container=_CONTAINER,
            servers=count,
        )
        for part, count in parts.items()
    )
