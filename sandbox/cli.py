"""The sandbox's command line."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from sandbox import engine, paths, project
from sandbox.store import Fault, Record, Store

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Run Pulumi against emulated clouds: python -m sandbox -- pulumi up -s dev",
)
fault = typer.Typer(no_args_is_help=True, help="Make the emulated cloud slow, fail or run out of quota.")
account = typer.Typer(no_args_is_help=True, help="Look at the emulated account, or change it behind the engine's back.")
app.add_typer(fault, name="fault")
app.add_typer(account, name="account")

_messages = Console(stderr=True, highlight=False)
_output = Console(highlight=False, width=None if sys.stdout.isatty() else 240)  # a pipe should get whole identifiers

StackOption = Annotated[str, typer.Option("--stack", "-s", help="Stack whose account is meant.")]


def report(message: str) -> None:
    """Write a line of progress to standard error."""
    _messages.print(f"sandbox: {message}", style="dim", markup=False, soft_wrap=True)


def main() -> NoReturn:
    """Run the command line; everything after ``--`` is a command for the engine."""
    arguments = sys.argv[1:]
    quiet = arguments[:1] == ["--quiet"]
    if arguments[quiet : quiet + 1] == ["--"]:
        sys.exit(_pulumi(arguments[quiet + 1 :], (lambda _: None) if quiet else report))
    try:
        app()
    except project.ProjectError as error:
        _fail(str(error))
    sys.exit(0)


def _pulumi(command: list[str], tell: Callable[[str], None]) -> int:
    if command[:1] != ["pulumi"] or len(command) == 1:
        _fail("expected a pulumi command after `--`, such as: python -m sandbox -- pulumi up -s dev")
    from sandbox import run  # noqa: PLC0415 the providers need the SDKs, which `--help` should not wait for

    try:
        return run.pulumi(command[1:], tell)
    except (engine.NoEngineError, project.ProjectError) as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    _messages.print(f"sandbox: {message}", style="red", markup=False, soft_wrap=True)
    sys.exit(1)


@app.command("engine")
def get_engine() -> None:
    """Get the Pulumi engine now, and say where it came from."""
    try:
        found = engine.find_or_get(paths.cache_dir(), report)
    except engine.NoEngineError as error:
        _fail(str(error))
    _output.print(f"{found.pulumi} ({found.origin})")


@app.command("cluster")
def get_cluster() -> None:
    """Get the Kubernetes control plane's programs, building what cannot be downloaded (about 10 minutes once)."""
    from sandbox.toolchain import clients, control_plane  # noqa: PLC0415 `--help` should not wait for them

    found = control_plane.find_or_get(paths.cache_dir(), report, allow_build=True)
    if isinstance(found, control_plane.Missing):
        _fail(found.reason)
    for name, origin in found.origin.items():
        _output.print(f"{name}: {origin}")
    for name in ("helm", "kubectl"):
        client = clients.find_or_get(name, paths.cache_dir(), report)
        missing = isinstance(client, control_plane.Missing)
        _output.print(f"{name}: {f'none ({client.reason})' if missing else client}")


@app.command("kubeconfig")
def kubeconfig(stack: StackOption = "dev") -> None:
    """Print the path of the kubeconfig of a stack's control plane."""
    from sandbox.kubernetes.cluster import Cluster  # noqa: PLC0415 `--help` should not wait for it

    cluster = Cluster(_paths(stack).kubernetes)
    if not cluster.exists:
        _fail(f"stack {stack} has no control plane yet: `make cluster` gets its programs, `make up` starts it")
    print(cluster.kubeconfig)  # a path, whole and on one line, for $(...)


@app.command("down")
def down() -> None:
    """Stop the control planes of all stacks; what they store stays."""
    from sandbox.kubernetes.cluster import Cluster  # noqa: PLC0415 `--help` should not wait for it

    for folder in _stack_folders():
        cluster = Cluster(paths.StackPaths(folder).kubernetes)
        if cluster.exists:
            report(f"stopping the control plane of {folder.name}")
            cluster.stop()


@app.command("reset")
def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the sandbox: control planes, accounts and the engine's state. Downloads and builds stay."""
    from sandbox.kubernetes.cluster import Cluster  # noqa: PLC0415 `--help` should not wait for it

    if not yes:
        typer.confirm(f"Delete {paths.home()} with the state of every stack in it?", abort=True)
    for folder in _stack_folders():
        Cluster(paths.StackPaths(folder).kubernetes).down()
    shutil.rmtree(paths.home(), ignore_errors=True)


