"""Money: what the stack may cost, and what must be bought cheaply."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from pulumi_policy import EnforcementLevel, Severity
from pydantic import Field

from policies.costs import Monthly, monthly
from policies.gcp import places
from policies.gcp import types as google
from policies.quotas import NODE_GROUP
from policies.registry import Context, Finding, PolicyConfig, Rule
from policies.view import UNKNOWN, Resource


def over(cost: Monthly, *, idle: int, budget: int, most: int) -> Iterator[str]:
    """What of a cost is above its limit, all in US dollars a month."""
    if cost.idle > idle:
        yield f"idle, the stack costs {cost.idle:,.0f} USD a month, quotas.idleMonthlyUsd is {idle:,}"
    if cost.expected > budget:
        yield f"{cost.expected:,.0f} USD a month are expected, budget.monthlyUsd is {budget:,}"
    if cost.most > most:
        yield f"at its maximum the stack costs {cost.most:,.0f} USD a month, quotas.maxMonthlyUsd is {most:,}"


def _within_budget(resources: Sequence[Resource], context: Context) -> Iterator[Finding]:
    cost = monthly(resources)
    settings = context.settings
    limits = settings.quotas
    dearest = ", ".join(f"{name} {usd:,.0f}" for name, usd in cost.dearest)
    for message in over(
        cost, idle=limits.idle_monthly_usd, budget=settings.budget.monthly_usd, most=limits.max_monthly_usd
    ):
        yield Finding(f"{message} (dearest at the maximum: {dearest})")


def _everything_is_priced(resources: Sequence[Resource], _context: Context) -> Iterator[Finding]:
    cost = monthly(resources)
    if cost.unpriced:
        yield Finding(f"not in the sum, because no price is known: {', '.join(cost.unpriced)}")


class SpotConfig(PolicyConfig):
    """What must be bought as spot.

    Attributes:
        roles: Values of the label ``llmops/role`` whose node groups must be spot.
    """

    roles: tuple[str, ...] = Field(default=("gpu-training",))


def _spot(resource: Resource, context: Context) -> Iterator[str]:
    if resource.type == google.NODE_POOL:
        role, capacity = resource.get("nodeConfig", "labels", "llmops/role"), places.machines_of(resource)[2]
    else:
        role, capacity = resource.get("labels", "llmops/role"), resource.get("capacityType")
    if role in context.config.roles and capacity != "SPOT":
        what = "known only during the update" if capacity is UNKNOWN else str(capacity or "ON_DEMAND")
        yield f"nodes of role {role} must be SPOT, capacityType is {what}: jobs there resume from checkpoints"


RULES: Final = (
    Rule(
        name="monthly-cost", group="money", severity=Severity.HIGH, stack=_within_budget,
        description="The stack stays within its budget: idle, as expected, and with every group at its maximum.",
    ),
    Rule(
        name="priced", group="money", severity=Severity.LOW, stack=_everything_is_priced,
        level=EnforcementLevel.ADVISORY,  # a type without a price is a gap of the price table, not of the stack
        description="Every resource has a price, or is known to be free.",
    ),
    Rule(
        name="training-on-spot", group="money", severity=Severity.MEDIUM, resource=_spot,
        types=(NODE_GROUP, google.NODE_POOL), config=SpotConfig,
        description="Node groups for training are bought as spot.",
    ),
)  # fmt: skip
