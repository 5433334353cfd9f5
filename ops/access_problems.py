"""What is wrong with an access matrix: identities without a role, roles without a use, data without its key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from ops.access_matrix import (
    RELEASE,
    Matrix,
    Permission,
    Properties,
    Resource,
    Role,
    ServiceAccount,
    Use,
    read,
    resources,
)

# Charts whose pods call the cloud's API in every configuration that we use, by what they do there.
CALL_THE_CLOUD: Final[Mapping[str, str]] = {
    "aws-load-balancer-controller": "makes load balancers",
    "cluster-autoscaler": "resizes node groups",
    "velero": "writes backups and snapshots",
}
# Custom resources that make the pods of a chart call the cloud: (chart, kind, what their spec holds then).
_CALL_WHEN_TOLD: Final = (
    ("cert-manager", re.compile(r"(Cluster)?Issuer"), "route53"),
    ("external-secrets", re.compile(r"(Cluster)?SecretStore"), "aws"),
)


def problems(state: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong, one line each; empty when all is well."""
    matrix, found = read(state), resources(state)
    return [
        *_roles_and_their_uses(matrix),
        *_charts_without_a_role(matrix, found),
        *(line for role in matrix.roles for line in _data_without_its_key(role, found)),
    ]


def _roles_and_their_uses(matrix: Matrix) -> Iterator[str]:
    by_arn = {role.arn: role for role in matrix.roles}
    for role in matrix.roles:
        for account in role.trusted:
            if any(character in str(account) for character in "*?"):
                yield f"{role.resource}: it trusts {account}, which is more than one service account"
        if not matrix.uses_of(role):
            yield f"{role.resource}: no service account uses this role of {_names(role.trusted)}"
    for use in matrix.uses:
        role = by_arn.get(use.role_arn)
        if role is None:
            yield f"{use.resource}: {use.account} is given {use.role_arn}, which is no role of this stack for pods"
        elif not any(_same(use.account, account) for account in role.trusted):
            yield f"{use.resource}: {use.account} is given {role.resource}, which trusts {_names(role.trusted)}"


def _same(used: ServiceAccount, trusted: ServiceAccount) -> bool:
    """Whether the two may be the same; a name that a chart chooses is not known here."""
    return used.namespace == trusted.namespace and used.name in ("", trusted.name)


def _charts_without_a_role(matrix: Matrix, found: Sequence[Resource]) -> Iterator[str]:
    for release in (one for one in found if one.type == RELEASE):
        chart = str(release.inputs["chart"]).rsplit("/", 1)[-1]
        why = CALL_THE_CLOUD.get(chart) or next(_told(chart, found), "")
        if why and not any(_serves(use, release) for use in matrix.uses):
            yield f"{release.name}: {chart} {why}, and none of its service accounts has a role"


def _told(chart: str, found: Sequence[Resource]) -> Iterator[str]:
    for name, kind, word in _CALL_WHEN_TOLD:
        for one in found:
            if name == chart and kind.fullmatch(str(one.inputs.get("kind"))) and _holds(one.inputs.get("spec"), word):
                yield f"is told so by {one.inputs['kind']} {one.inputs['metadata'].get('name')}"


def _holds(value: Any, word: str) -> bool:
    if isinstance(value, dict):
        return word in value or any(_holds(item, word) for item in value.values())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] JSON of any shape
    return isinstance(value, list) and any(_holds(item, word) for item in value)  # pyright: ignore[reportUnknownVariableType] JSON of any shape


def _serves(use: Use, release: Resource) -> bool:
    """Whether a use is for pods of a release: in its values, or a service account that its values name."""
    if use.resource == release.name and use.kind == release.type:
        return True
    same_place = use.account.namespace == (release.inputs.get("namespace") or "default")
    return same_place and bool(use.account.name) and use.account.name in _strings(release.inputs.get("values"))


def _strings(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value}
    items: list[Any] = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] JSON of any shape
    return {text for item in items for text in _strings(item)}


