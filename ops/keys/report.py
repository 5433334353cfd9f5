"""What was spent at the model gateway, by team, by key and by model, against what may be spent."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from rich.table import Table

from ops.keys.gateway import Activity, Key, Spent, Team
from ops.keys.limits import family

By = Literal["team", "key", "model"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line.

    Attributes:
        team: Whose money.
        subject: The key or the model; empty for a whole team.
        usd: What was spent in the time of the report.
        budget_usd: What may be spent a month; None where nothing says so.
        percent: The one of the other; None where there is no budget.
        requests: Calls.
        tokens: Of prompts and of answers.
    """

    team: str
    subject: str
    usd: float
    budget_usd: float | None
    percent: float | None
    requests: int
    tokens: int


def rows(by: By, teams: Sequence[Team], keys: Sequence[Key], activity: Mapping[str, Activity]) -> list[Row]:
    """Lines of a report: the teams in their order, below each what was spent most on."""
    return [
        row for team in teams for row in _of(by, team, [k for k in keys if k.team == team.name], activity[team.name])
    ]


def _of(by: By, team: Team, keys: Sequence[Key], activity: Activity) -> Iterator[Row]:
    match by:
        case "team":
            yield _row(team.name, "", activity.total, team.monthly_usd)
        case "model":
            yield from _sorted(_row(team.name, model, spent, None) for model, spent in activity.models.items())
        case "key":
            yield from _sorted(_row(team.name, *one) for one in _by_name(keys, activity))


def _by_name(keys: Sequence[Key], activity: Activity) -> Iterator[tuple[str, Spent, float | None]]:
    """Keys that took each other's places are one line; those that are gone are known by the alias of their time."""
    spent, budgets = dict[str, Spent](), dict[str, float | None]()
    known = {key.token: key for key in keys}
    for key in keys:
        name = family(key) or _short(key.token)
        spent.setdefault(name, Spent())
        budgets[name] = max((one for one in (budgets.get(name), key.usd) if one is not None), default=None)
    for token, one in activity.keys.items():
        name = family(known[token]) if token in known else ""
        name = name or one.label or _short(token)
        spent[name] = spent.get(name, Spent()) + one
    return ((name, total, budgets.get(name)) for name, total in spent.items())


def _short(token: str) -> str:
    return f"{token[:12]}…"


def _row(team: str, subject: str, spent: Spent, budget: float | None) -> Row:
    percent = round(100 * spent.usd / budget, 1) if budget else None
    return Row(
        team=team,
        subject=subject,
        usd=round(spent.usd, 4),
        budget_usd=budget,
        percent=percent,
        requests=spent.requests,
        tokens=spent.tokens,
    )


def _sorted(found: Iterable[Row]) -> list[Row]:
    return sorted(found, key=lambda row: (-row.usd, row.subject))


def document(found: Sequence[Row]) -> list[dict[str, Any]]:
    """For programs."""
    return [asdict(row) for row in found]


def comma_separated(found: Sequence[Row]) -> str:
    """CSV with a header."""
    written = io.StringIO()
    writer = csv.DictWriter(written, [one.name for one in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(document(found))
    return written.getvalue()


def table(found: Sequence[Row], by: By, title: str) -> Table:
    """For people."""
    made = Table(title=title, title_justify="left")
    made.add_column("Team")
    if by != "team":
        made.add_column(by.capitalize(), overflow="fold")
    for name in ("USD", "Budget", "%", "Requests", "Tokens"):
        made.add_column(name, justify="right")
    for row in found:
        budget = "" if row.budget_usd is None else f"{row.budget_usd:,.2f}"
        percent = "" if row.percent is None else f"{row.percent:.0f}"
        style = "red" if row.percent is not None and row.percent >= 100 else None
        subject = () if by == "team" else (row.subject,)
        made.add_row(
            row.team, *subject, f"{row.usd:,.2f}", budget, percent, f"{row.requests:,}", f"{row.tokens:,}", style=style
        )
    return made
