"""``python -m ops secrets``: every credential of a stack, and another value for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer
from rich.table import Table

from ops.cli import EXIT_REFUSED, EXIT_UNUSABLE
from ops.console import complain, output, print_json
from ops.pulumi import EngineError, pulumi_streamed, stack_export
from ops.secrets.activation import activate, planned
from ops.secrets.generations import generation_in
from ops.secrets.how import How, credential, how
from ops.secrets.readers import Cluster
from ops.secrets.store import EmptyError, Store, store_of
from ops.stack import AsJson, Confirmed, InSandbox, Stack, StackError, StackName
from ops.stack_file import difference, stack_file

# ruff: noqa: PLC0415  the settings take seconds to load, and --help should not

_UP_SECONDS: Final = 7200
_INTERRUPTED: Final = 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Credentials of a stack: age, readers, rotation. docs/credentials.md explains each.",
)


@app.command("list")
def listed(
    stack: StackName = "",
    sandbox: InSandbox = False,
    as_json: AsJson = False,
) -> None:
    """Every credential: how old it is, who reads it, how it rotates, and what that interrupts."""
    try:
        with ExitStack() as held:
            found = Stack.read(stack, sandbox=sandbox)
            rows = _rows(found, held.enter_context(found.kubeconfig()))
    except EngineError as error:
        complain(str(error))
        sys.exit(EXIT_UNUSABLE)
    if as_json:
        return print_json(rows)
    table = Table()
    for column in ("Purpose", "Age", "Rotation", "Two valid", "Readers", "Interrupts"):
        table.add_column(column, overflow="fold")
    for row in rows:
        age = "unknown" if row["ageDays"] is None else f"{row['ageDays']} d"
        told = row["readers"] if row["readers"] is not None else ["unknown"]
        table.add_row(
            row["purpose"],
            age if row["hasValue"] else "no value",
            row["rotation"] + (f": {row['why']}" if row["why"] else ""),
            "yes" if row["twoValid"] else "no",
            "\n".join(told),
            row["interrupts"] or "nothing",
        )
    output().print(table)
    return None


def _rows(stack: Stack, kubeconfig: Path) -> list[dict[str, Any]]:
    store, cloud = store_of(stack, kubeconfig), str(stack.output("cloud"))
    keys = cast("Mapping[str, str]", stack.output("secrets"))
    try:
        cluster = Cluster.read(kubeconfig)
    except StackError as error:
        complain(f"who reads what is not known: {error}")
        cluster = None
    return [_row(purpose, keys[purpose], cloud, store, cluster) for purpose in sorted(keys)]


def _row(purpose: str, key: str, cloud: str, store: Store, cluster: Cluster | None) -> dict[str, Any]:
    way, known = how(purpose, cloud), credential(purpose)
    changed, asked = None, True
    try:
        changed = store.changed(purpose)
    except StackError as error:
        complain(str(error))
        asked = False
    readers = None if cluster is None else [str(one) for one in cluster.readers(cluster.synced(key))]
    return {
        "purpose": purpose,
        "description": known.description if known else "",
        "ageDays": (datetime.now(UTC) - changed).days if changed else None,
        "hasValue": changed is not None or not asked,
        "rotation": way.kind,
        "why": way.why,
        "twoValid": way.both,
        "readers": readers,
        "interrupts": way.interrupted,
    }


@app.command("rotate")
def rotate(
    purpose: Annotated[str, typer.Argument(help="The credential, as `secrets list` names it.")],
    stack: StackName = "",
    up: Annotated[
        bool, typer.Option("--up", help="Run `pulumi up` after the edit too, and bring the value to its readers.")
    ] = False,
    activation: Annotated[
        bool, typer.Option("--activate", help="`pulumi up` has run: bring the new value to its readers.")
    ] = False,
    finish: Annotated[
        bool, typer.Option("--finish", help="Readers have the new value: let the one before be accepted no more.")
    ] = False,
    sandbox: InSandbox = False,
    yes: Confirmed = False,
) -> None:
    """Give a credential another value.

    What the program draws: first the edit of the stack's file, for review; then `pulumi up`; then --activate. Where two
    values are valid then: --finish, and `pulumi up`. What you supply is read from standard input, then brought to its
    readers.
    """
    try:
        found = Stack.read(stack, sandbox=sandbox)
        keys = cast("Mapping[str, str]", found.output("secrets"))
        if purpose not in keys:
            raise StackError(f"the stack has no credential {purpose}; it has {', '.join(sorted(keys))}")
        way = how(purpose, str(found.output("cloud")))
        if way.kind in ("never", "managed", "manual"):
            complain(f"{purpose} is not rotated here: {way.why}")
            sys.exit(EXIT_REFUSED)
        typer.echo(f"interrupted: {way.interrupted or 'nothing'}", err=True)
        if way.kind == "supplied":
            _supplied(found, purpose, keys[purpose], way, yes=yes)
        elif activation:
            _drawn_is_there(found, purpose)
            _activate(found, purpose, keys[purpose], way, yes=yes)
        else:
            _edit(found, purpose, way, finish=finish, yes=yes)
            if up and yes:
                _up(found)
                if not finish:
                    _activate(found, purpose, keys[purpose], way, yes=yes)
    except EngineError as error:
        complain(str(error))
        sys.exit(EXIT_UNUSABLE)
    except KeyboardInterrupt:
        following = "with --activate, in place of --up" if up else "the same command"
        complain(f"interrupted; what is done stays done: run it again, {following}, and it goes on")
        sys.exit(_INTERRUPTED)


def _edit(stack: Stack, purpose: str, way: How, *, finish: bool, yes: bool) -> None:
    """Raise the generation in the stack's file, or end the overlap."""
    from ops.secrets import edit

    path = stack_file(stack.name)
    try:
        text = path.read_text()
    except OSError as error:
        raise edit.EditError(f"{path.name} cannot be read: {error.strerror}") from None
    now = edit.rotation_of(text)
    told, there = now.generations.get(purpose, 1), _generation(stack, purpose)
    if told != there:
        message = f"{path.name} says generation {told} of {purpose}, the stack has {there}"
        raise StackError(f"{message}: `pulumi up --stack {stack.name}`, then `--activate`")
    if finish and purpose not in now.overlapping:
        raise StackError(f"{purpose}: no value before is accepted; there is nothing to finish")
    if not finish and purpose in now.overlapping:
        raise StackError(f"{purpose}: the value before is still accepted; `--finish` first, or it would be a third")
    wanted = edit.ended(now, purpose) if finish else edit.raised(now, purpose, overlap=way.both)
    after = edit.written(text, wanted)
    output().print(difference(text, after, path.name), markup=False, end="")
    if not yes:
        output().print("nothing is written; --yes does it")
        return
    path.write_text(after)
    following = (
        "" if finish else f"; then: python -m ops secrets rotate {purpose} --stack {stack.name} --activate --yes"
    )
    output().print(f"{path.name} is written: review it, then pulumi up --stack {stack.name}{following}", markup=False)


