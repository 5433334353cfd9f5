"""Money: budgets of teams at the model gateway."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from components.platform.observability.rules.facts import SiteFacts
from components.platform.observability.rules.model import HOUR, MINUTE, Alert, Group

_LEFT: Final = 0.1

_REMAINING: Final = "min by (team, team_alias) (litellm_remaining_team_budget_metric)"
_BUDGET: Final = "max by (team, team_alias) (litellm_team_max_budget_metric > 0)"
_HOURS: Final = "max by (team) (litellm_team_budget_remaining_hours_metric)"
_SPENT_AN_HOUR: Final = "(sum by (team) (rate(litellm_spend_metric_total[6h])) * 3600)"


def groups(facts: SiteFacts) -> Iterator[Group]:
    """Rules about budgets, where there is a gateway that keeps them. Each names its team, whose people hear of it."""
    if facts.settings.model_gateway.enabled:
        yield Group(name="money", rules=_BUDGETS)


_BUDGETS: Final = (
    Alert(
        name="BudgetNearlyUsed",
        expression=f"{_REMAINING} / {_BUDGET} < {_LEFT:g} and {_REMAINING} > 0",
        lasting=5 * MINUTE,
        severity="warning",
        summary="{{ $labels.team }} has nearly used its budget for models",
        description="{{ $value | humanizePercentage }} of the month's budget are left.",
        page="money",
        dashboard="money",
    ),
    Alert(
        name="BudgetUsed",
        expression=f"{_REMAINING} <= 0 and on(team, team_alias) {_BUDGET}",
        lasting=5 * MINUTE,
        severity="critical",
        summary="{{ $labels.team }} has used its budget for models",
        description="The gateway refuses its calls until the month ends, or the budget is raised.",
        page="money",
        dashboard="money",
    ),
    Alert(
        name="BudgetBurn",
        expression=f"{_SPENT_AN_HOUR} * on(team) {_HOURS} > on(team) (max by (team) ({_REMAINING}) > 0)",
        lasting=HOUR,
        severity="warning",
        summary="The budget of {{ $labels.team }} will not last until the month ends",
        description="At the pace of the last six hours it would spend another {{ $value | humanize }} USD.",
        page="money",
        dashboard="money",
    ),
)
