"""What a resource type takes and gives, read from the installed SDK's own type annotations."""

from __future__ import annotations

import collections.abc
import importlib
import inspect
import threading
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal, TypeGuard, cast

import pulumi
import pulumi.runtime.rpc
from pulumi import _types as sdk_types  # pyright: ignore[reportPrivateUsage] the SDK's own reading of its annotations

from sandbox.values import Secret, Unknown, is_list, is_object

Kind = Literal["string", "integer", "number", "boolean", "list", "map", "object", "any"]


@dataclass(frozen=True)
class Type:
    """One property's type.

    Attributes:
        kind: JSON kind; ``map`` has free keys, ``object`` has ``fields``.
        element: Type of a list's items or a map's values.
        owner: SDK class of an object.
        json_text: A string that may also be given as an object (policy documents).
    """

    kind: Kind
    element: Type | None = None
    owner: type[Any] | None = None
    json_text: bool = False

    @property
    def fields(self) -> Mapping[str, Field]:
        """Fields of an object by Pulumi name; read when asked for, as some types hold themselves."""
        if self.owner is None:
            return {}
        with loading:
            return _object_fields(self.owner)


@dataclass(frozen=True)
class Field:
    """A property of a resource or of a nested object.

    Attributes:
        type: Its type.
        required: For inputs: must be given. For outputs: always has a value, given or computed.
    """

    type: Type
    required: bool


@dataclass(frozen=True)
class ResourceSchema:
    """Inputs and outputs of a resource type by Pulumi name."""

    inputs: Mapping[str, Field]
    outputs: Mapping[str, Field]


class UnknownTypeError(Exception):
    """The SDK has no such resource type."""


# The SDKs load their modules on first use, which the interpreter does not guard against threads (CPython issue 114763).
loading = threading.RLock()


def resource_schema(token: str) -> ResourceSchema:
    """Read the schema of ``token``, such as ``aws:ec2/vpc:Vpc``.

    Raises:
        UnknownTypeError: The installed SDK does not have the type.
    """
    with loading:
        return _resource_schema(token)


@cache
def _resource_schema(token: str) -> ResourceSchema:
    resource = _resource_class(token)
    module = importlib.import_module(resource.__module__)
    # The arguments are called …InitArgs where a nested type has the plain name.
    arguments = getattr(module, f"{resource.__name__}InitArgs", None) or getattr(
        module, f"{resource.__name__}Args", None
    )
    return ResourceSchema(
        inputs={} if arguments is None else _input_fields(arguments),
        outputs=_output_fields(resource, sdk_types.resource_py_to_pulumi_names(resource)),
    )


def _resource_class(token: str) -> type[Any]:
    package, module_name, _ = token.split(":")
    importlib.import_module(f"pulumi_{package}")
    index = cast("Mapping[str, Any]", pulumi.runtime.rpc._RESOURCE_MODULES)  # pyright: ignore[reportPrivateUsage] the SDK's only index from token to class
    for module in index.get(f"{package}:{module_name}", ()):
        described: Mapping[str, Any] = module.mod_info
        if token in described["classes"]:
            return getattr(importlib.import_module(described["fqn"]), described["classes"][token])
    raise UnknownTypeError(f"the installed SDK has no resource type {token}")


def _input_fields(arguments: type[Any]) -> dict[str, Field]:
    names = sdk_types.input_type_py_to_pulumi_names(arguments)
    hints = sdk_types.input_type_types(arguments)
    parameters = inspect.signature(arguments).parameters
    return {
        names[python]: Field(_type_of(hints[names[python]]), parameter.default is inspect.Parameter.empty)
        for python, parameter in parameters.items()
        if python in names
    }


def _output_fields(owner: type[Any], names: Mapping[str, str]) -> dict[str, Field]:
    fields: dict[str, Field] = {}
    namespace = vars(importlib.import_module(owner.__module__))
    for python, pulumi_name in names.items():
        getter = inspect.getattr_static(owner, python, None)
        if not isinstance(getter, property) or getter.fget is None:
            continue
        hint = typing.get_type_hints(getter.fget, globalns=namespace)["return"]
        if typing.get_origin(hint) is pulumi.Output:
            (hint,) = typing.get_args(hint)
        fields[pulumi_name] = Field(_type_of(hint), not _optional(hint))
    return fields


