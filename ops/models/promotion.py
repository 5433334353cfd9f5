"""A promotion and the way back, prepared whole before anything moves, then done: the alias first, the file last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ops.models import checks, stages
from ops.models.checks import Check
from ops.models.edit import Change, EditError, edited, models_of, settings_of
from ops.models.registry import Known, Mlflow, RegistryError, previous, versions, withdraw
from ops.models.stages import CANARY_ALIAS, Registered, StageError, Step
from ops.stack_file import difference
from workloads.evaluation import gate
from workloads.evaluation.gate import ALIAS_TAG, Refused, bearer

Config = Callable[[str], dict[str, Any]]
"""Reads the ``config.json`` of the weights at a source."""

_READY: Final = "READY"


@dataclass(frozen=True, kw_only=True)
class Declared:
    """A model in a stack's file.

    Attributes:
        path: The file.
        text: What it says.
        model: Name of the model.
        settings: Its declaration.
        registered: Its name in the registry; empty where nothing says it.
    """

    path: Path
    text: str
    model: str
    settings: Mapping[str, Any]
    registered: str


def declared(path: Path, model: str, registered: str = "") -> Declared:
    """Find a model in a stack's file, by its name or by that of its registered model.

    Raises:
        EditError: The file cannot be read, or does not declare it.
    """
    try:
        with path.open(newline="") as file:  # line ends stay as they are
            text = file.read()
    except OSError as error:
        raise EditError(f"{path}: {error.strerror}; name the stack's file with --settings") from None
    models = models_of(text)
    found = [one for one in models if one.get("name") == model] or [
        one for one in models if stages.registered_name(one) == model
    ]
    if len(found) != 1:
        known = ", ".join(str(one.get("name")) for one in models) or "none"
        raise EditError(f"{path} declares {len(found) or 'no'} model {model}; its models: {known}")
    name = registered or stages.registered_name(found[0])
    return Declared(path=path, text=text, model=str(found[0]["name"]), settings=found[0], registered=name)


@dataclass(frozen=True, kw_only=True)
class AliasMove:
    """An alias that moves.

    Attributes:
        alias: The alias.
        before: The version that has it; empty for none.
        after: The version that gets it; empty where it is taken away.
    """

    alias: str
    before: str
    after: str

    def __str__(self) -> str:
        if self.before == self.after:
            return f"@{self.alias} is version {self.after} already"
        before = f"version {self.before}" if self.before else "nobody"
        return f"@{self.alias}: {before} -> {f'version {self.after}' if self.after else 'nobody'}"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What would be done.

    Attributes:
        registered: The registered model.
        checks: Everything that was looked at.
        aliases: Aliases that move.
        step: The step of the stack's model; none where no stack is named, or where there is none.
        file: Where the model is declared.
        after: The text of the file afterwards.
        back: Whether it is the way back.
    """

    registered: str
    checks: Sequence[Check]
    aliases: Sequence[AliasMove] = ()
    step: Step | None = None
    file: Declared | None = None
    after: str = ""
    back: bool = False

    @property
    def allowed(self) -> bool:
        """Whether all checks were passed."""
        return checks.all_passed(self.checks)

    @property
    def difference(self) -> str:
        """The edit of the file as a patch; empty for none."""
        return difference(self.file.text, self.after, self.file.path.name) if self.file and self.after else ""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked for.

    Attributes:
        version: The version.
        alias: The alias that it gets.
        canary_percent: Share of the requests, for a canary.
        full: Make it the model.
        at_once: Without a canary before.
        unevaluated: Why it may go without an evaluation that it passed; empty where it may not.
    """

    version: str
    alias: str
    canary_percent: int | None = None
    full: bool = False
    at_once: bool = False
    unevaluated: str = ""


@dataclass
class _Draft:
    found: list[Check] = field(default_factory=list[Check])

    def add(self, check: Check) -> None:
        self.found.append(check)


def promotion(
    client: Mlflow,
    registered: str,
    wish: Wish,
    *,
    file: Declared | None,
    served: Mapping[str, Any] | None,
    config: Config,
) -> Prepared:
    """Prepare a promotion.

    Args:
        client: Of the registry.
        registered: The registered model.
        wish: What is asked for.
        file: Where the stack declares the model; none for the alias alone.
        served: The stack's output on the model; none where it is not known.
        config: Reads a version's ``config.json``.
    """
    draft = _Draft()
    known = versions(client, registered)
    version = known.get(wish.version)
    if version is None:
        there = f"its versions: {', '.join(known) or 'none'}"
        draft.add(checks.refused("version", f"{registered} has no version {wish.version}; {there}"))
        return Prepared(registered=registered, checks=draft.found)
    draft.add(_version(registered, version))
    draft.add(_evaluation(client, registered, wish))
    move = AliasMove(alias=wish.alias, before=bearer(client, registered, wish.alias), after=wish.version)
    draft.add(_alias(registered, move, version))
    prepared = Prepared(registered=registered, checks=draft.found, aliases=[move])
    if file is None or not (wish.full or wish.canary_percent):
        draft.add(checks.skipped("settings", "neither --canary nor --full: no stack changes"))
        return prepared
    step = _step(file, _registered(client, registered), wish, draft)
    if step is None:
        return prepared
    if wish.full and not wish.at_once and step.changes:
        draft.add(_is_up(step, served, wish.version))
    try:
        after = edited(file.text, file.model, step.changes)
    except EditError as error:
        draft.add(checks.refused("edit", f"{file.path}: {error}"))
        return replace(prepared, step=step)
    _judged(file, after, version, config, draft)
    return replace(prepared, step=step, file=file, after=after)


def rollback(client: Mlflow | None, file: Declared | None, registered: str, *, alias: str, to: str = "") -> Prepared:
    """Prepare the way back.

    Args:
        client: Of the registry; none where it is not asked.
        file: Where the stack declares the model; none for the alias alone.
        registered: The registered model; empty where the model is none of the registry.
        alias: The alias of the version that is the model.
        to: A version that a person names; empty for the step before.

    Raises:
        StageError: There is no way back.
        Refused: Nothing says what was before.
    """
    draft = _Draft()

    def target() -> str:
        if client is None:
            raise StageError("without the registry nothing says which version was before; name it with --to")
        return previous(client, registered, alias)

    if file is None:
        version = to or target()
        moves = _back(client, registered, alias, version)
        _told(client, registered, version, draft)
        return Prepared(registered=registered, checks=draft.found, aliases=moves, back=True)
    step = stages.back(file.settings, _registered(client, registered), target=target, alias=alias, to=to)
    left = stages.state_of(file.settings) in ("running", "promoted") and not to
    moves = _left(client, registered, alias, step.version) if left else _back(client, registered, alias, step.version)
    restored = [move.after for move in moves if move.after]
    for version in restored or ([] if left else [step.version]):
        _told(client, registered, version, draft)
    try:
        after = edited(file.text, file.model, step.changes)
    except EditError as error:
        draft.add(checks.refused("edit", f"{file.path}: {error}"))
        return Prepared(registered=registered, checks=draft.found, aliases=moves, step=step, back=True)
    draft.add(checks.accepted(settings_of(after))[0])
    return Prepared(
        registered=registered, checks=draft.found, aliases=moves, step=step, file=file, after=after, back=True
    )


def carry_out(client: Mlflow | None, prepared: Prepared, *, by: str, why: str, unevaluated: str = "") -> None:
    """Do what was prepared: aliases first, because a preview of the edit asks them.

    Raises:
        Refused: The registry has changed meanwhile; the file is as it was.
    """
    for move in prepared.aliases if client is not None else ():
        assert client is not None
        if not move.after:
            withdraw(client, prepared.registered, move.before, move.alias, by=by, why=why)
            continue
        excused = unevaluated
        if prepared.back and gate.standing(client, prepared.registered, move.after):
            excused = f"it is the way back{f': {why}' if why else ''}"
        done = gate.promote(
            client,
            prepared.registered,
            move.after,
            move.alias,
            by=by,
            back=prepared.back or move.alias == CANARY_ALIAS,
            unevaluated=excused,
            why=why,
        )
        if done.after != move.after:
            raise Refused(f"@{move.alias} stays with version {done.after}: {done.reason}; no file was changed")
    if prepared.difference and prepared.file is not None:
        path = prepared.file.path
        partial = path.with_name(f".{path.name}.partial")
        with partial.open("w", newline="") as file:
            file.write(prepared.after)
        partial.chmod(path.stat().st_mode)
        partial.replace(path)


def _registered(client: Mlflow | None, name: str) -> Registered:
    return Registered(name=name, resolve=lambda alias: bearer(client, name, alias) if client else "")


def _version(registered: str, version: Known) -> Check:
    if version.status != _READY:
        return checks.refused("version", f"version {version.version} of {registered} is {version.status}")
    return checks.passed("version", f"version {version.version} of {registered} lies at {version.source}")


def _evaluation(client: Mlflow, registered: str, wish: Wish) -> Check:
    problem = gate.standing(client, registered, wish.version)
    if not problem:
        return checks.passed("evaluation", "the last evaluation of this version reached its thresholds")
    if wish.unevaluated:
        return checks.skipped("evaluation", f"{problem}; goes on because: {wish.unevaluated}")
    return checks.refused("evaluation", problem)


def _alias(registered: str, move: AliasMove, version: Known) -> Check:
    if move.alias == CANARY_ALIAS:  # a person tries a version as often as it takes, an older one too
        return checks.passed("alias", str(move))
    state, back = version.tags.get(f"{ALIAS_TAG}{move.alias}"), "rollback --to gives it to this one"
    if move.before and int(move.before) > int(move.after):
        return checks.refused("alias", f"version {move.before} of {registered} is newer and has @{move.alias}; {back}")
    if move.before != move.after and state in ("held", "withdrawn"):
        return checks.refused("alias", f"somebody took @{move.alias} from version {move.after}; {back}")
    return checks.passed("alias", str(move))


def _step(file: Declared, registered: Registered, wish: Wish, draft: _Draft) -> Step | None:
    try:
        if wish.full:
            step = stages.full(file.settings, registered, wish.version, alias=wish.alias, at_once=wish.at_once)
        else:
            step = stages.canary(file.settings, registered, wish.version, wish.canary_percent or 0)
    except StageError as error:
        draft.add(checks.refused("stage", str(error)))
        return None
    draft.add(checks.passed("stage", step.what))
    return step


def _is_up(step: Step, served: Mapping[str, Any] | None, version: str) -> Check:
    """The step before must be up: an edit that was never applied has shown nothing."""
    role = "canary" if any(one.path == ("canary", "state") for one in step.changes) else "stable"
    if served is None:
        return checks.refused("canary", "the stack's outputs are not known, so nobody knows whether the canary is up")
    roles: Mapping[str, Mapping[str, Any]] = served.get("versions", {})
    serves = str(roles.get(role, {}).get("registryVersion", ""))
    if serves == version:
        return checks.passed("canary", f"{role} serves version {version}")
    what = f"serves version {serves}" if serves else "is not up, or does not say its version"
    return checks.refused("canary", f"{role} {what}; apply the step before first: merge it, and pulumi up")


def _judged(file: Declared, after: str, version: Known, config: Config, draft: _Draft) -> None:
    check, settings = checks.accepted(settings_of(after))
    before = checks.accepted(settings_of(file.text))[1]
    own: dict[str, Any] | None = None
    reason = ""
    try:
        own = config(version.source)
    except RegistryError as error:
        reason = str(error)
    judged_by = settings or before
    if own is None:
        draft.add(checks.refused("fit", f"{reason}; give the file with --config"))
    elif judged_by is None:
        draft.add(checks.refused("fit", "the settings are not accepted, so there are no GPUs to hold it against"))
    else:
        draft.add(checks.fits(judged_by, file.model, own))
    if settings is not None:
        draft.add(checks.affordable(before, settings, file.model, own))
    draft.add(check)


def _told(client: Mlflow | None, registered: str, version: str, draft: _Draft) -> None:
    """Say what is known of a version that one goes back to; nothing of it stands in the way."""
    if client is None or not registered or not version:
        return
    if version not in versions(client, registered):
        draft.add(checks.refused("version", f"{registered} has no version {version}"))
        return
    problem = gate.standing(client, registered, version)
    draft.add(checks.skipped("evaluation", problem) if problem else checks.passed("evaluation", f"{version} passed"))


def _back(client: Mlflow | None, registered: str, alias: str, version: str) -> list[AliasMove]:
    if client is None or not registered or not version:
        return []
    return [AliasMove(alias=alias, before=bearer(client, registered, alias), after=version)]


def _left(client: Mlflow | None, registered: str, alias: str, version: str) -> list[AliasMove]:
    """What a canary gives up: its own alias, and that of the model where it got so far."""
    if client is None or not registered or not version:
        return []
    found: list[AliasMove] = []
    if bearer(client, registered, alias) == version:
        found.append(AliasMove(alias=alias, before=version, after=previous(client, registered, alias)))
    if alias != CANARY_ALIAS and bearer(client, registered, CANARY_ALIAS) == version:
        found.append(AliasMove(alias=CANARY_ALIAS, before=version, after=""))
    return found


def as_json(prepared: Prepared, *, done: bool) -> dict[str, Any]:
    """What was prepared, for programs."""
    return {
        "model": prepared.file.model if prepared.file else None,
        "registeredModel": prepared.registered,
        "allowed": prepared.allowed,
        "done": done,
        "checks": [{"name": one.name, "result": one.result, "detail": one.detail} for one in prepared.checks],
        "aliases": [{"alias": one.alias, "before": one.before, "after": one.after} for one in prepared.aliases],
        "step": prepared.step.what if prepared.step else None,
        "next": prepared.step.after if prepared.step else None,
        "changes": [_change(one) for one in (prepared.step.changes if prepared.step else ())],
        "file": str(prepared.file.path) if prepared.file else None,
        "difference": prepared.difference,
    }


def _change(change: Change) -> dict[str, Any]:
    return {"path": ".".join(change.path), "value": change.value}
