"""What the parts of MLflow share: names, ports, how a pod of it is confined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pulumi
from pulumi_kubernetes import core

from components.platform.databases import DatabaseAccess
from components.platform.openings import MLFLOW, Namespace
from components.platform.site import Site
from components.settings.platform import PlatformSettings

NAMESPACE: Final[Namespace] = "mlops-system"
NAME: Final = "mlflow"
PORT: Final = 5000
METRICS_PORT: Final = 9090
TRACKING_URI: Final = f"http://{NAME}.{NAMESPACE}.svc.cluster.local:{PORT}"
"""Where pods of the platform and of teams reach it."""

LABELS: Final[dict[str, str]] = dict(MLFLOW.labels)
JOB_LABELS: Final[dict[str, str]] = {"app.kubernetes.io/name": "mlflow-job"}
SERVER_SECRET: Final = "mlflow-server"
JOBS_SECRET: Final = "mlflow-jobs"
ARTIFACT_PREFIX: Final = "artifacts"

CA_FOLDER: Final = "/etc/database-ca"
_USER: Final = 65532  # the image names no user; nothing in it needs one

# Of the server and of the job that changes its tables. Without the second every process tells MLflow's makers how it is
# used.
EVERYWHERE: Final[Mapping[str, str]] = {"HOME": "/tmp", "MLFLOW_DISABLE_TELEMETRY": "true"}


def published_at(settings: PlatformSettings) -> str:
    """Host at the gateway; empty where there is none."""
    if not (settings.experiments.enabled and settings.gateway.enabled):
        return ""
    return settings.experiments.published_at(settings.gateway.domain)


def database_address(tables: DatabaseAccess) -> pulumi.Output[str]:
    """Address without a credential in it: libpq reads user and password from the environment."""
    return pulumi.Output.format("postgresql://{0}:{1}/{2}", tables.host, tables.port, tables.name)


def storage_environment(site: Site) -> dict[str, str]:
    """Where clients and server find the object store; a store of one's own is reached as the cloud's is."""
    store = site.foundation.objects
    return {"MLFLOW_S3_ENDPOINT_URL": f"https://{store.endpoint}"} if store.protocol == "s3" else {}


def pod_security() -> core.v1.PodSecurityContextArgs:
    """The restricted level."""
    return core.v1.PodSecurityContextArgs(
        run_as_non_root=True,
        run_as_user=_USER,
        run_as_group=_USER,
        fs_group=_USER,  # mounted Secrets and the identity's token are readable by this group
        seccomp_profile=core.v1.SeccompProfileArgs(type="RuntimeDefault"),
    )


def container_security() -> core.v1.SecurityContextArgs:
    """Nothing can be written but what is mounted for it."""
    return core.v1.SecurityContextArgs(
        allow_privilege_escalation=False,
        read_only_root_filesystem=True,
        capabilities=core.v1.CapabilitiesArgs(drop=["ALL"]),
    )


def resources(cpu: str, memory: str, memory_limit: str) -> core.v1.ResourceRequirementsArgs:
    """Requests, and a limit of memory."""
    return core.v1.ResourceRequirementsArgs(requests={"cpu": cpu, "memory": memory}, limits={"memory": memory_limit})


def plain(values: Mapping[str, pulumi.Input[str]]) -> list[core.v1.EnvVarArgs]:
    """Variables that are no secret."""
    return [core.v1.EnvVarArgs(name=key, value=value) for key, value in values.items()]


def mount(name: str, path: str, *, read_only: bool = False) -> core.v1.VolumeMountArgs:
    """A volume in a container."""
    return core.v1.VolumeMountArgs(name=name, mount_path=path, read_only=read_only)


def scratch(name: str, size: str) -> core.v1.VolumeArgs:
    """Room that goes with the pod."""
    return core.v1.VolumeArgs(name=name, empty_dir=core.v1.EmptyDirVolumeSourceArgs(size_limit=size))


def secret_files(name: str, secret: str) -> core.v1.VolumeArgs:
    """A Secret as files; the kubelet holds the pod back until it is there."""
    return core.v1.VolumeArgs(name=name, secret=core.v1.SecretVolumeSourceArgs(secret_name=secret, default_mode=0o440))
