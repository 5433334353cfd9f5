"""The floor: a program that registers what was recorded (inputs, parents, dependencies, providers), and no logic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime.rpc import UNKNOWN

# Marks of the wire format: a secret, and an output (which remote components take) that may be a secret as well.
_SIGNATURE, _SECRET, _OUTPUT = (
    "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270", "d0e6a833031e9bbcd3f4e8bde6ca49a4",
)  # fmt: skip
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
    urns += _providers(request)
    return {_key_of(urn) for urn in urns if urn}


def _key(kind: str, name: str) -> str:
    return f"{kind}::{name}"


def _key_of(urn: str) -> str:
    _, _, types, name = urn.split("::", 3)
    return _key(types.rsplit("$", 1)[-1], name)


def _provider_urn(request: dict[str, Any]) -> str:
    return request.get("provider", "").rsplit("::", 1)[0]


def _providers(request: dict[str, Any]) -> list[str]:
    """URNs of the providers that a component hands to its children."""
    return [reference.rsplit("::", 1)[0] for reference in request.get("providers", {}).values()]


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
        provider=_provider(made.get(_key_of(_provider_urn(request))) if "provider" in request else None),
        protect=request.get("protect"),
        version=request.get("version"),
        providers=[p for p in (_provider(made.get(_key_of(urn))) for urn in _providers(request)) if p],
        aliases=[pulumi.Alias(type_=alias["spec"]["type"]) for alias in request.get("aliases", ())],  # the SDK's own
        ignore_changes=request.get("ignoreChanges"),
        retain_on_delete=request.get("retainOnDelete"),
    )
    inputs = {
        key: _value(value, [made[dep] for dep in by_property.get(key, ()) if dep in made], made)
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


def _value(value: Any, sources: list[pulumi.Resource], made: dict[str, pulumi.Resource]) -> Any:
    """Return an input; what was unknown then is an output of the resource that it came from."""
    if value == UNKNOWN:
        source = next((source for source in sources if isinstance(source, pulumi.CustomResource)), None)
        return source.id if source else UNKNOWN
    if isinstance(value, list):
        return [_value(item, sources, made) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get(_SIGNATURE) == _SECRET:
        return pulumi.Output.secret(_value(value.get("value"), sources, made))
    if value.get(_SIGNATURE) == _OUTPUT:
        own = [made[key] for key in map(_key_of, value.get("dependencies", ())) if key in made]
        inner = _value(value.get("value", UNKNOWN), own, made)
        return pulumi.Output.secret(inner) if value.get("secret") else inner
    return {key: _value(item, sources, made) for key, item in value.items()}
