"""The stack's monthly budget; the GCP twin of ``Budget``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_gcp import billing

from components.gcp.project import Project

MAX_CHANNELS: Final = 5
"""Notification channels that a budget takes (Cloud Billing Budget API, ``allUpdatesRule``)."""


@dataclass(frozen=True, kw_only=True)
class BudgetArgs:
    """What the budget needs.

    Attributes:
        prefix: ``<project>-<stack>``; part of the budget's name, and the label by which the stack's costs are told.
        project: Whose costs.
        billing_account: Account that pays.
        monthly_usd: Limit of one calendar month; the billing account must be in US dollars.
        alert_percent: Shares of the limit at which it tells, on actual cost; 100 also on the forecast.
        channels: Who is told; the first five. The billing account's administrators are told as well.
    """

    prefix: str
    project: Project
    billing_account: str
    monthly_usd: int
    alert_percent: Sequence[int]
    channels: Sequence[pulumi.Input[str]]


class Budget(pulumi.ComponentResource):
    """Tells when a share of the money is spent, and when the forecast is above the limit; it stops nothing."""

    budget_name: pulumi.Output[str]

    def __init__(self, name: str, args: BudgetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:gcp:Budget", name, None, opts)
        channels = list(args.channels)[:MAX_CHANNELS]
        budget = billing.Budget(
            f"{name}-monthly",
            billing_account=args.billing_account,
            display_name=f"{args.prefix}-monthly",
            amount={"specified_amount": {"currency_code": "USD", "units": str(args.monthly_usd)}},
            budget_filter={
                "projects": [f"projects/{args.project.number}"],
                "labels": {"stack": args.prefix},
                "calendar_period": "MONTH",
                "credit_types_treatment": "EXCLUDE_ALL_CREDITS",  # what is used, not what is left to pay
            },
            threshold_rules=[
                {"threshold_percent": percent / 100, "spend_basis": basis}
                for basis, percent in alerts(args.alert_percent)
            ],
            all_updates_rule={"monitoring_notification_channels": channels} if channels else None,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.budget_name = budget.display_name.apply(lambda name: name or "")
        self.register_outputs({"budgetName": self.budget_name})


def alerts(percents: Sequence[int]) -> list[tuple[str, int]]:
    """What is told of, by what is counted."""
    forecast = [("FORECASTED_SPEND", 100)] if 100 in percents else []
    return [*(("CURRENT_SPEND", percent) for percent in percents), *forecast]
