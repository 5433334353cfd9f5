"""``ops drift``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from ops import console
from ops.cli import EXIT_REFUSED, EXIT_UNUSABLE
from ops.cost.read import InputError, read_json
from ops.drift import text
from ops.drift.classify import classify
from ops.pulumi import EngineError
from ops.stack import AsJson, InSandbox, StackName
from ops.upgrade import engine

_HELP: Final = """What exists and is not what the state says, sorted into what somebody did and what came by itself,
with what to do about it. Nothing is changed, the state neither. Exit code 1: somebody did something."""

app = typer.Typer(add_completion=False, help=_HELP)


@app.command()
def drift(
    stack: StackName = "",
    refresh: Annotated[
        Path | None, typer.Option(help="What `pulumi refresh --preview-only --json` printed, in place of asking now.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write the report there, too.")] = None,
    sandbox: InSandbox = False,
    as_json: AsJson = False,
) -> None:
    """Compare a stack with what exists."""
    try:
        if not stack:
            raise InputError("no stack is named; give --stack, or set PULUMI_STACK")
        if refresh is None:
            typer.echo(f"asking about every resource of {stack}; this takes minutes", err=True)
        content = read_json(refresh) if refresh else engine.refresh(stack, sandbox=sandbox)
        found = classify(content, stack.rsplit("/", 1)[-1])
    except (InputError, EngineError) as error:
        console.complain(f"ops drift: {error}")
        sys.exit(EXIT_UNUSABLE)
    if markdown:
        markdown.write_text(text.render(found))
    if as_json:
        console.print_json(text.as_json(found))
    else:
        typer.echo(text.render(found), nl=False)
    if found.errors:
        # Half a comparison says nothing about the other half: it must not close an issue, nor look like drift.
        console.complain("ops drift: the comparison failed; see the report")
        sys.exit(EXIT_UNUSABLE)
    if found.real:
        sys.exit(EXIT_REFUSED)
