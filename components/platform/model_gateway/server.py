"""LiteLLM's own objects: the Deployment and what keeps it available."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pulumi
from pulumi_kubernetes import apps, autoscaling, batch, core, policy
from pulumi_kubernetes.meta import v1 as meta

from components.platform import caches, telemetry
from components.platform.confinement import (
    config_files,
    container_security,
    from_secret,
    mount,
    plain,
    pod_security,
    resources,
    scratch,
    secret_files,
)
from components.platform.databases import CA_KEY, DatabaseAccess
from components.platform.jobs import awaited_job, errand, job_spec
from components.platform.model_gateway import config
from components.platform.model_gateway.names import (
    KEYS_SECRET,
    LABELS,
    METRICS_PORT,
    MIGRATIONS_LABELS,
    NAME,
    NAMESPACE,
    PORT,
    USER,
)
from components.platform.names import name_of
from components.platform.placement import spread_args
from components.platform.site import Site
from components.versions import IMAGES

_KEYS_OF_ANSWERS: Final = Path(__file__).parents[1] / "pods" / "cache_keys.py"
_CONFIG_FOLDER: Final = "/etc/litellm"
_CA_FOLDER: Final = "/etc/database-ca"
_METRICS_FOLDER: Final = "/var/run/litellm-metrics"
_MIGRATION_SECONDS: Final = 900

# Until every node and the gateway know that the pod takes no more requests; it still answers those that come.
_LEAVING_SECONDS: Final = 15
# What LiteLLM needs after the last answer: it writes what was spent.
_TEARDOWN_SECONDS: Final = 30

# By HTTP: by gRPC a second library would have threads of its own in the process.
TRACING: Final[Mapping[str, str]] = {
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_EXPORTER_OTLP_ENDPOINT": telemetry.OTLP_HTTP_URL,
    "OTEL_SERVICE_NAME": NAME,
    "OTEL_RESOURCE_ATTRIBUTES": f"k8s.namespace.name={NAMESPACE}",
}
"""Where the process reports its part of requests; the callback ``otel`` of the configuration reads it."""

# Of the process itself and of the job that migrates. Both fetch nothing when they start: prices are the release's own.
_COMMON: Final[Mapping[str, str]] = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}


def migrations(name: str, *, site: Site, database: DatabaseAccess, opts: pulumi.ResourceOptions) -> batch.v1.Job:
    """Bring the tables to the release's, before any of its replicas starts; what is there already is left alone."""
    container = core.v1.ContainerArgs(
        name="migrations",
        image=IMAGES["litellm"],
        command=["python", "-m", "litellm.proxy.prisma_migration"],
        env=[
            # It works on a copy of the release's migrations, which it cannot write to.
            *plain({**_COMMON, "LITELLM_MIGRATION_DIR": "/tmp/migrations"}),
            *_database(database),
        ],
        resources=resources("100m", "512Mi", "1536Mi"),
        security_context=container_security(),
        volume_mounts=[*_SCRATCH_MOUNTS, _CA_MOUNT],
    )
    return awaited_job(
        f"{name}-migrations",
        job_spec(
            errand(container, user=USER, nodes=site.system_nodes, volumes=[*_SCRATCH, _ca(database)]),
            labels=MIGRATIONS_LABELS,
            deadline_seconds=_MIGRATION_SECONDS,
            retries=4,
        ),
        namespace=NAMESPACE,
        labels=MIGRATIONS_LABELS,
        deadline_seconds=_MIGRATION_SECONDS,
        opts=opts,
    )


