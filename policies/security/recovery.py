"""Recovery: what is kept, for how long, and what cannot be lost by mistake."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final

from pulumi_policy import Severity
from pydantic import Field

from policies.registry import Context, Control, Finding, PolicyConfig, Rule, fsbp
from policies.security.buckets import BUCKET, PARTS, Buckets
from policies.security.data import CACHE, CLUSTER, DATABASE, DATABASE_COPIES, FILES
from policies.view import UNKNOWN, Resource, is_true

KEY: Final = "aws:kms/key:Key"
LOG_GROUP: Final = "aws:cloudwatch/logGroup:LogGroup"
BACKUP_POLICY: Final = "aws:efs/backupPolicy:BackupPolicy"
REPOSITORY: Final = "aws:ecr/repository:Repository"

STATEFUL: Final = (BUCKET, DATABASE, FILES, KEY, CLUSTER)
"""What holds data, or without which data cannot be read."""


def _least(value: Any, least: int, what: str) -> Iterator[str]:
    if not isinstance(value, int) or value < least:
        shown = "unset" if value is None else value
        yield f"{what} must be at least {least}; got {shown}"


class KeyConfig(PolicyConfig):
    """Keys.

    Attributes:
        deletion_days: Days in which a deleted key can be brought back, at least.
    """

    deletion_days: Annotated[int, Field(ge=7, le=30)] = 30


def _keys(resource: Resource, context: Context) -> Iterator[str]:
    if resource.get("customerMasterKeySpec") in (None, "SYMMETRIC_DEFAULT") and not is_true(
        resource.get("enableKeyRotation")
    ):
        yield "enableKeyRotation must be true"
    yield from _least(resource.get("deletionWindowInDays"), context.config.deletion_days, "deletionWindowInDays")


class LogConfig(PolicyConfig):
    """Logs.

    Attributes:
        retention_days: Days that logs are kept, at least.
        audit_retention_days: The same for the log of the Kubernetes control plane, the audit log among them.
    """

    retention_days: Annotated[int, Field(ge=1)] = 90
    audit_retention_days: Annotated[int, Field(ge=1)] = 365


_AUDIT_LOGS: Final = ("api", "audit", "authenticator")


def _logs(resource: Resource, context: Context) -> Iterator[str]:
    if resource.type == CLUSTER:
        if missing := [name for name in _AUDIT_LOGS if name not in resource.items("enabledClusterLogTypes")]:
            yield f"enabledClusterLogTypes lacks {', '.join(missing)}"
        return
    name = str(resource.get("name") or "")
    is_audit = name.startswith("/aws/eks/") and name.endswith("/cluster")
    least = context.config.audit_retention_days if is_audit else context.config.retention_days
    if resource.get("retentionInDays") != 0:  # 0 keeps them for ever
        yield from _least(resource.get("retentionInDays"), least, "retentionInDays")


class BackupConfig(PolicyConfig):
    """Backups.

    Attributes:
        database_days: Days of database backups, and of their copies in another region, at least; the architecture
            promises 7.
        cache_days: Days of cache snapshots, at least.
        files: Shared files must be backed up.
    """

    database_days: Annotated[int, Field(ge=1, le=35)] = 7
    cache_days: Annotated[int, Field(ge=0, le=35)] = 1
    files: bool = True


def _backups(resource: Resource, context: Context) -> Iterator[str]:
    config = context.config
    if resource.type == DATABASE:
        yield from _least(resource.get("backupRetentionPeriod"), config.database_days, "backupRetentionPeriod")
        if not is_true(resource.get("copyTagsToSnapshot")):
            yield "copyTagsToSnapshot must be true, or nobody knows whose snapshots they are"
    elif resource.type == DATABASE_COPIES:
        yield from _least(resource.get("retentionPeriod"), config.database_days, "retentionPeriod")
    elif resource.type == CACHE:
        if config.cache_days:
            yield from _least(resource.get("snapshotRetentionLimit"), config.cache_days, "snapshotRetentionLimit")
    elif config.files and resource.get("backupPolicy", "status") != "ENABLED":
        yield "backupPolicy.status must be ENABLED"


def _buckets_kept(resources: Sequence[Resource], _context: Context) -> Iterator[Finding]:
    buckets = Buckets(resources)
    for bucket in buckets.all:
        versioning = buckets.part(bucket, "versioning")
        status = versioning.get("versioningConfiguration", "status") if versioning else None
        if status not in ("Enabled", UNKNOWN):
            yield Finding("versioning must be Enabled, or an overwritten object is gone", bucket)
        if buckets.part(bucket, "lifecycle") is None:
            yield Finding("a lifecycle must let old versions and abandoned uploads go", bucket)


class ProtectionConfig(PolicyConfig):
    """Protection.

    Attributes:
        required: The stack must be protected. Else its settings decide, and what they say must be done.
    """

    required: bool = True


def _protected(resource: Resource, context: Context) -> Iterator[str]:
    if context.config.required and not context.settings.protect:
        yield "llmops:protect must be true here"
        return
    if not context.settings.protect:
        return
    if resource.type != CLUSTER and not resource.protect:
        yield "must have protect=True: llmops:protect is true, and the engine would delete or replace it"
    if resource.type in (DATABASE, CLUSTER) and not is_true(resource.get("deletionProtection")):
        yield "deletionProtection must be true: llmops:protect is true"
    if resource.type == BUCKET and is_true(resource.get("forceDestroy")):
        yield "forceDestroy must be false: llmops:protect is true"
    if resource.type == DATABASE and is_true(resource.get("skipFinalSnapshot")):
        yield "skipFinalSnapshot must be false: llmops:protect is true"


class SurvivalConfig(PolicyConfig):
    """Availability.

    Attributes:
        required: Database and cache must survive the loss of a zone.
    """

    required: bool = True


def _survives(resource: Resource, context: Context) -> Iterator[str]:
    if not context.config.required:
        return
    if resource.type == DATABASE and not is_true(resource.get("multiAz")):
        yield "multiAz must be true"
    if resource.type == CACHE and not is_true(resource.get("automaticFailoverEnabled")):
        yield "automaticFailoverEnabled must be true, with a replica in another zone"


def _images(resource: Resource, _context: Context) -> Iterator[str]:
    if resource.get("imageTagMutability") != "IMMUTABLE":
        yield "imageTagMutability must be IMMUTABLE, or a tag may mean another image tomorrow"
    if not is_true(resource.get("imageScanningConfiguration", "scanOnPush")):
        yield "imageScanningConfiguration.scanOnPush must be true"


RULES: Final = (
    Rule(
        name="keys-kept", group="security", severity=Severity.HIGH, types=(KEY,), resource=_keys, config=KeyConfig,
        control=Control(standard="CIS AWS Foundations Benchmark", version="3.0.0", reference="3.6"),
        description="Keys rotate, and a deleted key can be brought back for long enough.",
    ),
    Rule(
        name="logs-kept", group="security", severity=Severity.MEDIUM, types=(CLUSTER, LOG_GROUP), resource=_logs,
        config=LogConfig, control=fsbp("EKS.8"),
        description="The Kubernetes audit log is on, and logs are kept for long enough.",
    ),
    Rule(
        name="backups-kept", group="security", severity=Severity.HIGH, resource=_backups,
        types=(DATABASE, DATABASE_COPIES, CACHE, BACKUP_POLICY), config=BackupConfig, control=fsbp("RDS.11"),
        description="Database, cache and shared files are backed up for long enough.",
    ),
    Rule(
        name="buckets-kept", group="security", severity=Severity.MEDIUM, types=(BUCKET, *PARTS.values()),
        stack=_buckets_kept,
        description="Buckets keep versions, and let old ones go.",
    ),
    Rule(
        name="protected", group="security", severity=Severity.CRITICAL, types=STATEFUL, resource=_protected,
        config=ProtectionConfig, control=fsbp("RDS.8"),
        description="What holds data is neither deleted nor replaced without the explicit switch llmops:protect.",
    ),
    Rule(
        name="survives-a-zone", group="security", severity=Severity.MEDIUM, types=(DATABASE, CACHE),
        resource=_survives, config=SurvivalConfig, control=fsbp("RDS.5"),
        description="Database and cache have a standby in another zone.",
    ),
    Rule(
        name="images-immutable", group="security", severity=Severity.MEDIUM, types=(REPOSITORY,), resource=_images,
        control=fsbp("ECR.2"),
        description="Image tags never move, and images are scanned.",
    ),
)  # fmt: skip
