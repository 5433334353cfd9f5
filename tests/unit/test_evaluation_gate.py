"""The gate before an alias: what passes, and who has the alias in the end."""

from __future__ import annotations

import itertools
import json
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from workloads.evaluation.gate import (
    Change,
    Measure,
    Promotion,
    Record,
    Refused,
    Rules,
    Threshold,
    bearer,
    promote,
    record,
    refusals,
)

pytestmark = pytest.mark.unit


def measured(value: float, spread: float = 0.0, **more: Any) -> Measure:
    return replace(Measure(value=value, low=value - spread, high=value + spread, cases=100), **more)


def asked(name: str, **threshold: Any) -> Rules:
    return Rules(thresholds={name: Threshold(**threshold)}, min_cases=20, max_unjudged_percent=5)


@pytest.mark.parametrize(
    ("threshold", "measure", "said"),
    [
        ({"min": 0.8}, measured(0.8), ""),
        ({"min": 0.8}, measured(0.79), "at least 0.8 is needed"),
        ({"min": 0.8}, measured(0.82, 0.05), "at least 0.8 is needed"),
        ({"min": 0.8, "hold": "value"}, measured(0.82, 0.05), ""),
        ({"max": 2.1}, measured(2.1), ""),
        ({"max": 2.1}, measured(2.05, 0.1), "at most 2.1 is allowed"),
        ({"min": 0.8}, measured(1, cases=19), "rests on 19 cases; 20 are the least"),
        ({"min": 0.8}, measured(1, cases=95, unjudged=5), ""),
        ({"min": 0.8}, measured(1, cases=94, unjudged=6), "6 of 100 judgements could not be read"),
        ({"min": 0.8}, measured(float("nan")), "is not a number"),
        ({"max": 0.8}, measured(float("nan")), "is not a number"),
    ],
)
def test_a_bound_holds_against_the_worse_end_of_the_interval(threshold: dict[str, Any], measure: Measure, said: str):
    found = refusals(asked("quality.good", **threshold), {"quality.good": measure})
    assert (said in found[0]) if said else not found


@pytest.mark.parametrize(
    ("threshold", "change", "said"),
    [
        ({"max_increase": 0.02}, Change(version="3", value=0.01, low=0.0, high=0.02), ""),
        (
            {"max_increase": 0.02},
            Change(version="3", value=0.01, low=-0.01, high=0.03),
            "an increase of 0.02 is allowed",
        ),
        ({"max_decrease": 0}, Change(version="3", value=0, low=0, high=0), ""),
        ({"max_decrease": 0.02}, Change(version="3", value=-0.01, low=-0.03, high=0), "a decrease of 0.02 is allowed"),
        ({"max_decrease": 0.02, "hold": "value"}, Change(version="3", value=-0.01, low=-0.03, high=0), ""),
        ({"max_increase": 0}, Change(), ""),
        ({"max_increase": 0}, Change(version="3", problem="other cases"), "cannot be compared with @production: other"),
        ({"max_increase": 0}, None, "was not compared with @production"),
    ],
)
def test_a_model_may_be_worse_than_the_one_in_use_by_so_much_and_no_more(
    threshold: dict[str, Any], change: Change | None, said: str
):
    measure = measured(1, changes={"production": change} if change else {})
    found = refusals(asked("heldOut.loss", **threshold), {"heldOut.loss": measure})
    assert (said in found[0]) if said else not found


def test_what_was_not_measured_does_not_pass():
    assert refusals(asked("quality.good", min=0), {}) == ("quality.good was not measured",)


class Registry:
    """A model registry with one model, whose every operation can be interleaved with others.

    Attributes:
        tags: By version.
        aliases: Who bears which.
        writes: How often something was changed.
        step: Called before each operation.
    """

    def __init__(self, versions: int) -> None:
        self.tags: dict[str, dict[str, str]] = {str(one): {} for one in range(1, versions + 1)}
        self.aliases: dict[str, str] = {}
        self.writes = 0
        self.step: Callable[[], None] = lambda: None

    def get_registered_model(self, name: str) -> Any:
        self.step()
        return SimpleNamespace(name=name, aliases=dict(self.aliases))

    def get_model_version(self, name: str, version: str) -> Any:
        self.step()
        return SimpleNamespace(name=name, version=version, tags=dict(self.tags[version]))

    def search_model_versions(self, *_: Any, page_token: str | None = None, **__: Any) -> Any:
        self.step()
        numbers = sorted(self.tags, key=int)
        page = int(page_token or 0)
        found = Page(SimpleNamespace(version=one, tags=dict(self.tags[one])) for one in numbers[page : page + 2])
        found.token = str(page + 2) if page + 2 < len(numbers) else None
        return found

    def set_model_version_tag(self, name: str, version: str, key: str, value: Any) -> None:
        self.step()
        self.writes += 1
        self.tags[version][key] = str(value)

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        self.step()
        self.writes += 1
        self.aliases[alias] = version


class Page(list[Any]):
    token: str | None = None


def judged(registry: Registry, version: str, verdict: Any = "passed", *reasons: str) -> None:
    found = Record(key="k" * 64, verdict=verdict, run="r", folder="evaluation", at="2026-11-22T12:00:00+00:00")
    record(registry, "chat", version, found, reasons)


def given(registry: Registry, version: str, **more: Any) -> Promotion:
    return promote(registry, "chat", version, "candidate", by="test", **more)


@pytest.fixture
def registry() -> Registry:
    made = Registry(5)
    for version in made.tags:
        judged(made, version)
    return made


