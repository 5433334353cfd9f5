"""``ops plan``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer

from components.capacity.prices import SHIPPED, PriceError, load
from ops import console
from ops.cli import EXIT_REFUSED, EXIT_UNUSABLE
from ops.cost.read import InputError, read_json, states_of_export
from ops.plan import html, markdown
from ops.plan.report import Report, build

_HELP: Final = """Turn what `pulumi preview --json` printed into a report: what changes, what of it holds data, what it
costs, what is left of the quotas, what policies say. docs/plan.md shows one."""

app = typer.Typer(add_completion=False, help=_HELP)


@app.command()
def plan(
    preview: Annotated[Path, typer.Option(help="What `pulumi preview --json` printed.")],
    state: Annotated[
        Path | None,
        typer.Option(help="What `pulumi stack export` printed before; without it, preview with --show-sames."),
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option(help="What --event-log wrote (PULUMI_DEBUG_COMMANDS=1); policy results are only there."),
    ] = None,
    previous_cost: Annotated[
        Path | None, typer.Option(help="What `ops cost --json` said before, where no state is known.")
    ] = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", help="Write a comment for a pull request.")
    ] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Write a page.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead of Markdown.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where something speaks against it.")] = False,
    prices: Annotated[
        Path, typer.Option(help="A price table that `ops cost refresh` wrote.", show_default=False)
    ] = SHIPPED,
) -> None:
    """Report on a preview."""
    try:
        report = build(
            read_json(preview),
            state=states_of_export(read_json(state)) if state else None,
            events=read_events(events) if events else (),
            previous=read_json(previous_cost) if previous_cost else None,
            prices=load(prices),
        )
    except (InputError, PriceError) as error:
        console.complain(f"ops plan: {error}")
        sys.exit(EXIT_UNUSABLE)
    if markdown_file:
        markdown_file.write_text(markdown.render(report))
    if html_file:
        html_file.write_text(html.render(report))
    if json_output:
        console.print_json(as_json(report))
    elif not markdown_file and not html_file:
        typer.echo(markdown.render(report), nl=False)
    if strict and report.objections:
        for objection in report.objections:
            console.complain(f"ops plan: {objection}")
        sys.exit(EXIT_REFUSED)


def read_events(path: Path) -> Iterator[Mapping[str, Any]]:
    """The engine's events, one a line.

    Raises:
        InputError: The file cannot be read, or a line is no event.
    """
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield cast("Mapping[str, Any]", json.loads(line))
        except ValueError:
            raise InputError(f"{path}: line {number} is no engine event") from None


def as_json(report: Report) -> dict[str, Any]:
    """The report for programs."""
    total = report.total
    return {
        "stack": report.preview.stack,
        "objections": list(report.objections),
        "errors": list(report.preview.errors),
        "unchanged": report.preview.unchanged,
        "changes": [
            {
                "resource": one.name,
                "type": one.type,
                "action": one.action,
                "layer": one.layer,
                "loses": one.loses,
                "protected": one.protected,
                "properties": [difference.path for difference in one.differences],
                "urn": one.urn,
            }
            for one in report.preview.changes
        ],
        "policies": [
            {"policy": one.policy, "mandatory": one.mandatory, "resource": one.resource, "message": one.message}
            for one in report.preview.violations
        ],
        "cost": None
        if total is None
        else {
            "before": total.before.rounded() if total.before else None,
            "after": total.after.rounded(),
            "difference": total.difference.rounded() if total.difference else None,
            "limits": [
                {"name": one.name, "usd": one.usd, "actual": round(one.actual, 2), "exceeded": one.exceeded}
                for one in report.limits
            ],
        },
        "quotas": [
            {
                "name": one.name,
                "before": one.before,
                "after": one.after,
                "limit": one.limit,
                "headroom": one.headroom,
            }
            for one in report.quotas
        ],
        "notPriced": [
            {"resource": one.name, "type": one.type, "reason": one.reason}
            for one in (report.estimate.unpriced if report.estimate else ())
        ],
    }