def _optional(hint: Any) -> bool:
    return _is_union(hint) and type(None) in typing.get_args(hint)


def _is_class(hint: Any) -> TypeGuard[type[Any]]:
    return isinstance(hint, type)


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _type_of(hint: Any) -> Type:
    if _is_union(hint):
        options = [
            option
            for option in typing.get_args(hint)
            if option is not type(None) and typing.get_origin(option) not in (pulumi.Output, collections.abc.Awaitable)
        ]
        chosen = options[0]
        for option in options:
            if isinstance(option, type) and sdk_types.is_input_type(option):
                chosen = option
        text = str in options
        of_chosen = _type_of(str if text else chosen)
        return Type("string", json_text=True) if text and chosen is not str else of_chosen
    origin = typing.get_origin(hint)
    if origin in (collections.abc.Sequence, list):
        return Type("list", element=_type_of(typing.get_args(hint)[0]))
    if origin in (collections.abc.Mapping, dict):
        return Type("map", element=_type_of(typing.get_args(hint)[1]))
    if not _is_class(hint):
        return Type("any")
    if issubclass(hint, bool):
        return Type("boolean")
    if issubclass(hint, int):
        return Type("integer")
    if issubclass(hint, float):
        return Type("number")
    if issubclass(hint, str):
        return Type("string")
    if sdk_types.is_input_type(hint) or sdk_types.is_output_type(hint):
        return Type("object", owner=hint)
    return Type("any")


@cache
def _object_fields(owner: type[Any]) -> Mapping[str, Field]:
    if sdk_types.is_input_type(owner):
        return _input_fields(owner)
    names = {python: name for name, python in sdk_types._pulumi_to_py_names_from_py_properties(owner).items()}  # pyright: ignore[reportPrivateUsage] no public spelling for nested types
    return _output_fields(owner, names)


def violations(fields: Mapping[str, Field], values: Mapping[str, Any], where: str = "") -> list[tuple[str, str]]:
    """Hold ``values`` against ``fields``: missing, unknown and wrongly typed properties as (path, reason)."""
    found: list[tuple[str, str]] = []
    for name, spec in fields.items():
        if spec.required and values.get(name) is None:
            found.append((f"{where}{name}", "Missing required property"))
    for name, value in values.items():
        if name in fields:
            found += _mismatch(fields[name].type, value, f"{where}{name}")
        elif not name.startswith("__"):
            known = ", ".join(sorted(fields))
            found.append((f"{where}{name}", f"An unexpected property; the resource takes {known}"))
    return found


_PYTHON_KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def _mismatch(expected: Type, value: Any, path: str) -> list[tuple[str, str]]:
    if isinstance(value, Secret):
        value = value.value
    if (
        value is None
        or isinstance(value, Unknown)
        or expected.kind == "any"
        or (expected.json_text and isinstance(value, dict))
    ):
        return []
    if expected.kind in _PYTHON_KINDS:
        right = isinstance(value, _PYTHON_KINDS[expected.kind]) and (
            expected.kind == "boolean" or not isinstance(value, bool)
        )
        return [] if right else [(path, f"expected {expected.kind}, got {_kind(value)}")]
    if expected.kind == "list":
        if not is_list(value):
            return [(path, f"expected list, got {_kind(value)}")]
        return [
            v for i, item in enumerate(value) for v in _mismatch(expected.element or Type("any"), item, f"{path}[{i}]")
        ]
    if not is_object(value):
        return [(path, f"expected {expected.kind}, got {_kind(value)}")]
    if expected.kind == "map":
        return [v for k, item in value.items() for v in _mismatch(expected.element or Type("any"), item, f"{path}.{k}")]
    return violations(expected.fields, value, f"{path}.")


_KINDS: Final[tuple[tuple[type, str], ...]] = (
    (bool, "boolean"),
    (str, "string"),
    (int, "number"),
    (float, "number"),
    (list, "list"),
    (dict, "object"),
)


def _kind(value: Any) -> str:
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "nothing")
