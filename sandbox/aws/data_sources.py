"""Answers to the data sources that the program and pulumi-eks use."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Final

from sandbox.aws.identifiers import Place, dns_suffix
from sandbox.aws.policy_documents import policy_document
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
    "aws:iam/getPolicyDocument:getPolicyDocument": lambda _, arguments: policy_document(arguments),
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
