"""Who may do what: the access of every Kubernetes service account, read from an exported state.

``make -s export STACK=prod | python -m ops.access_matrix`` prints the page; with ``--check`` it prints what is wrong.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

Properties: TypeAlias = dict[str, Any]

ROLE_ANNOTATION: Final = "eks.amazonaws.com/role-arn"
RELEASE: Final = "kubernetes:helm.sh/v3:Release"
_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"  # marks a secret in the engine's state
_ADDON_NAMESPACE: Final = "kube-system"
_SUBJECT: Final = re.compile(r"system:serviceaccount:([^:]+):(.+)")


@dataclass(frozen=True, kw_only=True)
class ServiceAccount:
    """A Kubernetes service account.

    Attributes:
        namespace: Its namespace.
        name: Its name; empty where the state does not say it, because a chart or an add-on chooses it.
    """

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name or '*'}"


@dataclass(frozen=True, kw_only=True)
class Permission:
    """One statement of an identity policy.

    Attributes:
        effect: ``Allow`` or ``Deny``.
        actions: Such as ``s3:GetObject``; may hold wildcards.
        resources: ARNs; may hold wildcards.
        conditions: Operator to condition key to values.
    """

    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: Mapping[str, Mapping[str, tuple[str, ...]]]


@dataclass(frozen=True, kw_only=True)
class Role:
    """An IAM role that pods assume.

    Attributes:
        resource: Name in the program.
        arn: Its ARN.
        trusted: Service accounts that may assume it, as its trust policy spells them.
        permissions: What its own policies say.
        managed: Names of AWS' own policies that are attached.
    """

    resource: str
    arn: str
    trusted: tuple[ServiceAccount, ...]
    permissions: tuple[Permission, ...]
    managed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Use:
    """A place where a service account is given a role.

    Attributes:
        resource: Name in the program of what gives it: a release, a service account, an add-on.
        kind: Type of that resource.
        account: Who gets it.
        role_arn: Which role.
    """

    resource: str
    kind: str
    account: ServiceAccount
    role_arn: str


@dataclass(frozen=True, kw_only=True)
class Binding:
    """An RBAC binding that the program declares; charts bring more of their own.

    Attributes:
        namespace: Where it holds; empty for the whole cluster.
        name: Its name.
        role: Kind and name of the role.
        subjects: Who; groups, users and service accounts.
        rules: What the role allows, in words; empty where the role is not the program's.
    """

    namespace: str
    name: str
    role: str
    subjects: tuple[str, ...]
    rules: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Everything that pods may do, and who may do what in the cluster.

    Attributes:
        roles: Roles that service accounts assume.
        uses: Service accounts that are given a role.
        bindings: RBAC bindings.
    """

    roles: tuple[Role, ...]
    uses: tuple[Use, ...]
    bindings: tuple[Binding, ...]

    def uses_of(self, role: Role) -> tuple[Use, ...]:
        """Where a role is given to a service account."""
        return tuple(use for use in self.uses if use.role_arn == role.arn)


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource of the state, with secrets unwrapped where the export shows them.

    Attributes:
        type: Type token.
        name: Name in the program.
        id: Identifier at the provider.
        inputs: What was asked for.
        outputs: What there is.
    """

    type: str
    name: str
    id: str
    inputs: Properties
    outputs: Properties


def resources(state: Mapping[str, Any]) -> list[Resource]:
    """The resources of ``pulumi stack export``."""
    listed: Sequence[Properties] = (state.get("deployment") or state)["resources"] or ()
    return [
        Resource(
            type=str(one["type"]),
            name=str(one["urn"]).rsplit("::", 1)[1],
            id=str(one.get("id") or ""),
            inputs=_plain(one.get("inputs") or {}),
            outputs=_plain(one.get("outputs") or {}),
        )
        for one in listed
        if not one.get("delete")  # replaced, and about to go
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        fields = cast(Properties, value)
        if _SIGNATURE in fields:
            return _plain(json.loads(fields["plaintext"])) if "plaintext" in fields else ""
        return {key: _plain(item) for key, item in fields.items() if not key.startswith("__")}
    return [_plain(item) for item in cast(list[Any], value)] if isinstance(value, list) else value


def read(state: Mapping[str, Any]) -> Matrix:
    """Return the access matrix of an exported state."""
    found = resources(state)
    return Matrix(
        roles=tuple(sorted(_roles(found), key=lambda role: [str(account) for account in role.trusted])),
        uses=tuple(use for resource in found for use in _uses(resource)),
        bindings=tuple(sorted(_bindings(found), key=lambda one: (one.namespace, one.name))),
    )


def _roles(found: Sequence[Resource]) -> Iterator[Role]:
    associated: dict[str, list[ServiceAccount]] = {}
    for one in found:
        if one.type == "aws:eks/podIdentityAssociation:PodIdentityAssociation":
            account = ServiceAccount(namespace=one.inputs["namespace"], name=one.inputs["serviceAccount"])
            associated.setdefault(one.inputs["roleArn"], []).append(account)
    policies = {one.outputs["arn"]: one for one in found if one.type == "aws:iam/policy:Policy"}
    for one in found:
        if one.type != "aws:iam/role:Role":
            continue
        arn = str(one.outputs["arn"])
        trusted = (*_trusted(one.inputs["assumeRolePolicy"]), *associated.get(arn, ()))
        if not trusted:
            continue
        documents = [policy.get("policy") for policy in one.inputs.get("inlinePolicies") or ()]
        attached: list[str] = list(one.inputs.get("managedPolicyArns") or ())
        for other in found:
            if other.inputs.get("role") not in (one.id, one.outputs.get("name"), arn):
                continue
            if other.type == "aws:iam/rolePolicy:RolePolicy":
                documents.append(other.inputs["policy"])
            elif other.type == "aws:iam/rolePolicyAttachment:RolePolicyAttachment":
                attached.append(other.inputs["policyArn"])
        documents += [policies[policy].inputs["policy"] for policy in attached if policy in policies]
        yield Role(
            resource=one.name,
            arn=arn,
            trusted=trusted,
            permissions=tuple(permission for document in documents for permission in _permissions(document)),
            managed=tuple(sorted(policy.rsplit("/", 1)[1] for policy in attached if policy not in policies)),
        )


def _trusted(document: Any) -> Iterator[ServiceAccount]:
    """Service accounts in a trust policy; what is no exact name is kept as it is written."""
    for statement in _statements(document):
        if statement.get("Effect") != "Allow" or "sts:AssumeRoleWithWebIdentity" not in _many(statement.get("Action")):
            continue
        conditions: Mapping[str, Properties] = statement.get("Condition") or {}
        subjects = [
            subject
            for keys in conditions.values()
            for key, values in keys.items()
            if key.endswith(":sub")
            for subject in _many(values)
        ]
        for subject in subjects or ["system:serviceaccount:*:*"]:
            if match := _SUBJECT.fullmatch(subject):
                yield ServiceAccount(namespace=match[1], name=match[2])
            else:
                yield ServiceAccount(namespace="*", name=subject)


def _permissions(document: Any) -> Iterator[Permission]:
    for statement in _statements(document):
        conditions: Mapping[str, Mapping[str, Any]] = statement.get("Condition") or {}
        yield Permission(
            effect=str(statement["Effect"]),
            actions=_many(statement.get("Action") or [f"not {action}" for action in _many(statement.get("NotAction"))]),
            resources=_many(statement.get("Resource") or "*"),
            conditions={
                operator: {key: _many(values) for key, values in keys.items()} for operator, keys in conditions.items()
            },
        )


def _statements(document: Any) -> list[Properties]:
    parsed: Properties = json.loads(document) if isinstance(document, str) and document else (document or {})
    statements: Properties | list[Properties] = parsed.get("Statement") or []
    return [statements] if isinstance(statements, dict) else statements


def _many(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(str(item) for item in cast(list[Any], value)) if isinstance(value, list) else (str(value),)


def _uses(resource: Resource) -> Iterator[Use]:
    """Where ``resource`` gives a service account a role."""
    inputs = resource.inputs
    given: list[tuple[ServiceAccount, str]] = []
    if resource.type == RELEASE:
        namespace = str(inputs.get("namespace") or "default")
        given = [
            (ServiceAccount(namespace=namespace, name=name), arn) for name, arn in _annotated(inputs.get("values"))
        ]
    elif resource.type.startswith("kubernetes:core/v1:ServiceAccount"):
        metadata = _metadata(resource)
        annotations: Properties = metadata.get("annotations") or {}
        if ROLE_ANNOTATION in annotations:
            account = ServiceAccount(namespace=metadata.get("namespace") or "default", name=metadata.get("name") or "")
            given = [(account, annotations[ROLE_ANNOTATION])]
    elif resource.type == "aws:eks/addon:Addon" and inputs.get("serviceAccountRoleArn"):
        given = [(ServiceAccount(namespace=_ADDON_NAMESPACE, name=""), inputs["serviceAccountRoleArn"])]
    elif resource.type == "aws:eks/podIdentityAssociation:PodIdentityAssociation":
        account = ServiceAccount(namespace=inputs["namespace"], name=inputs["serviceAccount"])
        given = [(account, inputs["roleArn"])]
    for account, arn in given:
        yield Use(resource=resource.name, kind=resource.type, account=account, role_arn=arn)


def _annotated(values: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Roles in a chart's values, with the name of the service account where it stands beside the annotations."""
    if isinstance(values, list):
        for item in cast(list[Any], values):
            yield from _annotated(item)
    elif isinstance(values, dict):
        fields = cast(Properties, values)
        if arn := fields.get(ROLE_ANNOTATION):
            yield name, str(arn)
        beside = fields.get("name")
        for value in fields.values():
            yield from _annotated(value, beside if isinstance(beside, str) else "")


