"""The access matrix as a page: every service account that reaches the cloud, and every RBAC binding."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from ops.access_matrix import Binding, Matrix, Permission, Role, Use, read, resources

_INTRODUCTION: Final = """\
# Access matrix

Generated from the state of the {stack} stack by `python -m ops.access_matrix`; do not edit.

What every Kubernetes service account with a cloud identity may do there, and who may do what in the cluster. Names in
italics are resources of the program. Charts bring further RBAC of their own, for their own pods; it is not listed.
"""
_SERVICES: Final[Mapping[str, str]] = {
    "autoscaling": "Auto Scaling",
    "cognito-idp": "Cognito",
    "ec2": "EC2",
    "ecr": "ECR",
    "eks": "EKS",
    "elasticloadbalancing": "Elastic Load Balancing",
    "iam": "IAM",
    "kms": "KMS",
    "route53": "Route 53",
    "s3": "S3",
    "secretsmanager": "Secrets Manager",
    "shield": "Shield",
    "waf-regional": "WAF Regional",
    "wafv2": "WAF",
}
_OPERATORS: Final[Mapping[str, str]] = {
    "StringEquals": "is",
    "StringEqualsIgnoreCase": "is",
    "StringNotEquals": "is not",
    "StringLike": "is like",
    "StringNotLike": "is not like",
    "ArnEquals": "is",
    "ArnLike": "is like",
    "Bool": "is",
    "Null": "is absent:",
}
_GENERATED_KINDS: Final[Mapping[str, str]] = {"sg": "security group", "subnet": "subnet", "vpc": "VPC"}
_GENERATED: Final = re.compile(rf"({'|'.join(_GENERATED_KINDS)})-[0-9a-f]{{8,17}}")
_EACH: Final = "ForAllValues:"
_SOME: Final = "ForAnyValue:"


def render(state: Mapping[str, Any]) -> str:
    """The page of an exported state."""
    matrix, names = read(state), _Names(state)
    lines = [_INTRODUCTION.format(stack=names.stack), "## Cloud identities\n"]
    for role in matrix.roles:
        lines += _role(role, matrix, names)
    lines += ["## Bindings in the cluster\n", *_bindings(matrix.bindings)]
    return "\n".join(lines).rstrip("\n") + "\n"


class _Names:
    """What stands for ARNs and generated ids: the name in the program, for they are new in every account."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        found = resources(state)
        self.stack = next((one.name.rsplit("-", 1)[-1] for one in found if one.type == "pulumi:pulumi:Stack"), "")
        self._names: dict[str, str] = {}
        for one in found:
            kind = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", one.type.rsplit(":", 1)[-1]).lower()
            for given in (str(one.outputs.get("arn", "")), one.id):
                if given.startswith("arn:") or _GENERATED.fullmatch(given):
                    self._names.setdefault(given, f"{kind} *{one.name}*")
        for one in found:  # what the cloud makes beside a resource, such as the security group of a cluster
            for given in _strings(one.outputs):
                if match := _GENERATED.fullmatch(given):
                    self._names.setdefault(given, f"{_GENERATED_KINDS[match[1]]} of *{one.name}*")
            for secret in one.outputs.get("masterUserSecrets") or ():
                self._names.setdefault(secret["secretArn"], f"secret of *{one.name}*")
        longest_first = sorted(self._names, key=lambda given: (-len(given), given))
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def of(self, text: str) -> str:
        """``text`` with ARNs replaced by names; what follows one, such as ``/*``, stays."""
        if (name := self._names.get(text.rpartition("/")[2])) is not None:
            return name
        match = self._pattern.match(text)
        if match is None:
            return "everything" if text == "*" else f"`{text}`"
        rest = text[match.end() :]
        return self._names[match[0]] + (f" `{rest}`" if rest else "")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in cast(dict[str, Any], value).values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in cast(list[Any], value):
            yield from _strings(item)


def _role(role: Role, matrix: Matrix, names: _Names) -> Iterator[str]:
    accounts = ", ".join(f"`{account}`" for account in role.trusted)
    uses = ", ".join(dict.fromkeys(_use(use) for use in matrix.uses_of(role))) or "nothing"
    yield f"### {accounts}\n"
    yield f"Role *{role.resource}*, given by {uses}.\n"
    yield "| may | on | where |"
    yield "| --- | --- | --- |"
    for policy in role.managed:
        yield f"| what AWS' own policy `{policy}` allows | | |"
    for permission in role.permissions:
        yield _row(permission, names)
    if not role.managed and not role.permissions:
        yield "| nothing | | |"
    yield ""


def _use(use: Use) -> str:
    kind = {"Release": "release", "Addon": "add-on", "ServiceAccount": "service account"}
    return f"{kind.get(use.kind.rsplit(':', 1)[-1], 'association')} *{use.resource}*"


def _row(permission: Permission, names: _Names) -> str:
    what = "<br>".join(in_words(permission.actions))
    on = ", ".join(names.of(resource) for resource in permission.resources)
    where = "; ".join(
        _condition(operator, key, values, names)
        for operator, keys in permission.conditions.items()
        for key, values in keys.items()
    )
    refused = "**not** " if permission.effect == "Deny" else ""
    return f"| {refused}{what} | {on} | {where} |"


def in_words(actions: Sequence[str]) -> Iterator[str]:
    """``("s3:GetObject", "s3:GetObjectVersion")`` as ``S3: get object, object version``."""
    by_service: dict[str, dict[str, list[str]]] = {}
    for action in actions:
        service, _, name = action.partition(":")
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name).lower().split(" ", 1)
        what = words[1].replace("*", " …") if len(words) > 1 else ""
        by_service.setdefault(service, {}).setdefault(words[0].replace("*", " anything"), []).append(what)
    for service, verbs in by_service.items():
        said = "; ".join(f"{verb} {', '.join(filter(None, what))}".strip() for verb, what in verbs.items())
        yield f"{_SERVICES.get(service, service)}: {said}"


def _condition(operator: str, key: str, values: Sequence[str], names: _Names) -> str:
    each = "each " if operator.startswith(_EACH) else "any " if operator.startswith(_SOME) else ""
    bare = operator.removeprefix(_EACH).removeprefix(_SOME)
    optional = ", if it is there" if bare.endswith("IfExists") else ""
    verb = _OPERATORS.get(bare.removesuffix("IfExists"), bare)
    return f"{each}`{key}` {verb} {' or '.join(names.of(value) for value in values)}{optional}"


def _bindings(bindings: Sequence[Binding]) -> Iterator[str]:
    if not bindings:
        yield "None."
        return
    yield "| where | who | role |"
    yield "| --- | --- | --- |"
    for one in bindings:
        yield f"| {_place(one)} | {', '.join(one.subjects)} | {one.role} |"
    yield ""
    yield "## Roles of these bindings\n"
    for role, rules in sorted({(_title(one), one.rules) for one in bindings}):
        yield f"### {role}\n"
        yield from (f"- {rule}" for rule in rules)
        if not rules:
            yield "- what Kubernetes or a chart gives it"
        yield ""


def _place(binding: Binding) -> str:
    return f"`{binding.namespace}`" if binding.namespace else "the cluster"


def _title(binding: Binding) -> str:
    """A role of a namespace is another one in each."""
    return f"{binding.role} in {_place(binding)}" if binding.role.startswith("Role ") else binding.role
