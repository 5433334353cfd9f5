"""New prices from AWS's price list API (``pricing:GetProducts``)."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Protocol, cast

from components.capacity.prices import Price, PriceTable

API_REGION: Final = "us-east-1"
"""The API is there and in Mumbai; it answers for all regions."""

SOURCE: Final = "price-list-api"
SCALED: Final = "scaled"


class RefreshError(Exception):
    """The price list cannot be read."""


class PriceClient(Protocol):
    """The part of boto3's pricing client that is used."""

    def get_products(self, **arguments: Any) -> Mapping[str, Any]:
        """One page of products."""
        ...


@dataclass(frozen=True)
class Query:
    """Where a price stands in the list.

    Attributes:
        service: Service code.
        fields: Attributes of the product, apart from the region.
        unit: Unit of the price in the list; empty for any.
        usage: What the usage type must end with; it begins with a prefix of the region's own.
    """

    service: str
    fields: Mapping[str, str]
    unit: str = ""
    usage: str = ""


_ENGINES: Final = {"postgres": "PostgreSQL", "mysql": "MySQL", "redis": "Redis", "valkey": "Valkey"}
_FIXED: Final[Mapping[str, Query]] = {
    "eks/standard": Query("AmazonEKS", {}, usage="AmazonEKS-Hours:perCluster"),
    "eks/extended": Query("AmazonEKS", {}, usage="AmazonEKS-Hours:extendedSupport"),
    "ebs/gp2": Query("AmazonEC2", {"productFamily": "Storage", "volumeApiName": "gp2"}),
    "ebs/gp3": Query("AmazonEC2", {"productFamily": "Storage", "volumeApiName": "gp3"}),
    "nat/gateway": Query("AmazonEC2", {"group": "NGW:NatGateway", "operation": "NatGateway"}, unit="Hrs"),
    "nat/data": Query("AmazonEC2", {"group": "NGW:NatGateway", "operation": "NatGateway"}, unit="GB"),
}


def query(key: str) -> Query | None:
    """Where the price of ``key`` stands; None where we do not know."""
    match key.split("/"):
        case ["ec2", kind]:
            fields = {
                "instanceType": kind,
                "operatingSystem": "Linux",
                "tenancy": "Shared",
                "preInstalledSw": "NA",
                "capacitystatus": "Used",
            }
            return Query("AmazonEC2", fields, unit="Hrs")
        case ["rds", engine, kind] if engine in _ENGINES:
            fields = {"instanceType": kind, "databaseEngine": _ENGINES[engine], "deploymentOption": "Single-AZ"}
            return Query("AmazonRDS", fields, unit="Hrs", usage=f"InstanceUsage:{kind}")
        case ["elasticache", engine, kind] if engine in _ENGINES:
            fields = {"instanceType": kind, "cacheEngine": _ENGINES[engine]}
            return Query("AmazonElastiCache", fields, unit="Hrs", usage=f"NodeUsage:{kind}")
        case _:
            return _FIXED.get(key)


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """What came of it.

    Attributes:
        table: The new table.
        read: Keys that the list answered.
        changed: Old and new price where they differ.
        kept: Keys that were not read, and why.
    """

    table: PriceTable
    read: tuple[str, ...]
    changed: Mapping[str, tuple[float, float]]
    kept: Mapping[str, str]


def client() -> PriceClient:
    """A client with the credentials of the environment.

    Raises:
        RefreshError: boto3 is not installed.
    """
    try:
        boto3 = importlib.import_module("boto3")
    except ModuleNotFoundError:
        raise RefreshError("boto3 is missing; `make setup` installs it") from None
    return cast("PriceClient", boto3.client("pricing", region_name=API_REGION))


def refresh(table: PriceTable, region: str, prices: PriceClient, *, today: date) -> Refreshed:
    """Read what can be read for ``region``.

    What cannot is kept for the table's own region. For another one it is scaled, or left out where that region's level
    is not known: then it is reported as not priced, and not counted with a price that was never there.

    Raises:
        RefreshError: The list refuses to answer.
    """
    items: dict[str, Price] = {}
    read: list[str] = []
    changed: dict[str, tuple[float, float]] = {}
    kept: dict[str, str] = {}
    factor = table.factor(region)
    for key, old in table.items.items():
        where = query(key)
        found = sorted(set(_prices(prices, where, region))) if where else []
        if len(found) == 1:
            items[key] = Price(usd=found[0], unit=old.unit, source=SOURCE)
            read.append(key)
            if abs(found[0] - old.usd) > 1e-9 and region == table.region:
                changed[key] = (old.usd, found[0])
            continue
        listed = ", ".join(map(str, found))
        reason = "not asked for" if where is None else f"ambiguous: {listed}" if found else "not in the list"
        if region == table.region:
            items[key] = old
        elif factor is not None:
            items[key] = Price(usd=old.usd * factor, unit=old.unit, source=SCALED)
            reason += f"; {table.region}'s times {factor:.3g}"
        else:
            reason += "; left out"
        kept[key] = reason
    sources = {
        **{name: text for name, text in table.sources.items() if any(one.source == name for one in items.values())},
        SOURCE: f"AWS price list API, {region}, read {today.isoformat()}",
        SCALED: f"prices of {table.region} of {table.date}, scaled to {region} (REGION_FACTORS)",
    }
    new = PriceTable(region=region, date=today.isoformat(), sources=sources, items=items)
    return Refreshed(table=new, read=tuple(read), changed=changed, kept=kept)


def _prices(prices: PriceClient, where: Query, region: str) -> Iterator[float]:
    """On-demand prices above zero of all products that match."""
    filters = [{"Type": "TERM_MATCH", "Field": "regionCode", "Value": region}] + [
        {"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in where.fields.items()
    ]
    token: str | None = None
    while True:
        more = {"NextToken": token} if token else {}
        try:
            page = prices.get_products(ServiceCode=where.service, Filters=filters, FormatVersion="aws_v1", **more)
        except Exception as error:  # boto3's exceptions are made at run time; all of them mean the same here
            raise RefreshError(f"the price list does not answer: {error}") from error
        for text in page.get("PriceList", ()):
            yield from _on_demand(json.loads(text), where)
        token = page.get("NextToken")
        if not token:
            return


def _on_demand(product: Mapping[str, Any], where: Query) -> Iterator[float]:
    usage = str(product.get("product", {}).get("attributes", {}).get("usagetype", ""))
    if where.usage and not usage.endswith(where.usage):
        return
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term.get("priceDimensions", {}).values():
            usd = float(dimension.get("pricePerUnit", {}).get("USD") or 0)
            if usd > 0 and where.unit in ("", dimension.get("unit")):
                yield usd


def as_json(table: PriceTable) -> str:
    """The table as it is stored."""
    content = {
        "region": table.region,
        "currency": "USD",
        "date": table.date,
        "sources": dict(table.sources),
        "items": {
            key: {"usd": round(price.usd, 6), "unit": price.unit, "source": price.source}
            for key, price in table.items.items()
        },
    }
    return json.dumps(content, indent=1) + "\n"
