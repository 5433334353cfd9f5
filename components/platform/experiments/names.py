"""What the parts of MLflow share: names, ports, its user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pulumi

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
USER: Final = 65532  # the image names no user; nothing in it needs one

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
