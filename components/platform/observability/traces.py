"""Traces: the collector, which decides what is kept, and Tempo, which keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta

from components.charts import release
from components.contract import ObjectGrant, ObjectStore
from components.platform import telemetry
from components.platform.openings import SCRAPER, Namespace, Opening, Pods, team_namespace
from components.platform.placement import spread
from components.platform.site import Site
from components.settings.platform.traces import TraceSettings

NAMESPACE: Final[Namespace] = "monitoring"

TEMPO: Final = Pods(namespace=NAMESPACE, labels={"app.kubernetes.io/name": "tempo"})
GRAFANA: Final = Pods(namespace=NAMESPACE, labels={"app.kubernetes.io/name": "grafana"})

_TEMPO: Final = "tempo"
_PREFIX: Final = "tempo"
_TEMPO_PORT: Final = 3200
_OTLP_PORT: Final = 4317
_SHARING_PORT: Final = 4319
_METRICS_PORT: Final = 8888
_HEALTH_PORT: Final = 13133  # where the chart probes
_SHARING: Final = f"{telemetry.NAME}-peers"

TEMPO_URL: Final = f"http://{_TEMPO}.{NAMESPACE}.svc.cluster.local:{_TEMPO_PORT}"
"""Tempo's API, as pods address it."""

OTLP_ENDPOINT: Final = telemetry.OTLP_GRPC_URL
"""Where spans are sent by gRPC; :data:`telemetry.OTLP_HTTP_URL` by HTTP."""

# What clients asked and models answered, by every name that instrumentations give it: it is nobody's business here.
_CONTENT: Final = (
    r"^(gen_ai\.(prompt|completion|input|output|system_instructions|tool\.call)"
    r"|llm\.(prompts|completions|input_messages|output_messages|(openai|request)\.messages)"
    r"|(input|output)\.value|http\.re(quest|sponse)\.header\.(authorization|cookie|set-cookie|x-api-key))(\.|$)"
)


def openings(site: Site) -> tuple[Opening, ...]:
    """What the collector and Tempo reach, and who reaches them.

    Senders declare their own way to the collector; servers of models are nobody's in particular, and stand here.
    """
    collector = telemetry.COLLECTOR
    ways = (
        Opening(source=collector, target=TEMPO, ports=(_OTLP_PORT,), why="Traces that are kept."),
        Opening(source=GRAFANA, target=TEMPO, ports=(_TEMPO_PORT,), why="Traces are looked at."),
        Opening(source=SCRAPER, target=TEMPO, ports=(_TEMPO_PORT,), why="Metrics: spans that were refused."),
        Opening(source=SCRAPER, target=collector, ports=(_METRICS_PORT,), why="Metrics: spans that were lost."),
    )
    models = (
        Pods(namespace=namespace, labels={"component": "predictor"})  # as KServe labels them
        for namespace in ("mlops-serving", *(team_namespace(team.name) for team in site.teams))
    )
    ways = (*ways, *(way for pods in models for way in telemetry.spans_from(site, pods, (telemetry.GRPC_PORT,))))
    if not site.highly_available:
        return ways
    why = "All spans of a trace meet in one collector, which decides whether it is kept."
    return (*ways, Opening(source=collector, target=collector, ports=(_SHARING_PORT,), why=why))


@dataclass(frozen=True, kw_only=True)
class TracesArgs:
    """What traces need.

    Attributes:
        site: Where they are collected.
    """

    site: Site


