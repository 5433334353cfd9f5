"""The database of Kubeflow Pipelines: MySQL in the cluster, because its server can speak to nothing else that we have.

Decision 10 says why, and what follows for backups and availability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_kubernetes import apps, core
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.platform.confinement import (
    config_files,
    container_security,
    mount,
    plain,
    pod_security,
    resources,
    scratch,
    secret_files,
)
from components.platform.names import name_of
from components.platform.pipelines_manifests import DATABASE, DATABASE_SECRET, DATABASES, NAMESPACE
from components.platform.secrets import external_secret
from components.platform.site import Site
from components.versions import IMAGES

ENTRY: Final = "pipelines-database"
"""Entry of the secret store with its user; for ``SecretSyncArgs.entries``."""

USER: Final = "pipelines"
"""The user's name, which is not secret: the rights below are given to it."""

LABELS: Final[dict[str, str]] = {"app": DATABASE}

_MYSQL: Final = 999  # user and group `mysql` of the image
_LOGIN: Final = "/run/secrets/login"
_ARGUMENTS: Final = (
    # The metadata store knows no other sign-in. Between pods the mesh encrypts.
    "--mysql-native-password=ON",
    "--authentication-policy=mysql_native_password",
    "--disable-log-bin",  # nobody replicates from it
    "--performance-schema=OFF",  # a third of its memory
    "--mysqlx=OFF",
)


@dataclass(frozen=True, kw_only=True)
class PipelineDatabaseArgs:
    """What the database needs.

    Attributes:
        site: Where it is installed.
        secrets: ``SecretSync.ready``: what brings its credentials.
    """

    site: Site
    secrets: Sequence[pulumi.Resource]


class PipelineDatabase(pulumi.ComponentResource):
    """One MySQL server with one volume."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: PipelineDatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:PipelineDatabase", name, None, opts)
        site = args.site
        namespace = site.namespaces[NAMESPACE]
        child = pulumi.ResourceOptions(parent=self, depends_on=list(namespace))
        login = self._login(name, args)
        first = core.v1.ConfigMap(
            f"{name}-start",
            metadata=meta.ObjectMetaArgs(name=f"{DATABASE}-start", namespace=NAMESPACE),
            data={"databases.sql": start_script()},
            opts=child,
        )
        service = core.v1.Service(
            f"{name}-service",
            metadata=meta.ObjectMetaArgs(
                name=DATABASE, namespace=NAMESPACE, annotations={"pulumi.com/skipAwait": "true"}
            ),
            spec=core.v1.ServiceSpecArgs(
                selector=LABELS,
                # Without a name that begins with `mysql`: the mesh would take part in the protocol.
                ports=[core.v1.ServicePortArgs(name="tcp", port=3306, target_port=3306)],
            ),
            opts=child,
        )
        server = apps.v1.StatefulSet(
            f"{name}-server",
            metadata=meta.ObjectMetaArgs(name=DATABASE, namespace=NAMESPACE),
            spec=apps.v1.StatefulSetSpecArgs(
                service_name=name_of(service),
                replicas=1,
                selector=meta.LabelSelectorArgs(match_labels=LABELS),
                template=core.v1.PodTemplateSpecArgs(
                    metadata=meta.ObjectMetaArgs(labels=LABELS),
                    spec=_pod(site),
                ),
                volume_claim_templates=[_claim(site)],
                # The volume goes only when somebody deletes its claim.
                persistent_volume_claim_retention_policy=apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicyArgs(
                    when_deleted="Retain", when_scaled="Retain"
                ),
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[*namespace, login, first],
                # Fields of the claim cannot be changed: a larger volume is the claim's affair (docs/pipelines.md).
                ignore_changes=["spec.volumeClaimTemplates"],
            ),
        )
        self.ready = (server, login)
        self.register_outputs({})

    def _login(self, name: str, args: PipelineDatabaseArgs) -> CustomResource:
        return external_secret(
            f"{name}-login",
            namespace=NAMESPACE,
            secret_name=DATABASE_SECRET,
            data={"username": (ENTRY, "username"), "password": (ENTRY, "password")},
            site=args.site,
            parent=self,
            after=args.secrets,
        )


def start_script() -> str:
    """What an empty server runs once; the image makes the user itself, with rights on nothing."""
    lines = [f"CREATE DATABASE IF NOT EXISTS `{name}`;" for name in DATABASES]
    lines += [f"GRANT ALL PRIVILEGES ON `{name}`.* TO '{USER}'@'%';" for name in DATABASES]
    return "\n".join(lines) + "\n"


def _pod(site: Site) -> core.v1.PodSpecArgs:
    environment = {
        "MYSQL_USER": USER,
        "MYSQL_PASSWORD_FILE": f"{_LOGIN}/password",
        # Only from inside the pod, where the file can be read anyway.
        "MYSQL_ROOT_PASSWORD_FILE": f"{_LOGIN}/password",
        "MYSQL_ROOT_HOST": "localhost",
    }
    probe = core.v1.TCPSocketActionArgs(port=3306)  # closed while the first start is still going on
    return core.v1.PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,
        node_selector=site.system_nodes,
        termination_grace_period_seconds=60,
        security_context=pod_security(_MYSQL, large_volume=True),
        containers=[
            core.v1.ContainerArgs(
                name=DATABASE,
                image=IMAGES["mysql"],
                args=list(_ARGUMENTS),
                env=plain(environment),
                ports=[core.v1.ContainerPortArgs(name="tcp", container_port=3306)],
                resources=resources("100m", "448Mi", "1Gi"),
                security_context=container_security(),
                startup_probe=core.v1.ProbeArgs(tcp_socket=probe, period_seconds=5, failure_threshold=60),
                readiness_probe=core.v1.ProbeArgs(tcp_socket=probe, period_seconds=10),
                liveness_probe=core.v1.ProbeArgs(tcp_socket=probe, period_seconds=20, failure_threshold=5),
                volume_mounts=[
                    # Not the volume's root, where the file system keeps a folder of its own.
                    core.v1.VolumeMountArgs(name="data", mount_path="/var/lib/mysql", sub_path="mysql"),
                    mount("login", _LOGIN, read_only=True),
                    mount("start", "/docker-entrypoint-initdb.d", read_only=True),
                    core.v1.VolumeMountArgs(name="scratch", mount_path="/tmp", sub_path="tmp"),
                    core.v1.VolumeMountArgs(name="scratch", mount_path="/var/run/mysqld", sub_path="run"),
                ],
            )
        ],
        volumes=[
            secret_files("login", DATABASE_SECRET),
            config_files("start", f"{DATABASE}-start"),
            scratch("scratch", "1Gi"),
        ],
    )


def _claim(site: Site) -> core.v1.PersistentVolumeClaimArgs:
    size = f"{site.settings.pipelines.database_storage_gib}Gi"
    return core.v1.PersistentVolumeClaimArgs(
        metadata=meta.ObjectMetaArgs(name="data"),
        spec=core.v1.PersistentVolumeClaimSpecArgs(
            access_modes=["ReadWriteOnce"],
            storage_class_name=site.foundation.cluster.default_storage_class,
            resources=core.v1.VolumeResourceRequirementsArgs(requests={"storage": size}),
        ),
    )