def _data_without_its_key(role: Role, found: Sequence[Resource]) -> Iterator[str]:
    """Grants of objects or secrets under a key that the role may not use for them."""
    for bucket, key in _bucket_keys(found).items():
        writes = _covers(role, "s3:PutObject", f"{bucket}/")
        needed = ["kms:Decrypt"] if writes or _covers(role, "s3:GetObject", f"{bucket}/") else []
        needed += ["kms:GenerateDataKey"] if writes else []
        context = {"kms:ViaService": "s3.", "kms:EncryptionContext:aws:s3:arn": bucket}
        for action in needed:
            if not _key_allows(role, action, key, context):
                yield (
                    f"{role.resource}: objects of {_named(bucket, found)} "
                    f"without {action} on their key {_named(key, found)}"
                )
    for secret, key in _secret_keys(found).items():
        if not any("secretsmanager:GetSecretValue" in p.actions and _reaches(p, secret) for p in _allowed(role)):
            continue
        context = {"kms:ViaService": "secretsmanager.", "kms:EncryptionContext:SecretARN": secret}
        if not _key_allows(role, "kms:Decrypt", key, context):
            yield f"{role.resource}: secret {_named(secret, found)} without kms:Decrypt on its key {_named(key, found)}"


def _allowed(role: Role) -> list[Permission]:
    return [permission for permission in role.permissions if permission.effect == "Allow"]


def _covers(role: Role, action: str, prefix: str) -> bool:
    """Whether a role may do ``action`` with anything below ``prefix``, an ARN that ends with a slash."""
    return any(
        any(fnmatchcase(action, allowed) for allowed in permission.actions)
        and any(_overlap(pattern, prefix) for pattern in permission.resources)
        for permission in _allowed(role)
    )


def _overlap(pattern: str, prefix: str) -> bool:
    """Whether an ARN with wildcards can name something that begins with ``prefix``."""
    fixed = re.split(r"[*?]", pattern, maxsplit=1)[0]
    return pattern.startswith(prefix) or (len(fixed) < len(pattern) and prefix.startswith(fixed))


def _key_allows(role: Role, action: str, key: str, context: Mapping[str, str]) -> bool:
    """Whether a role may use ``key`` in the way that ``context`` describes: by its service, for its data."""
    return any(
        any(fnmatchcase(action, allowed) for allowed in permission.actions)
        and _reaches(permission, key)
        and all(
            any(_admits(value, wanted) for value in values)
            for keys in permission.conditions.values()
            for name, values in keys.items()
            if (wanted := context.get(name)) is not None
        )
        for permission in _allowed(role)
    )


def _admits(value: str, wanted: str) -> bool:
    """Whether a condition's value admits ``wanted``: an ARN and what is below it, or a service as ``s3.``."""
    below = wanted if wanted.endswith(".") else f"{wanted}/"
    return fnmatchcase(wanted, value) or value.startswith(below)


def _reaches(permission: Permission, arn: str) -> bool:
    return any(fnmatchcase(arn, pattern) for pattern in permission.resources)


def _bucket_keys(found: Sequence[Resource]) -> dict[str, str]:
    """The key of every bucket that has one, by the bucket's ARN."""
    arns = {one.id: str(one.outputs["arn"]) for one in found if one.type.startswith("aws:s3/bucket:")}
    keys: dict[str, str] = {}
    for one in found:
        if "bucketServerSideEncryptionConfiguration" not in one.type:
            continue
        for rule in one.inputs.get("rules") or ():
            default: Properties = rule.get("applyServerSideEncryptionByDefault") or {}
            if key := default.get("kmsMasterKeyId"):
                keys[arns[one.inputs["bucket"]]] = str(key)
    return keys


def _secret_keys(found: Sequence[Resource]) -> dict[str, str]:
    """The key of every secret that has one, by the secret's ARN; the database's own among them."""
    keys: dict[str, str] = {}
    for one in found:
        if one.type == "aws:secretsmanager/secret:Secret" and one.inputs.get("kmsKeyId"):
            keys[str(one.outputs["arn"])] = str(one.inputs["kmsKeyId"])
        for secret in one.outputs.get("masterUserSecrets") or ():
            if secret.get("kmsKeyId"):
                keys[str(secret["secretArn"])] = str(secret["kmsKeyId"])
    return keys


def _named(arn: str, found: Sequence[Resource]) -> str:
    return next((one.name for one in found if one.outputs.get("arn") == arn), arn)


def _names(accounts: Sequence[ServiceAccount]) -> str:
    return ", ".join(map(str, accounts))
