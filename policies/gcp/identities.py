"""Identities on Google Cloud: who may do what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, Final

from pulumi_policy import Severity
from pydantic import Field

from policies.gcp.data import cis
from policies.gcp.types import ACCOUNT_GRANT
from policies.registry import Context, PolicyConfig, Rule
from policies.view import Resource

_GRANT: Final = re.compile(r"gcp:\w+/\w*[iI](am|AM)(Member|Binding):\w+")
_EVERYBODY: Final = ("allUsers", "allAuthenticatedUsers")
_POD: Final = re.compile(r"serviceAccount:[a-z0-9-]+\.svc\.id\.goog\[[a-z0-9-]+/[a-z0-9-]+\]")


def _members(resource: Resource) -> list[Any]:
    return [one for one in (resource.get("member"), *resource.items("members")) if one is not None]


def _public_members(resource: Resource, _context: Context) -> Iterator[str]:
    if not _GRANT.fullmatch(resource.type):
        return
    if anybody := [one for one in _members(resource) if one in _EVERYBODY]:
        yield f"{resource.get('role')} is given to {', '.join(anybody)}: name who needs it"


class RoleConfig(PolicyConfig):
    """Roles that nobody may have by the stack.

    Attributes:
        refused: Names, ``*`` for any part.
    """

    refused: tuple[str, ...] = Field(
        default=(
            "roles/owner",
            "roles/editor",
            "roles/*.admin",
            "roles/*Admin",
            "roles/iam.serviceAccountTokenCreator",
            "roles/iam.serviceAccountUser",
        )
    )
    allowed: dict[str, str] = Field(default_factory=dict[str, str])


def _roles(resource: Resource, context: Context) -> Iterator[str]:
    role = resource.get("role")
    if not _GRANT.fullmatch(resource.type) or not isinstance(role, str):
        return
    refused = any(fnmatchcase(role, pattern) for pattern in context.config.refused)
    if refused and not any(fnmatchcase(f"{resource.name} {role}", one) for one in context.config.allowed):
        yield f"{role} grants more than one task needs; name a role for the task, or make one"


def _trust(resource: Resource, _context: Context) -> Iterator[str]:
    if resource.get("role") != "roles/iam.workloadIdentityUser":
        return
    for member in _members(resource):
        if isinstance(member, str) and not _POD.fullmatch(member):
            yield f"{member}: an account is used by exactly one Kubernetes service account, by its namespace and name"


def _keys(resource: Resource, _context: Context) -> Iterator[str]:
    yield f"{resource.type.rpartition(':')[2]} is a credential that never ends; give the workload an identity instead"


RULES: Final = (
    Rule(
        name="google-no-public-member", group="security", severity=Severity.CRITICAL, types=("gcp:",),
        resource=_public_members, control=cis("5.1"),
        description="No role on anything in Google Cloud is given to everybody.",
    ),
    Rule(
        name="google-roles", group="security", severity=Severity.HIGH, types=("gcp:",), resource=_roles,
        config=RoleConfig, control=cis("1.5"),
        description="Nobody gets a basic role or an administrator's role by the stack.",
    ),
    Rule(
        name="google-workload-identity", group="security", severity=Severity.CRITICAL, types=(ACCOUNT_GRANT,),
        resource=_trust,
        description="A service account of Google is used by exactly one Kubernetes service account.",
    ),
    Rule(
        name="google-no-account-keys", group="security", severity=Severity.HIGH,
        types=("gcp:serviceaccount/key:Key", "gcp:storage/hmacKey:HmacKey"), resource=_keys, control=cis("1.4"),
        description="No credential of a service account is ever written down.",
    ),
)  # fmt: skip
