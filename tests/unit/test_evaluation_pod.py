"""The pure parts of the pod's program: cases, intervals, reports."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.artifacts.configuration import ConfigError
from workloads.evaluation.cases import Case, CasesError, parse, prompt, taken
from workloads.evaluation.gate import Measure
from workloads.evaluation.image.evaluation.config import Config
from workloads.evaluation.image.evaluation.config import parse as parse_config
from workloads.evaluation.image.evaluation.intervals import Interval, Point, change, interval, mean

pytestmark = pytest.mark.unit

SCORES = st.lists(st.floats(0, 1), min_size=2, max_size=40)


def bootstrapped(points: list[Point], seed: int = 0) -> Interval:
    return interval(points, confidence=0.95, resamples=200, seed=seed)


@settings(max_examples=50, deadline=None)
@given(SCORES, st.randoms(use_true_random=False))
def test_an_interval_holds_the_mean_and_does_not_depend_on_the_order_of_the_cases(
    scores: list[float], shuffler: random.Random
):
    points = [Point(score) for score in scores]
    found = bootstrapped(points)
    assert found.low <= found.value <= found.high
    assert min(scores) - 1e-9 <= found.low
    assert found.high <= max(scores) + 1e-9
    shuffled = list(points)
    shuffler.shuffle(shuffled)
    assert bootstrapped(shuffled) == found


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    draw = random.Random(1)
    truth, hits = 0.7, 0
    for seed in range(200):
        points = [Point(float(draw.random() < truth)) for _ in range(60)]
        found = bootstrapped(points, seed=seed)
        hits += found.low <= truth <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_more_cases_make_it_narrower_and_equal_cases_make_it_a_point():
    few, many = (bootstrapped([Point(float(n % 2)) for n in range(size)]) for size in (20, 400))
    assert many.high - many.low < few.high - few.low
    assert bootstrapped([Point(0.5)] * 30) == Interval(0.5, 0.5, 0.5)


def test_long_sequences_count_for_more():
    assert mean([Point(1, weight=30), Point(2, weight=10)]) == 1.25
    assert math.isnan(mean([]))


def test_a_change_is_of_the_cases_that_both_were_judged_on():
    own = {"a": Point(1), "b": Point(0.5), "c": Point(0)}
    other = {"a": Point(0.5), "b": Point(0), "d": Point(1)}
    found = change(own, other, confidence=0.95, resamples=200, seed=0)
    assert found == Interval(0.5, 0.5, 0.5), "both differ by the same: there is nothing to be unsure of"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 1"),
        ("[]", "must be an object"),
        ('{"question": "?"}', "unknown question"),
        ('{"input": " "}', "needs input"),
        ('{"input": "?", "contexts": "one"}', "contexts must be a list"),
        ('{"input": "?", "reference": 4}', "reference must be text"),
        ('{"messages": [{"role": "boss", "content": "?"}]}', "messages must be"),
        ("", "no cases"),
    ],
)
def test_a_file_of_cases_with_a_bad_line_is_refused_with_the_line(line: str, reason: str):
    with pytest.raises(CasesError, match=reason):
        parse(line)


def test_every_bad_line_is_named_and_a_case_that_is_there_twice_too():
    text = "\n".join(['{"input": "a", "id": 1}', '{"input": "b", "id": "1"}', "{", '{"input": "c"}'])
    with pytest.raises(CasesError) as refused:
        parse(text)
    assert [line[:6] for line in str(refused.value).splitlines()] == ["line 2", "line 3"]


def test_the_same_cases_are_taken_whatever_the_order_of_the_file():
    cases = parse("\n".join(json.dumps({"input": f"question {n}"}) for n in range(50)))
    some = taken(cases, 10)
    assert {one.id for one in taken(tuple(reversed(cases)), 10)} == {one.id for one in some}
    assert len(some) == 10
    assert taken(cases, 0) == cases


def test_contexts_are_in_the_question_only_where_they_are_given():
    case = Case(id="1", input="Where?", contexts=("Here.",))
    assert "Here." in prompt(case, give_contexts=True)[0]["content"]
    assert prompt(case, give_contexts=False) == [{"role": "user", "content": "Where?"}]
    talk = Case(id="2", input="b", messages=({"role": "system", "content": "a"}, {"role": "user", "content": "b"}))
    assert [one["role"] for one in prompt(talk, give_contexts=True)] == ["system", "user"]


def test_every_problem_of_a_configuration_is_said_at_once():
    with pytest.raises(ConfigError) as refused:
        parse_config(json.dumps({"model": {"name": "chat", "version": "latest"}, "colour": "red", "minCases": 0}))
    assert {line.split(":")[0] for line in str(refused.value).splitlines()} == {"model.version", "colour", "minCases"}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({}, "nothing to evaluate"),
        ({"suites": [{"name": "a", "kind": "ragas", "data": "s3://data/a.jsonl"}]}, "nobody answers"),
        ({"heldOut": True}, "heldOut needs answers"),
        ({"task": "promote"}, "alias must be set"),
    ],
)
def test_a_configuration_that_says_too_little_is_refused(more: dict[str, Any], reason: str):
    with pytest.raises(ConfigError, match=reason):
        parse_config(json.dumps({"model": {"name": "chat", "version": "7"}, **more}))


def test_a_measure_is_read_as_it_was_written():
    measure = Measure(value=1, low=0.5, high=1, cases=3)
    assert Measure.of({**vars(measure), "changes": {}}) == measure


def test_the_defaults_of_pod_and_settings_are_the_same():
    from components.settings.evaluation import EvaluationSettings, JudgeSettings, SuiteSettings, ThresholdSettings
    from workloads.evaluation.image.evaluation import config

    for pod, declared in (
        (Config, EvaluationSettings),
        (config.Judge, JudgeSettings),
        (config.Suite, SuiteSettings),
        (config.ThresholdPart, ThresholdSettings),
    ):
        shared = set(pod.model_fields) & set(declared.model_fields)
        for name in shared:
            own = pod.model_fields[name]
            if not own.is_required() and name not in ("judge", "held_out", "key"):
                theirs = declared.model_fields[name].get_default(call_default_factory=True)
                assert own.get_default(call_default_factory=True) == theirs, f"{pod.__name__}.{name}"