def _stack_folders() -> list[Path]:
    return sorted((paths.home() / "stacks").glob("*"))


@fault.command("add")
def fault_add(
    error: Annotated[str, typer.Option(help="What the cloud answers; empty for latency alone.")] = "",
    type_token: Annotated[str, typer.Option("--type", help="Type such as aws:rds/instance:Instance; * for all.")] = "*",
    name: Annotated[str, typer.Option(help="Resource name in the program; * for all.")] = "*",
    operation: Annotated[str, typer.Option(help="create, read, update, delete or *.")] = "create",
    times: Annotated[int, typer.Option(help="How often it strikes; -1 for ever.")] = 1,
    latency: Annotated[float, typer.Option(help="Seconds to wait first.")] = 0,
    stack: StackOption = "dev",
) -> None:
    """Arm a fault."""
    if operation not in ("create", "read", "update", "delete", "*"):
        _fail(f"--operation must be create, read, update, delete or *; got {operation}")
    if not error and latency <= 0:
        _fail("give --error, --latency or both: a fault without either does nothing")
    _store(stack).add_fault(
        Fault(type=type_token, name=name, operation=operation, error=error, latency_seconds=latency, remaining=times)
    )


@fault.command("quota")
def fault_quota(
    type_token: Annotated[str, typer.Option("--type", help="Type such as aws:ec2/eip:Eip.")],
    most: Annotated[int, typer.Option(help="How many may exist.", min=0)],
    stack: StackOption = "dev",
) -> None:
    """Let the account run out of a type of resource."""
    _store(stack).set_quota(type_token, most)


@fault.command("list")
def fault_list(stack: StackOption = "dev") -> None:
    """Show the armed faults and the quotas."""
    table = Table("type", "name", "operation", "error", "latency (s)", "times left")
    store = _store(stack)
    for armed in store.faults():
        left = "for ever" if armed.remaining < 0 else str(armed.remaining)
        table.add_row(armed.type, armed.name, armed.operation, armed.error, f"{armed.latency_seconds:g}", left)
    for type_token, most in store.quotas().items():
        table.add_row(type_token, "*", "create", f"quota of {most}", "0", "for ever")
    _output.print(table)


@fault.command("clear")
def fault_clear(stack: StackOption = "dev") -> None:
    """Disarm every fault and lift every quota."""
    _store(stack).clear_faults()


@account.command("list")
def account_list(
    type_token: Annotated[str, typer.Option("--type", help="Only this type.")] = "",
    stack: StackOption = "dev",
) -> None:
    """Show what exists in the account."""
    table = Table("type", "id", "name", "region", "orphan")
    for record in _store(stack).records(type_token or None):
        table.add_row(record.type, record.id, _name(record), record.region or "global", "yes" if record.orphan else "")
    _output.print(table)


@account.command("set")
def account_set(
    resource_id: Annotated[str, typer.Argument(help="Identifier or name, as `account list` shows it.")],
    assignment: Annotated[str, typer.Argument(help="property=JSON value, such as backupRetentionPeriod=0.")],
    stack: StackOption = "dev",
) -> None:
    """Change a property behind the engine's back: drift, for `pulumi refresh` to find."""
    import json  # noqa: PLC0415 only here

    name, _, text = assignment.partition("=")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    store = _store(stack)
    for record in _matching(store, resource_id):
        changed = {name: value}
        store.update(replace(record, inputs={**record.inputs, **changed}, outputs={**record.outputs, **changed}))


@account.command("delete")
def account_delete(
    resource_id: Annotated[str, typer.Argument(help="Identifier or name, as `account list` shows it.")],
    stack: StackOption = "dev",
) -> None:
    """Delete a resource behind the engine's back."""
    store = _store(stack)
    for record in _matching(store, resource_id):
        store.delete(record.type, record.id)


def _matching(store: Store, resource_id: str) -> list[Record]:
    found = [record for record in store.records() if resource_id in (record.id, _name(record))]
    if not found:
        _fail(f"nothing in the account has the identifier or name {resource_id}; see `python -m sandbox account list`")
    return found


def _paths(stack: str) -> paths.StackPaths:
    if stack not in project.stacks():
        _fail(f"there is no stack {stack!r}: the checkout has {', '.join(project.stacks())}")
    return paths.StackPaths.of(stack)


def _store(stack: str) -> Store:
    return Store(_paths(stack).account)


def _name(record: Record) -> str:
    return record.urn.rsplit("::", maxsplit=1)[-1]
