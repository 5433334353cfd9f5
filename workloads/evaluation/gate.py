"""The gate before an alias of the model registry: thresholds, and how an alias moves. Nothing but Python's own library.

The registry has no compare-and-set, so an alias moves in this order: a version that may have it is marked as wanting
it, then the alias is set, then the marks are read again, and the newest version that wants it gets it. Whoever sets the
alias last reads all marks after that, so two promotions at once end with the newer version, in whatever order they
came.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol, Self

RECORD_TAG: Final = "llmops.evaluation"
"""Tag of a model version with its last evaluation, in one value: whoever reads it sees all of one evaluation."""

VERDICT_TAG: Final = "llmops.evaluation.verdict"
"""The verdict, for people and for searches; the gate reads :data:`RECORD_TAG`."""

REASONS_TAG: Final = "llmops.evaluation.reasons"
"""Why it was refused."""

ALIAS_TAG: Final = "llmops.alias."
"""Tags of a model version begin so: with the alias behind it its :data:`State`, and what people want to know of it:
``.by`` and ``.at`` who gave it and when, ``.why`` for what reason, ``.before`` the version that had it, ``.back`` the
newer version that it was taken from."""

_TAG_CHARACTERS: Final = 5000  # MLflow's limit for the values of a run's tags, and enough for the registry's

State = Literal["wanted", "held", "withdrawn"]
"""What a version has to do with an alias: it may have it and asked for it; it had it; somebody took it away."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A measure beside that of another version, case by case.

    Attributes:
        version: The other version; empty where no version bears the alias.
        value: This one's less the other one's.
        low: Lower end of the confidence interval of that.
        high: Upper end.
        problem: Why the two cannot be compared; empty where they can.
    """

    version: str = ""
    value: float = 0
    low: float = 0
    high: float = 0
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measured number.

    Attributes:
        value: The number.
        low: Lower end of its confidence interval.
        high: Upper end.
        cases: Cases that it rests on.
        unjudged: Cases that the judge gave no readable answer for.
        changes: Beside other versions, by the alias that they bear.
    """

    value: float
    low: float
    high: float
    cases: int
    unjudged: int = 0
    changes: Mapping[str, Change] = field(default_factory=dict[str, Change])

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from a report."""
        changes = {alias: Change(**one) for alias, one in document.get("changes", {}).items()}
        numbers: Mapping[str, Any] = {key: value for key, value in document.items() if key != "changes"}
        return cls(**numbers, changes=changes)


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """What a measure must reach; as in the settings of an evaluation.

    Attributes:
        min: At least so much.
        max: At most so much.
        max_decrease: At most so much less than the version with the alias ``over``.
        max_increase: At most so much more.
        over: That alias.
        hold: Whether the worse end of the interval is held against the bounds, or the value.
    """

    min: float | None = None
    max: float | None = None
    max_decrease: float | None = None
    max_increase: float | None = None
    over: str = "production"
    hold: Literal["interval", "value"] = "interval"


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What an evaluation must reach.

    Attributes:
        thresholds: By measure.
        min_cases: Cases below which a measure is not judged.
        max_unjudged_percent: Share of unreadable judgements above which it is not judged either.
    """

    thresholds: Mapping[str, Threshold]
    min_cases: int
    max_unjudged_percent: float


class Refused(Exception):  # noqa: N818 - it is an answer, not a failure of the program
    """A rule refuses; the message is the reason."""


def refusals(rules: Rules, measures: Mapping[str, Measure]) -> tuple[str, ...]:
    """Why a model may not have an alias, a sentence for each reason; nothing where it may."""
    found: list[str] = []
    for name, threshold in rules.thresholds.items():
        measure = measures.get(name)
        if measure is None:
            found.append(f"{name} was not measured")
        elif problem := _unusable(rules, measure):
            found.append(f"{name}: {problem}")
        else:
            found.extend(
                f"{name} {problem}" for problem in (*_bounds(threshold, measure), *_changes(threshold, measure))
            )
    return tuple(found)


def _unusable(rules: Rules, measure: Measure) -> str:
    asked = measure.cases + measure.unjudged
    if asked and 100 * measure.unjudged / asked > rules.max_unjudged_percent:
        return (
            f"{measure.unjudged} of {asked} judgements could not be read; at most {rules.max_unjudged_percent:g} % "
            "may be (judge.maxUnjudgedPercent)"
        )
    if measure.cases < rules.min_cases:
        return f"rests on {measure.cases} cases; {rules.min_cases} are the least (minCases)"
    if not all(math.isfinite(one) for one in (measure.value, measure.low, measure.high)):
        return "is not a number"
    return ""


