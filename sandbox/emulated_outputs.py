"""Outputs of emulated resources: a well-formed value of the declared type for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sandbox.schema import Field, Type
from sandbox.store import Record
from sandbox.values import UNKNOWN, Properties, is_list, is_object

Text = Callable[[str], str]  # from an output's name to what it says


def complete(
    fields: Mapping[str, Field], inputs: Properties, known: Properties, text: Text, *, preview: bool
) -> Properties:
    """Return the outputs of a resource: its inputs, then what ``known`` says, then computed values.

    Args:
        fields: Declared outputs.
        inputs: Checked inputs.
        known: Values by output name that were worked out for this type (identifiers, endpoints).
        text: Invents a text for an output, by its name.
        preview: Leave everything computed ``UNKNOWN``.
    """
    outputs: Properties = {}
    for name, spec in fields.items():
        given = inputs.get(name)
        if given is not None:
            outputs[name] = _merged(spec.type, given, known.get(name), text, preview=preview)
        elif name in known:
            outputs[name] = UNKNOWN if preview else known[name]
        elif spec.required:
            outputs[name] = UNKNOWN if preview else _invented(name, spec.type, text)
    return outputs


def _merged(expected: Type, given: Any, known: Any, text: Text, *, preview: bool) -> Any:
    """Complete the objects inside what was given: a cloud computes fields there too."""
    if expected.kind == "object" and is_object(given):
        completed = complete(expected.fields, given, known if is_object(known) else {}, text, preview=preview)
        return {**completed, **{k: v for k, v in given.items() if k not in completed}}
    if expected.kind == "list" and expected.element and is_list(given):
        computed = known if is_list(known) and len(known) == len(given) else [None] * len(given)
        return [
            _merged(expected.element, item, own, text, preview=preview)
            for item, own in zip(given, computed, strict=True)
        ]
    return given


def carried(new: Any, outputs: Any, inputs: Any) -> Any:
    """Return new inputs with what the cloud had computed inside their objects: an update does not forget it."""
    if is_list(new) and is_list(outputs) and len(new) == len(outputs):
        before = inputs if is_list(inputs) and len(inputs) == len(new) else [None] * len(new)
        return [carried(*items) for items in zip(new, outputs, before, strict=True)]
    if not (is_object(new) and is_object(outputs)):
        return new
    old = inputs if is_object(inputs) else {}
    computed = {key: value for key, value in outputs.items() if key not in new and key not in old}
    return {**computed, **{key: carried(value, outputs.get(key), old.get(key)) for key, value in new.items()}}


def _invented(name: str, expected: Type, text: Text) -> Any:
    if expected.kind == "boolean":
        return False
    if expected.kind in ("integer", "number"):
        return 0
    if expected.kind == "list":
        return []
    if expected.kind == "object":
        return {key: _invented(key, spec.type, text) for key, spec in expected.fields.items() if spec.required}
    if expected.kind in ("map", "any"):
        return {}
    return text(name)


def updated(fields: Mapping[str, Field], record: Record, new: Properties, text: Text, *, preview: bool) -> Properties:
    """Return the outputs after an update in place: the new inputs over what the cloud had computed."""
    kept = {k: v for k, v in record.outputs.items() if k not in record.inputs or k in new or fields[k].required}
    asked = {**kept, **carried(new, record.outputs, record.inputs)}
    return {**kept, **complete(fields, asked, {}, text, preview=preview)}
