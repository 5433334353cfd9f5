"""Backups of Milvus: taken every day, removed when they are old, restored by hand; docs/data.md is the runbook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pulumi
from pulumi_kubernetes import batch, core
from pulumi_kubernetes.meta import v1 as meta

from components.contract import ROLE_LABEL, Grant, ObjectGrant, ObjectStore
from components.platform.confinement import (
    config_files,
    container_security,
    from_secret,
    mount,
    plain,
    resources,
    scratch,
)
from components.platform.jobs import errand, job_spec
from components.platform.openings import Namespace
from components.platform.site import Site
from components.platform.vectors_values import RELEASE, ROOT_PATH, ROOT_SECRET
from components.versions import IMAGES

BACKUP_ACCOUNT: Final = "milvus-backup"
"""Service account of the job that takes backups: it reads vectors, and writes backups."""

RESTORE_ACCOUNT: Final = "milvus-restore"
"""Service account of restores: it reads backups, and writes vectors."""

PREFIX: Final = "milvus"
"""Prefix of the backups in the bucket ``backups``."""

_NAMESPACE: Final[Namespace] = "mlops-data"
_CONFIGURATION: Final = "/etc/milvus-backup"
_FILE: Final = "backup.yaml"
_PORT: Final = 19530
_MANAGEMENT_PORT: Final = 9091
_NOBODY: Final = 65534
_DEADLINE_SECONDS: Final = 6 * 3600

BACKUP_GRANTS: Final[tuple[Grant, ...]] = (
    ObjectGrant(bucket="vectors", access="read"),
    ObjectGrant(bucket="backups", access="read-write", prefix=f"{PREFIX}/", lists_bucket=True),
)
"""What taking a backup needs: the object store copies the objects. The tool finds its bucket by listing it."""

RESTORE_GRANTS: Final[tuple[Grant, ...]] = (
    ObjectGrant(bucket="backups", access="read", prefix=f"{PREFIX}/", lists_bucket=True),
    ObjectGrant(bucket="vectors", access="read-write"),
)
"""What a restore needs: it copies files beside Milvus' own, and has Milvus import them."""


