"""The report as one HTML page: whole, self-contained, in the light or the dark that the reader's system has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from ops.plan.preview import Change
from ops.plan.report import CostChange, Limit, Report
from ops.plan.wording import (
    BOUNDS,
    NO_NUMBERS,
    SIGNS,
    by_layer,
    cost_rows,
    counts,
    difference,
    difference_text,
    limit_sentence,
    protection,
    reasons,
    verdict,
)

_STYLE: Final = """
:root { color-scheme: light dark;
  --ground: #ffffff; --panel: #f4f5f7; --ink: #1c2024; --quiet: #5b6470; --line: #d5d9df;
  --bad: #b3261e; --bad-ground: #fdecea; --good: #1b6e3a; --good-ground: #e8f5ec; --new: #0b57a4; --change: #8a5a00; }
@media (prefers-color-scheme: dark) { :root {
  --ground: #16181b; --panel: #1f2226; --ink: #e6e8eb; --quiet: #9aa4b0; --line: #363b42;
  --bad: #ff8a80; --bad-ground: #3a1d1b; --good: #7fd79b; --good-ground: #1a3022; --new: #82b8f5; --change: #e5b45c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.6rem; margin: 0 0 1rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
code { font: .875em/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
.verdict { border-left: .35rem solid var(--good); background: var(--good-ground); padding: .8rem 1rem; }
.verdict.bad { border-color: var(--bad); background: var(--bad-ground); }
.verdict strong { color: var(--good); } .verdict.bad strong { color: var(--bad); }
.verdict ul { margin: .4rem 0 0; padding-left: 1.2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem .7rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--quiet); font-weight: 600; font-size: .875rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.bad td, td.bad { color: var(--bad); font-weight: 600; }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .6rem 0; background: var(--panel); }
summary { cursor: pointer; padding: .5rem .8rem; font-weight: 600; }
details > div { padding: 0 .8rem .6rem; }
ul.changes { list-style: none; margin: 0; padding: 0; } ul.changes li { padding: .25rem 0; }
.sign { display: inline-block; width: 1.6rem; font-weight: 700; font-family: ui-monospace, monospace; }
.create { color: var(--new); } .update { color: var(--change); } .replace, .delete { color: var(--bad); }
.quiet { color: var(--quiet); font-size: .875rem; }
pre { background: var(--panel); border: 1px solid var(--line); padding: .8rem; white-space: pre-wrap; }
"""


def render(report: Report) -> str:
    """The page."""
    title = f"Plan of {escape(report.preview.stack)}"
    parts = [
        f"<h1>{title}</h1>",
        _verdict(report),
        *_errors(report),
        *_data(report),
        *_policies(report),
        *_cost(report),
        *_quotas(report),
        *_changes(report),
        *_foot(report),
    ]
    body = "\n".join(parts)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body><main>
{body}
</main></body>
</html>
"""


def _verdict(report: Report) -> str:
    items = "".join(f"<li>{escape(one)}</li>" for one in report.objections)
    kind = "verdict bad" if items else "verdict"
    reasons_given = f"<ul>{items}</ul>" if items else ""
    summary = counts(report.preview.changes, report.preview.unchanged)
    shown = f'<p class="quiet">{escape(summary)}</p>' if report.preview.changes or not report.preview.errors else ""
    return f'<div class="{kind}" role="status"><strong>{escape(verdict(report))}</strong>{reasons_given}</div>{shown}'


def _errors(report: Report) -> Iterable[str]:
    if report.preview.errors:
        yield "<h2>The preview failed</h2>"
    for error in report.preview.errors:
        yield f"<pre>{escape(error)}</pre>"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>" if text else ""


def _table(head: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], right: int = 0) -> str:
    """A table; a row is its class and its cells, whose last ``right`` are numbers."""
    edge = len(head) - right

    def cells(values: Sequence[str], tag: str, extra: str = "") -> str:
        kinds = ("" if place < edge else ' class="number"' for place in range(len(values)))
        return "".join(f"<{tag}{extra}{kind}>{value}</{tag}>" for kind, value in zip(kinds, values, strict=True))

    lines = "".join(f'<tr class="{kind}">{cells(values, "td")}</tr>' for kind, values in rows)
    top = cells([escape(one) for one in head], "th", ' scope="col"')
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>'


def _data(report: Report) -> Iterable[str]:
    if report.at_risk:
        yield "<h2>Data at risk</h2>"
        rows = [
            (
                "",
                (
                    f'<strong class="{one.action}">{one.action}</strong>',
                    f'{_code(one.name)}<br><span class="quiet">{escape(one.type)}</span>',
                    escape(one.loses),
                    _code(reasons(one)),
                    escape(protection(one)),
                ),
            )
            for one in report.at_risk
        ]
        yield _table(("", "resource", "what is lost", "because", ""), rows)


def _policies(report: Report) -> Iterable[str]:
    found = sorted(report.preview.violations, key=lambda one: (not one.mandatory, one.policy, one.resource))
    if found:
        yield "<h2>Policies</h2>"
        rows = [
            (
                "bad" if one.mandatory else "",
                (
                    "mandatory" if one.mandatory else "advisory",
                    _code(one.policy),
                    _code(one.resource),
                    escape(one.message),
                ),
            )
            for one in found
        ]
        yield _table(("", "policy", "resource", "what it says"), rows)


def _cost(report: Report) -> Iterable[str]:
    if report.total is None:
        return
    yield "<h2>Cost</h2>"
    head = ("USD a month", "before", "after", "difference")
    yield _table(head, [("", [escape(cell) for cell in row]) for row in cost_rows(report.total)], right=3)
    if report.limits:
        items = "".join(_limit(one) for one in report.limits)
        yield f"<ul>{items}</ul>"
    for title, changes in (("by resource", report.costs), ("by model", report.models)):
        if changes:
            yield _fold(f"Difference {title}", _cost_table(changes))


def _limit(one: Limit) -> str:
    kind = ' class="delete"' if one.exceeded else ""
    return f"<li{kind}>{escape(limit_sentence(one))}</li>"


def _cost_table(changes: Sequence[CostChange]) -> str:
    rows = [
        ("", (_code(one.name), *(escape(difference(one.difference, bound)) for _, bound in BOUNDS))) for one in changes
    ]
    return _table(("", *(label for label, _ in BOUNDS)), rows, right=3)


def _quotas(report: Report) -> Iterable[str]:
    if report.quotas:
        yield "<h2>Quotas</h2>"
        rows = [
            (
                "bad" if one.headroom < 0 else "",
                (
                    escape(one.name),
                    "not known" if one.before is None else f"{one.before:,}",
                    f"{one.after:,}",
                    f"{one.limit:,}",
                    f"{one.headroom:,}",
                ),
            )
            for one in report.quotas
        ]
        yield _table(("every group at its maximum", "before", "after", "quota", "headroom"), rows, right=4)


def _changes(report: Report) -> Iterable[str]:
    if report.preview.changes:
        yield "<h2>Changes</h2>"
    for layer, changes in by_layer(report.preview.changes):
        items = "".join(_change(change) for change in changes)
        yield _fold(f"{layer}: {counts(changes)}", f'<ul class="changes">{items}</ul>')


def _change(change: Change) -> str:
    shown = "; ".join(difference_text(one) for one in change.differences)
    what = f" {_code(shown)}" if shown else ""
    return (
        f'<li><span class="sign {change.action}" title="{change.action}">{SIGNS[change.action]}</span>'
        f'{_code(change.name)} <span class="quiet">{escape(change.type)}</span>{what}</li>'
    )


def _fold(summary: str, inside: str) -> str:
    return f"<details><summary>{escape(summary)}</summary><div>{inside}</div></details>"


def _foot(report: Report) -> Iterable[str]:
    if report.estimate is None:
        yield f'<p class="quiet">{escape(NO_NUMBERS)}</p>'
        return
    if missing := report.estimate.unpriced:
        rows = [("", (_code(one.name), escape(one.type), escape(one.reason))) for one in missing]
        yield _fold(f"Not priced, and not in the sum: {len(missing)}", _table(("resource", "type", "why"), rows))
    yield (
        '<p class="quiet">Idle: node groups at their minimum. At most: at their maximum, spot at the on-demand price. '
        f"Prices of {escape(report.estimate.date)}, {escape(report.estimate.region)}; "
        "docs/cost.md has the assumptions.</p>"
    )
