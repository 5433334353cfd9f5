"""``ops cost``."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Final

import typer

from components.capacity.prices import SHIPPED, PriceError, load
from ops import console
from ops.cli import EXIT_REFUSED, EXIT_UNUSABLE
from ops.cost.assumptions import AssumptionError, with_settings
from ops.cost.estimation import estimate
from ops.cost.model import Resource
from ops.cost.read import InputError, read, resources, states_of_export
from ops.cost.report import as_json, money, tables
from ops.pulumi import EngineError, stack_export

_HELP: Final = """What a stack costs a month, in US dollars: idle (every node group at its minimum), as expected, and at
most (every group at its maximum, spot at the on-demand price). docs/cost.md says what is in it and what is not."""

app = typer.Typer(no_args_is_help=False, add_completion=False, help=_HELP)

Stack = Annotated[str, typer.Option("--stack", "-s", help="Stack to export, where no file is given.")]
State = Annotated[
    Path | None, typer.Option(help="What `pulumi stack export` printed; with --preview, what it began with.")
]
Preview = Annotated[Path | None, typer.Option(help="What `pulumi preview --json` printed.")]
Sandbox = Annotated[bool, typer.Option("--sandbox", help="Export the stack from the sandbox.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Lines = Annotated[bool, typer.Option("--lines", help="Print every line of the bill.")]
Assume = Annotated[
    list[str] | None, typer.Option(help="Set an assumption: nodes.cpu=0.2, or min:expected:max. Repeat for more.")
]
Prices = Annotated[Path, typer.Option(help="A price table that `ops cost refresh` wrote.", show_default=False)]
Budget = Annotated[float | None, typer.Option(help="Exit with 1 where more than this is expected.", min=0)]
Complete = Annotated[bool, typer.Option("--complete", help="Exit with 1 where something has no price.")]


@app.callback(invoke_without_command=True)
def cost(
    context: typer.Context,
    stack: Stack = "dev",
    state: State = None,
    preview: Preview = None,
    sandbox: Sandbox = False,
    json: Json = False,
    lines: Lines = False,
    assume: Assume = None,
    prices: Prices = SHIPPED,
    budget: Budget = None,
    complete: Complete = False,
) -> None:
    """Price a stack."""
    if context.invoked_subcommand:
        return
    try:
        assumptions = with_settings(assume or ())
        found = estimate(
            _resources(stack, state, preview, sandbox=sandbox),
            prices=load(prices),
            assumptions=assumptions,
            today=date.today(),
        )
    except (InputError, EngineError, AssumptionError, PriceError) as error:
        console.complain(f"ops cost: {error}")
        sys.exit(EXIT_UNUSABLE)
    if json:
        console.print_json(as_json(found, assumptions))
    else:
        output = console.output()
        for table in tables(found, every_line=lines):
            output.print(table)
        for note in found.notes:
            output.print(f"note: {note}", markup=False)
    refused = False
    if budget is not None and found.total.expected > budget:
        console.complain(f"ops cost: {money(found.total.expected)} a month are expected, the budget is {money(budget)}")
        refused = True
    if complete and found.unpriced:
        console.complain(f"ops cost: {len(found.unpriced)} resources or items have no price")
        refused = True
    if refused:
        sys.exit(EXIT_REFUSED)


def _resources(stack: str, state: Path | None, preview: Path | None, *, sandbox: bool) -> list[Resource]:
    if preview:
        return read(preview, state)
    if state:
        return read(state)
    return resources(states_of_export(stack_export(stack, sandbox=sandbox)))


@app.command("refresh")
def refresh_prices(
    region: Annotated[str, typer.Option(help="Region whose prices are read.")] = "us-east-1",
    output: Annotated[Path | None, typer.Option(help="Where the new table goes; the shipped one by default.")] = None,
) -> None:
    """Read prices from AWS's price list and write a new table; needs credentials that may call pricing:GetProducts."""
    from ops.cost import refresh  # noqa: PLC0415 it needs the AWS SDK

    target = output or SHIPPED
    if output is None and region != load().region:
        console.complain(f"ops cost refresh: name a file with --output; the shipped table is that of {load().region}")
        sys.exit(EXIT_UNUSABLE)
    try:
        result = refresh.refresh(load(), region, refresh.client(), today=date.today())
    except refresh.RefreshError as error:
        console.complain(f"ops cost refresh: {error}")
        sys.exit(EXIT_UNUSABLE)
    target.write_text(refresh.as_json(result.table))
    out = console.output()
    for key, (old, new) in result.changed.items():
        out.print(f"{key}: {old:g} -> {new:g}", markup=False)
    for key, reason in result.kept.items():
        out.print(f"{key}: {reason}", markup=False)
    out.print(f"{target}: {len(result.read)} prices read, {len(result.kept)} not", markup=False)
