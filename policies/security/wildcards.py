"""Wildcards in permissions, and the reasons that are recorded for them."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Annotated, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

FILE: Final = Path(__file__).parents[1] / "wildcards.yaml"

# Names of actions that stand for variants of one act.
VARIANTS: Final = {
    "kms:ReEncrypt*": "re-encryption is two actions, from and to",
    "kms:GenerateDataKey*": "data keys come with and without plain text, alone and in pairs",
}

# Actions for which the Service Authorization Reference names no kind of resource: IAM takes nothing but "*" there.
WITHOUT_RESOURCE: Final = (
    "autoscaling:Describe*",
    "ec2:Describe*",
    "ec2:GetCoipPoolUsage",
    "ec2:GetInstanceTypesFromInstanceRequirements",
    "ec2:GetSecurityGroupsForVpc",
    "ecr:GetAuthorizationToken",
    "elasticloadbalancing:Describe*",
    "sts:GetCallerIdentity",
)


class Reason(BaseModel):
    """Why one statement has a wildcard.

    Attributes:
        resource: Name of the resource in the program; ``*`` for any part of it.
        statement: The statement's Sid, or the name of a Kubernetes role's rule as ``rules[0]``.
        reason: Why nothing narrower does.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    resource: Annotated[str, Field(min_length=3)]
    statement: Annotated[str, Field(min_length=1)]
    reason: Annotated[str, Field(min_length=15)]


@cache
def recorded() -> tuple[Reason, ...]:
    """The reasons in the file.

    Raises:
        ValidationError: An entry lacks its reason, or has another key.
    """
    return TypeAdapter(tuple[Reason, ...]).validate_python(yaml.safe_load(FILE.read_text()) or [])


def has_reason(resource: str, statement: str) -> bool:
    """Whether a reason is recorded for a statement of a resource."""
    return any(fnmatchcase(resource, one.resource) and statement == one.statement for one in recorded())


def wide_actions(actions: tuple[str, ...]) -> list[str]:
    """Actions with a wildcard that stands for more than variants of one act."""
    return [one for one in actions if "*" in one and one not in VARIANTS and not _is_free(one)]


def _is_free(action: str) -> bool:
    return any(fnmatchcase(action, pattern) for pattern in WITHOUT_RESOURCE)


def wide_resources(actions: tuple[str, ...], resources: tuple[str, ...]) -> list[str]:
    """Resources that stand for all of a kind, although the actions could be held to some."""
    if all(_is_free(action) for action in actions):
        return []
    return [one for one in resources if is_wide(one)]


_WITH_VARIANT: Final = ("loadbalancer", "listener", "listener-rule")  # kind, then ``app`` or ``net``, then the name


def is_wide(arn: str) -> bool:
    """Whether an ARN names all resources of a service, or all of a kind.

    What follows the kind decides: ``…:loadbalancer/app/*/*`` is every load balancer, ``…:role/build-*`` is some roles,
    and ``…:s3:::models/*`` is one bucket.
    """
    if arn == "*":
        return True
    parts = arn.split(":", 5)
    name = parts[5] if len(parts) > 5 else parts[-1]
    head, *rest = [piece for piece in name.replace(":", "/").split("/") if piece] or [""]
    if not rest or parts[2:3] == ["s3"]:  # the name of a bucket has no kind before it
        return not head.strip("*")
    return not any(piece.strip("*") for piece in (rest[1:] if head in _WITH_VARIANT else rest))
