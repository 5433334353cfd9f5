"""``iam.getPolicyDocument``: statements to JSON, as the real data source writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sandbox.provider import ProviderError
from sandbox.values import Properties

_DEFAULT_VERSION: Final = "2012-10-17"
_LISTS: Final = (
    ("actions", "Action"),
    ("notActions", "NotAction"),
    ("resources", "Resource"),
    ("notResources", "NotResource"),
)

Statement = dict[str, Any]


def policy_document(arguments: Properties) -> Properties:
    """Compute the document: sources first, then the statements, then what overrides them by ``Sid``.

    Raises:
        ProviderError: Two statements have the same ``Sid``, or a document is no JSON.
    """
    own = [_statement(given) for given in arguments.get("statements") or ()]
    _refuse_twice(own, "statements")
    sources = [_parsed(text, "sourcePolicyDocuments") for text in arguments.get("sourcePolicyDocuments") or ()]
    _refuse_twice([one for source in sources for one in _statements(source)], "sourcePolicyDocuments")
    overrides = [_parsed(text, "overridePolicyDocuments") for text in arguments.get("overridePolicyDocuments") or ()]

    version, identifier = "", ""
    merged: list[Statement] = []
    mine = {
        "Version": arguments.get("version") or _DEFAULT_VERSION,
        "Id": arguments.get("policyId"),
        "Statement": own,
    }
    for document in (*sources, mine, *overrides):
        version = max(version, document.get("Version") or "")
        identifier = document.get("Id") or identifier
        for statement in _statements(document):
            _merge(merged, statement)
    document = {"Version": version, **({"Id": identifier} if identifier else {}), "Statement": merged}
    return {
        **arguments,
        "id": "sandbox",
        "json": json.dumps(document, indent=2),
        "minifiedJson": json.dumps(document, separators=(",", ":")),
    }


def _parsed(text: str, argument: str) -> dict[str, Any]:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ProviderError(f"writing IAM Policy Document: {argument} holds no JSON: {error}") from error


def _statements(document: Mapping[str, Any]) -> list[Statement]:
    given: list[Statement] | Statement = document.get("Statement") or []
    return given if isinstance(given, list) else [given]


def _refuse_twice(statements: Sequence[Statement], argument: str) -> None:
    sids = [statement["Sid"] for statement in statements if statement.get("Sid")]
    if twice := sorted({sid for sid in sids if sids.count(sid) > 1}):
        raise ProviderError(f"writing IAM Policy Document: duplicate Sid ({', '.join(twice)}) in {argument}")


def _merge(merged: list[Statement], new: Statement) -> None:
    for index, existing in enumerate(merged):
        if new.get("Sid") and existing.get("Sid") == new["Sid"]:
            merged[index] = new
            return
    merged.append(new)


def _statement(given: Mapping[str, Any]) -> Statement:
    statement: Statement = {"Sid": given["sid"]} if given.get("sid") else {}
    statement["Effect"] = given.get("effect") or "Allow"
    for name, key in _LISTS:
        if given.get(name):
            statement[key] = _set(given[name])
    for name, key in (("principals", "Principal"), ("notPrincipals", "NotPrincipal")):
        if given.get(name):
            statement[key] = _principals(given[name])
    if conditions := given.get("conditions"):
        statement["Condition"] = _conditions(conditions)
    return statement


def _set(values: Sequence[str]) -> str | list[str]:
    """One value stands alone; several are a set, which the real data source writes in falling order."""
    unique = sorted({_variables(value) for value in values}, reverse=True)
    return unique[0] if len(unique) == 1 else unique


def _variables(text: str) -> str:
    """Write IAM's own variables, which Terraform spells ``&{...}``, as IAM does."""
    return text.replace("&{", "${")


def _principals(principals: Sequence[Mapping[str, Any]]) -> Any:
    if len(principals) == 1 and principals[0]["type"] == "*" and list(principals[0]["identifiers"]) == ["*"]:
        return "*"
    by_type: dict[str, list[str]] = {}
    for principal in principals:
        by_type.setdefault(principal["type"], []).extend(principal["identifiers"])
    return {kind: _set(identifiers) for kind, identifiers in sorted(by_type.items())}


def _conditions(conditions: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Group by test and variable; the order of a condition's values is the caller's."""
    grouped: dict[str, dict[str, list[str]]] = {}
    for condition in conditions:
        values = grouped.setdefault(condition["test"], {}).setdefault(condition["variable"], [])
        values.extend(_variables(value) for value in condition["values"])
    return {
        test: {variable: values[0] if len(values) == 1 else values for variable, values in sorted(variables.items())}
        for test, variables in sorted(grouped.items())
    }
