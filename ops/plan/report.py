"""What the report says, before it has a form: changes, money, quotas, and what speaks against it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.capacity.prices import PriceTable
from ops.cost import Estimate, Range, estimate
from ops.cost.model import SHARED
from ops.cost.read import State, resources, states_after, states_before
from ops.cost.report import money
from ops.plan.preview import Change, Preview, parse
from ops.plan.quotas import Quota, compare


@dataclass(frozen=True, kw_only=True)
class CostChange:
    """A sum before and after.

    Attributes:
        name: What it is the sum of.
        before: Dollars a month before; None where that is not known.
        after: Dollars a month afterwards.
    """

    name: str
    before: Range | None
    after: Range

    @property
    def difference(self) -> Range | None:
        """What is added."""
        return None if self.before is None else self.after.minus(self.before)

    @property
    def size(self) -> float:
        """How large the difference is, for sorting."""
        gap = self.difference
        return 0.0 if gap is None else max(abs(gap.low), abs(gap.expected), abs(gap.high))


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A limit on money.

    Attributes:
        name: Path of the setting.
        what: What is held against it.
        usd: The limit.
        actual: What it is.
    """

    name: str
    what: str
    usd: float
    actual: float

    @property
    def exceeded(self) -> bool:
        """Whether the limit does not hold."""
        return self.actual > self.usd


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that the report shows.

    Attributes:
        preview: What changes.
        total: What the whole stack costs; None where the preview failed, and then there are no numbers at all.
        costs: Resources whose cost changes, the largest difference first.
        models: Models whose cost changes.
        limits: Limits on money that are declared.
        quotas: Quotas that are declared or used.
        estimate: The cost afterwards, with what is not priced.
    """

    preview: Preview
    total: CostChange | None = None
    costs: tuple[CostChange, ...] = ()
    models: tuple[CostChange, ...] = ()
    limits: tuple[Limit, ...] = ()
    quotas: tuple[Quota, ...] = ()
    estimate: Estimate | None = None

    @property
    def at_risk(self) -> tuple[Change, ...]:
        """What holds data and is replaced or deleted."""
        return tuple(change for change in self.preview.changes if change.loses)

    @property
    def objections(self) -> tuple[str, ...]:
        """What speaks against it, the gravest first; empty for nothing."""
        found: list[str] = []
        if self.preview.errors:
            found.append("the preview failed")
        if self.at_risk:
            found.append(f"{_count(len(self.at_risk), 'resource')} with data would be replaced or deleted")
        if mandatory := sum(one.mandatory for one in self.preview.violations):
            found.append(f"{_count(mandatory, 'mandatory policy violation')}")
        found += [
            f"{limit.what} of {money(limit.actual)} is above {limit.name} ({money(limit.usd)})"
            for limit in self.limits
            if limit.exceeded
        ]
        found += [
            f"{quota.name} would be {quota.after}, the quota is {quota.limit}"
            for quota in self.quotas
            if quota.headroom < 0
        ]
        return tuple(found)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def build(
    content: Mapping[str, Any],
    *,
    state: Sequence[State] | None = None,
    events: Iterable[Mapping[str, Any]] = (),
    previous: Mapping[str, Any] | None = None,
    prices: PriceTable | None = None,
) -> Report:
    """Make the report.

    Args:
        content: What ``pulumi preview --json`` printed.
        state: The resources that it started from; needed unless the preview was made with ``--show-sames``.
        events: The engine's events, for what policies found.
        previous: What ``ops cost --json`` said before; only its total is used, and only where the state is not known.
        prices: The price table.

    Raises:
        InputError: The preview cannot be read, or leaves out what does not change.
    """
    preview = parse(content, events)
    if preview.errors:
        # What a program had not declared before it failed is missing from the preview: no sum would be right.
        return Report(preview=preview)
    after_states = states_after(content, state)
    before_states = states_before(content) if state is None else list(state)
    after = resources(after_states)
    before = None if before_states is None else resources(before_states)
    cost = estimate(after, prices=prices)
    earlier = None if before is None else estimate(before, prices=prices)
    total = earlier.total if earlier else _total_of(previous)
    return Report(
        preview=preview,
        total=CostChange(name="total", before=total, after=cost.total),
        costs=_differences(earlier.by_resource if earlier else None, cost.by_resource),
        models=_differences(earlier.by_model if earlier else None, cost.by_model, leaving_out=SHARED),
        limits=_limits(preview, cost),
        quotas=tuple(compare(preview.setting("quotas"), after, before)),
        estimate=cost,
    )


def _total_of(previous: Mapping[str, Any] | None) -> Range | None:
    if not previous:
        return None
    total = previous["total"]
    return Range(low=float(total["min"]), expected=float(total["expected"]), high=float(total["max"]))


def _differences(
    before: Mapping[str, Range] | None, after: Mapping[str, Range], leaving_out: str = ""
) -> tuple[CostChange, ...]:
    if before is None:
        return ()
    nothing = Range.of(0)
    every = [
        CostChange(name=name, before=before.get(name, nothing), after=after.get(name, nothing))
        for name in {*before, *after} - {leaving_out}
    ]
    return tuple(sorted((one for one in every if one.size >= 0.005), key=lambda one: (-one.size, one.name)))


def _limits(preview: Preview, cost: Estimate) -> tuple[Limit, ...]:
    quotas, total = preview.setting("quotas"), cost.total
    declared = (
        ("budget.monthlyUsd", "the expected cost", preview.setting("budget").get("monthlyUsd"), total.expected),
        ("quotas.idleMonthlyUsd", "the idle cost", quotas.get("idleMonthlyUsd"), total.low),
        ("quotas.maxMonthlyUsd", "the highest cost", quotas.get("maxMonthlyUsd"), total.high),
    )
    return tuple(
        Limit(name=name, what=what, usd=float(usd), actual=actual)
        for name, what, usd, actual in declared
        if isinstance(usd, (int, float))
    )
