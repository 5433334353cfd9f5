"""New prices from the price list: an answer of the API's shape, made for the test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from components.capacity.prices import SHIPPED, load, parse
from ops.cost.refresh import RefreshError, as_json, query, refresh

pytestmark = pytest.mark.unit

TODAY = date(2026, 12, 24)


def product(usd: str, *, unit: str = "Hrs", usage: str = "") -> str:
    """One entry of ``PriceList``, as ``GetProducts`` returns it in version ``aws_v1``."""
    dimension = {
        "rateCode": "ABCDEFGH.JRTCKXETXF.6YS6EN2CT7",
        "unit": unit,
        "beginRange": "0",
        "endRange": "Inf",
        "appliesTo": [],
        "description": "per hour",
        "pricePerUnit": {"USD": usd},
    }
    term = {
        "sku": "ABCDEFGH",
        "offerTermCode": "JRTCKXETXF",
        "effectiveDate": "2026-12-01T00:00:00Z",
        "termAttributes": {},
        "priceDimensions": {"ABCDEFGH.JRTCKXETXF.6YS6EN2CT7": dimension},
    }
    return json.dumps(
        {
            "product": {"productFamily": "Compute Instance", "sku": "ABCDEFGH", "attributes": {"usagetype": usage}},
            "serviceCode": "AmazonEC2",
            "terms": {"OnDemand": {"ABCDEFGH.JRTCKXETXF": term}},
            "version": "20261201000000",
            "publicationDate": "2026-12-01T00:00:00Z",
        }
    )


class PriceList:
    """Answers for the instance types that it knows, one product a page."""

    def __init__(self, known: Mapping[str, list[str]]) -> None:
        self.known = known
        self.regions: set[str] = set()

    def get_products(self, **arguments: Any) -> Mapping[str, Any]:
        wanted = {one["Field"]: one["Value"] for one in arguments["Filters"]}
        self.regions.add(wanted["regionCode"])
        found = self.known.get(wanted.get("instanceType", wanted.get("group", "")), [])
        page = int(arguments.get("NextToken", "0"))
        more = {"NextToken": str(page + 1)} if page + 1 < len(found) else {}
        return {"FormatVersion": "aws_v1", "PriceList": found[page : page + 1], **more}


def test_prices_of_the_list_replace_the_tables_and_the_others_are_kept_with_the_reason():
    shipped = load()
    result = refresh(shipped, "us-east-1", PriceList({"g5.xlarge": [product("1.1000000000")]}), today=TODAY)
    assert result.table.items["ec2/g5.xlarge"].usd == pytest.approx(1.1)
    assert result.changed == {"ec2/g5.xlarge": (1.006, 1.1)}
    assert result.table.items["kms/key"] == shipped.items["kms/key"]
    assert "not asked for" in result.kept["kms/key"]
    assert result.table.date == "2026-12-24"
    assert "read 2026-12-24" in result.table.sources[result.table.items["ec2/g5.xlarge"].source]


def test_all_pages_are_read_and_an_ambiguous_answer_changes_nothing():
    result = refresh(load(), "us-east-1", PriceList({"g5.xlarge": [product("1.1"), product("1.2")]}), today=TODAY)
    assert result.table.items["ec2/g5.xlarge"].usd == load().items["ec2/g5.xlarge"].usd
    assert "ambiguous: 1.1, 1.2" in result.kept["ec2/g5.xlarge"]


def test_products_that_cost_nothing_and_other_units_and_usages_do_not_count():
    known = {
        "g5.xlarge": [product("0.0000000000"), product("9.9", unit="Quantity"), product("1.1")],
        "db.m7g.large": [product("0.2", usage="USE1-InstanceUsage:db.m7g.large"), product("0.4", usage="USE1-Other")],
        "NGW:NatGateway": [product("0.05"), product("0.06", unit="GB")],
    }
    items = refresh(load(), "us-east-1", PriceList(known), today=TODAY).table.items
    assert items["ec2/g5.xlarge"].usd == 1.1
    assert items["rds/postgres/db.m7g.large"].usd == 0.2
    assert (items["nat/gateway"].usd, items["nat/data"].usd) == (0.05, 0.06)


def test_another_region_gets_its_own_prices_scaled_ones_or_none():
    source = PriceList({"g5.xlarge": [product("1.2570000000")]})
    frankfurt = refresh(load(), "eu-central-1", source, today=TODAY).table
    assert source.regions == {"eu-central-1"}
    assert frankfurt.region == "eu-central-1"
    assert frankfurt.items["ec2/g5.xlarge"].usd == pytest.approx(1.257)
    assert frankfurt.items["kms/key"].usd == pytest.approx(1.251)
    assert "scaled" in frankfurt.sources[frankfurt.items["kms/key"].source]
    unknown = refresh(load(), "mx-central-1", source, today=TODAY).table
    assert list(unknown.items) == ["ec2/g5.xlarge"]


def test_what_is_written_can_be_read_again_and_a_second_refresh_changes_nothing():
    source = PriceList({"g5.xlarge": [product("1.1")]})
    written = parse(json.loads(as_json(refresh(load(), "us-east-1", source, today=TODAY).table)), "written")
    again = refresh(written, "us-east-1", source, today=TODAY)
    assert again.changed == {}
    assert again.table.items == written.items


def test_the_shipped_table_is_in_the_form_in_which_it_would_be_written():
    assert as_json(load()) == SHIPPED.read_text()


def test_a_list_that_refuses_leaves_the_table_alone():
    class Refusing:
        def get_products(self, **arguments: Any) -> Mapping[str, Any]:
            raise PermissionError("not authorized to perform pricing:GetProducts")

    with pytest.raises(RefreshError, match="pricing:GetProducts"):
        refresh(load(), "us-east-1", Refusing(), today=TODAY)


def test_nothing_is_asked_for_that_we_could_not_place():
    assert query("kms/key") is None
    found = query("elasticache/valkey/cache.m7g.large")
    assert found is not None
    assert found.fields["cacheEngine"] == "Valkey"
    assert replace(found, usage="").service == "AmazonElastiCache"
