"""What pricing functions share: the bill that they write to, and what they may ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from components.capacity.prices import PriceTable
from ops.cost.assumptions import Assumption
from ops.cost.model import HOURS, Line, Range, Resource, Unpriced, layer_of
from ops.cost.owners import Owner

_PER_MONTH = {"hour": float(HOURS), "month": 1.0, "GB": 1.0, "GB-month": 1.0}
_UNITS = {"hour": "h", "month": "pieces", "GB": "GB", "GB-month": "GB"}


@dataclass(kw_only=True)
class Bill:
    """The bill in the making, with what the functions that write it need to know.

    Attributes:
        prices: The price table.
        assumptions: What is assumed of usage.
        resources: All resources by URN.
        region: Region of what names none.
        today: Decides which Kubernetes versions are in extended support.
        owners: Team and model of each resource, by URN.
        lines: What was written.
        unpriced: What could not be.
    """

    prices: PriceTable
    assumptions: Mapping[str, Assumption]
    resources: Mapping[str, Resource]
    region: str
    today: date
    owners: Mapping[str, Owner]
    lines: list[Line] = field(default_factory=list[Line])
    unpriced: list[Unpriced] = field(default_factory=list[Unpriced])

    def usage(self, name: str) -> Range:
        """An assumption's range."""
        return self.assumptions[name].value

    def region_of(self, resource: Resource) -> str:
        """Where a resource is."""
        return resource.region or self.region

    def rate(self, resource: Resource, key: str) -> float | None:
        """Dollars for one unit where the resource is; noted as missing where there is no price."""
        region = self.region_of(resource)
        found = self.prices.find(key, region)
        if found is None:
            where = f" in {region}" if key in self.prices.items else ""
            self.skip(resource, f"no price of {key}{where}")
        return found

    def add(
        self,
        resource: Resource,
        item: str,
        key: str,
        count: Range | float = 1,
        *,
        assumed: bool = False,
        rate: Range | None = None,
        owner: Owner | None = None,
    ) -> None:
        """Write one line.

        Args:
            resource: What it is for.
            item: What is paid for.
            key: Price.
            count: How many of it; an hour's price is paid for all hours of the month.
            assumed: Whether the count is an assumption.
            rate: Dollars for one unit where it varies; else the price itself.
            owner: Whose it is, if not the resource's owner.
        """
        unit_price = self.rate(resource, key) if rate is None else 0.0
        if unit_price is None:
            return
        unit = self.prices.items[key].unit
        quantity = (count if isinstance(count, Range) else Range.of(count)).times(_PER_MONTH[unit])
        whose = owner or self.owners.get(resource.urn) or Owner()
        self.lines.append(
            Line(
                urn=resource.urn,
                type=resource.type,
                item=item,
                quantity=quantity,
                unit=_UNITS[unit],
                usd=quantity.times(rate if rate is not None else unit_price),
                price=key,
                layer=layer_of(resource.urn),
                team=whose.team,
                model=whose.model,
                assumed=assumed,
            )
        )

    def skip(self, resource: Resource, reason: str) -> None:
        """Note that something is not in the sum."""
        entry = Unpriced(urn=resource.urn, type=resource.type, reason=reason)
        if entry not in self.unpriced:
            self.unpriced.append(entry)