def server(
    name: str,
    *,
    site: Site,
    document: Mapping[str, Any],
    account: core.v1.ServiceAccount,
    database: DatabaseAccess,
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource],
) -> tuple[pulumi.Resource, ...]:
    """Replicas with their configuration, Service, disruption budget and autoscaler.

    Args:
        name: Prefix of the Pulumi resources.
        site: Where it is installed.
        document: LiteLLM's configuration.
        account: Service account of the pods.
        database: Virtual keys, teams, what was spent.
        parent: The gateway's component.
        after: Migrations and Secrets: pods that start without them only restart.
    """
    settings = site.settings.model_gateway
    metadata = meta.ObjectMetaArgs(name=NAME, namespace=NAMESPACE, labels=LABELS)
    selector = meta.LabelSelectorArgs(match_labels=LABELS)
    child = pulumi.ResourceOptions(parent=parent, depends_on=list(site.namespaces[NAMESPACE]))
    files = {
        "config.yaml": json.dumps(document, indent=2) + "\n",  # JSON is YAML
        f"{config.CACHE_KEYS}.py": _KEYS_OF_ANSWERS.read_text(),
    }
    configuration = core.v1.ConfigMap(f"{name}-config", metadata=metadata, data=files, opts=child)
    service = core.v1.Service(
        f"{name}-service",
        metadata=meta.ObjectMetaArgs(
            name=NAME,
            namespace=NAMESPACE,
            labels=LABELS,
            # The Deployment is awaited; its pods wait for the tables, longer than Pulumi would for a Service of theirs.
            annotations={"pulumi.com/skipAwait": "true"},
        ),
        spec=core.v1.ServiceSpecArgs(
            selector=LABELS,
            ports=[core.v1.ServicePortArgs(name="http", app_protocol="http", port=PORT, target_port="http")],
        ),
        opts=child,
    )
    deployment = apps.v1.Deployment(
        f"{name}-server",
        metadata=metadata,
        spec=apps.v1.DeploymentSpecArgs(
            # The autoscaler's number from then on; the provider leaves it alone.
            replicas=None if site.highly_available else 1,
            selector=selector,
            strategy=apps.v1.DeploymentStrategyArgs(
                rolling_update=apps.v1.RollingUpdateDeploymentArgs(max_surge=1, max_unavailable=0)
            ),
            template=core.v1.PodTemplateSpecArgs(
                metadata=meta.ObjectMetaArgs(
                    labels=LABELS,
                    # It reads its configuration once: another one, other pods.
                    annotations={
                        "llmops/configuration": hashlib.sha256("".join(files.values()).encode()).hexdigest()[:16]
                    },
                ),
                spec=_pod(site, account, configuration, database),
            ),
        ),
        opts=pulumi.ResourceOptions(
            parent=parent,
            depends_on=[
                *site.namespaces[NAMESPACE],
                *after,
                *caches.certificates(name, namespace=NAMESPACE, site=site, parent=parent),
            ],
        ),
    )
    if not site.highly_available:
        return (service, deployment)
    budget = policy.v1.PodDisruptionBudget(
        f"{name}-budget",
        metadata=metadata,
        spec=policy.v1.PodDisruptionBudgetSpecArgs(max_unavailable=1, selector=selector),
        opts=child,
    )
    scaler = autoscaling.v2.HorizontalPodAutoscaler(
        f"{name}-scaler",
        metadata=metadata,
        spec=autoscaling.v2.HorizontalPodAutoscalerSpecArgs(
            scale_target_ref=autoscaling.v2.CrossVersionObjectReferenceArgs(
                api_version="apps/v1", kind="Deployment", name=name_of(deployment)
            ),
            min_replicas=site.replicas,
            max_replicas=settings.max_replicas,
            metrics=[
                autoscaling.v2.MetricSpecArgs(
                    # Of the process that answers alone. Not memory: the database client's never shrinks again.
                    type="ContainerResource",
                    container_resource=autoscaling.v2.ContainerResourceMetricSourceArgs(
                        container=NAME,
                        name="cpu",
                        target=autoscaling.v2.MetricTargetArgs(type="Utilization", average_utilization=100),
                    ),
                )
            ],
            behavior=autoscaling.v2.HorizontalPodAutoscalerBehaviorArgs(
                # A replica is slow to leave: it waits for its answers.
                scale_down=autoscaling.v2.HPAScalingRulesArgs(
                    stabilization_window_seconds=600,
                    policies=[autoscaling.v2.HPAScalingPolicyArgs(type="Pods", value=1, period_seconds=120)],
                )
            ),
        ),
        opts=child,
    )
    return (service, deployment, budget, scaler)


def _pod(
    site: Site, account: core.v1.ServiceAccount, configuration: core.v1.ConfigMap, database: DatabaseAccess
) -> core.v1.PodSpecArgs:
    settings = site.settings.model_gateway
    return core.v1.PodSpecArgs(
        service_account_name=name_of(account),
        automount_service_account_token=False,  # it has no business with the API server
        enable_service_links=False,
        priority_class_name="serving",
        node_selector=site.system_nodes,
        topology_spread_constraints=spread_args(LABELS) if site.highly_available else [],
        termination_grace_period_seconds=_LEAVING_SECONDS + settings.drain_seconds + _TEARDOWN_SECONDS,
        security_context=pod_security(USER),
        containers=[_process(site, database), _metrics()],
        volumes=[
            *_SCRATCH,
            _ca(database),
            config_files("config", name_of(configuration)),
            scratch("metrics", "256Mi"),
            *caches.volumes(site),
        ],
    )


