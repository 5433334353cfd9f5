"""The service that counts requests of each client, for all replicas of the gateway."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_kubernetes import apps, core, policy
from pulumi_kubernetes.meta import v1 as meta

from components.platform import caches, envoy
from components.platform.confinement import (
    config_files,
    container_security,
    from_secret,
    mount,
    plain,
    pod_security,
    resources,
)
from components.platform.gateway import NAMESPACE
from components.platform.names import name_of
from components.platform.openings import GATEWAY, SCRAPER, Opening, Pods
from components.platform.secrets import external_secret
from components.platform.site import Site
from components.settings.platform.gateway import AuthenticationSettings, RateLimitSettings
from components.versions import RATELIMIT_IMAGE

NAME: Final = "ratelimit"
ENTRY: Final = "cache-auth"
"""Entry of the secret store that it reads."""

_LABELS: Final[dict[str, str]] = {"app.kubernetes.io/name": NAME}
SERVICE_PODS: Final = Pods(namespace=NAMESPACE, labels=_LABELS)
_SECRET: Final = "ratelimit-cache-auth"
_HTTP_PORT: Final = 8080
_METRICS_PORT: Final = 9090
_USER: Final = 65532  # of distroless images


def counts_globally(site: Site) -> bool:
    """Whether the requests of each client are counted for all replicas together, which is what this service is for."""
    settings = site.settings.gateway
    return settings.enabled and settings.rate_limits.enabled and settings.rate_limits.counting == "global"


def openings(site: Site) -> tuple[Opening, ...]:
    """What the service reaches, and who reaches it."""
    if not counts_globally(site):
        return ()
    return (
        Opening(
            source=GATEWAY, target=SERVICE_PODS, ports=(envoy.COUNTER_PORT,), why="The gateway asks for every request."
        ),
        Opening(
            source=SERVICE_PODS,
            target="stores",
            ports=(site.foundation.cache.tcp_port,),
            why="The counts are kept in the cache.",
        ),
        Opening(source=SCRAPER, target=SERVICE_PODS, ports=(_METRICS_PORT,), why="Metrics: who is near a limit."),
    )


@dataclass(frozen=True, kw_only=True)
class RateLimitArgs:
    """What counting needs.

    Attributes:
        site: Where it is installed; its cache keeps the counts.
        secrets_ready: ``SecretSync.ready``: the cache's password comes through it.
    """

    site: Site
    secrets_ready: Sequence[pulumi.Resource]


class RateLimits(pulumi.ComponentResource):
    """Envoy's reference rate-limit service on the platform's cache."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: RateLimitArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:RateLimits", name, None, opts)
        site = args.site
        settings = site.settings.gateway
        child = pulumi.ResourceOptions(parent=self, depends_on=list(site.namespaces[NAMESPACE]))
        metadata = meta.ObjectMetaArgs(name=NAME, namespace=NAMESPACE, labels=_LABELS)
        limits = limits_of(settings.rate_limits, settings.authentication)

        password = external_secret(
            f"{name}-password",
            namespace=NAMESPACE,
            secret_name=_SECRET,
            data={"token": (ENTRY, "token")},
            site=site,
            parent=self,
            after=args.secrets_ready,
        )
        account = core.v1.ServiceAccount(
            f"{name}-account", metadata=metadata, automount_service_account_token=False, opts=child
        )
        configuration = core.v1.ConfigMap(
            f"{name}-limits", metadata=metadata, data={"gateway.yaml": limits}, opts=child
        )
        service = core.v1.Service(
            f"{name}-service",
            metadata=meta.ObjectMetaArgs(
                name=NAME,
                namespace=NAMESPACE,
                labels=_LABELS,
                # The Deployment is awaited; its pods wait for their Secret, longer than Pulumi would for a Service.
                annotations={"pulumi.com/skipAwait": "true"},
            ),
            spec=core.v1.ServiceSpecArgs(
                selector=_LABELS,
                # The name tells Istio to speak HTTP/2.
                ports=[core.v1.ServicePortArgs(name="grpc", port=envoy.COUNTER_PORT, target_port="grpc")],
            ),
            opts=child,
        )
        server = apps.v1.Deployment(
            f"{name}-server",
            metadata=metadata,
            spec=apps.v1.DeploymentSpecArgs(
                replicas=site.replicas,
                selector=meta.LabelSelectorArgs(match_labels=_LABELS),
                template=core.v1.PodTemplateSpecArgs(
                    metadata=meta.ObjectMetaArgs(
                        labels=_LABELS,
                        annotations={
                            "llmops/limits": hashlib.sha256(limits.encode()).hexdigest()[:16]
                        },  # new limits, new pods
                    ),
                    spec=_pod(site, account, configuration),
                ),
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[
                    *site.namespaces[NAMESPACE],
                    password,
                    *caches.certificates(name, namespace=NAMESPACE, site=site, parent=self),
                ],
            ),
        )
        if site.highly_available:
            policy.v1.PodDisruptionBudget(
                f"{name}-budget",
                metadata=metadata,
                spec=policy.v1.PodDisruptionBudgetSpecArgs(
                    min_available=1, selector=meta.LabelSelectorArgs(match_labels=_LABELS)
                ),
                opts=child,
            )
        self.ready = (service, server)
        self.register_outputs({})


