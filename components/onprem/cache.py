"""Valkey in the cluster: the twin of ``Cache``.

One server. What is in it is a cache and counters: it comes back empty, on another node within a minute, and whoever
needs a copy of it at another node needs a client that follows one, which those of the platform are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_kubernetes import apps, core
from pulumi_kubernetes.meta import v1 as meta

from components.contract import SecretRef, StorePods
from components.credentials import Credential, Generated
from components.kept import Kept
from components.onprem import watched
from components.onprem.authority import Authority
from components.onprem.names import CACHE_METRICS_PORT, CACHE_PORT, STORES
from components.onprem.rooms import Rooms
from components.onprem.secrets import Secrets
from components.platform.confinement import (
    container_security,
    from_secret,
    mount,
    plain,
    pod_security,
    resources,
    scratch,
    secret_files,
)
from components.versions import IMAGES

_NAME: Final = "cache"
_LABELS: Final = {"app.kubernetes.io/name": "valkey", "app.kubernetes.io/instance": _NAME}
_USER: Final = 999  # `valkey` of the image
_MOUNTS: Final = "/run/secrets/valkey"
_TLS_SECRET: Final = "cache-tls"
_AUTH_SECRET: Final = "cache-auth"
_TOKEN: Final = "token"

CREDENTIAL: Final = Credential(
    purpose="cache-auth",
    description="Token of the cache; every client sends it.",
    generated={"token": Generated(length=64)},
    overlaps=True,
)


@dataclass(frozen=True, kw_only=True)
class CacheArgs:
    """What a cache needs from its surroundings.

    Attributes:
        rooms: Namespaces.
        authority: Signs the server's certificate.
        secrets: Keeps the token.
        cpu_millicores: CPU that it requests.
        memory_mib: Its memory: request and limit; three quarters of it hold data.
        node_selector: Its nodes.
    """

    rooms: Rooms
    authority: Authority
    secrets: Secrets
    cpu_millicores: int
    memory_mib: int
    node_selector: Mapping[str, str]


class Cache(pulumi.ComponentResource):
    """One server; TLS and a token, always."""

    host: pulumi.Output[str]
    port: pulumi.Output[int]
    auth: SecretRef
    ca_certificates: pulumi.Output[str]
    pods: tuple[StorePods, ...]

    def __init__(self, name: str, args: CacheArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:onprem:Cache", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        namespace = args.rooms.names[STORES]
        kept = args.secrets.keep(CREDENTIAL)
        hosts = [f"{_NAME}.{STORES}.svc", f"{_NAME}.{STORES}.svc.cluster.local", f"{_NAME}.{STORES}", "localhost"]
        certificate = args.authority.issue(name, namespace=namespace, secret_name=_TLS_SECRET, hosts=hosts, parent=self)
        # The token stands in a file: arguments are seen by whoever may list processes.
        settings = pulumi.Output.concat(configuration(args.memory_mib), *authentication(kept))
        secret = core.v1.Secret(
            f"{name}-auth",
            metadata=meta.ObjectMetaArgs(name=_AUTH_SECRET, namespace=namespace),
            string_data={"valkey.conf": settings, _TOKEN: kept.values["token"]},
            opts=child,
        )
        service = core.v1.Service(
            f"{name}-service",
            metadata=meta.ObjectMetaArgs(
                name=_NAME,
                namespace=namespace,
                labels=_LABELS,
                # The StatefulSet is awaited, and comes after the Service.
                annotations={"pulumi.com/skipAwait": "true"},
            ),
            spec=core.v1.ServiceSpecArgs(
                selector=_LABELS,
                ports=[core.v1.ServicePortArgs(name="tls-redis", port=CACHE_PORT, target_port=CACHE_PORT)],
            ),
            opts=child,
        )
        memory = f"{args.memory_mib}Mi"
        server = apps.v1.StatefulSet(
            f"{name}-server",
            metadata=meta.ObjectMetaArgs(name=_NAME, namespace=namespace, labels=_LABELS),
            spec=apps.v1.StatefulSetSpecArgs(
                replicas=1,
                service_name=_NAME,
                selector=meta.LabelSelectorArgs(match_labels=_LABELS),
                template=core.v1.PodTemplateSpecArgs(
                    metadata=meta.ObjectMetaArgs(
                        labels=_LABELS,
                        # Another certificate or token is another pod: the server reads both when it starts.
                        annotations={"llmops/secrets": _versions(certificate, secret)},
                    ),
                    spec=core.v1.PodSpecArgs(
                        automount_service_account_token=False,
                        enable_service_links=False,
                        node_selector=dict(args.node_selector),
                        security_context=pod_security(_USER),
                        containers=[
                            core.v1.ContainerArgs(
                                name="valkey",
                                image=IMAGES["valkey"],
                                args=["valkey-server", f"{_MOUNTS}/auth/valkey.conf"],
                                ports=[core.v1.ContainerPortArgs(name="tls-redis", container_port=CACHE_PORT)],
                                # Without a token a server that is well answers NOAUTH: the port alone is looked at.
                                readiness_probe=core.v1.ProbeArgs(
                                    tcp_socket=core.v1.TCPSocketActionArgs(port=CACHE_PORT), period_seconds=5
                                ),
                                liveness_probe=core.v1.ProbeArgs(
                                    tcp_socket=core.v1.TCPSocketActionArgs(port=CACHE_PORT), period_seconds=20
                                ),
                                resources=core.v1.ResourceRequirementsArgs(
                                    requests={"cpu": f"{args.cpu_millicores}m", "memory": memory},
                                    limits={"memory": memory},
                                ),
                                security_context=container_security(),
                                volume_mounts=[
                                    mount("auth", f"{_MOUNTS}/auth", read_only=True),
                                    mount("tls", f"{_MOUNTS}/tls", read_only=True),
                                    mount("data", "/data"),
                                ],
                            ),
                            _exporter(),
                        ],
                        volumes=[
                            secret_files("auth", _AUTH_SECRET),
                            secret_files("tls", _TLS_SECRET),
                            scratch("data", "64Mi"),
                        ],
                    ),
                ),
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.rooms.ready[STORES])),
        )
        self.host = pulumi.Output.all(server.id, service.id).apply(lambda _: hosts[0])
        self.port = server.id.apply(lambda _: CACHE_PORT)
        self.auth = kept.ref
        self.ca_certificates = args.authority.certificate
        self.pods = watched.of_cache(_NAME)
        self.register_outputs({"host": self.host, "port": self.port, "auth": self.auth.key})


def _exporter() -> core.v1.ContainerArgs:
    """What turns the server's own figures into metrics; it asks as any client does, with TLS and the token."""
    return core.v1.ContainerArgs(
        name="metrics",
        image=IMAGES["redis-exporter"],
        env=[
            *plain(
                {
                    "REDIS_ADDR": f"rediss://localhost:{CACHE_PORT}",
                    "REDIS_EXPORTER_TLS_CA_CERT_FILE": f"{_MOUNTS}/tls/ca.crt",
                    "REDIS_EXPORTER_WEB_LISTEN_ADDRESS": f":{CACHE_METRICS_PORT}",
                    "REDIS_EXPORTER_CONFIG_COMMAND": "-",  # INFO has all that is asked for; CONFIG can change things
                }
            ),
            from_secret("REDIS_PASSWORD", _AUTH_SECRET, _TOKEN),
        ],
        ports=[core.v1.ContainerPortArgs(name="metrics", container_port=CACHE_METRICS_PORT)],
        # Only whether it listens: metrics that cannot be had are no reason to take the server out of its Service.
        readiness_probe=core.v1.ProbeArgs(
            tcp_socket=core.v1.TCPSocketActionArgs(port=CACHE_METRICS_PORT), period_seconds=10
        ),
        liveness_probe=core.v1.ProbeArgs(
            tcp_socket=core.v1.TCPSocketActionArgs(port=CACHE_METRICS_PORT), period_seconds=30
        ),
        resources=resources("10m", "32Mi", "128Mi"),
        security_context=container_security(),
        volume_mounts=[mount("tls", f"{_MOUNTS}/tls", read_only=True)],
    )


