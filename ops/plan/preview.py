"""A preview, read: which resources change and how."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from ops.cost.model import Layer, at, layer_of
from ops.cost.read import steps_of
from ops.plan.stateful import STATEFUL

Action = Literal["create", "update", "replace", "delete", "import", "read"]

_ACTIONS: Final[dict[str, Action]] = {
    "create": "create",
    "update": "update",
    "replace": "replace",
    "create-replacement": "replace",
    "delete-replaced": "replace",
    "delete": "delete",
    "import": "import",
    "import-replacement": "replace",
    "read": "read",
    "read-replacement": "read",
}
_STRONGER: Final[tuple[Action, ...]] = ("replace", "delete", "create", "import", "update", "read")
_ORDER: Final[Mapping[Action, int]] = {"replace": 0, "delete": 1, "update": 2, "create": 3, "import": 4, "read": 5}

UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""What the engine's JSON has where a value becomes known only during the update."""
_SECRET: Final = "4dabf18193072939515e22adb298388d"
_SHORT: Final = 48  # characters of a value that a table has room for


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One property that changes.

    Attributes:
        path: Such as ``scalingConfig.maxSize``.
        old: The value before, for people; empty where it is not shown.
        new: The value after.
        replaces: Whether it is what forces the replacement.
    """

    path: str
    old: str = ""
    new: str = ""
    replaces: bool = False


@dataclass(frozen=True, kw_only=True)
class Change:
    """One resource that changes.

    Attributes:
        urn: Its name in the stack.
        type: Its type.
        action: What happens to it.
        layer: Who asked for it.
        differences: What changes in it.
        protected: Whether the engine refuses to delete or replace it.
    """

    urn: str
    type: str
    action: Action
    layer: Layer
    differences: tuple[Difference, ...] = ()
    protected: bool = False

    @property
    def name(self) -> str:
        """Its name in the program."""
        return self.urn.rsplit("::", 1)[-1]

    @property
    def loses(self) -> str:
        """What is lost by it; empty for nothing that cannot be made again."""
        return STATEFUL.get(self.type, "") if self.action in ("replace", "delete") else ""


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A policy's verdict.

    Attributes:
        policy: Its name.
        message: What it says.
        resource: Name of the resource; empty for the whole stack.
        mandatory: Whether it stops the update.
    """

    policy: str
    message: str
    resource: str
    mandatory: bool


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a preview says.

    Attributes:
        stack: Name of the stack.
        changes: What changes, the gravest first.
        unchanged: Resources that stay as they are.
        errors: Why the preview failed; empty if it did not.
        config: The stack's configuration; structured settings as JSON in text.
        violations: What policies found.
    """

    stack: str
    changes: tuple[Change, ...]
    unchanged: int
    errors: tuple[str, ...]
    config: Mapping[str, Any]
    violations: tuple[Violation, ...] = ()

    def setting(self, name: str) -> Mapping[str, Any]:
        """One of the program's settings, as plain data; empty where it is not set."""
        raw = self.config.get(f"llmops:{name}")
        try:
            value = json.loads(raw) if isinstance(raw, str) else raw
        except ValueError:
            return {}
        return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def parse(content: Mapping[str, Any], events: Iterable[Mapping[str, Any]] = ()) -> Preview:
    """Read a preview.

    Args:
        content: What ``pulumi preview --json`` printed.
        events: The engine's events, which hold what policies found: the JSON leaves that out.

    Raises:
        InputError: It is no preview.
    """
    steps = steps_of(content)
    violations = tuple(_violations(events))
    return Preview(
        stack=next((str(step["urn"]).split("::")[0].rsplit(":", 1)[-1] for step in steps), ""),
        changes=tuple(_changes(steps)),
        unchanged=int(at(content, "changeSummary", "same") or 0),
        errors=_errors(content, violations),
        config=cast("Mapping[str, Any]", content.get("config") or {}),
        violations=violations,
    )


