"""Inputs of a component, checked against the argument types of the installed SDK."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

import pulumi
import pulumi_eks

from sandbox.provider import CheckFailure
from sandbox.values import Secret, Unknown

# Signatures of the Pulumi wire format (pulumi.runtime.rpc has the same constants).
_SIGNATURE_KEY = "4dabf18193072939515e22adb298388d"
_OUTPUT_VALUE = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e"

_SCALARS: dict[Any, str] = {str: "a string", bool: "a boolean", int: "a whole number", float: "a number"}


@dataclass(frozen=True)
class _Field:
    """One argument of an argument class: its type as annotated, and whether it may be left out."""

    type: Any
    required: bool


def refused(arguments: type, inputs: Mapping[str, Any]) -> list[CheckFailure]:
    """Return what is wrong with ``inputs`` (names as on the wire), every error at once.

    Args:
        arguments: Argument class of the SDK, such as ``pulumi_eks.ClusterArgs``.
        inputs: Values as :func:`sandbox.values.from_struct` gives them; what is unknown passes.
    """
    return list(_object(arguments, inputs, ""))


@cache
def _fields(arguments: type) -> dict[str, _Field]:
    """Arguments of an SDK class by their name on the wire."""
    constructor = typing.cast("Any", arguments).__init__
    scope = {**vars(sys.modules[arguments.__module__]), "Output": pulumi.Output, "T": Any}  # pulumi.Input names both
    hints = typing.get_type_hints(constructor, globalns=scope)
    fields: dict[str, _Field] = {}
    for name, parameter in inspect.signature(constructor).parameters.items():
        if name not in hints:  # self
            continue
        getter = getattr(arguments, name).fget
        fields[getter._pulumi_name] = _Field(
            hints[name], parameter.default is inspect.Parameter.empty
        )  # the SDK keeps no public table of the names
    return fields


def _object(arguments: type, value: Mapping[str, Any], path: str) -> Iterator[CheckFailure]:
    fields = _fields(arguments)
    for name in value:
        if name not in fields:
            yield CheckFailure(_below(path, name), f"no such argument; there are {', '.join(sorted(fields))}")
    for name, field in fields.items():
        if value.get(name) is not None:
            yield from _value(field.type, value[name], _below(path, name))
        elif field.required:
            yield CheckFailure(_below(path, name), "required")


def _value(wanted: Any, value: Any, path: str) -> Iterator[CheckFailure]:
    if isinstance(value, Secret):
        value = value.value
    if isinstance(value, dict) and value.get(_SIGNATURE_KEY) == _OUTPUT_VALUE:  # pyright: ignore[reportUnknownMemberType] a JSON object of any shape
        value = typing.cast("Any", value).get("value")  # absent: unknown
    if value is None or wanted is Any or isinstance(value, Unknown):
        return
    options = _options(wanted)
    if len(options) == 1:
        yield from _one(options[0], value, path)
    elif fitting := [option for option in options if _has_kind(option, value)]:
        yield from _one(fitting[0], value, path)
    else:
        yield CheckFailure(path, f"must be {' or '.join(_describe(option) for option in options)}; got {_shown(value)}")


def _options(wanted: Any) -> list[Any]:
    """What a (possibly nested) union admits, without ``None`` and without the wrappers of a late value."""
    if typing.get_origin(wanted) not in (typing.Union, types.UnionType):
        return [wanted]
    late = (type(None), Awaitable, pulumi.Output)
    members = [m for m in typing.get_args(wanted) if m not in late and typing.get_origin(m) not in late]
    return list(dict.fromkeys(option for member in members for option in _options(member)))


def _one(wanted: Any, value: Any, path: str) -> Iterator[CheckFailure]:
    origin = typing.get_origin(wanted)
    if wanted is Any:
        return
    if not _has_kind(wanted, value):
        yield CheckFailure(path, f"must be {_describe(wanted)}; got {_shown(value)}")
    elif origin is Sequence:
        for index, item in enumerate(value):
            yield from _value(typing.get_args(wanted)[0], item, f"{path}[{index}]")
    elif origin is Mapping:
        for key, item in value.items():
            yield from _value(typing.get_args(wanted)[1], item, _below(path, key))
    elif _is_arguments(wanted) and wanted is not pulumi_eks.CoreDataArgs:  # an output of ours: more than its type says
        yield from _object(wanted, value, path)


def _has_kind(wanted: Any, value: Any) -> bool:
    origin = typing.get_origin(wanted)
    if origin is Sequence:
        return isinstance(value, list)
    if origin is Mapping or _is_arguments(wanted):
        return isinstance(value, dict) and _SIGNATURE_KEY not in value
    if issubclass(wanted, pulumi.Resource):
        return isinstance(value, dict) and _is_reference(typing.cast("dict[str, Any]", value), wanted)
    if issubclass(wanted, Enum):
        return value in [member.value for member in wanted]
    if wanted is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is wanted


def _is_arguments(wanted: Any) -> bool:
    return inspect.isclass(wanted) and hasattr(wanted, "_pulumi_input_type")


def _is_reference(value: Mapping[str, Any], wanted: type) -> bool:
    """Whether ``value`` is a reference to a resource of the class; the class itself does not tell its type token."""
    if value.get(_SIGNATURE_KEY) != _RESOURCE:
        return False
    token = str(value["urn"]).split("::")[2].split("$")[-1].split(":")
    package = wanted.__module__.split(".")[0].removeprefix("pulumi_")
    return token[:2] == ["pulumi", "providers"] or (token[0], token[-1]) == (package, wanted.__name__)


def _describe(wanted: Any) -> str:
    origin = typing.get_origin(wanted)
    if origin is Sequence:
        return "a list"
    if origin is Mapping or _is_arguments(wanted):
        return "an object"
    if wanted in _SCALARS:
        return _SCALARS[wanted]
    if issubclass(wanted, Enum):
        return "one of " + ", ".join(str(member.value) for member in wanted)
    return f"a resource of type {wanted.__module__.split('.')[0].removeprefix('pulumi_')} {wanted.__name__}"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a resource" if _SIGNATURE_KEY in value else "an object"
    return "a list" if isinstance(value, list) else repr(value)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
