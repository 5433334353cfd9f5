"""IAM policy documents as rules read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

from policies.view import UNKNOWN, Resource, at, document, mapping

# Policies of identities: what a role may do.
IDENTITY: Final = {
    "aws:iam/rolePolicy:RolePolicy": "policy",
    "aws:iam/policy:Policy": "policy",
    "aws:iam/userPolicy:UserPolicy": "policy",
    "aws:iam/groupPolicy:GroupPolicy": "policy",
}
# Policies of resources: who may do something to one of them.
RESOURCE: Final = {
    "aws:s3/bucketPolicy:BucketPolicy": "policy",
    "aws:kms/key:Key": "policy",
    "aws:sns/topicPolicy:TopicPolicy": "policy",
    "aws:sqs/queuePolicy:QueuePolicy": "policy",
    "aws:efs/fileSystemPolicy:FileSystemPolicy": "policy",
    "aws:ec2/vpcEndpoint:VpcEndpoint": "policy",
    "aws:secretsmanager/secretPolicy:SecretPolicy": "policy",
    "aws:ecr/repositoryPolicy:RepositoryPolicy": "policy",
}
ROLE: Final = "aws:iam/role:Role"
DOCUMENTS: Final = {**IDENTITY, **RESOURCE, ROLE: "assumeRolePolicy"}


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement, with texts and lists of texts made alike.

    Attributes:
        sid: Its name; its place in the document where it has none.
        allows: Its effect.
        actions: What it is about.
        resources: On what.
        principals: Who, by kind; ``{"AWS": ["*"]}`` for everybody, empty in policies of identities.
        conditions: Operator to key to values.
        inverted: It says what is left out (``NotAction``, ``NotResource``, ``NotPrincipal``).
    """

    sid: str
    allows: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    principals: dict[str, tuple[str, ...]]
    conditions: dict[str, dict[str, tuple[str, ...]]]
    inverted: bool


def known_later(resource: Resource) -> bool:
    """Whether the document of a resource is known only during the update."""
    return resource.get(DOCUMENTS[resource.type]) is UNKNOWN


def statements(resource: Resource) -> Iterator[Statement]:
    """Statements of the document of a resource; none where it is unknown."""
    found = at(document(resource.get(DOCUMENTS[resource.type])), "Statement")
    for index, raw in enumerate(_listed(found)):
        if isinstance(raw, dict):
            yield _statement(cast("dict[str, Any]", raw), index)


def _statement(raw: dict[str, Any], index: int) -> Statement:
    principal = raw.get("Principal")
    named = {"AWS": principal} if isinstance(principal, str) else principal or {}
    return Statement(
        sid=str(raw.get("Sid") or f"statement {index}"),
        allows=raw.get("Effect") == "Allow",
        actions=_texts(raw.get("Action")),
        resources=_texts(raw.get("Resource")),
        principals={kind: _texts(who) for kind, who in named.items()},
        conditions={
            operator: {key: _texts(values) for key, values in mapping(keys).items()}
            for operator, keys in mapping(raw, "Condition").items()
        },
        inverted=any(key in raw for key in ("NotAction", "NotResource", "NotPrincipal")),
    )


def _listed(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else [] if value is None else [value]


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(one) for one in _listed(value))
