"""Answers to the data sources that the program and pulumi-eks use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from sandbox.aws.identifiers import Place, dns_suffix
from sandbox.values import UNKNOWN, Properties, has_unknown

Answer = Callable[[Place, Properties], Properties]


def _caller_identity(place: Place, _: Properties) -> Properties:
    return {
        "accountId": place.account,
        "arn": place.arn("iam", "user/sandbox", regional=False),
        "id": place.account,
        "userId": "AIDASANDBOX",
    }


def _partition(place: Place, _: Properties) -> Properties:
    return {
        "dnsSuffix": dns_suffix(place.region),
        "id": place.partition,
        "partition": place.partition,
        "reverseDnsPrefix": ".".join(reversed(dns_suffix(place.region).split("."))),
    }


def _region(place: Place, arguments: Properties) -> Properties:
    region = arguments.get("region") or place.region
    return {
        "description": region,
        "endpoint": f"ec2.{region}.{dns_suffix(region)}",
        "id": region,
        "name": region,
        "region": region,
    }


def _zones(place: Place, _: Properties) -> Properties:
    names = [f"{place.region}{letter}" for letter in "abc"]
    return {
        "groupNames": [place.region],
        "id": place.region,
        "names": names,
        "region": place.region,
        "zoneIds": [f"{place.region}-az{number}" for number in (1, 2, 3)],
    }


def _policy_document(_: Place, arguments: Properties) -> Properties:
    document = {"Version": arguments.get("version") or "2012-10-17"}
    if policy_id := arguments.get("policyId"):
        document["Id"] = policy_id
    statements = [_statement(statement) for statement in arguments.get("statements") or ()]
    text = json.dumps({**document, "Statement": statements}, indent=2)
    return {
        **arguments,
        "id": "sandbox",
        "json": text,
        "minifiedJson": json.dumps(json.loads(text), separators=(",", ":")),
    }


def _statement(given: Mapping[str, Any]) -> dict[str, Any]:
    statement: dict[str, Any] = {}
    if given.get("sid"):
        statement["Sid"] = given["sid"]
    statement["Effect"] = given.get("effect") or "Allow"
    for name, key in (
        ("actions", "Action"),
        ("notActions", "NotAction"),
        ("resources", "Resource"),
        ("notResources", "NotResource"),
    ):
        if given.get(name):
            statement[key] = _one_or_many(given[name])
    for name, key in (("principals", "Principal"), ("notPrincipals", "NotPrincipal")):
        if given.get(name):
            statement[key] = _principals(given[name])
    conditions: dict[str, dict[str, Any]] = {}
    for condition in given.get("conditions") or ():
        conditions.setdefault(condition["test"], {})[condition["variable"]] = _one_or_many(condition["values"])
    if conditions:
        statement["Condition"] = conditions
    return statement


def _principals(principals: list[Mapping[str, Any]]) -> Any:
    if any(principal["type"] == "*" for principal in principals):
        return "*"
    return {principal["type"]: _one_or_many(principal["identifiers"]) for principal in principals}


def _one_or_many(values: list[str]) -> Any:
    return values[0] if len(values) == 1 else sorted(set(values), reverse=True)  # the real data source's order


def _addon_version(_: Place, arguments: Properties) -> Properties:
    return {
        "addonName": arguments["addonName"],
        "id": arguments["addonName"],
        "kubernetesVersion": arguments["kubernetesVersion"],
        "mostRecent": arguments.get("mostRecent"),
        "version": "v1.0.0-eksbuild.1",  # the sandbox has no catalogue of add-ons: pin versions
    }


def _parameter(place: Place, arguments: Properties) -> Properties:
    name = arguments["name"]
    value = f"ami-{hashlib.sha256(name.encode()).hexdigest()[:17]}" if "image_id" in name else "sandbox"
    return {
        "arn": place.arn("ssm", f"parameter{name}"),
        "id": name,
        "insecureValue": value,
        "name": name,
        "type": "String",
        "value": value,
        "version": 1,
    }


DATA_SOURCES: Final[Mapping[str, Answer]] = {
    "aws:index/getCallerIdentity:getCallerIdentity": _caller_identity,
    "aws:index/getPartition:getPartition": _partition,
    "aws:index/getRegion:getRegion": _region,
    "aws:index/getAvailabilityZones:getAvailabilityZones": _zones,
    "aws:iam/getPolicyDocument:getPolicyDocument": _policy_document,
    "aws:eks/getAddonVersion:getAddonVersion": _addon_version,
    "aws:ssm/getParameter:getParameter": _parameter,
}


def answer(token: str, place: Place, arguments: Properties) -> Properties | None:
    """Answer a data source; None where the sandbox does not have it. Unknown arguments make the answer unknown."""
    if token not in DATA_SOURCES:
        return None
    if has_unknown(arguments):
        return {"id": UNKNOWN, "json": UNKNOWN, "value": UNKNOWN}
    return DATA_SOURCES[token](place, arguments)