def _bounds(threshold: Threshold, measure: Measure) -> list[str]:
    low, high = (measure.low, measure.high) if threshold.hold == "interval" else (measure.value, measure.value)
    said = f"is {measure.value:.4g} ({measure.low:.4g} to {measure.high:.4g})"
    found: list[str] = []
    if threshold.min is not None and low < threshold.min:
        found.append(f"{said}; at least {threshold.min:g} is needed")
    if threshold.max is not None and high > threshold.max:
        found.append(f"{said}; at most {threshold.max:g} is allowed")
    return found


def _changes(threshold: Threshold, measure: Measure) -> list[str]:
    if threshold.max_decrease is None and threshold.max_increase is None:
        return []
    change = measure.changes.get(threshold.over)
    if change is None:
        return [f"was not compared with @{threshold.over}"]
    if change.problem:
        return [f"cannot be compared with @{threshold.over}: {change.problem}"]
    if not change.version:
        return []  # nobody bears the alias, so there is nothing to be worse than
    low, high = (change.low, change.high) if threshold.hold == "interval" else (change.value, change.value)
    said = f"changes by {change.value:+.4g} ({change.low:+.4g} to {change.high:+.4g}) over @{threshold.over}"
    found: list[str] = []
    if threshold.max_decrease is not None and low < -threshold.max_decrease:
        found.append(f"{said}; a decrease of {threshold.max_decrease:g} is allowed")
    if threshold.max_increase is not None and high > threshold.max_increase:
        found.append(f"{said}; an increase of {threshold.max_increase:g} is allowed")
    return found


@dataclass(frozen=True, kw_only=True)
class Record:
    """An evaluation, as it stands at a model version.

    Attributes:
        key: Names everything that it follows from: settings, cases, judge, libraries, the model's files.
        verdict: Whether the version may have an alias.
        run: Run of the registry's server that holds the report and the cases.
        folder: Where they are among the run's artifacts.
        at: When, in UTC.
    """

    key: str
    verdict: Literal["passed", "refused"]
    run: str
    folder: str
    at: str

    @classmethod
    def at_version(cls, tags: Mapping[str, str]) -> Self | None:
        """The one that a version's tags tell of."""
        try:
            return cls(**json.loads(tags[RECORD_TAG]))
        except (KeyError, TypeError, ValueError):
            return None


class Client(Protocol):
    """The part of ``MlflowClient`` that the gate needs."""

    def get_registered_model(self, name: str) -> Any:
        """A model, with its ``aliases``."""
        ...

    def get_model_version(self, name: str, version: str) -> Any:
        """One version, with its ``tags``."""
        ...

    def search_model_versions(
        self, filter_string: str | None = ..., max_results: int = ..., order_by: Any = ..., page_token: str | None = ...
    ) -> Any:
        """A page of versions, each with ``version`` and ``tags``; ``token`` leads to the next."""
        ...

    def set_model_version_tag(self, name: str, version: str, key: str, value: Any) -> Any:
        """Set a tag."""
        ...

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> Any:
        """Set an alias, wherever it was."""
        ...


def record(client: Client, model: str, version: str, found: Record, reasons: Sequence[str]) -> None:
    """Write an evaluation to its version; the tag that the gate reads comes last."""
    client.set_model_version_tag(model, version, REASONS_TAG, "; ".join(reasons)[:_TAG_CHARACTERS])
    client.set_model_version_tag(model, version, VERDICT_TAG, found.verdict)
    client.set_model_version_tag(model, version, RECORD_TAG, json.dumps(vars(found), sort_keys=True))


def bearer(client: Client, model: str, alias: str) -> str:
    """The version that bears an alias; empty for none."""
    return str(client.get_registered_model(model).aliases.get(alias, ""))


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """What became of an alias.

    Attributes:
        moved: Whether it was set.
        before: The version that had it; empty for none.
        after: The version that has it now.
        reason: For the log.
    """

    moved: bool
    before: str
    after: str
    reason: str


def _now() -> datetime:
    return datetime.now(UTC)


