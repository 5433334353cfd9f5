"""The section ``rotation`` of a stack's file, as a text edit that leaves every other line as it is."""

from __future__ import annotations

import re
from typing import Any, Final, cast

import yaml

from components.settings import NAMESPACE
from components.settings.rotation import RotationSettings
from ops.stack import StackError

_NAME: Final = f"{NAMESPACE}:rotation"
_BEGIN: Final = re.compile(rf"^  ['\"]?{re.escape(_NAME)}['\"]?:", re.MULTILINE)


class EditError(StackError):
    """The file cannot be edited by a program."""


def rotation_of(text: str) -> RotationSettings:
    """The section as it is.

    Raises:
        EditError: It cannot be read.
    """
    try:
        document = cast("dict[str, Any]", yaml.safe_load(text) or {})
        given: Any = cast("dict[str, Any]", document.get("config") or {}).get(_NAME) or {}
        return RotationSettings.model_validate(yaml.safe_load(given) if isinstance(given, str) else given)
    except (yaml.YAMLError, ValueError, AttributeError) as error:
        raise EditError(f"{_NAME} cannot be read: {' '.join(str(error).split())}") from None


def raised(found: RotationSettings, purpose: str, *, overlap: bool) -> RotationSettings:
    """The next generation of a purpose; with the one before while readers change, where that is possible."""
    generations = {**found.generations, purpose: found.generations.get(purpose, 1) + 1}
    overlapping = {*found.overlapping, purpose} if overlap else set(found.overlapping)
    return RotationSettings(generations=generations, overlapping=tuple(sorted(overlapping)))


def ended(found: RotationSettings, purpose: str) -> RotationSettings:
    """The value before is accepted no more."""
    left = tuple(one for one in found.overlapping if one != purpose)
    return RotationSettings(generations=found.generations, overlapping=left)


def written(text: str, wanted: RotationSettings) -> str:
    """The file with another section.

    Raises:
        EditError: Something else than the section would change.
    """
    lines = [f"  {_NAME}:", "    generations:"]
    lines += [f"      {purpose}: {number}" for purpose, number in sorted(wanted.generations.items())]
    if wanted.overlapping:
        lines.append(f"    overlapping: [{', '.join(wanted.overlapping)}]")
    section = "\n".join(lines) + "\n"
    if begin := _BEGIN.search(text):
        rest = text[begin.end() :].partition("\n")[2]
        # Until something stands as far left as the section itself.
        following = re.search(r"^ {0,2}\S", rest, re.MULTILINE)
        result = text[: begin.start()] + section + (rest[following.start() :] if following else "")
    else:
        result = (text if text.endswith("\n") else text + "\n") + section
    try:
        safe = _others(text) == _others(result) and rotation_of(result) == wanted
    except yaml.YAMLError:
        safe = False
    if not safe:
        raise EditError(f"the file cannot be edited safely; write by hand:\n{section}")
    return result


def _others(text: str) -> dict[str, Any]:
    document = cast("dict[str, Any]", yaml.safe_load(text) or {})
    config = cast("dict[str, Any]", document.get("config") or {})
    return {**document, "config": {key: value for key, value in config.items() if key != _NAME}}
