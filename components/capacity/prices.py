"""The price table: dated, each price with its source. ``ops cost refresh`` writes a new one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

SHIPPED: Final = Path(__file__).with_name("prices.json")

UNCONFIRMED: Final = "unconfirmed"

_NODES: Final = ("ec2", "gce")  # under which names the table has nodes

# What a region's list prices are of us-east-1's, where no table of the region's own was made with `ops cost refresh`.
# Ratio of the on-demand price of g5.2xlarge (SkyPilot catalog v8, aws/vms.csv, commit e385a0d, 2026): GPU nodes are the
# largest part of a bill here. Other services differ from it by some percent.
REGION_FACTORS: Final[Mapping[str, float]] = {
    "us-east-1": 1.0,
    "us-east-2": 1.0,
    "us-west-2": 1.0,
    "ca-central-1": 1.110,
    "eu-central-1": 1.251,
    "eu-north-1": 1.061,
    "eu-west-1": 1.116,
    "eu-west-2": 1.269,
    "me-central-1": 1.227,
}

# Prices of Google Cloud are those of us-central1, whatever region the table is of. Ratio of the on-demand price of the
# vCPUs and the memory of a2-highgpu-1g, or where a region has none of a3-highgpu-1g or a3-edgegpu-8g (SkyPilot catalog
# v8, gcp/vms.csv, commit 8427bbf, 2026). Regions with ``?`` are from memory. Other services differ by some percent.
GOOGLE: Final = ("gce/", "gcp/")
GOOGLE_REGION_FACTORS: Final[Mapping[str, float]] = {
    "asia-east1": 1.158,
    "asia-northeast1": 1.282,
    "asia-northeast3": 1.282,
    "asia-south1": 1.201,  # ?
    "asia-southeast1": 1.234,
    "europe-north1": 1.101,
    "europe-west1": 1.101,
    "europe-west2": 1.288,  # ?
    "europe-west3": 1.288,  # ?
    "europe-west4": 1.101,
    "europe-west6": 1.398,  # ?
    "northamerica-northeast2": 1.101,
    "us-central1": 1.0,
    "us-east1": 1.0,
    "us-east4": 1.126,
    "us-west1": 1.0,
    "us-west4": 1.126,
}


@dataclass(frozen=True, kw_only=True)
class Price:
    """One price.

    Attributes:
        usd: Dollars for one unit.
        unit: ``hour``, ``month``, ``GB`` or ``GB-month``.
        source: Key in the table's sources.
    """

    usd: float
    unit: str
    source: str


@dataclass(frozen=True, kw_only=True)
class PriceTable:
    """Prices of one region.

    Attributes:
        region: The region.
        date: When the table was put together.
        sources: Where prices come from, by a short name.
        items: Prices by key, such as ``ec2/m6i.large``.
    """

    region: str
    date: str
    sources: Mapping[str, str]
    items: Mapping[str, Price]

    def find(self, key: str, region: str) -> float | None:
        """Dollars for one unit in a region; None where no price is known."""
        price = self.items.get(key)
        factor = GOOGLE_REGION_FACTORS.get(region or "us-central1") if key.startswith(GOOGLE) else self.factor(region)
        return None if price is None or factor is None else price.usd * factor

    def node(self, instance_type: str, region: str) -> float | None:
        """Dollars for an hour of a node on demand, whatever cloud its type is from; None where no price is known."""
        return next((usd for kind in _NODES if (usd := self.find(f"{kind}/{instance_type}", region)) is not None), None)

    def factor(self, region: str) -> float | None:
        """What prices of ``region`` are of this table's; None where that is not known."""
        if region in (self.region, ""):
            return 1.0
        if region not in REGION_FACTORS or self.region not in REGION_FACTORS:
            return None
        return REGION_FACTORS[region] / REGION_FACTORS[self.region]


class PriceError(Exception):
    """A price table that cannot be used."""


def parse(raw: Mapping[str, Any], origin: str) -> PriceTable:
    """A table from its JSON.

    Raises:
        PriceError: It is not one.
    """
    try:
        items = cast("Mapping[str, Mapping[str, Any]]", raw["items"])
        table = PriceTable(
            region=str(raw["region"]),
            date=str(raw["date"]),
            sources=dict(cast("Mapping[str, str]", raw["sources"])),
            items={
                key: Price(usd=float(item["usd"]), unit=str(item["unit"]), source=str(item["source"]))
                for key, item in items.items()
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PriceError(f"{origin} is no price table: {type(error).__name__} {error}") from None
    if unsourced := sorted(key for key, price in table.items.items() if price.source not in table.sources):
        raise PriceError(f"{origin} has prices without a source: {', '.join(unsourced)}")
    return table


@cache
def load(path: Path = SHIPPED) -> PriceTable:
    """The table in a file.

    Raises:
        PriceError: It cannot be read.
    """
    try:
        return parse(json.loads(path.read_text()), path.name)
    except (OSError, ValueError) as error:
        raise PriceError(f"{path.name} cannot be read: {error}") from None
