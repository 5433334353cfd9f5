"""Resources from what Pulumi prints: ``pulumi stack export``, a state file, ``pulumi preview --json``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, cast

from ops.cost.model import Resource, at

State = Mapping[str, Any]
"""A resource as the engine writes it."""

# Operations of a preview's steps after which the resource is there.
KEPT: Final = frozenset(
    {"same", "create", "update", "replace", "create-replacement", "read", "read-replacement", "import", "refresh"}
)
GONE: Final = frozenset({"delete", "discard", "read-discard", "remove-pending-replace"})


class InputError(Exception):
    """A file that cannot be read as what it should be."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        InputError: There is none.
    """
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object")
    return cast("dict[str, Any]", content)


def states_of_export(content: Mapping[str, Any]) -> list[State]:
    """The resources of an export, or of a backend's state file.

    Raises:
        InputError: It is neither.
    """
    deployment = at(content, "deployment") or at(content, "checkpoint", "latest")
    if not isinstance(deployment, dict):
        raise InputError("this is no `pulumi stack export`: it has no deployment")
    found = cast("list[State]", at(deployment, "resources") or [])
    # What waits for its deletion stands there a second time.
    return [state for state in found if not state.get("delete")]


def is_complete(preview: Mapping[str, Any]) -> bool:
    """Whether a preview names what does not change, too (``--show-sames``)."""
    shown = sum(step["op"] == "same" for step in steps_of(preview))
    return shown >= int(at(preview, "changeSummary", "same") or 0)


def steps_of(preview: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The steps of a preview.

    Raises:
        InputError: It is none.
    """
    steps = preview.get("steps")
    if not isinstance(steps, list):
        raise InputError("this is no `pulumi preview --json`: it has no steps")
    return cast("list[Mapping[str, Any]]", steps)


def states_after(preview: Mapping[str, Any], before: Iterable[State] | None = None) -> list[State]:
    """The resources that are there after the update.

    Args:
        preview: A preview.
        before: The state that it started from; needed where the preview leaves out what does not change.

    Raises:
        InputError: The preview leaves something out, and no state was given.
    """
    if before is None and not is_complete(preview):
        count = int(preview["changeSummary"]["same"])
        raise InputError(
            f"the preview leaves out the {count} resources that do not change: "
            "run it with --show-sames, or give the state"
        )
    found: dict[str, State] = {str(state["urn"]): state for state in before or ()}
    for step in steps_of(preview):
        if step["op"] in KEPT and step.get("newState"):
            found[str(step["urn"])] = cast("State", step["newState"])
        elif step["op"] in KEPT and step.get("oldState"):
            found.setdefault(str(step["urn"]), cast("State", step["oldState"]))
    replaced = {str(step["urn"]) for step in steps_of(preview) if step["op"] in ("create-replacement", "replace")}
    for step in steps_of(preview):
        if step["op"] in GONE and str(step["urn"]) not in replaced:
            found.pop(str(step["urn"]), None)
    return list(found.values())


def states_before(preview: Mapping[str, Any]) -> list[State] | None:
    """The resources before the update, from the preview alone; None where it leaves some out."""
    if not is_complete(preview):
        return None
    return [cast("State", step["oldState"]) for step in steps_of(preview) if step.get("oldState") and _first(step)]


def _first(step: Mapping[str, Any]) -> bool:
    """Whether a step is the one of a replacement that names the old resource; the others repeat it."""
    return step["op"] not in ("replace", "create-replacement", "discard-replaced") or "deleteBeforeReplace" in step


def resources(states: Iterable[State]) -> list[Resource]:
    """The cost model's view."""
    every = list(states)
    regions = {
        str(state["urn"]): str(at(state, "inputs", "region") or "")
        for state in every
        if str(state.get("type", "")).startswith("pulumi:providers:")
    }
    return [_resource(state, regions) for state in every]


def _resource(state: State, regions: Mapping[str, str]) -> Resource:
    inputs = cast("Mapping[str, Any]", state.get("inputs") or {})
    provider = str(state.get("provider") or "").rpartition("::")[0]
    own = inputs.get("region")
    region = own if isinstance(own, str) and str(state["type"]).startswith("aws:") else regions.get(provider, "")
    sources = cast("Mapping[str, Iterable[str]]", state.get("propertyDependencies") or {})
    named = [*(urn for key in sorted(sources) for urn in sources[key] or ()), *(state.get("dependencies") or ())]
    return Resource(
        urn=str(state["urn"]),
        type=str(state["type"]),
        properties=inputs,
        custom=bool(state.get("custom")),
        parent=str(state.get("parent") or ""),
        dependencies=tuple(dict.fromkeys(named)),
        region=region,
    )


def read(path: Path, before: Path | None = None) -> list[Resource]:
    """Resources from a file of any of the three kinds; of a preview, those after the update.

    Raises:
        InputError: It is none of them.
    """
    content = read_json(path)
    if "steps" in content:
        state = states_of_export(read_json(before)) if before else None
        return resources(states_after(content, state))
    return resources(states_of_export(content))
