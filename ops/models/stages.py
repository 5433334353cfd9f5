"""What a promotion or the way back changes in a model's declaration: which edit, and why not. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from ops.models.edit import Change
from workloads.models.spec import location

Resolve = Callable[[str], str]
"""The version that an alias of the registered model names; empty for none."""

CANARY_ALIAS: Final = "canary"
"""Alias of the version that runs as a canary."""

PRODUCTION_ALIAS: Final = "production"
"""Alias of the version that is the model."""


class StageError(ValueError):
    """This cannot be the next step of this model; the message says what is."""


@dataclass(frozen=True, kw_only=True)
class Registered:
    """The registered model behind a model of the stack.

    Attributes:
        name: Its name in the registry.
        resolve: Says which version an alias names.
    """

    name: str
    resolve: Resolve

    def version_of(self, source: str) -> str:
        """The version that a source means; empty where it is none of this model."""
        found = _registered(source)
        if found is None or found[0] != self.name:
            return ""
        revision = found[1]
        return self.resolve(revision[1:]) if revision.startswith("@") else revision

    def source(self, version: str) -> str:
        """The source that names a version by its number: the pull request shows which."""
        return f"models:/{self.name}/{version}"


def registered_name(declared: Mapping[str, Any]) -> str:
    """The registered model that a declaration names, its canary's before its own; empty where none is."""
    canary: Mapping[str, Any] = declared.get("canary") or {}
    for source in (str(canary.get("source", "")), str(declared.get("source", ""))):
        if found := _registered(source):
            return found[0]
    return ""


def _registered(source: str) -> tuple[str, str] | None:
    if not source.startswith("models:/") or not ("@" in source or source.count("/") > 1):
        return None
    found = location(source)
    return found.place, found.revision


@dataclass(frozen=True, kw_only=True)
class Step:
    """The next step of a model.

    Attributes:
        what: In a few words.
        version: The version that it is about.
        changes: Of the declaration; none where it says so already.
        after: What remains to be done once this is up; empty for nothing.
    """

    what: str
    version: str
    changes: tuple[Change, ...]
    after: str = ""


def state_of(declared: Mapping[str, Any]) -> Literal["none", "running", "promoted", "rolled-back"]:
    """The state of a model's canary."""
    canary = declared.get("canary")
    return "none" if canary is None else canary.get("state", "running")


def canary(declared: Mapping[str, Any], registered: Registered, version: str, percent: int) -> Step:
    """A version answers a share of the requests.

    Raises:
        StageError: The model is that version already, or another canary is half-way.
    """
    if registered.version_of(str(declared.get("source", ""))) == version:
        raise StageError(f"version {version} is the model already: its source is {declared['source']}")
    found: Mapping[str, Any] | None = declared.get("canary")
    what = f"version {version} answers {percent} % of the requests"
    after = "promote --full, when it has run without the alert ModelCanaryWorse"
    source = registered.source(version)
    if found is None:
        added = Change(path=("canary",), value={"source": source, "percent": percent, "baseline": {}})
        return Step(what=what, version=version, changes=(added,), after=after)
    same = registered.version_of(str(found.get("source", ""))) == version
    if state_of(declared) == "promoted" and not same:
        raise StageError(
            f"the canary before is promoted, and not yet the model's source ({found['source']}): "
            f"end that first with promote --full of its version, or with rollback"
        )
    wanted: dict[str, Any] = {"percent": percent}
    if not same:
        wanted["source"] = source
    if state_of(declared) != "running":
        wanted["state"] = "running"
    if found.get("baseline") is None:
        wanted["baseline"] = {}
    changes = [
        Change(path=("canary", key), value=value)
        for key, value in wanted.items()
        if found.get(key) is None or found[key] != value
    ]
    return Step(what=what, version=version, changes=tuple(changes), after=after)


def full(
    declared: Mapping[str, Any], registered: Registered, version: str, *, alias: str, at_once: bool = False
) -> Step:
    """A version becomes the model: first its servers are rolled to it, with the next call it is the source.

    Args:
        declared: The declaration.
        registered: The registered model.
        version: Its version.
        alias: The alias that the version gets; a source that names it keeps it.
        at_once: Without a canary.

    Raises:
        StageError: It has not been the canary.
    """
    found: Mapping[str, Any] = declared.get("canary") or {}
    state = state_of(declared)
    its_canary = registered.version_of(str(found.get("source", ""))) == version
    if its_canary and state == "running":
        return Step(
            what=f"the model's own servers are rolled to version {version}; both answer meanwhile",
            version=version,
            changes=(Change(path=("canary", "state"), value="promoted"),),
            after="the same command again, once this is up: version becomes the source, and the canary goes",
        )
    if not (its_canary and state == "promoted") and not at_once:
        if not found and registered.version_of(str(declared.get("source", ""))) == version:
            return Step(what=f"version {version} is the model already", version=version, changes=())
        raise StageError(
            f"version {version} is no running canary of this model ({_canary_said(declared)}); begin with "
            "promote --canary 10, or take --at-once"
        )
    changes = list(_source(declared, registered, version, alias))
    if found:
        changes.append(Change(path=("canary",), value=None))
    what = f"version {version} is the model" + (", without a canary before" if not its_canary else "")
    return Step(what=what, version=version, changes=tuple(changes))


def back(
    declared: Mapping[str, Any], registered: Registered, *, target: Callable[[], str], alias: str, to: str = ""
) -> Step:
    """The way back from whatever was the last step.

    Args:
        declared: The declaration.
        registered: The registered model.
        target: Says which version the model was before; called where that is needed.
        alias: The alias of the version that is the model.
        to: A version that a person names; empty for the step before.

    Raises:
        StageError: There is no way back.
    """
    found: Mapping[str, Any] = declared.get("canary") or {}
    state = state_of(declared)
    if not to and state in ("running", "promoted"):
        version = registered.version_of(str(found.get("source", "")))
        what = "loses its share and its server" if state == "running" else "leaves, and the model's own weights return"
        return Step(
            what=f"canary {f'version {version}' if version else found.get('source')} {what}",
            version=version,
            changes=(Change(path=("canary", "state"), value="rolled-back"),),
        )
    if not to and state == "rolled-back":
        return Step(
            what="the canary is rolled back already; --to takes the model itself back to a version",
            version="",
            changes=(),
        )
    version = to or target()
    changes = list(_source(declared, registered, version, alias))
    if state in ("running", "promoted"):
        changes.insert(0, Change(path=("canary", "state"), value="rolled-back"))
    return Step(what=f"the model is version {version} again", version=version, changes=tuple(changes))


def _source(declared: Mapping[str, Any], registered: Registered, version: str, alias: str) -> tuple[Change, ...]:
    """The edit by which a version is the source: an alias is asked again, a number is written."""
    source = str(declared.get("source", ""))
    if source == f"models:/{registered.name}@{alias}":
        again = f"version-{version}"
        return () if declared.get("refresh") == again else (Change(path=("refresh",), value=again),)
    wanted = registered.source(version)
    return () if source == wanted else (Change(path=("source",), value=wanted),)


def _canary_said(declared: Mapping[str, Any]) -> str:
    found: Mapping[str, Any] | None = declared.get("canary")
    return "it has none" if found is None else f"its canary is {found.get('source')}, {state_of(declared)}"
