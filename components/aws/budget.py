"""The stack's monthly AWS budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import budgets


@dataclass(frozen=True, kw_only=True)
class BudgetArgs:
    """What the budget needs.

    Attributes:
        prefix: ``<project>-<stack>``; part of the budget's name.
        monthly_usd: Limit of one calendar month.
        tag_key: Default tag that tells this stack's costs from others; it must be active as a cost allocation tag in
            the billing account, until then the budget counts nothing.
        tag_value: Its value in this stack; unique among everything that is paid from the account.
        alert_percent: Shares of the limit at which it tells, on actual cost; 100 also on the forecast. The API takes
            5 in all; the settings allow 4.
        emails: Who is told; at most 10 (Budgets API).
        topic_arn: The stack's topic, which is told as well.
    """

    prefix: str
    monthly_usd: int
    tag_key: str
    tag_value: str
    alert_percent: Sequence[int]
    emails: Sequence[str]
    topic_arn: pulumi.Input[str]


class Budget(pulumi.ComponentResource):
    """Tells when a share of the money is spent, and when the forecast is above the limit; it stops nothing."""

    budget_name: pulumi.Output[str]

    def __init__(self, name: str, args: BudgetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:aws:Budget", name, None, opts)

        budget = budgets.Budget(
            f"{name}-monthly",
            name=f"{args.prefix}-monthly",
            budget_type="COST",
            time_unit="MONTHLY",
            limit_amount=str(args.monthly_usd),
            limit_unit="USD",
            cost_filters=[
                # The Budgets API joins key and value with a dollar sign, and "user:" marks a tag of ours.
                {"name": "TagKeyValue", "values": [f"user:{args.tag_key}${args.tag_value}"]}
            ],
            notifications=[
                {
                    "comparison_operator": "GREATER_THAN",
                    "notification_type": kind,
                    "threshold": percent,
                    "threshold_type": "PERCENTAGE",
                    "subscriber_email_addresses": list(args.emails),
                    "subscriber_sns_topic_arns": [args.topic_arn],
                }
                for kind, percent in _alerts(args.alert_percent)
            ],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.budget_name = budget.name
        self.register_outputs({"budgetName": self.budget_name})


def _alerts(percents: Sequence[int]) -> list[tuple[str, int]]:
    forecast = [("FORECASTED", 100)] if 100 in percents else []
    return [*(("ACTUAL", percent) for percent in percents), *forecast]