class VectorBackups(pulumi.ComponentResource):
    """The daily job, and a suspended one that restores are made from."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, site: Site, milvus: pulumi.Resource, opts: pulumi.ResourceOptions) -> None:
        super().__init__("llmops:platform:VectorBackups", name, None, opts)
        settings = site.settings.vectors.backups
        namespace = site.namespaces[_NAMESPACE]
        configuration = core.v1.ConfigMap(
            f"{name}-configuration",
            metadata=meta.ObjectMetaArgs(name="milvus-backup", namespace=_NAMESPACE),
            data={_FILE: pulumi.Output.json_dumps(tool_configuration(site.foundation.objects), indent=2)},
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(namespace)),
        )
        daily = self._job(
            name,
            BACKUP_ACCOUNT,
            BACKUP_GRANTS,
            site,
            after=[configuration, milvus],
            schedule=settings.schedule,
            script=BACKUP_SCRIPT,
            environment={"RETENTION_DAYS": str(settings.retention_days)},
            suspend=False,
        )
        restore = self._job(
            f"{name}-restore",
            RESTORE_ACCOUNT,
            RESTORE_GRANTS,
            site,
            after=[configuration, milvus],
            schedule="0 0 1 1 *",  # a CronJob must have one; suspended, it never runs by it
            script=RESTORE_SCRIPT,
            # Filled in by who makes a job of it. With the suffix nothing that is there is touched.
            environment={"BACKUP": "", "SUFFIX": "_restored", "FILTER": "", "RBAC": "false"},
            suspend=True,
        )
        self.ready = (daily, restore)
        self.register_outputs({})

    def _job(
        self,
        name: str,
        account: str,
        grants: Sequence[Grant],
        site: Site,
        *,
        after: Sequence[pulumi.Resource],
        schedule: str,
        script: str,
        environment: dict[str, str],
        suspend: bool,
    ) -> batch.v1.CronJob:
        identity = site.foundation.identity.grant(
            name, namespace=_NAMESPACE, service_account=account, grants=grants, parent=self
        )
        user = core.v1.ServiceAccount(
            f"{name}-account",
            metadata=meta.ObjectMetaArgs(name=account, namespace=_NAMESPACE, annotations=dict(identity.annotations)),
            automount_service_account_token=False,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*site.namespaces[_NAMESPACE], *identity.ready]),
        )
        return batch.v1.CronJob(
            name,
            metadata=meta.ObjectMetaArgs(name=account, namespace=_NAMESPACE, labels=_labels(account)),
            spec=batch.v1.CronJobSpecArgs(
                schedule=schedule,
                time_zone="Etc/UTC",
                suspend=suspend,
                concurrency_policy="Forbid",
                starting_deadline_seconds=3600,  # after an outage of the control plane
                successful_jobs_history_limit=1,
                failed_jobs_history_limit=3,
                job_template=batch.v1.JobTemplateSpecArgs(spec=_job_spec(account, script, environment)),
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[user, *after]),
        )


def _labels(account: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": account}


def _job_spec(account: str, script: str, environment: dict[str, str]) -> batch.v1.JobSpecArgs:
    container = core.v1.ContainerArgs(
        name="milvus-backup",
        image=IMAGES["milvus-backup"],
        command=["/bin/sh", "-c", script],
        env=[
            from_secret("MILVUS_PASSWORD", ROOT_SECRET, "password"),
            *plain({"CONFIGURATION": f"{_CONFIGURATION}/{_FILE}", **environment}),
        ],
        # Lists of segments are held in memory; the objects themselves do not pass through here.
        resources=resources("100m", "256Mi", "1Gi"),
        security_context=container_security(),
        volume_mounts=[mount("configuration", _CONFIGURATION, read_only=True), mount("tmp", "/tmp")],
    )
    # MILVUS_PORT of a service would be taken for a setting: an errand has no service links.
    pod = errand(
        container,
        user=_NOBODY,
        nodes={ROLE_LABEL: "cpu"},
        volumes=[config_files("configuration", "milvus-backup"), scratch("tmp", "1Gi")],
        service_account=account,
    )
    return job_spec(
        pod,
        labels=_labels(account),
        deadline_seconds=_DEADLINE_SECONDS,
        retries=2 if account == BACKUP_ACCOUNT else 0,  # a restore that failed half-way is looked at first
    )


def tool_configuration(store: ObjectStore) -> dict[str, Any]:
    """Configuration of milvus-backup; the password comes from the environment."""
    provider = "aws" if store.protocol == "s3" else "gcp"
    return {
        "log": {"level": "info", "console": True, "file": {"filename": "/tmp/milvus-backup.log"}},
        "milvus": {
            "address": RELEASE,
            "port": _PORT,
            "user": "root",
            "tlsMode": 0,  # the mesh encrypts
        },
        "minio": {
            "storageType": provider,
            "address": store.endpoint,
            "port": 443,
            "region": store.region,
            "useSSL": True,
            "useIAM": True,
            "bucketName": store.buckets["vectors"].name,
            "rootPath": ROOT_PATH,
            "backupStorageType": provider,
            "backupAddress": store.endpoint,
            "backupPort": 443,
            "backupRegion": store.region,
            "backupUseSSL": True,
            "backupUseIAM": True,
            "backupBucketName": store.buckets["backups"].name,
            "backupRootPath": PREFIX,
            "crossStorage": False,  # the object store copies by itself
        },
        # Milvus must not remove, while it is copied, what a compaction has replaced.
        "backup": {"gcPause": {"enable": True, "address": f"http://{RELEASE}:{_MANAGEMENT_PORT}"}},
    }


# Only what this job has made is removed, and only after a new one is there. Names sort by time. The tool writes its
# answers to standard error.
BACKUP_SCRIPT: Final = r"""
set -eu
PATH="/app:$PATH"
name="daily_$(date -u +%Y%m%d_%H%M%S)"
oldest="daily_$(date -u -d "@$(($(date +%s) - RETENTION_DAYS * 86400))" +%Y%m%d_%H%M%S)"

if ! milvus-backup --config "$CONFIGURATION" create --name "$name" --rbac; then
  # A list would not show what has no description yet, and nothing would ever remove it.
  milvus-backup --config "$CONFIGURATION" delete --name "$name" || true
  exit 1
fi

milvus-backup --config "$CONFIGURATION" list > /tmp/list 2>&1 || { cat /tmp/list; exit 1; }
grep -qx "$name" /tmp/list
grep -x 'daily_[0-9]\{8\}_[0-9]\{6\}' /tmp/list > /tmp/names
awk -v oldest="$oldest" '$0 < oldest' /tmp/names | while read -r old; do
  echo "older than $RETENTION_DAYS days: $old"
  milvus-backup --config "$CONFIGURATION" delete --name "$old"
done
"""

RESTORE_SCRIPT: Final = r"""
set -eu
PATH="/app:$PATH"
if [ -z "$BACKUP" ]; then
  echo "set BACKUP to one of these:"
  milvus-backup --config "$CONFIGURATION" list
  exit 1
fi
set -- restore --name "$BACKUP" --rebuild_index
if [ -n "$SUFFIX" ]; then set -- "$@" --suffix "$SUFFIX"; fi
if [ -n "$FILTER" ]; then set -- "$@" --filter "$FILTER"; fi
if [ "$RBAC" = true ]; then set -- "$@" --rbac; fi
exec milvus-backup --config "$CONFIGURATION" "$@"
"""
