"""Resources as rules see them: plain data, with a mark where a value becomes known only during the update."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast, final

from pulumi_policy import PolicyResource, ResourceValidationArgs, StackValidationArgs
from pulumi_policy.proxy import (
    UNKNOWN_ARCHIVE_VALUE,
    UNKNOWN_ARRAY_VALUE,
    UNKNOWN_ASSET_VALUE,
    UNKNOWN_BOOLEAN_VALUE,
    UNKNOWN_NUMBER_VALUE,
    UNKNOWN_OBJECT_VALUE,
    UNKNOWN_STRING_VALUE,
    UnknownValueError,
)


@final
class Unknown:
    """A value that only the update will tell. It is neither true nor equal to anything but itself."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "known only during the update"


UNKNOWN: Final = Unknown()

_MARKS: Final = frozenset(
    {
        UNKNOWN_ARCHIVE_VALUE,
        UNKNOWN_ARRAY_VALUE,
        UNKNOWN_ASSET_VALUE,
        UNKNOWN_BOOLEAN_VALUE,
        UNKNOWN_NUMBER_VALUE,
        UNKNOWN_OBJECT_VALUE,
        UNKNOWN_STRING_VALUE,
    }
)


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource.

    Attributes:
        type: Type token such as ``aws:rds/instance:Instance``.
        name: Its name in the program.
        urn: Its name in the stack.
        properties: Its inputs; in rules over the whole stack its outputs, which hold the inputs too.
        protect: The engine refuses to delete or replace it.
        parent: URN of its parent; empty for none.
        provider: Configuration of its provider.
        sources: For each property the URNs of the resources that its value comes from; only over the whole stack.
    """

    type: str
    name: str = "example"
    urn: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict[str, Any])
    protect: bool = False
    parent: str = ""
    provider: Mapping[str, Any] = field(default_factory=dict[str, Any])
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def get(self, *path: str | int) -> Any:
        """The value at a path: None where there is none, ``UNKNOWN`` where it or what holds it is unknown."""
        return at(self.properties, *path)

    def items(self, *path: str | int) -> list[Any]:
        """The list at a path, empty where there is none or where it is unknown."""
        return listed(self.properties, *path)


def at(value: Any, *path: str | int) -> Any:
    """What :meth:`Resource.get` does, for a part of a resource."""
    for key in path:
        if value is UNKNOWN:
            return UNKNOWN
        if isinstance(value, Mapping):
            value = cast("Mapping[Any, Any]", value).get(key)
        elif isinstance(value, list) and isinstance(key, int) and key < len(cast("list[Any]", value)):
            value = cast("list[Any]", value)[key]
        else:
            return None
    return value


def mapping(value: Any, *path: str | int) -> dict[str, Any]:
    """The object at a path, empty where there is none or where it is unknown."""
    found = at(value, *path)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def listed(value: Any, *path: str | int) -> list[Any]:
    """The list at a path, empty where there is none or where it is unknown."""
    found = at(value, *path)
    return cast("list[Any]", found) if isinstance(found, list) else []


def is_true(value: Any) -> bool:
    """Booleans come as such, and as text where a provider's schema has text."""
    return value is True or value == "true"


def document(value: Any) -> Any:
    """A JSON document, given as text or as an object; None for none, ``UNKNOWN`` where it or its text is unknown."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None


def plain(value: Any) -> Any:
    """Data without the SDK's guards, in which an unknown value is ``UNKNOWN`` instead of an exception on access."""
    if isinstance(value, str):
        return UNKNOWN if value in _MARKS else value
    if isinstance(value, Mapping):
        mapping = cast("Mapping[str, Any]", value)
        return {key: _guarded(mapping, key) for key in mapping}
    if isinstance(value, Sequence):
        sequence = cast("Sequence[Any]", value)
        return [_guarded(sequence, index) for index in range(len(sequence))]
    if isinstance(value, float) and value.is_integer():
        return int(value)  # the wire knows no whole numbers
    return value


def _guarded(container: Any, key: Any) -> Any:
    try:
        return plain(container[key])
    except UnknownValueError:
        return UNKNOWN


def of_resource(args: ResourceValidationArgs) -> Resource:
    """The resource that is about to be created or updated."""
    return Resource(
        type=args.resource_type,
        name=args.name,
        urn=args.urn,
        properties=plain(args.props),
        protect=bool(args.opts.protect),
        parent=args.opts.parent or "",
        provider=plain(args.provider.props) if args.provider else {},
    )


def of_stack(
    args: StackValidationArgs, types: Iterable[str], inputs: Mapping[str, Mapping[str, Any]]
) -> list[Resource]:
    """The stack's resources whose type begins with one of ``types``.

    Args:
        args: What the engine hands over: every resource with its outputs.
        types: Beginnings of type tokens.
        inputs: What the program asked for, by URN. It stands in for outputs where there are none yet: at the first
            preview the cluster is not there, and the engine knows nothing of the objects in it.
    """
    prefixes = tuple(types)
    return [
        _of_stack(one, one.props or inputs.get(one.urn, {}))
        for one in args.resources
        if one.resource_type.startswith(prefixes)
    ]


def _of_stack(one: PolicyResource, properties: Mapping[str, Any]) -> Resource:
    return Resource(
        type=one.resource_type,
        name=one.name,
        urn=one.urn,
        properties=plain(properties),
        protect=bool(one.opts.protect),
        parent=one.parent.urn if one.parent else "",
        provider=plain(one.provider.props) if one.provider else {},
        sources={key: tuple(source.urn for source in found) for key, found in one.property_dependencies.items()},
    )
