"""Loki: where logs are kept, and what collects them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pulumi

from components.charts import release
from components.contract import AuditLogGrant, ObjectGrant, ObjectStore
from components.platform.observability import collection
from components.platform.openings import SCRAPER, Namespace, Opening, Pods
from components.platform.placement import SPREAD, selecting
from components.platform.site import Site

NAMESPACE: Final[Namespace] = "monitoring"

LOKI: Final = Pods(namespace=NAMESPACE, labels={"app.kubernetes.io/name": "loki"})
GRAFANA: Final = Pods(namespace=NAMESPACE, labels={"app.kubernetes.io/name": "grafana"})
ALLOY: Final = Pods(namespace=NAMESPACE, labels={"app.kubernetes.io/name": "alloy"})

_NAME: Final = "loki"
_PREFIX: Final = "loki"
_PORT: Final = 3100
_GRPC_PORT: Final = 9095
_GOSSIP_PORT: Final = 7946
_COMPONENT: Final = {**LOKI.labels, "app.kubernetes.io/component": "single-binary"}

LOKI_URL: Final = f"http://{_NAME}.{NAMESPACE}.svc.cluster.local:{_PORT}"
"""Loki's API, as pods address it; there is one tenant."""

PUSH_URL: Final = f"{LOKI_URL}/loki/api/v1/push"

# A line is held by three of three: any one may go, and the other two take and give lines as if it were there. With two,
# both would be needed for every line.
_COPIES: Final = 3


def openings(site: Site) -> tuple[Opening, ...]:
    """What Loki and its collectors reach, and who reaches them.

    The API server and the cloud's APIs are open for all of the namespace.
    """
    ways = (
        Opening(source=ALLOY, target=LOKI, ports=(_PORT,), why="Lines are sent there."),
        Opening(source=GRAFANA, target=LOKI, ports=(_PORT,), why="Lines are looked at."),
        Opening(source=SCRAPER, target=LOKI, ports=(_PORT,), why="Metrics: lines that were refused."),
        Opening(source=SCRAPER, target=ALLOY, ports=(collection.PORT,), why="Metrics: lines that were lost."),
    )
    if not site.highly_available:
        return ways
    ports = (_PORT, _GOSSIP_PORT, _GRPC_PORT)
    why = "Replicas find one another, and share lines and questions."
    return (*ways, Opening(source=LOKI, target=LOKI, ports=ports, why=why))


@dataclass(frozen=True, kw_only=True)
class LogsArgs:
    """What logs need.

    Attributes:
        site: Where they are collected.
    """

    site: Site