def _generation(stack: Stack, purpose: str) -> int:
    if found := generation_in(stack_export(stack.name, sandbox=stack.sandbox), purpose):
        return found
    raise StackError(f"the state of {stack.name} has no drawn value of {purpose}")


def _drawn_is_there(stack: Stack, purpose: str) -> None:
    """Refuse to hand out a value while the file wants the next."""
    from ops.secrets import edit

    path = stack_file(stack.name)
    told = edit.rotation_of(path.read_text()).generations.get(purpose, 1) if path.is_file() else 0
    if told > (there := _generation(stack, purpose)):
        raise StackError(f"{path.name} says generation {told} of {purpose}, the stack has {there}: `pulumi up` first")


def _up(stack: Stack) -> None:
    arguments = ["up", "--yes", "--skip-preview", "--stack", stack.name]
    if pulumi_streamed(arguments, sandbox=stack.sandbox, seconds=_UP_SECONDS):
        raise StackError("`pulumi up` did not end well; mend that, run it again, and then this command with --activate")


def _activate(stack: Stack, purpose: str, key: str, way: How, *, yes: bool) -> None:
    with stack.kubeconfig() as kubeconfig:
        wanted = planned(purpose, way, key, Cluster.read(kubeconfig))
        for step in wanted.steps():
            typer.echo(("" if yes else "would ") + step, err=True)
        if not yes:
            output().print("nothing is done; --yes does it")
            return
        value = store_of(stack, kubeconfig).read(purpose)
        activate(wanted, value, kubeconfig, lambda line: typer.echo(line, err=True))
    output().print(f"{purpose}: readers have the new value")
    if way.both:
        output().print(f"the one before is accepted too: secrets rotate {purpose} --stack {stack.name} --finish --yes")


def _supplied(stack: Stack, purpose: str, key: str, way: How, *, yes: bool) -> None:
    """Write what is on standard input into the store, and bring it to its readers."""
    if yes:
        value = _given(purpose)
        with stack.kubeconfig() as kubeconfig:
            store = store_of(stack, kubeconfig)
            try:
                there = store.read(purpose)
            except EmptyError:
                there = {}
            store.write(purpose, {**there, **value})
    _activate(stack, purpose, key, way, yes=yes)


def _given(purpose: str) -> dict[str, str]:
    """A JSON object of properties; or, where the entry is known to have one, its bare value."""
    if sys.stdin.isatty():
        typer.echo(f"the value of {purpose}, then Ctrl-D:", err=True)
    text = sys.stdin.read().strip()
    try:
        found: Any = json.loads(text)
    except ValueError:
        found = None
    known = credential(purpose)
    if isinstance(found, dict) and found:
        value = {str(name): str(one) for name, one in cast("dict[Any, Any]", found).items()}
        if known and set(value) - set(known.properties):
            raise StackError(f"{purpose} has {', '.join(known.properties)}, and nothing else")
        return value
    if text and known and len(known.properties) == 1:
        return {known.properties[0]: text}
    raise StackError(f'standard input must have the new value of {purpose}, as JSON: {{"property": "value"}}')