def limits_of(settings: RateLimitSettings, authentication: AuthenticationSettings) -> str:
    """Configuration of the service. A descriptor without a value is counted for each of its values. JSON is YAML."""
    document = {
        "domain": envoy.DOMAIN,
        "descriptors": [
            {
                "key": envoy.descriptor_of(envoy.client_of(authentication)),
                "rate_limit": {"unit": "minute", "requests_per_unit": settings.client_requests_per_minute},
            }
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _pod(site: Site, account: core.v1.ServiceAccount, configuration: core.v1.ConfigMap) -> core.v1.PodSpecArgs:
    return core.v1.PodSpecArgs(
        service_account_name=name_of(account),
        automount_service_account_token=False,
        enable_service_links=False,  # else the service's own name becomes variables that the program reads
        node_selector=site.system_nodes,
        topology_spread_constraints=[_SPREAD] if site.highly_available else [],
        security_context=pod_security(_USER, reads_mounts=False),
        containers=[
            core.v1.ContainerArgs(
                name=NAME,
                image=RATELIMIT_IMAGE,
                command=["/bin/ratelimit"],
                env=_environment(site),
                ports=[
                    core.v1.ContainerPortArgs(name="http", container_port=_HTTP_PORT),
                    core.v1.ContainerPortArgs(name="grpc", container_port=envoy.COUNTER_PORT),
                    core.v1.ContainerPortArgs(name="metrics", container_port=_METRICS_PORT),
                ],
                # It answers when it has read its limits and reached the cache, and no more once it must go.
                readiness_probe=core.v1.ProbeArgs(
                    http_get=core.v1.HTTPGetActionArgs(path="/healthcheck", port="http"), period_seconds=5
                ),
                liveness_probe=core.v1.ProbeArgs(
                    tcp_socket=core.v1.TCPSocketActionArgs(port="grpc"), initial_delay_seconds=10, period_seconds=10
                ),
                resources=resources("50m", "64Mi", "128Mi"),
                security_context=container_security(),
                volume_mounts=[mount("limits", "/data/ratelimit/config", read_only=True), *caches.mounts(site)],
            )
        ],
        volumes=[config_files("limits", name_of(configuration)), *caches.volumes(site)],
    )


def _environment(site: Site) -> list[core.v1.EnvVarArgs]:
    cache = site.foundation.cache
    variables: dict[str, pulumi.Input[str]] = {
        "LOG_LEVEL": "warn",
        "LOG_FORMAT": "json",
        "USE_STATSD": "false",
        "USE_PROMETHEUS": "true",
        "PROMETHEUS_ADDR": f":{_METRICS_PORT}",
        "RUNTIME_ROOT": "/data",
        "RUNTIME_SUBDIRECTORY": "ratelimit",
        "RUNTIME_WATCH_ROOT": "false",
        "RUNTIME_IGNOREDOTFILES": "true",  # a mounted ConfigMap holds some
        "CACHE_KEY_PREFIX": "ratelimit:",  # others keep their data in the same cache
        "REDIS_SOCKET_TYPE": "tcp",
        "REDIS_URL": pulumi.Output.format("{0}:{1}", cache.host, cache.port.apply(str)),
        "REDIS_TLS": "true",
        **({"REDIS_TLS_CACERT": caches.CA_PATH} if caches.is_private(site) else {}),
    }
    return [*plain(variables), from_secret("REDIS_AUTH", _SECRET, "token")]


_SPREAD: Final = core.v1.TopologySpreadConstraintArgs(
    max_skew=1,
    topology_key="kubernetes.io/hostname",
    when_unsatisfiable="DoNotSchedule",
    label_selector=meta.LabelSelectorArgs(match_labels=_LABELS),
    match_label_keys=["pod-template-hash"],  # else a roll-out counts the old replicas too
)
