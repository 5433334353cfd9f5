"""Names that a stack takes and that are known before it exists.

They are said here and not imported from ``components.aws``, whose modules load the AWS SDK for Pulumi, which takes
longer than all of preflight. A test holds them against the graphs of the shipped stacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

from components.contract import BucketRole
from components.credentials import CATALOGUE
from ops.preflight.target import Target

if TYPE_CHECKING:
    from components.settings import Settings

Kind = Literal["bucket", "cluster", "database", "logGroup", "secret", "alias", "repository", "budget", "cacheRule"]

BUCKETS: Final = (*get_args(BucketRole), "access-logs")
REPLICATED: Final = ("data", "models", "mlflow")
KEY_DOMAINS: Final = ("cluster", "storage", "database", "objects", "backups", "secrets", "logs")
_DATABASE_LOGS: Final = ("postgresql", "upgrade")
_CACHE_PATHS: Final = {
    "public.ecr.aws": "public",
    "registry.k8s.io": "k8s",
    "quay.io": "quay",
    "docker.io": "hub",
    "ghcr.io": "ghcr",
}


def copied(settings: Settings) -> tuple[str, ...]:
    """What has copies in the second region, by the domain of their key; empty where nothing has."""
    wanted = {"objects": settings.objects.replicate, "database": settings.database.has_replica(settings.objects)}
    return tuple(domain for domain, is_copied in wanted.items() if is_copied)


def buckets(target: Target, account_id: str) -> dict[str, str]:
    """Region by name of each bucket; the names are unique in all of AWS."""
    settings = target.settings
    here, abroad = settings.aws.region, settings.aws.dr_region
    named = {f"{target.prefix}-{role}-{account_id}-{here}": here for role in BUCKETS}
    if settings.objects.replicate:
        named |= {f"{target.prefix}-{role}-{account_id}-{abroad}": abroad for role in REPLICATED}
    return named


def names(target: Target, kind: Kind) -> list[str]:
    """Names of one kind in the stack's region; buckets have a function of their own."""
    prefix = target.prefix
    match kind:
        case "bucket":
            raise ValueError("buckets are named by account and region")
        case "cluster":
            return [prefix]
        case "database":
            return [f"{prefix}-postgres"]
        case "logGroup":
            database = [f"/aws/rds/instance/{prefix}-postgres/{log}" for log in _DATABASE_LOGS]
            return [f"/aws/eks/{prefix}/cluster", *database]
        case "secret":
            return [f"{prefix}/{purpose}" for purpose in (*(one.purpose for one in CATALOGUE), "cache-auth")]
        case "alias":
            return [f"alias/{prefix}-{domain}" for domain in KEY_DOMAINS]
        case "repository":
            return [f"{prefix}/{image}" for image in target.settings.registry.repositories]
        case "budget":
            return [f"{prefix}-monthly"]
        case "cacheRule":
            return [f"{prefix}/{_CACHE_PATHS[host]}" for host in target.settings.registry.upstreams]
