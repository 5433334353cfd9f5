"""The budget: whose money, how much, and who hears of it."""

from __future__ import annotations

import pytest
from aws_stack import PREFIX, TOPIC, run
from conftest import Recorder

from components.aws.budget import Budget, BudgetArgs

pytestmark = pytest.mark.unit


def budget(alert_percent=(50, 80, 100)):
    return Budget(
        "budget",
        BudgetArgs(
            prefix=PREFIX,
            monthly_usd=500,
            tag_key="stack",
            tag_value="dev",
            alert_percent=alert_percent,
            emails=["ops@example.com"],
            topic_arn=TOPIC,
        ),
    )


def test_it_counts_only_what_carries_the_tag_of_the_stack(recorded: Recorder):
    run(budget)
    made = recorded.one("aws:budgets/budget:Budget").inputs
    assert made["costFilters"] == [{"name": "TagKeyValue", "values": ["user:stack$dev"]}]
    assert (made["limitAmount"], made["limitUnit"], made["timeUnit"]) == ("500", "USD", "MONTHLY")


def test_it_warns_before_the_money_is_gone_and_when_the_forecast_says_so(recorded: Recorder):
    run(budget)
    notifications = recorded.one("aws:budgets/budget:Budget").inputs["notifications"]
    assert {(n["notificationType"], n["threshold"]) for n in notifications} == {
        ("ACTUAL", 50),
        ("ACTUAL", 80),
        ("ACTUAL", 100),
        ("FORECASTED", 100),
    }
    for notification in notifications:
        assert notification["subscriberEmailAddresses"] == ["ops@example.com"]
        assert notification["subscriberSnsTopicArns"] == [TOPIC]


def test_without_an_alert_at_the_limit_there_is_none_on_the_forecast(recorded: Recorder):
    run(lambda: budget(alert_percent=(80,)))
    notifications = recorded.one("aws:budgets/budget:Budget").inputs["notifications"]
    assert [(n["notificationType"], n["threshold"]) for n in notifications] == [("ACTUAL", 80)]