class Logs(pulumi.ComponentResource):
    """Loki with its place in the object store, an agent on every node, and one for what belongs to no node."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: LogsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Logs", name, None, opts)
        site = args.site
        room = site.namespaces[NAMESPACE]
        identity = site.foundation.identity.grant(
            name,
            namespace=NAMESPACE,
            service_account=_NAME,
            grants=[ObjectGrant(bucket="logs", access="read-write", prefix=f"{_PREFIX}/")],
            parent=self,
        )
        loki = release(
            f"{name}-release",
            "loki",
            release_name=_NAME,
            namespace=NAMESPACE,
            values=values(site, identity.annotations),
            parent=self,
            after=(*room, *identity.ready),
        )
        agents = release(
            f"{name}-agents",
            "alloy",
            release_name=collection.NODE_RELEASE,
            namespace=NAMESPACE,
            values=collection.node_values(site, PUSH_URL),
            parent=self,
            # On destroy they go first, and do not try for minutes to send what nobody takes any more.
            after=(*room, loki),
        )
        self.ready = (loki, agents)
        if collection.watches_cluster(site):
            self.ready = (*self.ready, self._watch_cluster(name, site, loki))
        self.register_outputs({})

    def _watch_cluster(self, name: str, site: Site, loki: pulumi.Resource) -> pulumi.Resource:
        annotations: Mapping[str, pulumi.Input[str]] = {}
        ready: tuple[pulumi.Resource, ...] = ()
        if (audit := collection.audit_log(site)) is not None:
            identity = site.foundation.identity.grant(
                f"{name}-cluster",
                namespace=NAMESPACE,
                service_account=collection.CLUSTER_RELEASE,
                grants=[AuditLogGrant(log=audit)],
                parent=self,
            )
            annotations, ready = identity.annotations, identity.ready
        return release(
            f"{name}-cluster",
            "alloy",
            release_name=collection.CLUSTER_RELEASE,
            namespace=NAMESPACE,
            values=collection.cluster_values(site, PUSH_URL, annotations),
            parent=self,
            after=(*site.namespaces[NAMESPACE], *ready, loki),
        )


def values(site: Site, annotations: Mapping[str, pulumi.Input[str]]) -> dict[str, Any]:
    """Values of the chart.

    One kind of process that does everything, three times where the platform is highly available: upstream drops the
    mode in between (read, write, backend), and the one with a process for each part starts at ten pods, for more lines
    than a platform of this size writes. Memory: a replica holds the open chunks of every stream (1.5 MiB at most, and
    most far less); 5000 streams of an idle platform are some 200 MiB.
    """
    several = site.highly_available
    settings = site.settings.logs
    return {
        "deploymentMode": "Monolithic",
        "loki": _configuration(site, copies=_COPIES if several else 1),
        "serviceAccount": {
            "name": _NAME,
            "annotations": dict(annotations),
            "automountServiceAccountToken": False,  # the identity's own token is mounted beside it
        },
        "singleBinary": {
            "replicas": _COPIES if several else 1,
            "sidecar": False,
            "automountServiceAccountToken": False,
            "nodeSelector": site.system_nodes,
            "topologySpreadConstraints": [selecting(SPREAD[1], _COMPONENT)] if several else [],
            "podDisruptionBudget": {"enabled": several, **({"maxUnavailable": 1} if several else {})},
            # Long enough to write open chunks to the object store (upstream's number).
            "terminationGracePeriodSeconds": 300,
            "resources": {"requests": {"cpu": "100m", "memory": "320Mi"}, "limits": {"memory": "1Gi"}},
            "persistence": {
                "size": f"{settings.volume_gib}Gi",
                "storageClass": site.foundation.cluster.default_storage_class,
            },
        },
        "read": {"replicas": 0},
        "write": {"replicas": 0},
        "backend": {"replicas": 0},
        # Replicas find one another before they are ready, or none would ever be.
        "memberlist": {"service": {"publishNotReadyAddresses": True}},
        # 8 GiB of memory and more by default; a small cache of each replica's own is left.
        "chunksCache": {"enabled": False},
        "resultsCache": {"enabled": False},
        "gateway": {"enabled": False},  # a proxy that spreads requests over parts: here is only one kind
        "lokiCanary": {"enabled": False},
        "test": {"enabled": False},
        "ruler": {"enabled": False},
        "rbac": {"namespaced": True},  # without the sidecar there is nothing to allow, in the cluster or here
        # It would read every ConfigMap and Secret of the cluster, for rules that nobody writes there.
        "sidecar": {"rules": {"enabled": False}},
    }


def _configuration(site: Site, *, copies: int) -> dict[str, Any]:
    settings = site.settings.logs
    store = site.foundation.objects
    return {
        # One tenant: who may ask is decided by network policies and by Grafana.
        "auth_enabled": False,
        "server": {"log_format": "json", "log_level": "warn"},
        "commonConfig": {"replication_factor": copies},
        "storage": _storage(store),
        "schemaConfig": {
            "configs": [
                {
                    "from": "2026-01-01",  # before anything that can be here; another schema is added with a later date
                    "store": "tsdb",
                    "object_store": store.protocol,
                    "schema": "v13",
                    "index": {"prefix": "index_", "period": "24h"},
                }
            ]
        },
        "limits_config": {
            "retention_period": f"{settings.retention_days * 24}h",
            "ingestion_rate_mb": settings.ingest_mib_per_second,
            "ingestion_burst_size_mb": 2 * settings.ingest_mib_per_second,
            "max_global_streams_per_user": settings.most_streams,
            # A traceback fits; a model's weights printed by mistake do not, and are cut instead of refused.
            "max_line_size": "256KB",
            "max_line_size_truncate": True,
            "allow_structured_metadata": True,
            # A question is split by 15 minutes of lines; as many parts run at once as memory has room for.
            "tsdb_max_query_parallelism": 16,
            "max_query_series": 2000,
        },
        "compactor": {
            "retention_enabled": True,
            "delete_request_store": store.protocol,
            "working_directory": "/var/loki/compactor",
        },
        "ingester": {
            # After a crash: no more than this is read back at once, whatever the limit of the container.
            "wal": {"flush_on_shutdown": True, "replay_memory_ceiling": "512MB"},
        },
        "querier": {"max_concurrent": 4},
        # Of each kind of answer; upstream's 100 MiB would together be most of the container's memory.
        "query_range": {"results_cache": {"cache": {"embedded_cache": {"enabled": True, "max_size_mb": 32}}}},
        "analytics": {"reporting_enabled": False},
    }


def _storage(store: ObjectStore) -> dict[str, Any]:
    """Below a prefix of its own, which Loki's older clients cannot; with the identity of the pod."""
    bucket = store.buckets["logs"].name
    common: dict[str, Any] = {
        "use_thanos_objstore": True,
        "type": store.protocol,
        "bucketNames": {"chunks": bucket, "ruler": bucket, "admin": bucket},
    }
    match store.protocol:
        case "s3":
            client = {"s3": {"endpoint": store.endpoint, "region": store.region}}
        case "gcs":
            client = {}
    return {**common, "object_store": {"type": store.protocol, "storage_prefix": _PREFIX, **client}}
