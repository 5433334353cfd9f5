"""From resources to a bill: a pure function, for previews, exported states and policies alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final

from components.capacity.prices import UNCONFIRMED, PriceTable, load
from ops.cost import aws, gcp, kubernetes
from ops.cost.assumptions import ASSUMPTIONS, Assumption
from ops.cost.free import ADDON, CHARGED_ADDONS, why_free
from ops.cost.items import Bill
from ops.cost.model import Estimate, Resource
from ops.cost.owners import owners_of

_OWN_CLUSTER: Final = "llmops:onprem:Foundation"
PRICERS: Final = {**aws.PRICERS, **gcp.PRICERS, **kubernetes.PRICERS}


def estimate(
    resources: Iterable[Resource],
    *,
    prices: PriceTable | None = None,
    assumptions: Mapping[str, Assumption] | None = None,
    today: date | None = None,
) -> Estimate:
    """What ``resources`` cost a month.

    Args:
        resources: All of a stack: launch templates and components too, which node groups and owners are found by.
        prices: The price table; the shipped one by default.
        assumptions: Usage that no resource tells; :data:`ops.cost.assumptions.ASSUMPTIONS` by default.
        today: For what ends on a day, such as standard support; the price table's date by default.
    """
    by_urn = {resource.urn: resource for resource in resources}
    table = prices or load()
    bill = Bill(
        prices=table,
        assumptions=ASSUMPTIONS if assumptions is None else assumptions,
        resources=by_urn,
        region=_home(by_urn.values()) or table.region,
        today=today or date.fromisoformat(table.date),
        owners=owners_of(by_urn),
    )
    free: dict[str, str] = {}
    own = any(resource.type == _OWN_CLUSTER for resource in by_urn.values())
    for resource in by_urn.values():
        if not resource.custom:
            continue  # a component; its children are priced
        if own and resource.type in kubernetes.PRICERS:
            free[resource.type] = "its disks and addresses are those of one's own data centre"
        elif pricer := PRICERS.get(resource.type):
            pricer(resource, bill)
        elif resource.type == ADDON:
            _addon(resource, bill, free)
        elif (reason := why_free(resource.type)) is not None:
            free[resource.type] = reason
        else:
            bill.skip(resource, "a type that the cost model does not know")
    return Estimate(
        lines=tuple(sorted(bill.lines, key=lambda line: (line.urn, line.item, line.team, line.model))),
        unpriced=tuple(sorted(bill.unpriced, key=lambda one: (one.type, one.urn, one.reason))),
        free=dict(sorted(free.items())),
        notes=_notes(bill),
        date=table.date,
        region=bill.region,
    )


def _home(resources: Iterable[Resource]) -> str:
    """The region that most resources are in."""
    regions = Counter(resource.region for resource in resources if resource.region)
    return min(regions, key=lambda region: (-regions[region], region)) if regions else ""


def _addon(resource: Resource, bill: Bill, free: dict[str, str]) -> None:
    if reason := CHARGED_ADDONS.get(resource.text("addonName")):
        bill.skip(resource, reason)
    else:
        free[ADDON] = "the add-on is free; its pods run on nodes that are priced"


def _notes(bill: Bill) -> tuple[str, ...]:
    notes: list[str] = []
    for region in sorted({bill.region_of(bill.resources[line.urn]) for line in bill.lines}):
        factor = bill.prices.factor(region)
        if region != bill.prices.region and factor is not None:
            notes.append(
                f"prices of {region} are those of {bill.prices.region} times {factor:.3g}; "
                f"`ops cost refresh --region {region}` gets its own"
            )
    unconfirmed = sorted({line.price for line in bill.lines if bill.prices.items[line.price].source == UNCONFIRMED})
    if unconfirmed:
        notes.append(f"prices without a dated source: {', '.join(unconfirmed)}")
    return tuple(notes)