class Traces(pulumi.ComponentResource):
    """Tempo with its place in the object store, and the collector in front of it."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: TracesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Traces", name, None, opts)
        site = args.site
        room = site.namespaces[NAMESPACE]
        identity = site.foundation.identity.grant(
            name,
            namespace=NAMESPACE,
            service_account=_TEMPO,
            # It looks for the bucket by listing it from its root when it starts.
            grants=[ObjectGrant(bucket="logs", access="read-write", prefix=f"{_PREFIX}/", lists_bucket=True)],
            parent=self,
        )
        tempo = release(
            f"{name}-release",
            "tempo",
            release_name=_TEMPO,
            namespace=NAMESPACE,
            values=tempo_values(site, identity.annotations),
            parent=self,
            after=(*room, *identity.ready),
        )
        collector = release(
            f"{name}-collector",
            "opentelemetry-collector",
            release_name=telemetry.NAME,
            namespace=NAMESPACE,
            values=collector_values(site),
            parent=self,
            after=(*room, tempo),  # or its first traces would wait for minutes
        )
        self.ready = (tempo, collector)
        if site.highly_available:
            peers = pulumi.ResourceOptions(parent=self, depends_on=list(room))
            self.ready = (*self.ready, _peers(f"{name}-peers", peers))
        self.register_outputs({})


def _peers(name: str, opts: pulumi.ResourceOptions) -> core.Service:
    """The collectors by address: each sends the spans of a trace to the one that decides about it."""
    return core.Service(
        name,
        metadata=meta.ObjectMetaArgs(
            name=_SHARING,
            namespace=NAMESPACE,
            labels=telemetry.COLLECTOR.labels,
            # The release is awaited; its pods need not be there before it.
            annotations={"pulumi.com/skipAwait": "true"},
        ),
        spec=core.ServiceSpecArgs(
            cluster_ip="None",
            selector=telemetry.COLLECTOR.labels,
            ports=[core.ServicePortArgs(name="otlp", app_protocol="grpc", port=_SHARING_PORT)],
        ),
        opts=opts,
    )


def collector_values(site: Site) -> dict[str, Any]:
    """Values of the collector.

    Memory: a span is some 2 KiB while it waits. 20 requests a second with ten spans, each for 30 s, are 12 MiB; where
    clients bring traces of their own, and each waits its longest, 260 MiB.
    """
    several = site.highly_available
    labels = dict(telemetry.COLLECTOR.labels)
    return {
        "mode": "deployment",
        "fullnameOverride": telemetry.NAME,
        # The distribution for Kubernetes: a fraction of what `contrib` holds, and all that is used here.
        "image": {"repository": "ghcr.io/open-telemetry/opentelemetry-collector-releases/opentelemetry-collector-k8s"},
        "command": {"name": "otelcol-k8s"},
        "replicaCount": site.replicas,
        "alternateConfig": collector_configuration(site.settings.traces, shared=several),
        "ports": {
            **{port: {"enabled": False} for port in ("jaeger-compact", "jaeger-thrift", "jaeger-grpc", "zipkin")},
            "otlp-http": {"appProtocol": "http"},
            "metrics": {"enabled": True},
        },
        "serviceAccount": {"name": telemetry.NAME, "automountServiceAccountToken": False},
        "nodeSelector": site.system_nodes,
        "topologySpreadConstraints": spread(labels) if several else [],
        "podDisruptionBudget": {"enabled": several, **({"maxUnavailable": 1} if several else {})},
        "rollout": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "podSecurityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,  # the image's
            "runAsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "securityContext": _CONTAINER,
        "resources": {"requests": {"cpu": "100m", "memory": "160Mi"}, "limits": {"memory": "768Mi"}},
    }


_CONTAINER: Final[Mapping[str, Any]] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def collector_configuration(settings: TraceSettings, *, shared: bool) -> dict[str, Any]:
    """The collector's configuration, instead of the chart's, which also takes metrics, logs and three other protocols.

    Every span of a trace must reach the one collector that decides about it. Where there are several, each takes spans
    from anybody and hands them on by trace id; only what comes in at the second door is decided about.
    """
    decided = {
        "receivers": ["otlp"],
        "processors": ["memory_limiter", "attributes/content", "tail_sampling", "batch"],
        "exporters": ["otlp_grpc/tempo"],
    }
    pipelines: dict[str, Any] = {"traces": decided}
    config: dict[str, Any] = {
        "receivers": {
            "otlp": {
                "protocols": {
                    "grpc": {"endpoint": _own(telemetry.GRPC_PORT)},
                    "http": {"endpoint": _own(telemetry.HTTP_PORT)},
                }
            }
        },
        "processors": {
            # Refuses spans before the container's limit would stop it; senders try again.
            "memory_limiter": {"check_interval": "1s", "limit_percentage": 80, "spike_limit_percentage": 25},
            "attributes/content": {"actions": [{"pattern": _CONTENT, "action": "delete"}]},
            "tail_sampling": _sampling(settings),
            "batch": {},
        },
        "exporters": {
            # The mesh encrypts. The queue holds traces while Tempo restarts.
            "otlp_grpc/tempo": {
                "endpoint": f"{_TEMPO}.{NAMESPACE}.svc.cluster.local:{_OTLP_PORT}",
                "tls": {"insecure": True},
                "sending_queue": {"queue_size": 1000},
                "retry_on_failure": {"max_elapsed_time": "10m"},
            }
        },
        "extensions": {"health_check": {"endpoint": _own(_HEALTH_PORT)}},
        "service": {
            "extensions": ["health_check"],
            "telemetry": {
                "logs": {"encoding": "json", "level": "warn"},
                "metrics": {
                    "readers": [
                        {"pull": {"exporter": {"prometheus": {"host": _OWN_ADDRESS, "port": _METRICS_PORT}}}},
                    ]
                },
            },
            "pipelines": pipelines,
        },
    }
    if shared:
        config["receivers"]["otlp/peers"] = {"protocols": {"grpc": {"endpoint": _own(_SHARING_PORT)}}}
        config["exporters"]["load_balancing"] = {
            "routing_key": "traceID",
            "protocol": {"otlp": {"tls": {"insecure": True}}},
            "resolver": {
                "dns": {"hostname": f"{_SHARING}.{NAMESPACE}.svc.cluster.local", "port": str(_SHARING_PORT)},
            },
        }
        pipelines["traces"] = {
            "receivers": ["otlp"],
            "processors": ["memory_limiter", "attributes/content", "batch"],
            "exporters": ["load_balancing"],
        }
        pipelines["traces/decided"] = {
            **decided,
            "receivers": ["otlp/peers"],
            "processors": ["memory_limiter", "tail_sampling", "batch"],
        }
    return config


# The chart gives it to the container.
_OWN_ADDRESS: Final = "${env:MY_POD_IP}"


def _own(port: int) -> str:
    return f"{_OWN_ADDRESS}:{port}"


def _sampling(settings: TraceSettings) -> dict[str, Any]:
    """What is kept: any reason is enough."""
    policies: list[dict[str, Any]] = [
        {"name": "failed", "type": "status_code", "status_code": {"status_codes": ["ERROR"]}},
        {"name": "slow", "type": "latency", "latency": {"threshold_ms": round(settings.slow_seconds * 1000)}},
        {
            "name": "share",
            "type": "probabilistic",
            "probabilistic": {"sampling_percentage": settings.sampling_percent},
        },
    ]
    return {
        # A sign-in is reported minutes before the answer that it was for is over. A trace begins at the gateway, whose
        # part has no parent and comes last: soon after it all is there.
        "decision_wait": f"{settings.longest_seconds}s",
        "decision_wait_after_root_received": f"{settings.wait_seconds}s",
        "num_traces": settings.traces_in_memory,
        # What comes later of a trace that was kept is kept too.
        "decision_cache": {"sampled_cache_size": 4 * settings.traces_in_memory},
        "policies": policies,
    }


def tempo_values(site: Site, annotations: Mapping[str, pulumi.Input[str]]) -> dict[str, Any]:
    """Values of Tempo: one process, whatever the site.

    The chart with several parts wants Kafka between them since 3.0. What one process has taken is in its write-ahead
    log; while it restarts, the collectors hold what comes.
    """
    settings = site.settings.traces
    return {
        "tempo": {
            # Memory that is only there to make the garbage collector idle; more than the limit of the container.
            "memBallastSizeMbs": 0,
            "reportingEnabled": False,
            "retention": f"{settings.retention_days * 24}h",
            "server": {"log_format": "json", "log_level": "warn"},
            "storage": {"trace": _tempo_storage(site.foundation.objects)},
            "resources": {"requests": {"cpu": "150m", "memory": "512Mi"}, "limits": {"memory": "1536Mi"}},
            "extraEnv": [{"name": "GOMEMLIMIT", "value": "1280MiB"}],
            "securityContext": _CONTAINER,
        },
        "serviceAccount": {
            "name": _TEMPO,
            "annotations": dict(annotations),
            "automountServiceAccountToken": False,  # the identity's own token is mounted beside it
        },
        "securityContext": {"fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"}},
        "persistence": {
            "enabled": True,
            "size": f"{settings.volume_gib}Gi",
            "storageClassName": site.foundation.cluster.default_storage_class,
        },
        "nodeSelector": site.system_nodes,
    }


def _tempo_storage(store: ObjectStore) -> dict[str, Any]:
    bucket = store.buckets["logs"].name
    match store.protocol:
        case "s3":
            place = {"bucket": bucket, "endpoint": store.endpoint, "region": store.region, "prefix": _PREFIX}
            return {"backend": "s3", "s3": place}
        case "gcs":
            return {"backend": "gcs", "gcs": {"bucket_name": bucket, "prefix": _PREFIX}}
