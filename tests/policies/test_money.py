"""Money: idle, expected and at most, each against its own limit."""

from __future__ import annotations

import pytest
from world import changed, judge, settings, world

from policies.costs import Monthly
from policies.money import over

pytestmark = pytest.mark.policies

COST = Monthly(idle=100.0, expected=200.0, most=300.0)


def test_a_cost_at_its_limits_passes():
    assert list(over(COST, idle=100, budget=200, most=300)) == []


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"idle": 99, "budget": 200, "most": 300}, "quotas.idleMonthlyUsd is 99"),
        ({"idle": 100, "budget": 199, "most": 300}, "budget.monthlyUsd is 199"),
        ({"idle": 100, "budget": 200, "most": 299}, "quotas.maxMonthlyUsd is 299"),
    ],
)
def test_each_of_the_three_has_a_limit_of_its_own(limits: dict[str, int], words: str):
    (said,) = over(COST, **limits)
    assert words in said


def test_more_idle_nodes_break_the_idle_limit_and_the_message_names_what_is_dear():
    idle = changed(world(), "training", ("scalingConfig", "minSize"), 4)
    said = judge("monthly-cost", idle)
    assert any("idle, the stack costs" in one and "training" in one for one in said), said


def test_a_smaller_budget_breaks_it_too():
    assert any(
        "are expected" in one for one in judge("monthly-cost", world(), stack=settings(budget={"monthlyUsd": 1}))
    )


def test_what_has_no_price_is_named_and_not_counted_as_free():
    from dataclasses import replace

    (database,) = (one for one in world() if one.name == "database")
    strange = replace(database, name="dear", type="aws:sagemaker/endpoint:Endpoint", props={})
    (said,) = judge("priced", [strange])
    assert "dear" in said
