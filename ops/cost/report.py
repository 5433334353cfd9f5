"""An estimate as JSON and as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from ops.cost.assumptions import Assumption
from ops.cost.model import Estimate, Range


def as_json(estimate: Estimate, assumptions: Mapping[str, Assumption]) -> dict[str, Any]:
    """Everything, in cents."""
    return {
        "currency": "USD",
        "period": "month",
        "pricesOf": estimate.date,
        "region": estimate.region,
        "total": estimate.total.rounded(),
        "layers": {name: one.rounded() for name, one in estimate.by_layer.items()},
        "teams": {name: one.rounded() for name, one in estimate.by_team.items()},
        "models": {name: one.rounded() for name, one in estimate.by_model.items()},
        "lines": [
            {
                "resource": line.name,
                "type": line.type,
                "item": line.item,
                "layer": line.layer,
                "team": line.team,
                "model": line.model,
                "quantity": line.quantity.rounded(),
                "unit": line.unit,
                "usd": line.usd.rounded(),
                "price": line.price,
                "assumed": line.assumed,
                "urn": line.urn,
            }
            for line in estimate.lines
        ],
        "notPriced": [
            {"resource": one.name, "type": one.type, "reason": one.reason, "urn": one.urn} for one in estimate.unpriced
        ],
        "free": dict(estimate.free),
        "assumptions": {
            name: {**one.value.rounded(), "unit": one.unit, "why": one.why} for name, one in assumptions.items()
        },
        "notes": list(estimate.notes),
    }


def money(value: float) -> str:
    """Whole dollars, a minus sign before the dollar sign."""
    return f"{'-' if round(value) < 0 else ''}${abs(round(value)):,}"


def _table(title: str, first: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for column in ("idle", "expected", "at most"):
        table.add_column(column, justify="right")
    return table


def _row(table: Table, name: str, usd: Range) -> None:
    table.add_row(name, money(usd.low), money(usd.expected), money(usd.high))


def tables(estimate: Estimate, *, every_line: bool) -> Iterator[Table]:
    """Totals by layer, team and model, the dearest resources, and what is not priced."""
    layers = _table(f"USD a month, prices of {estimate.date}, {estimate.region}", "layer")
    for name, usd in estimate.by_layer.items():
        _row(layers, name, usd)
    layers.add_section()
    _row(layers, "total", estimate.total)
    yield layers
    for what, totals in (("team", estimate.by_team), ("model", estimate.by_model)):
        if len(totals) > 1:
            table = _table("", what)
            for name, usd in totals.items():
                _row(table, name, usd)
            yield table
    if every_line:
        items = _table("", "item")
        for line in estimate.lines:
            _row(items, f"{line.name}: {line.item}{' (assumed)' if line.assumed else ''}", line.usd)
        yield items
    else:
        dearest = _table("dearest", "resource")
        for name, usd in list(estimate.by_resource.items())[:12]:
            _row(dearest, name, usd)
        yield dearest
    if estimate.unpriced:
        missing = Table(title="not priced, and not in the sum", title_justify="left")
        for column in ("resource", "type", "why"):
            missing.add_column(column)
        for one in estimate.unpriced:
            missing.add_row(one.name, one.type, one.reason)
        yield missing
