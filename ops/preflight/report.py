"""The answers as a table for people and as JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ops.preflight.model import GROUPS, Answer, Finding, exit_code

_COLOURS: Final[dict[Answer, str]] = {"ok": "green", "refused": "red", "unknown": "yellow"}
_WORST_FIRST: Final[tuple[Answer, ...]] = ("refused", "unknown", "ok")


def as_json(stack: str, findings: Sequence[Finding]) -> dict[str, Any]:
    """The answers for programs."""
    return {
        "stack": stack,
        "exitCode": exit_code(findings),
        "counts": _counts(findings),
        "findings": [
            {
                "group": one.group,
                "subject": one.subject,
                "answer": one.answer,
                "message": one.message,
                "remedy": one.remedy,
                "link": one.link,
                "figures": dict(one.figures),
            }
            for one in findings
        ],
    }


def show(console: Console, stack: str, findings: Sequence[Finding], *, every: bool) -> None:
    """Print what is refused and unknown, and with ``every`` also what is fine."""
    shown = sorted(
        (one for one in findings if every or one.answer != "ok"),
        key=lambda one: (_WORST_FIRST.index(one.answer), GROUPS.index(one.group)),
    )
    if shown:
        table = Table("answer", "kind", "what", "why", box=None, pad_edge=False, header_style="bold")
        for one in shown:
            table.add_row(Text(one.answer, _COLOURS[one.answer]), one.group, Text(one.subject), Text(one.message))
        console.print(table)
    for one in shown:
        # Outside of the table, whole and on lines of their own: these are for copying.
        if one.answer != "ok" and (one.remedy or one.link):
            console.print(f"\n{one.subject}:", markup=False)
            for line in (one.remedy, one.link):
                if line:
                    console.print(f"  {line}", markup=False, soft_wrap=True)
    console.print(f"\n{summary(stack, findings)}", markup=False)


def summary(stack: str, findings: Sequence[Finding]) -> str:
    """One line."""
    counts = _counts(findings)
    return f"{stack}: {counts['ok']} ok, {counts['refused']} refused, {counts['unknown']} unknown"


def markdown(stack: str, findings: Sequence[Finding]) -> str:
    """The answers for the summary of a workflow's run."""
    lines = [f"### Preflight of {summary(stack, findings)}", ""]
    bad = [one for answer in ("refused", "unknown") for one in findings if one.answer == answer]
    if bad:
        lines += ["| Answer | What | Why | Remedy |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {one.answer} | {_cell(one.subject)} | {_cell(one.message)} | "
            f"{f'`{_cell(one.remedy)}`' if one.remedy else ''}{f' [console]({one.link})' if one.link else ''} |"
            for one in bad
        ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _counts(findings: Sequence[Finding]) -> dict[Answer, int]:
    counted = Counter(one.answer for one in findings)
    return {answer: counted[answer] for answer in ("ok", "refused", "unknown")}
