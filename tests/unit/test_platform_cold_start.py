"""Timeouts on the way of a request: none gives up before a cold start is over, and all come from one place."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import ValidationError

from components.platform import activation, inference, serving
from components.platform.cold_start import (
    LEAVE_SECONDS,
    PROBE_SECONDS,
    ColdStartBudget,
    Timeouts,
    longest,
    timeouts,
)
from components.platform.inference import ModelServer, inference_service
from components.settings.platform import PlatformSettings, rules
from components.settings.platform.serving import ColdStartSettings

pytestmark = pytest.mark.unit

TYPICAL = ColdStartBudget.of(ColdStartSettings())
WARM = ColdStartBudget(node=0, image=0, weights=5, compile=0, warm_up=10, margin_percent=10)
HUGE = ColdStartBudget(node=900, image=900, weights=3600, compile=600, warm_up=600, margin_percent=100)
BUDGETS = pytest.mark.parametrize("budget", [TYPICAL, WARM, HUGE], ids=["typical", "warm", "huge"])


def of(budget: ColdStartBudget, *, answer: int = 600, idle: int = 1200) -> Timeouts:
    return timeouts(budget, answer_seconds=answer, idle_seconds=idle)


@BUDGETS
def test_whoever_waits_for_a_server_waits_longer_than_a_cold_start_takes(budget: ColdStartBudget):
    waits = of(budget)
    total = budget.node + budget.image + budget.weights + budget.compile + budget.warm_up

    for name in ("activation", "request", "model_gateway", "route", "idle", "cooldown", "progress_deadline"):
        assert getattr(waits, name) > total, name
    assert waits.activator_drain > total, "a proxy that must go would drop what it holds"


@BUDGETS
def test_a_container_may_start_for_longer_than_loading_takes(budget: ColdStartBudget):
    assert of(budget).startup > budget.weights + budget.compile + budget.warm_up


@BUDGETS
def test_each_hop_outlasts_the_one_behind_it_so_the_innermost_says_what_is_wrong(budget: ColdStartBudget):
    waits = of(budget, answer=900)
    way = [waits.activation + waits.answer, waits.request, waits.model_gateway, waits.route, waits.idle]

    assert way == sorted(set(way))


@BUDGETS
def test_a_pod_that_must_go_is_given_the_time_for_its_last_answer(budget: ColdStartBudget):
    waits = of(budget, answer=300)

    assert waits.grace > LEAVE_SECONDS + 300
    assert waits.activator_grace > LEAVE_SECONDS + waits.request


def test_a_model_keeps_its_server_as_long_as_was_asked_and_never_shorter_than_a_cold_start():
    assert of(TYPICAL, idle=7200).cooldown == 7200
    assert of(TYPICAL, idle=60).cooldown > TYPICAL.total_seconds


def test_windows_of_the_autoscaler_stay_within_what_its_api_takes():
    waits = of(HUGE)

    assert (waits.scale_down_window, waits.scale_up_period) == (3600, 1800)
    assert of(TYPICAL).scale_down_window > TYPICAL.total_seconds


@pytest.mark.parametrize("stage", ["node", "image", "weights", "compile", "warm_up"])
def test_a_longer_stage_never_shortens_a_wait(stage: str):
    before = of(TYPICAL)
    after = of(dataclasses.replace(TYPICAL, **{stage: getattr(TYPICAL, stage) + 100}))

    assert all(new >= old for new, old in zip(dataclasses.astuple(after), dataclasses.astuple(before), strict=True))
    assert after.activation >= before.activation + 100


def test_a_stage_cannot_be_negative_and_no_server_starts_at_once():
    with pytest.raises(ValueError, match="image must be 0 or more"):
        dataclasses.replace(TYPICAL, image=-1)
    with pytest.raises(ValueError, match="no server starts at once"):
        dataclasses.replace(TYPICAL, weights=0, compile=0, warm_up=0)
    with pytest.raises(ValidationError, match="no server starts at once"):
        ColdStartSettings.model_validate({"weightsSeconds": 0, "compileSeconds": 0, "warmUpSeconds": 0})


def test_what_several_models_share_waits_for_the_slowest():
    shared = longest([of(WARM, answer=900), of(TYPICAL, answer=60)])

    assert shared.activation == of(TYPICAL).activation
    assert shared.answer == 900
    with pytest.raises(ValueError, match="longest"):
        longest([])


def test_a_node_that_is_given_up_before_it_can_be_there_is_refused_with_its_remedy():
    settings = PlatformSettings.model_validate(
        {
            "controllers": {"clusterAutoscaler": {"maxNodeProvisionMinutes": 5}},
            "serving": {"coldStart": {"nodeSeconds": 300}},
        }
    )

    (problem,) = rules.serving(settings)
    assert problem[0] == "platform.serving.coldStart.nodeSeconds"
    assert "maxNodeProvisionMinutes" in problem[1]
    assert not list(rules.serving(PlatformSettings()))


def test_scale_to_zero_without_the_autoscaler_is_refused():
    paths = [path for path, _ in rules.serving(PlatformSettings.model_validate({"autoscaling": {"enabled": False}}))]

    assert paths == ["platform.serving.activation.enabled"]


# What is called like a timeout, in manifests, in values of charts and in keyword arguments.
_WAITS = (
    "timeout",
    "deadline",
    "cooldown",
    "graceperiod",
    "failurethreshold",
    "stabilizationwindow",
    "periodseconds",
    "readiness",
    "responseheader",
    "request",
    "shutdowndelay",
)
# Of a running server, not of one that starts: a probe that gets no answer, and how many in a row.
_OF_A_RUNNING_SERVER = {("timeoutSeconds", 5), ("failureThreshold", 3), ("failureThreshold", 6)}


def _numbers_by_hand(module: Any) -> Iterator[tuple[str, Any]]:
    """Keys and keyword arguments that are called like a wait and whose value stands there as a number."""
    for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
        pairs: list[tuple[str, ast.expr]] = []
        if isinstance(node, ast.Dict):
            pairs += [
                (key.value, value)
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            ]
        elif isinstance(node, ast.Call):
            pairs += [(word.arg, word.value) for word in node.keywords if word.arg]
        for key, value in pairs:
            named = any(word in key.lower().replace("_", "") for word in _WAITS)
            if named and isinstance(value, ast.Constant) and str(value.value).rstrip("sm").isdigit():
                yield key, value.value


def test_no_wait_is_set_by_hand():
    from components.platform import runtimes

    found = {
        (module.__name__, *pair)
        for module in (activation, inference, runtimes, serving)
        for pair in _numbers_by_hand(module)
        if pair not in _OF_A_RUNNING_SERVER
    }

    assert found == set()


def durations(value: Any) -> Iterator[int]:
    if isinstance(value, dict):
        for one in cast("dict[str, Any]", value).values():
            yield from durations(one)
    elif isinstance(value, list):
        for one in cast("list[Any]", value):
            yield from durations(one)
    elif isinstance(value, str) and value.removesuffix("s").isdigit() and value.endswith("s"):
        yield int(value.removesuffix("s"))


def server(waits: Timeouts) -> ModelServer:
    return ModelServer(
        name="small",
        namespace="mlops-serving",
        runtime="vllm",
        waits=waits,
        service_account="small",
        cpu_millicores=4000,
        memory_mib=24 * 1024,
        gpus=1,
        most=2,
    )


@BUDGETS
def test_a_models_objects_hold_the_waits_of_its_own_cold_start(budget: ColdStartBudget):
    waits = of(budget)
    objects = inference_service(server(waits), prometheus_url="", activator=True)
    probe = objects.service["predictor"]["model"]["startupProbe"]

    assert probe["periodSeconds"] * probe["failureThreshold"] == waits.startup
    assert probe["periodSeconds"] == PROBE_SECONDS
    assert objects.service["predictor"]["terminationGracePeriodSeconds"] == waits.grace
    assert objects.route is not None
    assert objects.scaling is not None
    assert set(durations(dict(objects.route))) == {waits.activation, waits.answer, waits.request}
    assert objects.scaling["cooldownPeriod"] == objects.scaling["initialCooldownPeriod"] == waits.cooldown
    assert f"--shutdown-timeout={waits.answer}" in objects.service["predictor"]["model"]["args"]


def test_the_documented_seconds_are_those_of_the_defaults():
    settings = PlatformSettings().serving
    waits = timeouts(
        ColdStartBudget.of(settings.cold_start),
        answer_seconds=settings.answer_seconds,
        idle_seconds=settings.activation.idle_minutes * 60,
    )
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    documented = {name: int(value) for name, value in re.findall(r"^\| `(\w+)` \| (\d+) \| [^|]+\|$", page, re.M)}

    assert len(documented) > 10
    assert documented == {name: getattr(waits, name) for name in documented}
    assert f"the sum is {TYPICAL.total_seconds} s" in page