def _errors(content: Mapping[str, Any], violations: tuple[Violation, ...]) -> tuple[str, ...]:
    """Error messages, without those that only say that there are others, or that a policy refused."""
    every = [
        str(one.get("message", "")).strip().removeprefix("error: ").strip()
        for one in cast("list[Mapping[str, Any]]", content.get("diagnostics") or [])
        if one.get("severity") == "error"
    ]
    hollow = ("preview failed", "an unhandled error occurred: program exited with non-zero exit code: 1")
    telling = [message for message in every if message and message not in hollow]
    if telling or not every:
        return tuple(dict.fromkeys(telling))
    return () if any(one.mandatory for one in violations) else tuple(dict.fromkeys(every))


def _changes(steps: list[Mapping[str, Any]]) -> list[Change]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for step in steps:
        if str(step["op"]) in _ACTIONS and "pulumi:pulumi:Stack" not in str(step["urn"]):
            found.setdefault(str(step["urn"]), []).append(step)
    changes = [_change(urn, same) for urn, same in found.items()]
    return sorted(changes, key=lambda one: (not one.loses, _ORDER[one.action], one.layer, one.type, one.name))


def _change(urn: str, steps: list[Mapping[str, Any]]) -> Change:
    ranks = [_STRONGER.index(_ACTIONS[str(step["op"])]) for step in steps]
    differences = next((found for step in steps if (found := _differences(step))), ())
    return Change(
        urn=urn,
        type=urn.split("::")[2].rsplit("$", 1)[-1],
        action=_STRONGER[min(ranks)],
        layer=layer_of(urn),
        differences=differences,
        protected=any(at(step, "oldState", "protect") is True for step in steps),
    )


def _differences(step: Mapping[str, Any]) -> tuple[Difference, ...]:
    detailed = cast("Mapping[str, Mapping[str, Any]]", step.get("detailedDiff") or {})
    forcing = {str(key) for key in step.get("replaceReasons") or ()}
    if detailed:
        return tuple(
            Difference(
                path=path,
                old=_shown(step, "oldState", path),
                new=_shown(step, "newState", path),
                replaces="replace" in str(diff.get("kind", "")) or _top(path) in forcing,
            )
            for path, diff in sorted(detailed.items())
        )
    reasons = [str(key) for key in step.get("diffReasons") or ()]
    return tuple(
        Difference(
            path=key, old=_shown(step, "oldState", key), new=_shown(step, "newState", key), replaces=key in forcing
        )
        for key in sorted({*reasons, *forcing})
        if not key.startswith("__")
    )


def _top(path: str) -> str:
    return path.replace("[", ".").split(".", 1)[0]


def _shown(step: Mapping[str, Any], side: str, path: str) -> str:
    keys = [
        int(part) if part.isdigit() else part for part in path.replace("[", ".").replace("]", "").split(".") if part
    ]
    return value_text(at(step, side, "inputs", *keys))


def value_text(value: Any) -> str:
    """A value for people: nothing secret, nothing long."""
    if value is None:
        return ""
    if value == UNKNOWN:
        return "(known later)"
    if isinstance(value, dict):
        return "[secret]" if _SECRET in value else ""
    if isinstance(value, list):
        parts = [value_text(part) for part in cast("list[Any]", value)]
        text = ", ".join(parts)
        return text if all(parts) and len(text) <= _SHORT else f"{len(parts)} items"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _SHORT and "\n" not in text else ""


def _message(text: str) -> str:
    """The engine puts a policy's description on the first line, and what it found below."""
    description, _, rest = text.strip().partition("\n")
    found = " ".join(rest.split())
    return f"{description}: {found}" if found else description


def _violations(events: Iterable[Mapping[str, Any]]) -> Iterable[Violation]:
    seen: set[Violation] = set()
    for event in events:
        found = cast("Mapping[str, Any] | None", event.get("policyEvent"))
        if not found:
            continue
        urn = str(found.get("resourceUrn", ""))
        one = Violation(
            policy=str(found.get("policyName", "")),
            message=_message(str(found.get("message", ""))),
            resource="" if "pulumi:pulumi:Stack::" in urn else urn.rsplit("::", 1)[-1],
            mandatory=found.get("enforcementLevel") == "mandatory",
        )
        if one not in seen:
            seen.add(one)
            yield one