def _versions(*secrets: core.v1.Secret) -> pulumi.Output[str]:
    found = [secret.metadata.apply(lambda known: str(known.resource_version or "")) for secret in secrets]
    return pulumi.Output.all(*found).apply(lambda known: ",".join(map(str, known)))


def authentication(kept: Kept) -> tuple[pulumi.Input[str], ...]:
    """The line that says who is let in: whoever has the token; while two are accepted, whoever has either."""
    if not kept.previous:
        return ("requirepass ", kept.values["token"], "\n")
    return ("user default on >", kept.values["token"], " >", kept.previous["token"], " ~* &* +@all\n")


def configuration(memory_mib: int) -> str:
    """The server's settings but for the token; nothing is written to disk."""
    lines = (
        "port 0",
        f"tls-port {CACHE_PORT}",
        f"tls-cert-file {_MOUNTS}/tls/tls.crt",
        f"tls-key-file {_MOUNTS}/tls/tls.key",
        f"tls-ca-cert-file {_MOUNTS}/tls/ca.crt",
        "tls-auth-clients no",  # the token says who a client is
        f"maxmemory {memory_mib * 3 // 4}mb",
        # When memory is full, only keys with an expiry go: cached answers, but no queue and no cluster state.
        "maxmemory-policy volatile-lru",
        'save ""',
        "appendonly no",
        "dir /data",
    )
    return "\n".join(lines) + "\n"
