"""A small edit of a stack's file as text: comments, order and layout stay, and nothing else differs. Pure.

Libraries that keep comments (ruamel.yaml) hold each with the value before it: a key that is added would part a comment
from what it is about, and a key that is taken out would take the next one's along. Hence the places are read with
PyYAML, and the text is edited.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import yaml

MODELS: Final = "llmops:models"
"""The setting with the models."""

_STEP: Final = 2  # columns of a level that is added


class EditError(ValueError):
    """The file cannot be edited so that nothing else changes; the message says what to do by hand."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change of a model's declaration.

    Attributes:
        path: Keys below the model, such as ``("canary", "percent")``.
        value: What stands there afterwards; None takes the key out.
    """

    path: tuple[str, ...]
    value: Any

    def __str__(self) -> str:
        name = ".".join(self.path)
        return f"take {name} out" if self.value is None else f"{name}: {_flow(self.value)}"


def settings_of(text: str) -> dict[str, Any]:
    """The stack's settings, keyed as in YAML, without the namespace.

    Raises:
        EditError: It is no stack file.
    """
    prefix = MODELS.partition(":")[0] + ":"
    return {key.removeprefix(prefix): value for key, value in _config(_parsed(text)).items() if key.startswith(prefix)}


def models_of(text: str) -> list[dict[str, Any]]:
    """The models as they are declared.

    Raises:
        EditError: They are not a list of objects.
    """
    return _models(_parsed(text))


def edited(text: str, model: str, changes: Sequence[Change]) -> str:
    """The text with the changes made in one model.

    The result was read again: what it says differs from before in these changes, and in nothing else.

    Raises:
        EditError: That cannot be had.
    """
    wanted = _apart(_parsed(text))
    declared = next((one for one in _models(wanted) if one.get("name") == model), None)
    if declared is None:
        raise EditError(f"{MODELS} has no model {model}")
    for change in changes:
        _apply(declared, change)
    try:
        for change in changes:
            text = _Document(text, model).changed(change)
        same = _parsed(text) == wanted
    except yaml.YAMLError:
        same = False
    if not same:
        by_hand = "; ".join(str(change) for change in changes)
        raise EditError(f"the file is written in a way that cannot be edited safely; edit model {model}: {by_hand}")
    return text


def _parsed(text: str) -> dict[str, Any]:
    try:
        found: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise EditError(f"it is no YAML: {error}") from None
    if not isinstance(found, dict):
        raise EditError("it is no stack file: it has no config")
    return cast("dict[str, Any]", found)


def _config(document: Mapping[str, Any]) -> dict[str, Any]:
    config = document.get("config")
    if not isinstance(config, dict):
        raise EditError("it is no stack file: it has no config")
    return cast("dict[str, Any]", config)


def _models(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    models = _config(document).get(MODELS, [])
    if not isinstance(models, list) or not all(isinstance(one, dict) for one in cast("list[Any]", models)):
        raise EditError(f"{MODELS} is no list of models; write it as YAML, not as text")
    return cast("list[dict[str, Any]]", models)


def _apply(declared: dict[str, Any], change: Change) -> None:
    *parents, last = change.path
    place = declared
    for key in parents:
        place = place.setdefault(key, {})
    if change.value is None:
        place.pop(last, None)
    else:
        place[last] = change.value


def _apart(value: Any) -> Any:
    """A copy in which nothing is there twice: what an anchor names is one object, and would change everywhere."""
    if isinstance(value, dict):
        return {key: _apart(one) for key, one in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [_apart(one) for one in cast("list[Any]", value)]
    return value


def _plain(value: Any, *, inside: bool) -> str:
    """A scalar as one would write it: without quotes where YAML reads the same; ``inside`` braces less may be so."""
    if isinstance(value, str):
        try:
            read = yaml.safe_load(f"{{a: {value}}}" if inside else f"a: {value}")
        except yaml.YAMLError:
            read = None
        return value if read == {"a": value} else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, Any]", value).items()
        return "{" + ", ".join(f"{key}: {_flow(one)}" for key, one in entries) + "}"
    return _plain(value, inside=True)


def _text(value: Any) -> str:
    """A value behind a key of a block, on the same line."""
    return _flow(value) if isinstance(value, Mapping) else _plain(value, inside=False)


def _block(key: str, value: Any, column: int) -> list[str]:
    indent = " " * column
    if isinstance(value, Mapping) and value:
        below = cast("Mapping[str, Any]", value).items()
        return [f"{indent}{key}:", *(line for name, one in below for line in _block(name, one, column + _STEP))]
    return [f"{indent}{key}: {_text(cast('Any', value))}"]


class _Document:
    """The text, and where in it the model stands."""

    def __init__(self, text: str, model: str) -> None:
        self._text = text
        self._newline = "\r\n" if "\r\n" in text else "\n"
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        config = _value(root, "config")
        declared = _value(config, MODELS)
        entries = cast("list[yaml.Node]", declared.value) if isinstance(declared, yaml.SequenceNode) else []
        named = [one for one in entries if isinstance(name := _value(one, "name"), yaml.ScalarNode)
                 and name.value == model]  # fmt: skip
        if not named:
            raise EditError(f"{MODELS} has no model {model}")
        self._model = named[0]

    def changed(self, change: Change) -> str:
        """The text with one change made."""
        *parents, last = change.path
        place: yaml.Node | None = self._model
        for key in parents:
            place = _value(place, key)
        if not isinstance(place, yaml.MappingNode):
            raise EditError(f"{'.'.join(parents)} is no section; edit by hand: {change}")
        if change.value is None:
            return self._without(place, last)
        there = _value(place, last)
        if there is None:
            return self._with(place, last, change.value)
        start, end = there.start_mark.index, _end(there)
        space = " " if start == end else ""  # nothing stood behind the colon
        inside = bool(place.flow_style)
        value = _flow(change.value) if inside else _text(change.value)
        return f"{self._text[:start]}{space}{value}{self._text[end:]}"

    def _with(self, place: yaml.MappingNode, key: str, value: Any) -> str:
        pairs = _pairs(place)
        if place.flow_style:
            end = len(self._text[: place.end_mark.index - 1].rstrip())
            comma = ", " if pairs and not self._text[:end].endswith(",") else ""
            return f"{self._text[:end]}{comma}{key}: {_flow(value)}{self._text[end:]}"
        # Below its source a canary is read best, and such a line ends where it begins, whatever comes after it.
        short = [one for one in pairs if _is_short(one[1])]
        before = next((one for one in short if one[0].value == "source"), short[-1] if short else None)
        if before is None:
            raise EditError(f"no place for {key} was found; edit by hand: {key}: {_flow(value)}")
        line = self._text.find("\n", _end(before[1]))
        lines = _block(key, value, before[0].start_mark.column)
        if line < 0:  # the last line of a file that does not end it
            return self._newline.join([self._text, *lines])
        added = "".join(f"{one}{self._newline}" for one in lines)
        return f"{self._text[: line + 1]}{added}{self._text[line + 1 :]}"

    def _without(self, place: yaml.MappingNode, key: str) -> str:
        pairs = _pairs(place)
        number = next((index for index, one in enumerate(pairs) if one[0].value == key), None)
        if number is None:
            return self._text
        start, end = pairs[number][0].start_mark.index, _end(pairs[number][1])
        if place.flow_style:
            if number + 1 < len(pairs):
                end = pairs[number + 1][0].start_mark.index
            elif number:
                start = _end(pairs[number - 1][1])
            return f"{self._text[:start]}{self._text[end:]}"
        line = self._text.rfind("\n", 0, start) + 1
        if self._text[line:start].strip():
            raise EditError(f"{key} is the first of its section; move it down a line, and try again")
        following = self._text.find("\n", end)
        return self._text[:line] + ("" if following < 0 else self._text[following + 1 :])


def _pairs(node: yaml.MappingNode) -> list[tuple[yaml.Node, yaml.Node]]:
    return cast("list[tuple[yaml.Node, yaml.Node]]", node.value)


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in _pairs(node) if name.value == key), None)


def _is_short(node: yaml.Node) -> bool:
    """Whether it ends on the line where it begins, and nothing of it may follow."""
    return node.start_mark.line == node.end_mark.line


def _end(node: yaml.Node) -> int:
    """Where a value's last character is behind; a block's own mark stands before whatever comes next."""
    flow = isinstance(node, yaml.CollectionNode) and node.flow_style
    if isinstance(node, yaml.CollectionNode) and node.value and not flow:
        last = cast("list[Any]", node.value)[-1]
        return _end(cast("yaml.Node", last[1] if isinstance(node, yaml.MappingNode) else last))
    return node.end_mark.index
