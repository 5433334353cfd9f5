"""MLflow's own objects: the Deployment and what keeps it available."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import pulumi
from pulumi_kubernetes import apps, core, policy
from pulumi_kubernetes.meta import v1 as meta

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
from components.platform.databases import CA_KEY, DatabaseAccess, client_environment
from components.platform.experiments.names import (
    ARTIFACT_PREFIX,
    CA_FOLDER,
    EVERYWHERE,
    LABELS,
    METRICS_PORT,
    NAME,
    NAMESPACE,
    PORT,
    SERVER_SECRET,
    USER,
    database_address,
    published_at,
    storage_environment,
)
from components.platform.names import name_of
from components.platform.placement import spread_args
from components.platform.site import Site
from components.versions import IMAGES

_CONFIG_FOLDER: Final = "/etc/mlflow"
_METRICS_FOLDER: Final = "/var/run/mlflow-metrics"

# Connections of one process to the database: tracking, registry and accounts have a pool each.
_STORES: Final = 3
_POOL: Final = 3
_OVERFLOW: Final = 3

# The server's own page of metrics asks for an administrator's account, which Prometheus must not have. What the
# processes of a pod count lies in files, and this serves their sum.
_METRICS: Final = f"""
import signal
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector
registry = CollectorRegistry()
MultiProcessCollector(registry)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
start_http_server({METRICS_PORT}, registry=registry)
signal.sigwait([signal.SIGTERM])
"""


def connections(site: Site) -> int:
    """Connections to the database at most: of every replica's worker and of the process that starts it, and of jobs."""
    return site.replicas * _STORES * (_POOL + _OVERFLOW + 1) + _STORES


def allowed_hosts(published: str) -> list[str]:
    """Values of the header Host that are answered: MLflow compares the whole header, port included.

    Probes ask for ``/health``, which is answered under any name.
    """
    short = f"{NAME}.{NAMESPACE}"
    inside = [f"{host}:{PORT}" for host in (f"{short}.svc.cluster.local", f"{short}.svc", short)]
    outside = [published, f"{published}:443"] if published else []
    return [*inside, *outside, f"localhost:{PORT}"]  # the last for `kubectl port-forward`


def auth_configuration(address: str, default_permission: str) -> str:
    """Configuration of the sign-in. Nothing in it is secret: libpq reads the database's user from the environment."""
    return (
        "[mlflow]\n"
        f"default_permission = {default_permission}\n"
        f"database_uri = {address}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )


def server(
    name: str,
    site: Site,
    tables: DatabaseAccess,
    account: core.v1.ServiceAccount,
    *,
    parent: pulumi.Resource,
    after: Sequence[pulumi.Resource],
) -> tuple[pulumi.Resource, ...]:
    """The server: Service and Deployment, and a disruption budget where it has replicas."""
    child = pulumi.ResourceOptions(parent=parent, depends_on=list(site.namespaces[NAMESPACE]))
    metadata = meta.ObjectMetaArgs(name=NAME, namespace=NAMESPACE, labels=LABELS)
    selector = meta.LabelSelectorArgs(match_labels=LABELS)
    document = database_address(tables).apply(
        lambda address: auth_configuration(address, site.settings.experiments.default_permission)
    )
    configuration = core.v1.ConfigMap(
        f"{name}-configuration", metadata=metadata, data={"auth.ini": document}, opts=child
    )
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
            ports=[
                core.v1.ServicePortArgs(name="http", port=PORT, target_port="http"),
                core.v1.ServicePortArgs(name="metrics", port=METRICS_PORT, target_port="metrics"),
            ],
        ),
        opts=child,
    )
    deployment = apps.v1.Deployment(
        f"{name}-server",
        metadata=metadata,
        spec=apps.v1.DeploymentSpecArgs(
            replicas=site.replicas,
            # One goes before its successor comes: the namespace has no room for a third.
            strategy=apps.v1.DeploymentStrategyArgs(
                type="RollingUpdate",
                rolling_update=apps.v1.RollingUpdateDeploymentArgs(max_surge=0, max_unavailable=1),
            ),
            selector=selector,
            template=core.v1.PodTemplateSpecArgs(
                metadata=meta.ObjectMetaArgs(
                    labels=LABELS,
                    annotations={"llmops/configuration": document.apply(_digest)},  # another one, other pods
                ),
                spec=_pod(site, tables, account, configuration),
            ),
        ),
        opts=pulumi.ResourceOptions(parent=parent, depends_on=list(after)),
    )
    if not site.highly_available:
        return (service, deployment)
    budget = policy.v1.PodDisruptionBudget(
        f"{name}-budget",
        metadata=metadata,
        spec=policy.v1.PodDisruptionBudgetSpecArgs(max_unavailable=1, selector=selector),
        opts=child,
    )
    return (service, deployment, budget)


