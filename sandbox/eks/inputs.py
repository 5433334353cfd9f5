"""Component inputs as the engine hands them over, with the truth values of the original's language."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias, cast

import pulumi

Inputs: TypeAlias = dict[str, Any]
"""Inputs by their names on the wire; any value may be, or hold, an ``Output``."""


class ComponentError(pulumi.RunError):
    """A refusal that the user should read as it is."""


def truthy(value: Any) -> bool:
    """Whether the real package, written in TypeScript, takes ``value`` as given: late values and empty lists count."""
    return isinstance(value, (pulumi.Output, list, dict)) or bool(value)


def given(inputs: Inputs, name: str, default: Any = None) -> Any:
    """Return the input ``name``, or ``default`` where the real package would not take it as given."""
    value = inputs.get(name)
    return value if truthy(value) else default


def section(inputs: Mapping[str, Any], name: str) -> Inputs:
    """Return the object in the input ``name``; empty where there is none."""
    value = inputs.get(name)
    return cast("Inputs", value) if isinstance(value, dict) else {}


def merged(*layers: Any) -> pulumi.Output[dict[str, Any]]:
    """Maps laid over each other, the last wins; a missing one is empty."""

    def merge(known: list[Inputs | None]) -> Inputs:
        return {key: value for layer in known for key, value in (layer or {}).items()}

    return pulumi.Output.all(*layers).apply(merge)


def sorted_json(value: Any) -> pulumi.Output[str] | None:
    """``value`` as compact JSON with sorted keys, so that it does not change between runs; nothing for nothing."""
    if value is None:
        return None

    def dump(known: Any) -> str | None:
        return None if known is None else json.dumps(known, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    return pulumi.Output.from_input(value).apply(dump)  # pyright: ignore[reportReturnType] None stands for "not given", as in the SDK
