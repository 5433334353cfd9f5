"""Data and experiments: Milvus, Ray, MLflow, and the stores outside as the cluster sees them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from components.platform.observability.rules.facts import SiteFacts
from components.platform.observability.rules.model import MINUTE, NOW, Alert, Group
from components.platform.observability.rules.promql import share


def groups(facts: SiteFacts) -> Iterator[Group]:
    """Rules about data, for each system that there is."""
    settings = facts.settings
    rules = [
        *([_MILVUS] if settings.vectors.enabled else []),
        *([_RAY_NODES, _RAY_WORKERS] if settings.ray.enabled else []),
        *([_MLFLOW] if settings.experiments.enabled else []),
        *([_DATABASE, _CACHE] if settings.model_gateway.enabled else []),
    ]
    yield Group(name="data", rules=rules)


_CALLS: Final = 'sum by (function_name) (rate(milvus_proxy_req_count{status=~"success|fail"}[5m]))'
_FAILED_CALLS: Final = 'sum by (function_name) (rate(milvus_proxy_req_count{status="fail"}[5m]))'

_MILVUS: Final = Alert(
    name="MilvusFailing",
    expression=f"{share(_FAILED_CALLS, _CALLS)} > 0.05",
    lasting=10 * MINUTE,
    severity="warning",
    summary="{{ $labels.function_name }} fails in Milvus",
    description="{{ $value | humanizePercentage }} of the calls fail: answers lack what retrieval would have found.",
    page="data",
    dashboard="platform",
)

_RAY_NODES: Final = Alert(
    name="RayNodesDead",
    expression="max by (ray_io_cluster, node_type) (ray_cluster_failed_nodes) > 0",
    lasting=5 * MINUTE,
    severity="warning",
    summary="Ray's cluster {{ $labels.ray_io_cluster }} has lost nodes",
    description="{{ $value }} nodes of {{ $labels.node_type }} died. Their tasks run again, their objects are gone.",
    page="data",
    dashboard="training",
)

_RAY_WORKERS: Final = Alert(
    name="RayWorkersDying",
    expression="sum by (ray_io_cluster) (increase(ray_node_manager_unexpected_worker_failure_total[15m])) > 5",
    lasting=NOW,
    severity="warning",
    summary="Workers of Ray's cluster {{ $labels.ray_io_cluster }} die",
    description="{{ $value | humanize }} processes ended unexpectedly within 15 minutes, most often for memory.",
    page="data",
    dashboard="training",
)

_REQUESTS: Final = "sum(rate(mlflow_http_request_total[5m]))"
_ERRORS: Final = 'sum(rate(mlflow_http_request_total{status=~"5.."}[5m]))'

_MLFLOW: Final = Alert(
    name="MlflowFailing",
    expression=f"{share(_ERRORS, _REQUESTS)} > 0.05",
    lasting=10 * MINUTE,
    severity="warning",
    summary="MLflow answers with errors",
    description="{{ $value | humanizePercentage }} of its answers are 5xx: runs lose what they log.",
    page="data",
    dashboard="training",
)

_DATABASE: Final = Alert(
    name="DatabaseUnreachable",
    expression="sum(rate(litellm_postgres_failed_requests_total[5m])) > 0",
    lasting=10 * MINUTE,
    severity="critical",
    summary="The model gateway cannot use the database",
    description="Queries fail. Keys and budgets are what the gateway remembers; MLflow and pipelines may fail too.",
    page="data",
    dashboard="platform",
)

_CACHE: Final = Alert(
    name="CacheUnreachable",
    expression=(
        "sum(rate(litellm_redis_failed_requests_total[5m])) > 0"
        ' or sum(rate(ratelimit_service_should_rate_limit_error{err_type="redis_error"}[5m])) > 0'
    ),
    lasting=10 * MINUTE,
    severity="warning",
    summary="The cache cannot be used",
    description="Limits are counted by each replica for itself or not at all, and no answer comes from the cache.",
    page="data",
    dashboard="platform",
)