def _pod(
    site: Site, tables: DatabaseAccess, account: core.v1.ServiceAccount, configuration: core.v1.ConfigMap
) -> core.v1.PodSpecArgs:
    return core.v1.PodSpecArgs(
        service_account_name=name_of(account),
        automount_service_account_token=False,
        enable_service_links=False,  # the service's own name would become variables that MLflow reads
        node_selector=site.system_nodes,
        topology_spread_constraints=spread_args(LABELS) if site.highly_available else [],
        termination_grace_period_seconds=90,
        security_context=pod_security(USER),
        containers=[_process(site, tables), _metrics()],
        volumes=[
            # Pages that show an artifact fetch it to here first. Models are loaded from the bucket.
            scratch("tmp", "4Gi"),
            scratch("metrics", "128Mi"),
            secret_files("ca", tables.ca_secret_name),
            config_files("configuration", name_of(configuration)),
        ],
    )


def _process(site: Site, tables: DatabaseAccess) -> core.v1.ContainerArgs:
    bucket = site.foundation.objects.buckets["mlflow"]
    published = published_at(site.settings)
    return core.v1.ContainerArgs(
        name=NAME,
        image=IMAGES["mlflow"],
        command=["mlflow", "server"],
        # One process that answers for each pod, and threads in it: each further one needs 300 MiB.
        args=[
            *("--host", "0.0.0.0", "--port", str(PORT), "--workers", "1"),
            *("--app-name", "basic-auth"),
            "--no-serve-artifacts",  # clients write to the bucket themselves: a model is no request
        ],
        env=[
            *plain(
                {
                    **EVERYWHERE,
                    "MLFLOW_BACKEND_STORE_URI": database_address(tables),
                    "MLFLOW_DEFAULT_ARTIFACT_ROOT": pulumi.Output.concat(bucket.url, "/", ARTIFACT_PREFIX),
                    **storage_environment(site),
                    "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": str(_POOL),
                    "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": str(_OVERFLOW),
                    "MLFLOW_SQLALCHEMYSTORE_POOL_RECYCLE": "1800",  # s; connections do not outlive a failover for long
                    "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(allowed_hosts(published)),
                    # Browsers name it in every change that its own pages ask for.
                    **({"MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": f"https://{published}"} if published else {}),
                    "MLFLOW_AUTH_CONFIG_PATH": f"{_CONFIG_FOLDER}/auth.ini",
                    "MLFLOW_EXPOSE_PROMETHEUS": _METRICS_FOLDER,
                    # What the platform has elsewhere, or nobody asked for: jobs inside the server, a model gateway with
                    # keys of its own.
                    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                    "MLFLOW_ENABLE_AI_GATEWAY": "false",
                }
            ),
            *client_environment(tables, ca_path=f"{CA_FOLDER}/{CA_KEY}"),
            from_secret("MLFLOW_AUTH_ADMIN_USERNAME", SERVER_SECRET, "username"),
            from_secret("MLFLOW_AUTH_ADMIN_PASSWORD", SERVER_SECRET, "password"),
            from_secret("MLFLOW_FLASK_SERVER_SECRET_KEY", SERVER_SECRET, "secretKey"),
        ],
        ports=[core.v1.ContainerPortArgs(name="http", container_port=PORT)],
        # It takes a minute to read its own modules where CPU is scarce. None of the probes looks at the database: while
        # that fails over, restarts would not help.
        startup_probe=_probe(period_seconds=5, failure_threshold=60),
        readiness_probe=_probe(period_seconds=5, failure_threshold=3),
        liveness_probe=_probe(period_seconds=15, failure_threshold=6),
        lifecycle=core.v1.LifecycleArgs(
            # Until everybody knows that the pod takes no more requests.
            pre_stop=core.v1.LifecycleHandlerArgs(sleep=core.v1.SleepActionArgs(seconds=10))
        ),
        # 440 MiB idle and 490 MiB at work, counted with shared pages once (3.17).
        resources=resources("150m", "512Mi", "1Gi"),
        security_context=container_security(),
        volume_mounts=[
            mount("tmp", "/tmp"),
            mount("metrics", _METRICS_FOLDER),
            mount("ca", CA_FOLDER, read_only=True),
            mount("configuration", _CONFIG_FOLDER, read_only=True),
        ],
    )


def _metrics() -> core.v1.ContainerArgs:
    return core.v1.ContainerArgs(
        name="metrics",
        image=IMAGES["mlflow"],
        command=["python", "-c", _METRICS],
        env=plain({"PROMETHEUS_MULTIPROC_DIR": _METRICS_FOLDER}),
        ports=[core.v1.ContainerPortArgs(name="metrics", container_port=METRICS_PORT)],
        liveness_probe=core.v1.ProbeArgs(
            tcp_socket=core.v1.TCPSocketActionArgs(port="metrics"), initial_delay_seconds=15, period_seconds=30
        ),
        readiness_probe=core.v1.ProbeArgs(tcp_socket=core.v1.TCPSocketActionArgs(port="metrics"), period_seconds=10),
        resources=resources("10m", "32Mi", "96Mi"),
        security_context=container_security(),
        volume_mounts=[mount("metrics", _METRICS_FOLDER)],
    )


def _probe(*, period_seconds: int, failure_threshold: int) -> core.v1.ProbeArgs:
    return core.v1.ProbeArgs(
        http_get=core.v1.HTTPGetActionArgs(path="/health", port="http"),
        period_seconds=period_seconds,
        timeout_seconds=5,
        failure_threshold=failure_threshold,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
