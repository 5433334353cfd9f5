"""Recovery on Google Cloud: what is kept, for how long, and what cannot be lost by mistake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

from pulumi_policy import Severity
from pydantic import Field

from policies.gcp.data import cis
from policies.gcp.types import BUCKET, CACHE, CLUSTER, DATABASE, FILES, KEY, LOG_BUCKET, REPOSITORY, SECRET
from policies.registry import Context, PolicyConfig, Rule
from policies.security.recovery import KeyConfig, ProtectionConfig, SurvivalConfig
from policies.view import Resource, document, is_true, mapping

_DAY: Final = 86400
_ROTATES_WITHIN_DAYS: Final = 365


def _seconds(value: Any) -> int | None:
    """A duration as Google's APIs write it, such as ``7776000s``."""
    if not isinstance(value, str) or not value.removesuffix("s").isdigit():
        return None
    return int(value.removesuffix("s"))


def _keys(resource: Resource, context: Context) -> Iterator[str]:
    if resource.get("purpose") not in (None, "ENCRYPT_DECRYPT"):
        return
    period = _seconds(resource.get("rotationPeriod"))
    if period is None or period > _ROTATES_WITHIN_DAYS * _DAY:
        yield f"rotationPeriod must be at most {_ROTATES_WITHIN_DAYS} days, in seconds: a key without it never changes"
    kept = _seconds(resource.get("destroyScheduledDuration")) or 30 * _DAY  # Cloud KMS's own default
    if kept < context.config.deletion_days * _DAY:
        yield f"destroyScheduledDuration must be at least {context.config.deletion_days} days; got {kept // _DAY}"


class GoogleBackupConfig(PolicyConfig):
    """Backups.

    Attributes:
        database_days: Daily backups of the database that are kept, at least; the architecture promises 7.
        cache: The cache must write snapshots.
    """

    database_days: Annotated[int, Field(ge=1, le=365)] = 7
    cache: bool = True


def _backups(resource: Resource, context: Context) -> Iterator[str]:
    if resource.type == CACHE:
        mode = resource.get("persistenceConfig", "persistenceMode")
        if context.config.cache and mode not in ("RDB", "AOF"):
            yield "persistenceConfig.persistenceMode must be RDB: what is in the cache dies with its node"
        return
    backups = resource.get("settings", "backupConfiguration")
    found = mapping(backups)
    if not is_true(found.get("enabled")):
        yield "settings.backupConfiguration.enabled must be true"
    if not is_true(found.get("pointInTimeRecoveryEnabled")):
        yield "settings.backupConfiguration.pointInTimeRecoveryEnabled must be true: a backup is a day old at worst"
    kept = mapping(found.get("backupRetentionSettings")).get("retainedBackups")
    if not isinstance(kept, int) or kept < context.config.database_days:
        yield (
            "settings.backupConfiguration.backupRetentionSettings.retainedBackups must be at least "
            f"{context.config.database_days}; got {'unset' if kept is None else kept}"
        )


def _buckets_kept(resource: Resource, _context: Context) -> Iterator[str]:
    if not is_true(resource.get("versioning", "enabled")):
        yield "versioning.enabled must be true, or an overwritten object is gone"
    if not resource.items("lifecycleRules"):
        yield "lifecycleRules must let old versions and abandoned uploads go"


class GoogleLogConfig(PolicyConfig):
    """Logs.

    Attributes:
        retention_days: Days that buckets of logs keep them, at least.
    """

    retention_days: Annotated[int, Field(ge=1)] = 90


def _logs(resource: Resource, context: Context) -> Iterator[str]:
    if resource.type == CLUSTER:
        on = resource.items("loggingConfig", "enableComponents")
        if missing := [name for name in ("SYSTEM_COMPONENTS", "APISERVER") if name not in on]:
            yield f"loggingConfig.enableComponents lacks {', '.join(missing)}"
        return
    days = resource.get("retentionDays")
    if not isinstance(days, int) or days < context.config.retention_days:
        yield f"retentionDays must be at least {context.config.retention_days}; got {'unset' if days is None else days}"


STATEFUL: Final = (BUCKET, DATABASE, FILES, KEY, CLUSTER, SECRET, CACHE)
"""What holds data, or without which data cannot be read."""

# Switches of the services themselves; the engine's own protection is for what has a copy nowhere.
_SWITCHES: Final[dict[str, tuple[str, ...]]] = {
    CACHE: ("deletionProtection",),
    CLUSTER: ("deletionProtection",),
    DATABASE: ("deletionProtection", "settings.deletionProtectionEnabled"),
    FILES: ("deletionProtectionEnabled",),
    SECRET: ("deletionProtection",),
}
_ENGINE: Final = (BUCKET, DATABASE, FILES, KEY)