def _process(site: Site, database: DatabaseAccess) -> core.v1.ContainerArgs:
    settings = site.settings.model_gateway
    return core.v1.ContainerArgs(
        name=NAME,
        image=IMAGES["litellm"],
        args=["--config", f"{_CONFIG_FOLDER}/config.yaml", "--port", str(PORT)],
        env=[
            *plain(
                {
                    **_COMMON,
                    "LITELLM_LOG": settings.log_level,
                    "DISABLE_SCHEMA_UPDATE": "true",  # the job before it did, once for all replicas
                    "GRACEFUL_SHUTDOWN_TIMEOUT": str(settings.drain_seconds),
                    "PROMETHEUS_MULTIPROC_DIR": _METRICS_FOLDER,
                }
            ),
            *environment(site),
            *(plain(TRACING) if telemetry.traced(site) else ()),
            *_database(database),
        ],
        ports=[core.v1.ContainerPortArgs(name="http", container_port=PORT)],
        # It starts when it has reached its database. From then on it is ready as long as it runs and need not go:
        # while the database fails over, all replicas would be taken away at once, and with them the answers to keys
        # that they know already.
        startup_probe=_probe("/health/readiness", period_seconds=5, failure_threshold=72),
        readiness_probe=_probe("/health/liveliness", period_seconds=5, failure_threshold=3),
        liveness_probe=_probe("/health/liveliness", period_seconds=15, failure_threshold=6),
        lifecycle=core.v1.LifecycleArgs(
            pre_stop=core.v1.LifecycleHandlerArgs(sleep=core.v1.SleepActionArgs(seconds=_LEAVING_SECONDS))
        ),
        resources=resources(
            f"{settings.cpu_millicores}m", f"{settings.memory_mib}Mi", f"{settings.memory_limit_mib}Mi"
        ),
        security_context=container_security(),
        volume_mounts=[
            *_SCRATCH_MOUNTS,
            _CA_MOUNT,
            mount("config", _CONFIG_FOLDER, read_only=True),
            mount("metrics", _METRICS_FOLDER),
            *caches.mounts(site),
        ],
    )


def _metrics() -> core.v1.ContainerArgs:
    """Metrics on a port of their own: Prometheus needs no key, and clients of the API cannot read what others spend.

    A container of its own, too: as a child of the process it must answer within 30 s of the start, or nothing starts.
    """
    return core.v1.ContainerArgs(
        name="metrics",
        image=IMAGES["litellm"],
        command=["python", "-m", "litellm.proxy.prometheus_metrics_server"],
        args=["--host", "0.0.0.0", "--port", str(METRICS_PORT)],
        env=plain({**_COMMON, "PROMETHEUS_MULTIPROC_DIR": _METRICS_FOLDER}),
        ports=[core.v1.ContainerPortArgs(name="metrics", container_port=METRICS_PORT)],
        readiness_probe=_listens(),
        liveness_probe=_listens(),
        resources=resources("10m", "256Mi", "512Mi"),
        security_context=container_security(),
        volume_mounts=[*_SCRATCH_MOUNTS, mount("metrics", _METRICS_FOLDER)],
    )


def _listens() -> core.v1.ProbeArgs:
    """Asked by connecting alone: an answer would be all metrics."""
    return core.v1.ProbeArgs(
        tcp_socket=core.v1.TCPSocketActionArgs(port=METRICS_PORT), period_seconds=20, timeout_seconds=5
    )


def environment(site: Site) -> list[core.v1.EnvVarArgs]:
    """Credentials and the cache. All clients of the cache in LiteLLM read these: answers, limits, routing, budgets."""
    cache = site.foundation.cache
    return [
        *plain(
            {
                config.CACHE_HOST: cache.host,
                config.CACHE_PORT: cache.port.apply(str),
                "REDIS_SSL": "true",
                # Every argument of its client can be given so.
                **({"REDIS_SSL_CA_CERTS": caches.CA_PATH} if caches.is_private(site) else {}),
            },
        ),
        from_secret(config.CACHE_PASSWORD, KEYS_SECRET, "cacheToken"),
        from_secret(config.MASTER_KEY, KEYS_SECRET, "masterKey"),
        from_secret("LITELLM_SALT_KEY", KEYS_SECRET, "saltKey"),
        from_secret("UI_USERNAME", KEYS_SECRET, "uiUsername"),
        from_secret("UI_PASSWORD", KEYS_SECRET, "uiPassword"),
    ]


def _database(access: DatabaseAccess) -> list[core.v1.EnvVarArgs]:
    """The database's address. Kubernetes puts the credentials into it, so that no manifest holds them."""
    login = "$(DATABASE_USERNAME):$(DATABASE_PASSWORD)"  # letters and digits: nothing to quote
    # LiteLLM turns these words of libpq into those of its own client, and picks the server's authority from the file.
    verify = f"sslmode=verify-full&sslrootcert={_CA_FOLDER}/{CA_KEY}"
    address = pulumi.Output.format(
        "postgresql://{0}@{1}:{2}/{3}?{4}", login, access.host, access.port, access.name, verify
    )
    return [
        from_secret("DATABASE_USERNAME", access.secret_name, "username"),
        from_secret("DATABASE_PASSWORD", access.secret_name, "password"),
        *plain({"DATABASE_URL": address}),
    ]


def _probe(path: str, *, period_seconds: int, failure_threshold: int) -> core.v1.ProbeArgs:
    return core.v1.ProbeArgs(
        http_get=core.v1.HTTPGetActionArgs(path=path, port="http"),
        period_seconds=period_seconds,
        timeout_seconds=5,
        failure_threshold=failure_threshold,
    )


def _ca(access: DatabaseAccess) -> core.v1.VolumeArgs:
    return secret_files("database-ca", access.ca_secret_name)


_CA_MOUNT: Final = mount("database-ca", _CA_FOLDER, read_only=True)
_SCRATCH: Final = (scratch("tmp", "1Gi"),)
_SCRATCH_MOUNTS: Final = (mount("tmp", "/tmp"),)
