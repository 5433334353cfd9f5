"""Identities: who may do what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final

from pulumi_policy import EnforcementLevel, Severity
from pydantic import Field

from policies.registry import Context, Finding, PolicyConfig, Rule, fsbp
from policies.security.documents import DOCUMENTS, IDENTITY, RESOURCE, ROLE, Statement, known_later, statements
from policies.security.wildcards import has_reason, wide_actions, wide_resources
from policies.view import Resource

ATTACHMENT: Final = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"

# Condition keys that say who calls, or through what; one of them makes "everybody" somebody.
_WHO: Final = (
    "aws:PrincipalAccount",
    "aws:PrincipalArn",
    "aws:PrincipalOrgID",
    "aws:SourceAccount",
    "aws:SourceArn",
    "elasticfilesystem:AccessPointArn",
    "kms:CallerAccount",
)


_RECORD: Final = "record the reason in wildcards.yaml"


def _wildcards(resource: Resource, _context: Context) -> Iterator[str]:
    for statement in statements(resource):
        if not statement.allows or has_reason(resource.name, statement.sid):
            continue
        if statement.inverted:
            yield f"{statement.sid} allows all but what it names (NotAction, NotResource); name what it allows"
        if actions := wide_actions(statement.actions):
            yield f"{statement.sid} allows {', '.join(actions)}; name the actions, or {_RECORD}"
        resources = wide_resources(statement.actions, statement.resources)
        if _is_held_to_tags(statement):
            resources = [arn for arn in resources if arn == "*"]
        if resources:
            what = f"{', '.join(statement.actions)} on {', '.join(resources)}"
            yield f"{statement.sid} allows {what}; name the resources, or {_RECORD}"


def _is_held_to_tags(statement: Statement) -> bool:
    """Whether a condition demands a tag with a certain value: then the tag says which resources, and not the name."""
    return any(
        key.startswith(("aws:ResourceTag/", "aws:RequestTag/")) and not any("*" in value for value in values)
        for key, values in statement.conditions.get("StringEquals", {}).items()
    )


def _is_anybody(statement: Statement) -> bool:
    anybody = any("*" in who for kind, who in statement.principals.items() if kind in ("AWS", "*"))
    keys = {key for operands in statement.conditions.values() for key in operands}
    return anybody and not keys.intersection(_WHO)


def _public_principals(resource: Resource, _context: Context) -> Iterator[str]:
    for statement in statements(resource):
        if statement.allows and _is_anybody(statement):
            yield f"{statement.sid} allows everybody: name principals, or add a condition on {', '.join(_WHO[:4])} …"


def _trust(resource: Resource, _context: Context) -> Iterator[str]:
    for statement in statements(resource):
        if not statement.allows:
            continue
        if _is_anybody(statement):
            yield f"{statement.sid} lets everybody assume the role"
        if "Federated" in statement.principals:
            exact = statement.conditions.get("StringEquals", {})
            missing = [end for end in ("sub", "aud") if not any(key.endswith(f":{end}") for key in exact)]
            loose = [value for values in exact.values() for value in values if "*" in value]
            if missing or loose:
                what = ", ".join(missing or loose)
                yield f"{statement.sid} must compare the token's sub and aud by StringEquals, in full; lacks: {what}"


class ManagedConfig(PolicyConfig):
    """AWS managed policies that no role may have.

    Attributes:
        refused: Names, ``*`` for any part.
    """

    refused: tuple[str, ...] = Field(default=("AdministratorAccess*", "PowerUserAccess", "*FullAccess", "IAMFull*"))


def _managed(resource: Resource, context: Context) -> Iterator[str]:
    arn = resource.get("policyArn")
    name = arn.rpartition("/")[2] if isinstance(arn, str) and ":iam::aws:policy/" in arn else ""
    if any(fnmatchcase(name, pattern) for pattern in context.config.refused):
        yield f"{name} grants more than one task needs; write a policy for the task"


def _judged_later(resources: Sequence[Resource], _context: Context) -> Iterator[Finding]:
    later = sorted(resource.name for resource in resources if known_later(resource))
    if later:
        shown = ", ".join(later[:5]) + (f" and {len(later) - 5} more" if len(later) > 5 else "")
        yield Finding(f"{len(later)} documents become known only during the update, and are judged then: {shown}")


RULES: Final = (
    Rule(
        name="iam-wildcards", group="security", severity=Severity.HIGH, types=tuple(IDENTITY), resource=_wildcards,
        control=fsbp("IAM.21"),
        description="No role may do everything, or anything to everything, without a recorded reason.",
    ),
    Rule(
        name="iam-managed-policies", group="security", severity=Severity.HIGH, types=(ATTACHMENT,), resource=_managed,
        config=ManagedConfig, control=fsbp("IAM.1"),
        description="No role has one of AWS's own administrator policies.",
    ),
    Rule(
        name="iam-trust", group="security", severity=Severity.CRITICAL, types=(ROLE,), resource=_trust,
        description="A role is assumed by one service or by exactly one Kubernetes service account.",
    ),
    Rule(
        name="no-public-principal", group="security", severity=Severity.CRITICAL, types=tuple(RESOURCE),
        resource=_public_principals, control=fsbp("KMS.5"),
        description="No bucket, key, topic, file system or endpoint is open to everybody.",
    ),
    Rule(
        name="iam-judged-later", group="security", severity=Severity.LOW, types=tuple(DOCUMENTS), stack=_judged_later,
        level=EnforcementLevel.ADVISORY,  # it says what a preview could not see; the update judges it
        description="Every policy document is known at preview.",
    ),
)  # fmt: skip