def _protected(resource: Resource, context: Context) -> Iterator[str]:
    if context.config.required and not context.settings.protect:
        yield "llmops:protect must be true here"
        return
    if not context.settings.protect:
        return
    if resource.type in _ENGINE and not resource.protect:
        yield "must have protect=True: llmops:protect is true, and the engine would delete or replace it"
    for switch in _SWITCHES.get(resource.type, ()):
        if not is_true(resource.get(*switch.split("."))):
            yield f"{switch} must be true: llmops:protect is true"
    if resource.type == BUCKET and is_true(resource.get("forceDestroy")):
        yield "forceDestroy must be false: llmops:protect is true"


def _survives(resource: Resource, context: Context) -> Iterator[str]:
    if not context.config.required:
        return
    if resource.type == DATABASE and resource.get("settings", "availabilityType") != "REGIONAL":
        yield "settings.availabilityType must be REGIONAL"
    if resource.type == CACHE and resource.get("tier") != "STANDARD_HA":
        yield "tier must be STANDARD_HA, with a replica in another zone"


def _images(resource: Resource, _context: Context) -> Iterator[str]:
    if resource.get("mode") == "REMOTE_REPOSITORY":
        return  # copies of images of others, whose tags are theirs
    if not is_true(resource.get("dockerConfig", "immutableTags")):
        yield "dockerConfig.immutableTags must be true, or a tag may mean another image tomorrow"


class LabelConfig(PolicyConfig):
    """Labels.

    Attributes:
        required: Keys that must be there, on the resource or in its provider's default labels.
    """

    required: tuple[str, ...] = Field(default=("owner", "cost-center"))


# Types that can carry labels, of those that cost money or hold data, and where they carry them.
_LABELLED: Final[dict[str, tuple[str, ...]]] = {
    BUCKET: ("labels",),
    CACHE: ("labels",),
    CLUSTER: ("resourceLabels",),
    DATABASE: ("settings", "userLabels"),
    FILES: ("labels",),
    KEY: ("labels",),
    REPOSITORY: ("labels",),
    SECRET: ("labels",),
}
_WITHOUT_DEFAULTS: Final = (CLUSTER, DATABASE)  # the provider's default labels reach fields named ``labels`` only


def _labels(resource: Resource, context: Context) -> Iterator[str]:
    path = _LABELLED[resource.type]
    own = resource.get(*path)
    defaults: Any = {} if resource.type in _WITHOUT_DEFAULTS else document(resource.provider.get("defaultLabels"))
    present = mapping(defaults) | mapping(own)
    if missing := [key for key in context.config.required if not present.get(key) and not _unknown(own, defaults)]:
        yield f"lacks the labels {', '.join(missing)} in {'.'.join(path)}: costs could not be told apart"


def _unknown(*values: Any) -> bool:
    from policies.view import UNKNOWN  # noqa: PLC0415 beside its only use

    return any(value is UNKNOWN for value in values)


RULES: Final = (
    Rule(
        name="google-keys-kept", group="security", severity=Severity.HIGH, types=(KEY,), resource=_keys,
        config=KeyConfig, control=cis("1.10"),
        description="Keys of Cloud KMS rotate, and a deleted version can be brought back for long enough.",
    ),
    Rule(
        name="google-logs-kept", group="security", severity=Severity.MEDIUM, types=(CLUSTER, LOG_BUCKET),
        resource=_logs, config=GoogleLogConfig,
        description="The logs of GKE's control plane are on, and buckets of logs keep them for long enough.",
    ),
    Rule(
        name="google-backups-kept", group="security", severity=Severity.HIGH, types=(DATABASE, CACHE),
        resource=_backups, config=GoogleBackupConfig, control=cis("6.7"),
        description="Cloud SQL and Memorystore are backed up for long enough, Cloud SQL to any moment.",
    ),
    Rule(
        name="google-buckets-kept", group="security", severity=Severity.MEDIUM, types=(BUCKET,),
        resource=_buckets_kept,
        description="Buckets of Cloud Storage keep versions, and let old ones go.",
    ),
    Rule(
        name="google-protected", group="security", severity=Severity.CRITICAL, types=STATEFUL, resource=_protected,
        config=ProtectionConfig,
        description="What holds data on Google Cloud is not deleted without the explicit switch llmops:protect.",
    ),
    Rule(
        name="google-survives-a-zone", group="security", severity=Severity.MEDIUM, types=(DATABASE, CACHE),
        resource=_survives, config=SurvivalConfig,
        description="Cloud SQL and Memorystore have a standby in another zone.",
    ),
    Rule(
        name="google-images-immutable", group="security", severity=Severity.MEDIUM, types=(REPOSITORY,),
        resource=_images,
        description="Image tags in Artifact Registry never move.",
    ),
    Rule(
        name="google-labels", group="security", severity=Severity.MEDIUM, types=tuple(_LABELLED), resource=_labels,
        config=LabelConfig,
        description="What costs money on Google Cloud carries the labels by which costs are told apart.",
    ),
)  # fmt: skip
