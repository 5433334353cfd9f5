"""What is done once for each version of MLflow: its tables, and the accounts of programs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pulumi
from pulumi_kubernetes import batch, core

from components.platform.confinement import container_security, mount, plain, resources, scratch, secret_files
from components.platform.databases import CA_KEY, DatabaseAccess, client_environment
from components.platform.experiments.names import (
    CA_FOLDER,
    EVERYWHERE,
    JOB_LABELS,
    JOBS_SECRET,
    NAMESPACE,
    SERVER_SECRET,
    TRACKING_URI,
    USER,
    database_address,
)
from components.platform.jobs import awaited_job, errand, job_spec
from components.platform.site import Site
from components.versions import IMAGES

_SECRETS_FOLDER: Final = "/run/secrets/llmops"
_MIGRATION_SECONDS: Final = 1800  # large tables are rewritten row by row
_ACCOUNTS_SECONDS: Final = 600

_MIGRATE: Final = """
mlflow db upgrade "$DATABASE_URI"
python -m mlflow.server.auth db upgrade --url "$DATABASE_URI"
"""
_ACCOUNTS: Final = (Path(__file__).parents[1] / "pods" / "mlflow_accounts.py").read_text()


def migrations(name: str, site: Site, tables: DatabaseAccess, opts: pulumi.ResourceOptions) -> batch.v1.Job:
    """Make the tables, or bring them to the release's, once for all replicas."""
    address = database_address(tables)
    return _job(
        f"{name}-migrations",
        site,
        core.v1.ContainerArgs(
            name="migrations",
            image=IMAGES["mlflow"],
            command=["/bin/sh", "-ec", _MIGRATE],
            env=[
                core.v1.EnvVarArgs(name="DATABASE_URI", value=address),
                *plain(EVERYWHERE),
                *client_environment(tables, ca_path=f"{CA_FOLDER}/{CA_KEY}"),
            ],
            resources=resources("100m", "256Mi", "1Gi"),
            security_context=container_security(),
            volume_mounts=[mount("tmp", "/tmp"), mount("ca", CA_FOLDER, read_only=True)],
        ),
        [scratch("tmp", "1Gi"), secret_files("ca", tables.ca_secret_name)],
        deadline_seconds=_MIGRATION_SECONDS,
        opts=opts,
    )


def accounts(name: str, site: Site, opts: pulumi.ResourceOptions) -> batch.v1.Job:
    """Make the account of jobs."""
    return _job(
        f"{name}-accounts",
        site,
        core.v1.ContainerArgs(
            name="accounts",
            image=IMAGES["mlflow"],
            command=["python", "-c", _ACCOUNTS],
            env=plain({"MLFLOW_URL": TRACKING_URI, "SECRETS": _SECRETS_FOLDER, "PYTHONUNBUFFERED": "1"}),
            resources=resources("10m", "32Mi", "128Mi"),
            security_context=container_security(),
            volume_mounts=[
                mount("admin", f"{_SECRETS_FOLDER}/admin", read_only=True),
                mount("jobs", f"{_SECRETS_FOLDER}/accounts/jobs", read_only=True),
            ],
        ),
        [secret_files("admin", SERVER_SECRET), secret_files("jobs", JOBS_SECRET)],
        deadline_seconds=_ACCOUNTS_SECONDS,
        opts=opts,
    )


def _job(
    name: str,
    site: Site,
    container: core.v1.ContainerArgs,
    volumes: list[core.v1.VolumeArgs],
    *,
    deadline_seconds: int,
    opts: pulumi.ResourceOptions,
) -> batch.v1.Job:
    """Run a container once for each change of it."""
    return awaited_job(
        name,
        job_spec(
            errand(container, user=USER, nodes=site.system_nodes, volumes=volumes),
            labels=JOB_LABELS,
            deadline_seconds=deadline_seconds,
            retries=4,
        ),
        namespace=NAMESPACE,
        labels=JOB_LABELS,
        deadline_seconds=deadline_seconds,
        opts=opts,
    )