def test_a_version_that_passed_gets_the_alias_and_doing_it_again_changes_nothing(registry: Registry):
    assert given(registry, "3").moved
    assert registry.aliases == {"candidate": "3"}
    writes = registry.writes
    assert not given(registry, "3").moved
    assert registry.writes == writes


@pytest.mark.parametrize("verdict", ["refused", None])
def test_a_version_that_did_not_pass_gets_nothing(verdict: str | None, registry: Registry):
    registry.tags["3"].clear()
    if verdict:
        judged(registry, "3", verdict, "ragas.faithfulness is 0.5")
    with pytest.raises(Refused, match=r"faithfulness is 0\.5" if verdict else "has not been evaluated"):
        given(registry, "3")
    assert registry.aliases == {}


def test_a_record_that_cannot_be_read_is_none(registry: Registry):
    registry.tags["3"]["llmops.evaluation"] = json.dumps({"verdict": "passed"})
    with pytest.raises(Refused, match="has not been evaluated"):
        given(registry, "3")


def test_the_evaluation_that_is_asked_for_must_be_the_one_that_passed(registry: Registry):
    with pytest.raises(Refused, match="passed another evaluation"):
        given(registry, "3", key="j" * 64)


def test_an_older_version_does_not_take_the_alias_from_a_newer_one(registry: Registry):
    given(registry, "4")
    kept = given(registry, "3")
    assert (kept.moved, kept.after) == (False, "4")
    assert registry.aliases == {"candidate": "4"}
    registry.aliases["candidate"] = "5"  # by hand, without a mark
    assert not given(registry, "4").moved
    assert registry.aliases == {"candidate": "5"}


def test_a_person_goes_back_and_pipelines_that_run_again_leave_it_so(registry: Registry):
    given(registry, "4")
    assert given(registry, "2", back=True).moved
    assert registry.aliases == {"candidate": "2"}
    with pytest.raises(Refused, match="somebody took @candidate from version 4"):
        given(registry, "4")
    assert not given(registry, "2").moved
    assert given(registry, "5").moved, "what is newer than both may have it"


def test_an_alias_that_was_moved_by_hand_is_not_taken_back(registry: Registry):
    given(registry, "4")
    registry.aliases["candidate"] = "2"
    with pytest.raises(Refused, match="somebody took"):
        given(registry, "4")
    assert given(registry, "3").after == "3"
    assert registry.aliases == {"candidate": "3"}


def test_an_alias_without_an_evaluation_needs_a_reason_that_is_written_down(registry: Registry):
    registry.tags["3"].clear()
    given(registry, "3", unevaluated="imported from the old platform")
    assert "imported from the old platform" in registry.tags["3"].values()


class Scheduler:
    """Lets threads go one operation at a time, in an order that is drawn."""

    def __init__(self, registry: Registry, draw: random.Random) -> None:
        self._turn = threading.Condition()
        self._waiting: dict[int, bool] = {}
        self._draw, self._alive = draw, 0
        registry.step = self._step

    def _step(self) -> None:
        me = threading.get_ident()
        with self._turn:
            self._waiting[me] = False
            self._choose()
            self._turn.wait_for(lambda: self._waiting.get(me))
            del self._waiting[me]

    def _choose(self) -> None:
        if len(self._waiting) == self._alive and not any(self._waiting.values()) and self._waiting:
            self._waiting[self._draw.choice(sorted(self._waiting))] = True
            self._turn.notify_all()

    def run(self, jobs: list[Callable[[], Any]]) -> None:
        threads = [threading.Thread(target=self._job, args=(job,), daemon=True) for job in jobs]
        self._alive = len(threads)
        for one in threads:
            one.start()
        for one in threads:
            one.join(10)
            assert not one.is_alive()

    def _job(self, job: Callable[[], Any]) -> None:
        with suppress(Refused):
            job()
        with self._turn:
            self._alive -= 1
            self._choose()


def orders() -> Iterator[tuple[str, ...]]:
    return itertools.permutations(("2", "3", "5"))


@pytest.mark.parametrize("seed", range(60))
def test_promotions_at_once_end_with_the_newest_version_whatever_their_order(seed: int, registry: Registry):
    order = list(orders())[seed % 6]
    registry.aliases["candidate"] = "1"
    jobs = [lambda version=version: given(registry, version) for version in order]
    Scheduler(registry, random.Random(seed)).run(jobs)
    registry.step = lambda: None
    assert bearer(registry, "chat", "candidate") == "5"


class KilledError(Exception):
    """The pod is gone."""


@pytest.mark.parametrize("after", range(1, 14))
def test_a_promotion_that_is_killed_anywhere_is_finished_by_the_next_attempt(after: int, registry: Registry):
    given(registry, "2")
    left = itertools.count(after, -1)

    def step() -> None:
        if next(left) == 0:
            raise KilledError

    registry.step = step
    with suppress(KilledError):
        given(registry, "4")
    registry.step = lambda: None
    given(registry, "4")
    assert registry.aliases == {"candidate": "4"}


@pytest.mark.parametrize("after", range(1, 14))
def test_a_promotion_that_is_killed_keeps_no_newer_one_from_the_alias(after: int, registry: Registry):
    left = itertools.count(after, -1)

    def step() -> None:
        if next(left) == 0:
            raise KilledError

    registry.step = step
    with suppress(KilledError):
        given(registry, "4")
    registry.step = lambda: None
    given(registry, "5")
    given(registry, "4")
    assert registry.aliases == {"candidate": "5"}
