"""Permissions in the cluster, and credentials that must not be in the program."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, Final

from pulumi_policy import Severity
from pydantic import Field

from policies.objects import object_name
from policies.registry import Context, Control, PolicyConfig, Rule
from policies.security.wildcards import has_reason
from policies.view import UNKNOWN, Resource, at, mapping

_RBAC: Final = "kubernetes:rbac.authorization.k8s.io/v1:"
ROLES: Final = (f"{_RBAC}ClusterRole", f"{_RBAC}Role")
BINDINGS: Final = (f"{_RBAC}ClusterRoleBinding", f"{_RBAC}RoleBinding")
_SECRET: Final = "kubernetes:core/v1:Secret"
_CIS: Final = "CIS Kubernetes Benchmark"


def _is_binding(resource: Resource) -> bool:
    return resource.type in BINDINGS


def _wildcards(resource: Resource, _context: Context) -> Iterator[str]:
    if _is_binding(resource):
        return
    for index, rule in enumerate(resource.items("rules")):
        wide = [key for key in ("apiGroups", "resources", "verbs") if "*" in (at(rule, key) or [])]
        if wide and not has_reason(resource.name, f"rules[{index}]"):
            yield f"rules[{index}] has * in {', '.join(wide)}; name them, or record the reason in wildcards.yaml"
        verbs: list[Any] = at(rule, "verbs") or []
        dangerous = [verb for verb in ("escalate", "bind", "impersonate") if verb in verbs]
        if dangerous and not has_reason(resource.name, f"rules[{index}]"):
            yield f"rules[{index}] allows {', '.join(dangerous)}, which gives every permission there is"


class BindingConfig(PolicyConfig):
    """Who may have Kubernetes' own administrator role.

    Attributes:
        cluster_admins: Groups or service accounts that may be bound to ``cluster-admin``.
    """

    cluster_admins: tuple[str, ...] = Field(default=("llmops:platform-admins",))


_EVERYBODY: Final = ("system:anonymous", "system:unauthenticated", "system:authenticated", "system:serviceaccounts")


def _bindings(resource: Resource, context: Context) -> Iterator[str]:
    if not _is_binding(resource):
        return
    subjects = [str(at(one, "name")) for one in resource.items("subjects")]
    if everybody := [name for name in subjects if name in _EVERYBODY]:
        yield f"binds {', '.join(everybody)}: everybody"
    if resource.get("roleRef", "name") != "cluster-admin":
        return
    if more := [name for name in subjects if name not in context.config.cluster_admins]:
        yield f"makes {', '.join(more)} cluster-admin"


class SecretConfig(PolicyConfig):
    """Secrets that the program makes.

    Attributes:
        made: Reason by ``namespace/name`` of each that it may, ``*`` for any part.
    """

    made: dict[str, str] = Field(default_factory=dict[str, str])


_AUTHORITIES: Final = ("ca.crt", "ca.pem")


def _is_public(key: str, value: Any) -> bool:
    """Whether an entry holds certificates and no key; until it is known, its name must say so."""
    if value is UNKNOWN:
        return key in _AUTHORITIES
    text = str(value).strip()
    return text.startswith("-----BEGIN CERTIFICATE-----") and "PRIVATE KEY" not in text


def _secrets(resource: Resource, context: Context) -> Iterator[str]:
    if resource.get("type") == "kubernetes.io/service-account-token":
        return
    held = [resource.get(key) for key in ("data", "stringData")]
    public = all(_is_public(key, value) for one in held for key, value in mapping(one).items())
    if public and UNKNOWN not in held:
        return
    name = object_name(resource) or resource.name
    place = f"{resource.get('metadata', 'namespace')}/{name}"
    if not any(fnmatchcase(place, pattern) for pattern in context.config.made):
        yield f"Secret {name} holds data that stays in the state; use an ExternalSecret"


RULES: Final = (
    Rule(
        name="rbac-wildcards", group="kubernetes", severity=Severity.HIGH, types=ROLES, resource=_wildcards,
        control=Control(standard=_CIS, version="1.8", reference="5.1.3"),
        description="No role has a wildcard, or gives itself more, without a recorded reason.",
    ),
    Rule(
        name="rbac-bindings", group="kubernetes", severity=Severity.CRITICAL, types=BINDINGS, resource=_bindings,
        config=BindingConfig, control=Control(standard=_CIS, version="1.8", reference="5.1.1"),
        description="Nobody is cluster-admin who is not named, and nothing is bound to everybody.",
    ),
    Rule(
        name="no-secrets-in-state", group="kubernetes", severity=Severity.CRITICAL, types=(_SECRET,), resource=_secrets,
        config=SecretConfig,
        description="No Kubernetes Secret is made of values that the program holds; certificates are no secret.",
    ),
)  # fmt: skip
