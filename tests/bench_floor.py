"""The floor: a program that registers what was recorded, with the same inputs, parents and dependencies, and no logic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime.rpc import UNKNOWN

_SIGNATURE = "4dabf18193072939515e22adb298388d"  # marks a secret on the wire
_STACK = "pulumi:pulumi:Stack"


def replay(recording: Path) -> None:
    """Register every recorded resource again."""
    made: dict[str, pulumi.Resource] = {}
    for request in _parents_first(json.loads(recording.read_text())):
        made[_key(request["type"], request["name"])] = _register(request, made)


def _parents_first(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Order the recording so that everything comes after what it names; recorded order has that but for ties."""
    waiting = [request for request in requests if request["type"] != _STACK]
    done: set[str] = set()
    ordered: list[dict[str, Any]] = []
    ours = {_key(request["type"], request["name"]) for request in waiting}
    while waiting:
        ready = [request for request in waiting if (_needs(request) & ours) <= done]
        assert ready, "the recording has a cycle"
        ordered += ready
        done |= {_key(request["type"], request["name"]) for request in ready}
        waiting = [request for request in waiting if _key(request["type"], request["name"]) not in done]
    return ordered


def _needs(request: dict[str, Any]) -> set[str]:
    urns = [request.get("parent", ""), _provider_urn(request), *request.get("dependencies", ())]
    urns += [urn.rsplit("::", 1)[0] for urn in request.get("providers", {}).values()]
    return {_key_of(urn) for urn in urns if urn}


def _key(kind: str, name: str) -> str:
    return f"{kind}::{name}"


def _key_of(urn: str) -> str:
    _, _, types, name = urn.split("::", 3)
    return _key(types.rsplit("$", 1)[-1], name)


def _provider_urn(request: dict[str, Any]) -> str:
    return request.get("provider", "").rsplit("::", 1)[0]


def _register(request: dict[str, Any], made: dict[str, pulumi.Resource]) -> pulumi.Resource:
    kind, name = request["type"], request["name"]
    by_property = {
        key: [_key_of(urn) for urn in entry.get("urns", ())]
        for key, entry in request.get("propertyDependencies", {}).items()
    }
    flowing = {key for keys in by_property.values() for key in keys}
    explicit = [_key_of(urn) for urn in request.get("dependencies", ())]
    options = pulumi.ResourceOptions(
        parent=made.get(_key_of(request["parent"])) if request.get("parent") else None,
        depends_on=[made[key] for key in explicit if key in made and key not in flowing],
        provider=_provider(made.get(_key_of(_provider_urn(request))) if request.get("provider") else None),
        protect=request.get("protect"),
        version=request.get("version"),
        ignore_changes=request.get("ignoreChanges"),
        retain_on_delete=request.get("retainOnDelete"),
    )
    inputs = {
        key: _value(value, [made[dep] for dep in by_property.get(key, ()) if dep in made])
        for key, value in request.get("object", {}).items()
    }
    if kind.startswith("pulumi:providers:"):
        return pulumi.ProviderResource(kind.removeprefix("pulumi:providers:"), name, inputs, options)
    if request.get("custom"):
        return pulumi.CustomResource(kind, name, inputs, options)
    if request.get("remote"):
        return pulumi.ComponentResource(kind, name, inputs, options, remote=True)
    component = pulumi.ComponentResource(kind, name, None, options)
    component.register_outputs({})
    return component


def _provider(resource: pulumi.Resource | None) -> pulumi.ProviderResource | None:
    return resource if isinstance(resource, pulumi.ProviderResource) else None


def _value(value: Any, sources: list[pulumi.Resource]) -> Any:
    """Return an input; what was unknown then is an output of the resource that it came from."""
    if value == UNKNOWN:
        source = next((source for source in sources if isinstance(source, pulumi.CustomResource)), None)
        return source.id if source else pulumi.Output.from_input(pulumi.runtime.rpc.UNKNOWN)
    if isinstance(value, list):
        return [_value(item, sources) for item in value]
    if isinstance(value, dict):
        if _SIGNATURE in value:
            return pulumi.Output.secret(_value(value.get("value"), sources))
        return {key: _value(item, sources) for key, item in value.items()}
    return value
