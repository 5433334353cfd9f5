"""What is promised of models reaches the rules, and a canary that is worse than its baseline is an alert."""

from __future__ import annotations

from typing import Any

import pytest
from stack_models import CANARY, chat, planned

from components.platform.observability import catalogue
from workloads.models.alerts import ALERT, canaries, objective

pytestmark = pytest.mark.unit


def promised(**changes: Any):
    found = planned(chat(**changes))
    return objective(found.specs[0], found.plans["chat"])


def test_an_objective_is_what_the_model_declares():
    found = promised(objective={"p99Seconds": 7, "errorPercent": 0.5}, team="research")

    assert (found.name, found.namespace, found.team) == ("chat", "team-research", "research")
    assert (found.p99_seconds, found.error_ratio) == (7, 0.005)


@pytest.mark.parametrize(("fewest", "always"), [(0, False), (1, True)])
def test_a_model_that_may_be_away_is_not_missed_but_its_cold_start_is_watched(fewest: int, always: bool):
    found = promised(replicas={"min": fewest, "max": 1})

    assert found.always_on is always
    assert bool(found.cold_start_seconds) is not always


def test_only_a_canary_that_runs_is_judged():
    def rules(state: str) -> int:
        return len(canaries(planned(chat(canary={**CANARY, "state": state})).specs).rules)

    assert rules("running") > 0
    assert rules("promoted") == rules("rolled-back") == 0
    assert not canaries(planned(chat()).specs).rules


def test_a_canary_is_measured_by_metrics_that_exist_and_its_alert_says_what_to_do():
    for alert in canaries(planned(chat(canary=CANARY)).specs).alerts:
        assert alert.name == ALERT
        assert not catalogue.unknown(alert.expression)
        assert "models rollback" in alert.description