def promote(
    client: Client,
    model: str,
    version: str,
    alias: str,
    *,
    by: str,
    key: str = "",
    back: bool = False,
    unevaluated: str = "",
    why: str = "",
    clock: Callable[[], datetime] = _now,
) -> Promotion:
    """Give an alias to a version, if it may have it. Doing it again changes nothing.

    Args:
        client: Of the registry.
        model: The registered model.
        version: Its version.
        alias: The alias.
        by: Who does it: a person, or a pipeline's run.
        key: The evaluation that must have passed; empty for whichever was the last.
        back: A person's decision for this very version: newer ones lose their claim to the alias, and their pipelines
            do not take it again.
        unevaluated: Why it is given to a version that has passed no evaluation; empty refuses those.
        why: For what reason it moves; written down.
        clock: The time, in UTC.

    Raises:
        Refused: It may not have it.
    """
    versions = _Versions(client, model, alias)
    states = versions.states()
    if version not in states:
        raise Refused(f"{model} has no version {version}; its versions: {', '.join(states) or 'none'}")
    if not unevaluated and (problem := standing(client, model, version, key)):
        raise Refused(problem)
    before = bearer(client, model, alias)
    own = states[version]
    # A mark that is left of an alias taken away by hand is no claim; but to a promotion that was interrupted, and is
    # being done again, it may be the one that was overtaken.
    stale = {one for one, state in states.items() if state == "held" and one != before and own is None}
    if back:
        _withdraw(versions, states, before, above=version)
    elif own == "withdrawn" or (own == "held" and (not before or int(before) < int(version))):
        raise Refused(f"somebody took @{alias} from version {version} of {model}; a person may give it back")
    elif (newest := _newest(states, before, above=version, stale=stale)) and (own is None or newest == before):
        if before != newest:
            client.set_registered_model_alias(model, alias, newest)  # it wants it, and has not come to that yet
        return Promotion(moved=False, before=before, after=newest, reason=f"version {newest} is newer and has it")
    if before == version and own == "held":
        return Promotion(moved=False, before=before, after=version, reason="it has it already")
    versions.mark(version, "wanted")  # first: others must know of it as soon as they can
    versions.tell(version, before, by=by, at=clock(), unevaluated=unevaluated, why=why)
    if before != version:
        client.set_registered_model_alias(model, alias, version)
    now = bearer(client, model, alias)
    winner = version if back else _newest(versions.states(), now, above=version, stale=stale) or version
    if winner != now:
        client.set_registered_model_alias(model, alias, winner)
    versions.mark(version, "held")
    reason = f"was version {before}" if before else "nobody had it"
    if winner != version:
        reason = f"version {winner} is newer and has it"
    return Promotion(moved=winner == version != before, before=before, after=winner, reason=reason)


def _withdraw(versions: _Versions, states: Mapping[str, State | None], before: str, *, above: str) -> None:
    """Newer versions lose their claim; one may bear the alias without a mark, set by hand."""
    for one, state in states.items():
        if int(one) > int(above) and (state in ("wanted", "held") or one == before):
            versions.mark(one, "withdrawn")


def standing(client: Client, model: str, version: str, key: str = "") -> str:
    """Why its evaluation keeps a version from an alias; empty where it passed.

    Args:
        client: Of the registry.
        model: The registered model.
        version: Its version.
        key: The evaluation that must have passed; empty for whichever was the last.
    """
    tags: Mapping[str, str] = client.get_model_version(model, version).tags
    found = Record.at_version(tags)
    if found is None:
        return f"version {version} of {model} has not been evaluated"
    if found.verdict != "passed":
        reasons = tags.get(REASONS_TAG) or "no reason was written"
        return f"version {version} of {model} is below its thresholds: {reasons}"
    if key and found.key != key:
        return f"version {version} of {model} passed another evaluation ({found.key[:12]}) than {key[:12]}"
    return ""


def _newest(
    states: Mapping[str, State | None], before: str, *, above: str, stale: Collection[str] = frozenset[str]()
) -> str:
    """The newest version above one that has a claim to the alias; empty for none."""
    claims = [one for one, state in states.items() if state in ("wanted", "held") and one not in stale]
    if before and states.get(before) != "withdrawn":
        claims.append(before)
    return max((one for one in claims if int(one) > int(above)), key=int, default="")


class _Versions:
    """The versions of a model, and what each has to do with one alias."""

    def __init__(self, client: Client, model: str, alias: str) -> None:
        self._client, self._model, self._tag = client, model, f"{ALIAS_TAG}{alias}"

    def states(self) -> dict[str, State | None]:
        """By version, read anew."""
        found: dict[str, State | None] = {}
        token: str | None = None
        while True:
            page = self._client.search_model_versions(f"name='{self._model}'", page_token=token)
            found |= {str(one.version): one.tags.get(self._tag) for one in page}
            token = page.token
            if not token:
                return dict(sorted(found.items(), key=lambda one: int(one[0])))

    def mark(self, version: str, state: State) -> None:
        self._client.set_model_version_tag(self._model, version, self._tag, state)

    def tell(self, version: str, before: str, *, by: str, at: datetime, unevaluated: str, why: str) -> None:
        """For people, and for the way back: who gave the alias, when, why, and who had it before."""
        told = {"by": by, "at": at.isoformat(timespec="seconds"), "why": why}
        if unevaluated:
            told["unevaluated"] = unevaluated
        if before and before != version:
            # Who had it before it first came here stays written when it comes back: that is where one goes on from.
            went_back = int(before) > int(version)
            told |= {"back": before} if went_back else {"before": before, "back": ""}
        for name, value in told.items():
            self._client.set_model_version_tag(self._model, version, f"{self._tag}.{name}", value[:_TAG_CHARACTERS])