def _bindings(found: Sequence[Resource]) -> Iterator[Binding]:
    rules: dict[tuple[str, str, str], tuple[str, ...]] = {}
    for one in found:
        if match := re.fullmatch(r"kubernetes:rbac\.authorization\.k8s\.io/v1:((?:Cluster)?Role)", one.type):
            metadata = _metadata(one)
            rules[match[1], metadata.get("namespace") or "", metadata["name"]] = tuple(_rules(one.inputs))
    for one in found:
        if not re.fullmatch(r"kubernetes:rbac\.authorization\.k8s\.io/v1:(Cluster)?RoleBinding", one.type):
            continue
        metadata, reference = _metadata(one), one.inputs["roleRef"]
        namespace = str(metadata.get("namespace") or "")
        place = namespace if reference["kind"] == "Role" else ""
        yield Binding(
            namespace=namespace,
            name=str(metadata["name"]),
            role=f"{reference['kind']} {reference['name']}",
            subjects=tuple(sorted(_subject(subject) for subject in one.inputs.get("subjects") or ())),
            rules=rules.get((reference["kind"], place, reference["name"]), ()),
        )


def _metadata(resource: Resource) -> Properties:
    """Metadata of an object; a name that the provider draws stands in the outputs alone."""
    return {**(resource.outputs.get("metadata") or {}), **(resource.inputs.get("metadata") or {})}


def _subject(subject: Properties) -> str:
    if subject["kind"] == "ServiceAccount":
        return f"service account {subject.get('namespace')}/{subject['name']}"
    return f"{str(subject['kind']).lower()} {subject['name']}"


def _rules(role: Properties) -> Iterator[str]:
    for rule in role.get("rules") or ():
        verbs = "everything with" if "*" in rule["verbs"] else ", ".join(rule["verbs"])
        groups = [group for group in rule.get("apiGroups") or () if group not in ("", "*")]
        what = ", ".join("everything" if item == "*" else item for item in rule.get("resources") or ())
        names = f" named {', '.join(rule['resourceNames'])}" if rule.get("resourceNames") else ""
        where = f" ({', '.join(groups)})" if groups else ""
        yield f"{verbs} {what or ', '.join(rule.get('nonResourceURLs') or ())}{names}{where}"


def main() -> int:
    """Print the page of the state on standard input, or with ``--check`` what is wrong with it."""
    from ops import access_page, access_problems  # noqa: PLC0415 both are built on this module

    state = json.load(sys.stdin)
    if "--check" in sys.argv[1:]:
        found = access_problems.problems(state)
        print("\n".join(found) or "no problem found")
        return 1 if found else 0
    print(access_page.render(state), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
