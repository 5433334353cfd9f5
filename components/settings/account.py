"""The cloud account: where, which, and what it may cost."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from components.capacity.ec2 import REGIONS
from components.settings.base import Email, Name, Section
from components.settings.nodes import offer


def _account(value: Any) -> Any:
    return f"{value:012d}" if isinstance(value, int) and not isinstance(value, bool) else value


class AwsSettings(Section):
    """The AWS account.

    Attributes:
        region: Region of everything but the copies for disaster recovery.
        account_id: The only account in which this stack may be created; empty for the one of the credentials.
        dr_region: Region that receives copies of data, models and artifacts, and of the database's backups.
        hosted_zone_id: Public Route 53 zone of the platform's domain, in this account, such as
            ``Z0123456789ABCDEFGHIJ``; certificates from a public authority are proven there. Empty for none.
    """

    region: str = "us-east-1"
    account_id: Annotated[str, BeforeValidator(_account), Field(pattern=r"^(\d{12})?$")] = ""
    dr_region: str = ""
    # Route 53 API reference: at most 32 characters; `/hostedzone/`, which its answers put in front, is not part of it.
    hosted_zone_id: Annotated[str, Field(pattern=r"^(Z[A-Z0-9]{1,31})?$")] = ""

    @field_validator("region", "dr_region")
    @classmethod
    def _region_is_known(cls, value: str) -> str:
        if value and value not in REGIONS:
            raise ValueError(f"must be one of {', '.join(REGIONS)}; got {value}")
        return value

    @field_validator("region")
    @classmethod
    def _region_is_set(cls, value: str) -> str:
        if not value:
            raise ValueError("must not be empty")
        return value


Upstream = Literal["public.ecr.aws", "registry.k8s.io", "quay.io", "docker.io", "ghcr.io"]

# ECR user guide, "Creating a pull through cache rule": these ask for credentials, the others take everybody.
_WITH_CREDENTIALS = ("docker.io", "ghcr.io")
_FREE: dict[Upstream, str] = {"public.ecr.aws": "", "registry.k8s.io": "", "quay.io": ""}


class RegistrySettings(Section):
    """The container registry.

    Attributes:
        repositories: Repositories for our own images.
        upstreams: Public registries to pull through a cache of the account's own. On AWS docker.io and ghcr.io come
            with the ARN of a secret whose name starts with ``ecr-pullthroughcache/``, the others with an empty text.
        keep_images: Images kept in each repository; older ones expire.
        owns_account_settings: Whether this stack sets what ECR has once for an account and region (scanning). One stack
            in an account may.
    """

    repositories: tuple[Name, ...] = (
        "engine",
        "evaluation",
        "pipelines",
        "preprocess",
        "release",
        "retrieval",
        "serving",
        "training",
    )
    upstreams: dict[Upstream, str] = Field(default_factory=_FREE.copy)
    keep_images: Annotated[int, Field(ge=1, le=10000)] = 30
    owns_account_settings: bool = True

    @field_validator("upstreams")
    @classmethod
    def _credentials_are_where_they_are_needed(
        cls, value: dict[Upstream, str], info: ValidationInfo
    ) -> dict[Upstream, str]:
        if offer(info).cloud != "aws":
            if given := [host for host, credentials in value.items() if credentials]:
                raise ValueError(
                    f"take credentials on AWS only, elsewhere an empty text; got one for {', '.join(given)}"
                )
            return value
        secret = r"arn:aws:secretsmanager:[a-z0-9-]+:\d{12}:secret:ecr-pullthroughcache/.+"
        for host, arn in value.items():
            if host in _WITH_CREDENTIALS and not re.fullmatch(secret, arn):
                raise ValueError(f"{host} needs the ARN of a secret ecr-pullthroughcache/...; got {arn or 'nothing'}")
            if host not in _WITH_CREDENTIALS and arn:
                raise ValueError(f"{host} takes no credentials, only an empty text; got {arn}")
        return value


class BudgetSettings(Section):
    """The monthly budget of the stack.

    Attributes:
        monthly_usd: Limit in US dollars.
        alert_percent: Up to four shares of the limit at which mail goes out, on actual cost; 100 also on the forecast.
        emails: Who gets the mail; empty sends none.
    """

    monthly_usd: Annotated[int, Field(ge=1)] = 1000
    # Four, and one on the forecast: a budget takes five notifications, and each of them ten addresses (Budgets API).
    alert_percent: Annotated[tuple[Annotated[int, Field(ge=1, le=1000)], ...], Field(max_length=4)] = (50, 80, 100)
    emails: Annotated[tuple[Email, ...], Field(max_length=10)] = ()

    @field_validator("alert_percent")
    @classmethod
    def _shares_differ(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value):
            raise ValueError("must name each share once")
        return value


class AlarmSettings(Section):
    """Alarms of the foundation (database, cache).

    Attributes:
        emails: Subscribers of the alarm topic; each confirms by a mail from AWS.
    """

    emails: tuple[Email, ...] = ()
