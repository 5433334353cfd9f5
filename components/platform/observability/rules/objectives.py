"""What is promised of models: the stack's limits for all of them, and their own where they state them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from components.platform.observability.rules.facts import ERROR_RATIO, P99_SECONDS, ModelObjective
from components.platform.observability.rules.model import DAY, HOUR, MINUTE, Alert, Severity, promql
from components.platform.observability.rules.promql import matching
from components.platform.observability.rules.recorded import P99, error_ratio


@dataclass(frozen=True, kw_only=True)
class Burn:
    """How fast the errors that an objective allows are used up.

    Attributes:
        rate: Times the rate at which they would last for exactly 30 days.
        long: Window that tells that it matters.
        short: Window that tells that it still goes on: a twelfth of the long one.
        lasting: For how long both must agree.
        severity: Who must act.
        spent: What share of the 30 days' errors is gone when the long window is full; for people.
    """

    rate: float
    long: timedelta
    short: timedelta
    lasting: timedelta
    severity: Severity
    spent: str


# Google's "The Site Reliability Workbook", chapter 5, table 5-8; its last row, 10 % of the errors, is there for one day
# too, as in the Kubernetes project's rules for its API server.
BURNS: Final = (
    Burn(rate=14.4, long=HOUR, short=5 * MINUTE, lasting=2 * MINUTE, severity="critical", spent="2 %"),
    Burn(rate=6, long=6 * HOUR, short=30 * MINUTE, lasting=15 * MINUTE, severity="critical", spent="5 %"),
    Burn(rate=3, long=DAY, short=2 * HOUR, lasting=HOUR, severity="warning", spent="10 %"),
    Burn(rate=1, long=3 * DAY, short=6 * HOUR, lasting=3 * HOUR, severity="warning", spent="10 %"),
)


@dataclass(frozen=True, kw_only=True)
class _Limit:
    """One limit and the models that it holds for."""

    selector: str
    labels: dict[str, str]
    error_ratio: float
    p99_seconds: float


def _limits(objectives: Sequence[ModelObjective]) -> Iterator[_Limit]:
    """The stack's own for every model that states none, then those of the models."""
    others = f'{{model!~"{matching(one.name for one in objectives)}"}}' if objectives else ""
    yield _Limit(selector=others, labels={}, error_ratio=ERROR_RATIO, p99_seconds=P99_SECONDS)
    for one in objectives:
        yield _Limit(
            selector=f'{{model="{one.name}"}}',
            labels={"model": one.name, "team": one.team},
            error_ratio=one.error_ratio,
            p99_seconds=one.p99_seconds,
        )


def errors(objectives: Sequence[ModelObjective]) -> Iterator[Alert]:
    """More than 1 % of the requests fail; or more than a model's objective allows."""
    for limit in _limits(objectives):
        yield Alert(
            name="ModelErrors",
            expression=f"{error_ratio(5 * MINUTE)}{limit.selector} > {limit.error_ratio:g}",
            lasting=5 * MINUTE,
            severity="critical",
            summary="Requests to {{ $labels.model }} fail",
            description=(
                "{{ $value | humanizePercentage }} of the requests fail, as seen by {{ $labels.source }}; the limit is "
                f"{limit.error_ratio:.2%}."
            ),
            page="models",
            dashboard="models",
            labels=limit.labels,
        )


def latency(objectives: Sequence[ModelObjective]) -> Iterator[Alert]:
    """The slowest hundredth of the answers takes more than 2 s; or more than a model's objective allows."""
    for limit in _limits(objectives):
        yield Alert(
            name="ModelLatencyHigh",
            expression=f"{P99}{limit.selector} > {limit.p99_seconds:g}",
            lasting=10 * MINUTE,
            severity="critical",
            summary="Answers of {{ $labels.model }} are late",
            description=(
                "The slowest hundredth takes {{ $value | humanizeDuration }} or more, as seen by "
                f"{{{{ $labels.source }}}}; the limit is {limit.p99_seconds:g} s."
            ),
            page="models",
            dashboard="models",
            labels=limit.labels,
        )


def budgets(objectives: Sequence[ModelObjective]) -> Iterator[Alert]:
    """Errors come so fast that the objective of 30 days will not be met."""
    for limit in _limits(objectives):
        for burn in BURNS:
            allowed = burn.rate * limit.error_ratio
            if allowed >= 1:
                continue  # nothing fails more often than always: a slower window tells of it
            over = f"{limit.selector} > {allowed:g}"
            yield Alert(
                name="ModelErrorBudgetBurn",
                expression=f"{error_ratio(burn.long)}{over} and {error_ratio(burn.short)}{over}",
                lasting=burn.lasting,
                severity=burn.severity,
                summary="{{ $labels.model }} uses up the errors that its objective allows",
                description=(
                    "{{ $value | humanizePercentage }} of the requests fail. At "
                    f"{burn.rate:g} times what the objective ({limit.error_ratio:.2%} over 30 days) can bear, "
                    f"{burn.spent} of what it allows are gone in {promql(burn.long)}."
                ),
                page="models",
                dashboard="models",
                labels={**limit.labels, "burn": f"{burn.rate:g}"},
            )
