"""The report as one comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from ops.plan.preview import Change
from ops.plan.report import Report
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

LIMIT: Final = 60_000
"""Characters at most; GitHub takes 65,536 in a comment."""

_ROWS: Final = 30  # of a table; a longer one is for the HTML page
_TEXT: Final = 600  # characters of a message


def marker(stack: str) -> str:
    """What stands first in the comment, so that a later run finds it and writes over it."""
    return f"<!-- plan-report: {_plain(stack)} -->"


def render(report: Report, *, limit: int = LIMIT) -> str:
    """The comment, at most ``limit`` characters long: what matters is whole, lists of changes are cut."""
    head = "\n".join([*_head(report), *_data(report), *_policies(report), *_cost(report), *_quotas(report)])
    foot = "\n".join(_foot(report))
    room = limit - len(head) - len(foot) - 2
    return f"{head}\n{_changes(report, room)}{foot}\n"


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "", text)


def code(text: str) -> str:
    """Text as code: it pings nobody, links nowhere and breaks no table."""
    clean = " ".join(text.replace("`", "'").replace("|", "\\|").split())
    cut = clean if len(clean) <= _TEXT else f"{clean[:_TEXT]} …"
    return f"`{cut}`" if cut else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], right: int = 0) -> list[str]:
    """A table whose last ``right`` columns are numbers."""
    every = list(rows)
    shown = every[:_ROWS]
    rule = ["---"] * (len(head) - right) + ["---:"] * right
    lines = [_row(head), _row(rule), *(_row(row) for row in shown)]
    if len(every) > len(shown):
        lines.append(_row([f"… and {len(every) - len(shown)} more", *[""] * (len(head) - 1)]))
    return [*lines, ""]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _head(report: Report) -> list[str]:
    preview = report.preview
    lines = [marker(preview.stack), f"## Plan of {code(preview.stack)}", ""]
    if report.objections:
        lines += ["> [!CAUTION]", f"> **{verdict(report)}**", *(f"> - {code(one)}" for one in report.objections), ""]
    else:
        lines += [f"**{verdict(report)}**", ""]
    if preview.changes or not preview.errors:
        lines += [f"{counts(preview.changes, preview.unchanged)}.", ""]
    if preview.errors:
        lines += ["### The preview failed", ""]
        for error in preview.errors[:5]:
            lines += ["```text", error.replace("```", "'''")[: 5 * _TEXT], "```", ""]
    return lines


def _data(report: Report) -> list[str]:
    if not report.at_risk:
        return []
    rows = [
        (
            f"**{change.action}**",
            f"{code(change.name)} ({change.type})",
            change.loses,
            code(reasons(change)),
            protection(change),
        )
        for change in report.at_risk
    ]
    return ["### Data at risk", "", *_table(("", "resource", "what is lost", "because", ""), rows)]


def _policies(report: Report) -> list[str]:
    found = sorted(report.preview.violations, key=lambda one: (not one.mandatory, one.policy, one.resource))
    if not found:
        return []
    rows = [
        ("**mandatory**" if one.mandatory else "advisory", code(one.policy), code(one.resource), code(one.message))
        for one in found
    ]
    return ["### Policies", "", *_table(("", "policy", "resource", "what it says"), rows)]


def _cost(report: Report) -> list[str]:
    if report.total is None:
        return []
    lines = [
        "### Cost",
        "",
        *_table(("USD a month", "before", "after", "difference"), cost_rows(report.total), right=3),
    ]
    lines += [
        f"- {'**' if one.exceeded else ''}{limit_sentence(one)}{'**' if one.exceeded else ''}" for one in report.limits
    ]
    lines += [""] if report.limits else []
    for title, changes in (("by resource", report.costs), ("by model", report.models)):
        if changes:
            rows = [(code(one.name), *(difference(one.difference, bound) for _, bound in BOUNDS)) for one in changes]
            head = ("", *(label for label, _ in BOUNDS))
            lines += [*_folded(f"Difference {title}"), *_table(head, rows, right=3), "</details>", ""]
    return lines


def _quotas(report: Report) -> list[str]:
    if not report.quotas:
        return []
    rows = [
        (
            f"**{one.name}**" if one.headroom < 0 else one.name,
            "not known" if one.before is None else f"{one.before:,}",
            f"{one.after:,}",
            f"{one.limit:,}",
            f"**{one.headroom:,}**" if one.headroom < 0 else f"{one.headroom:,}",
        )
        for one in report.quotas
    ]
    table = _table(("every group at its maximum", "before", "after", "quota", "headroom"), rows, right=4)
    moved = any(one.before != one.after or one.headroom < 0 for one in report.quotas)
    if moved:
        return ["### Quotas", "", *table]
    return ["### Quotas", "", *_folded("Nothing moves"), *table, "</details>", ""]


def _folded(summary: str) -> list[str]:
    return ["<details>", f"<summary>{summary}</summary>", ""]


def _changes(report: Report, room: int) -> str:
    """Lists of changes by layer, as many as there is room for."""
    if not report.preview.changes:
        return ""
    text = "### Changes\n\n"
    closing = "\n\n</details>\n\n"
    for layer, changes in by_layer(report.preview.changes):
        opening = "\n".join(_folded(f"{layer}: {counts(changes)}")) + "\n"
        lines = [_change(change) for change in changes]
        budget = room - len(text) - len(opening) - len(closing) - 80
        kept, used = 0, 0
        while kept < len(lines) and used + len(lines[kept]) + 1 <= budget:
            used += len(lines[kept]) + 1
            kept += 1
        shown = lines[:kept]
        if kept < len(lines):
            shown.append(f"- … and {len(lines) - kept} more, for which there is no room here")
        text += opening + "\n".join(shown) + closing
    return text


def _change(change: Change) -> str:
    head = f"- {code(SIGNS[change.action])} {code(change.name)} {change.type}"
    shown = "; ".join(difference_text(one) for one in change.differences[:6])
    more = f"; {len(change.differences) - 6} more" if len(change.differences) > 6 else ""
    return f"{head}: {code(shown + more)}" if shown else head


def _foot(report: Report) -> list[str]:
    if report.estimate is None:
        return [NO_NUMBERS]
    lines: list[str] = []
    if report.estimate.unpriced:
        rows = [(code(one.name), one.type, code(one.reason)) for one in report.estimate.unpriced]
        count = len(report.estimate.unpriced)
        lines += [*_folded(f"Not priced, and not in the sum: {count}"), *_table(("resource", "type", "why"), rows)]
        lines += ["</details>", ""]
    lines.append(
        f"<sub>Idle: node groups at their minimum. At most: at their maximum, spot at the on-demand price. "
        f"Prices of {report.estimate.date}, {report.estimate.region}; docs/cost.md has the assumptions.</sub>"
    )
    return lines
