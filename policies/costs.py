"""What the stack costs, as ``ops cost`` reckons it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from policies.view import Resource

_COMPONENTS: Final = ("llmops:", "eks:index:", "pulumi:pulumi:")
_SHOWN: Final = 3


@dataclass(frozen=True, kw_only=True)
class Monthly:
    """US dollars a month.

    Attributes:
        idle: With every group at its minimum.
        expected: Between the two, by the cost model's assumptions.
        most: With every group at its maximum.
        dearest: The resources that cost most at the maximum, with their share.
        unpriced: What is in the stack and not in the sums, with reasons.
    """

    idle: float
    expected: float
    most: float
    dearest: tuple[tuple[str, float], ...] = ()
    unpriced: tuple[str, ...] = ()


def monthly(resources: Sequence[Resource]) -> Monthly:
    """The cost of a stack."""
    from ops.cost import Resource as Priced  # noqa: PLC0415 the price table is read only where money is judged
    from ops.cost import estimate  # noqa: PLC0415 the same

    found = estimate(
        Priced(
            urn=one.urn,
            type=one.type,
            properties=one.properties,
            custom=not one.type.startswith(_COMPONENTS),
            parent=one.parent,
            dependencies=tuple(sorted({urn for urns in one.sources.values() for urn in urns})),
            region=_region(one),
        )
        for one in resources
    )
    return Monthly(
        idle=found.total.low,
        expected=found.total.expected,
        most=found.total.high,
        dearest=tuple((name, cost.high) for name, cost in list(found.by_resource.items())[:_SHOWN]),
        unpriced=tuple(sorted({f"{one.name} ({one.type}): {one.reason}" for one in found.unpriced})),
    )


def _region(resource: Resource) -> str:
    for value in (resource.provider.get("region"), resource.get("region")):
        if isinstance(value, str):
            return value
    return ""
