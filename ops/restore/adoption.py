"""``ops restore adopt``: a restored server takes the name of the old one, and its place in the stack's state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from ops import console
from ops.progress import Progress
from ops.pulumi import pulumi
from ops.refusals import RefusedError
from ops.restore.clients import aws, explained
from ops.restore.database import state_of
from ops.restore.declared import RDS, Declared, adopted, copying_of, database_of, replacing_differences
from ops.restore.rds import Servers
from ops.stack import Confirmed, InSandbox, StackName

_Instance = Annotated[str, typer.Option("--instance", help="The restored server.")]


class Engine(Protocol):
    """What adoption asks of the engine."""

    def replace(self, state: Mapping[str, Any], urn: str) -> None:
        """Write a state, and read one resource of it anew."""
        ...


class PulumiEngine:
    """The engine of a stack."""

    def __init__(self, stack: str, *, sandbox: bool) -> None:
        self._stack, self._sandbox = stack, sandbox

    def replace(self, state: Mapping[str, Any], urn: str) -> None:
        """Write a state, and read one resource of it anew."""
        file = Path(f"{self._stack.replace('/', '-')}-adopted-state.json").resolve()
        file.touch(mode=0o600)
        try:
            file.write_text(json.dumps(state))
            pulumi(["stack", "import", "--stack", self._stack, "--file", str(file)], sandbox=self._sandbox)
        finally:
            file.unlink()
        pulumi(
            ["refresh", "--stack", self._stack, "--target", urn, "--yes", "--skip-preview", "--non-interactive"],
            sandbox=self._sandbox,
        )


def set_aside(identifier: str, now: datetime) -> str:
    """Name of the old server once it is out of the way."""
    return f"{identifier}-before-{now:%Y%m%d-%H%M}"


def adopt(
    state: Mapping[str, Any], instance: str, aside: str, servers: Servers, engine: Engine, progress: Progress
) -> Declared:
    """Give a restored server the stack's name, and the stack its resource id; every step that is done is left out.

    The address is made of the name, so every client finds the new server at the old address, the certificate fits, and
    alarms, events and log groups, which go by the name, fit too. The state refers to the server by its resource id,
    which renaming leaves alone; so the state is told the new one. Nothing is created, replaced or deleted, hence a
    protected resource stays so.

    Raises:
        RefusedError: There is no such server, or ``pulumi up`` would replace it.
    """
    declared = database_of(state)
    name = declared.identifier
    server = servers.find(instance)
    holder = servers.find(name)
    if server is None:  # renamed by a run before this one
        if holder is None:
            raise RefusedError(f"there is no server {instance}; `ops restore database` makes one")
        if holder["DbiResourceId"] == declared.id:
            again = f"pulumi refresh --target '{declared.urn}'"
            raise RefusedError(f"there is no server {instance}. If a run before this one adopted it: {again}")
        server = holder
    if differences := replacing_differences(declared, server):
        raise RefusedError(f"{instance} cannot take the stack's place: {'; '.join(differences)}")
    if holder is not None and holder["DbiResourceId"] == declared.id:
        progress.say(f"{name} becomes {aside}")
        servers.rename(name, aside)
        holder = None
    if holder is None:
        progress.say(f"{instance} becomes {name}")
        servers.rename(instance, name)
    servers.export_logs(declared, name)
    server = servers.available(name, complete=True)
    if declared.id != server["DbiResourceId"]:
        progress.say(f"the state's {declared.urn.rpartition('::')[2]} becomes {server['DbiResourceId']}")
    servers.forget_origin(server)
    engine.replace(adopted(state, declared.urn, server["DbiResourceId"]), declared.urn)
    return declared


def next_step(stack: str, state: Mapping[str, Any]) -> list[str]:
    """What takes the restored server to those who use it, with what that may replace."""
    why = "# the administrator's new secret; it must replace nothing"
    if copying := copying_of(state):
        command = f"pulumi up --stack {stack} --replace '{copying}'"
        return [command, f"{why} but that: copying of backups to the other region is the old server's until then"]
    return [f"pulumi up --stack {stack}   {why}"]


def adopt_command(
    instance: _Instance, stack: StackName = "", sandbox: InSandbox = False, yes: Confirmed = False
) -> None:
    """A restored server, into the place of the old one: its name, its address and its resource in the stack.

    The old server stays, under another name and outside of the stack. Stop what writes to it before: what is written
    after the moment of the backup is not in the restored one.
    """
    with explained("restore adopt"):
        state = state_of(stack, sandbox=sandbox)
        declared = database_of(state)
        if declared.type != RDS:
            raise RefusedError("only RDS servers are adopted; `ops restore database` prints the way on Cloud SQL")
        aside = set_aside(declared.identifier, datetime.now(UTC))
        out = console.output()
        if not yes:
            out.print(f"would rename {declared.identifier} to {aside}, and {instance} to {declared.identifier};")
            out.print(f"then tell the state of {stack} that {declared.urn.rpartition('::')[2]} is that server.")
            out.print("Nothing is created, replaced or deleted. --yes does it")
            return
        progress = Progress()
        kept = Path(f"{stack.replace('/', '-')}-state-before-adoption-{datetime.now(UTC):%Y%m%d-%H%M%S}.json")
        kept.touch(mode=0o600)
        kept.write_text(json.dumps(state))
        progress.say(f"the state as it was: {kept}; `pulumi stack import --file` takes it back")
        adopt(
            state,
            instance,
            aside,
            Servers(aws("rds", declared.region), progress),
            PulumiEngine(stack, sandbox=sandbox),
            progress,
        )
        out.print(f"{declared.identifier} is the restored server, and the stack knows it. Now:")
        for line in next_step(stack, state):
            out.print(f"  {line}", markup=False, soft_wrap=True)
        out.print("  kubectl rollout restart deployment -n mlops-system   # connections to the old server end")
        out.print(f"The old server, if there was one, is {aside} and belongs to no stack: delete it when you are sure.")


def discard_command(
    instance: _Instance, stack: StackName = "", sandbox: InSandbox = False, yes: Confirmed = False
) -> None:
    """A restored server that is not wanted, away again. Only one that a restore made, and never the stack's own."""
    with explained("restore discard"):
        declared = database_of(state_of(stack, sandbox=sandbox))
        servers = Servers(aws("rds", declared.region), Progress())
        server = servers.find(instance)
        if server is None:
            raise RefusedError(f"there is no server {instance}")
        if server["DbiResourceId"] == declared.id or instance == declared.identifier:
            raise RefusedError(f"{instance} is the stack's own server")
        if not yes:
            console.output().print(f"would delete {instance} without a last snapshot. --yes does it")
            return
        servers.remove(instance)
        console.output().print(f"{instance} is gone")
