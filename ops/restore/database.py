"""``ops restore database``: the database from a backup or a moment, into a new server beside the old."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from ops import console
from ops.progress import Progress
from ops.pulumi import stack_export
from ops.refusals import RefusedError
from ops.restore import carrying, onprem_database
from ops.restore.clients import aws, explained
from ops.restore.contents import Counts, counts, losses
from ops.restore.declared import CLOUD_SQL, Declared, database_of, replacing_differences
from ops.restore.rds import MAX_NAME, Moment, Servers
from ops.restore.replica import Copies, age_words, checked, copies_of
from ops.stack import AsJson, Confirmed, InSandbox, StackError, StackName

_SHOWN: Final = 10  # snapshots in the plan; `aws rds describe-db-snapshots` lists all

_Check = Annotated[
    str, typer.Option("--check", help="postgresql://… of the restored server: count its tables (PGPASSWORD).")
]
_Against = Annotated[str, typer.Option("--against", help="postgresql://… of the old one: tell what has fewer rows.")]
_ReplicaOf = Annotated[
    str, typer.Option("--replica-of", help="A stack in a lost region: from the copies of its backups in this one.")
]


@dataclass(frozen=True)
class Plan:
    """What a restore would do.

    Attributes:
        declared: The stack's database.
        moment: What is restored.
        target: Name of the new server.
        window: Moments and snapshots that there are.
        there: Whether the new server exists: an earlier run made it, and this one goes on.
        copies: Copies of a lost server's backups that are restored in place of the stack's own.
    """

    declared: Declared
    moment: Moment
    target: str
    window: dict[str, Any]
    there: bool
    copies: Copies | None = None

    @property
    def source(self) -> str:
        """Name of the server that is restored."""
        return self.copies.source if self.copies else self.declared.identifier


def plan(declared: Declared, servers: Servers, moment: Moment, target: str = "", copies: Copies | None = None) -> Plan:
    """Look at the backups, and refuse what they do not have.

    Raises:
        RefusedError: The moment lies outside of the backups, the snapshot is not there, or the name is taken.
    """
    window = _window(copies) if copies else servers.window(declared)
    # Copies of a lost region get no older: their last moment names the server, and a run that is repeated finds it.
    name = target or target_name(declared.identifier, moment, copies.latest if copies else None)
    if name == declared.identifier:
        raise RefusedError(f"{name} is the stack's own server; a restore goes beside it, so give --as another name")
    if copies and moment.snapshot:
        raise RefusedError("copied backups are restored to a moment; give --at, or neither")
    if moment.snapshot and moment.snapshot not in {one["id"] for one in window["snapshots"]}:
        raise RefusedError(f"{declared.identifier} has no snapshot {moment.snapshot} that is available")
    if moment.at:
        earliest, latest = (datetime.fromisoformat(window[key]) if window[key] else None for key in _ENDS)
        if (earliest and moment.at < earliest) or (latest and moment.at > latest):
            raise RefusedError(
                f"{moment.at.isoformat()} is outside of the backups: {window['earliest'] or '?'} to {window['latest']}"
            )
    there = servers.find(name)
    return Plan(declared, moment, name, window, there is not None, copies)


def _window(copies: Copies) -> dict[str, Any]:
    """As that of :meth:`Servers.window`; snapshots of the lost server are in its moments."""
    return {key: copies.facts()[key] for key in _ENDS} | {"snapshots": []}


_ENDS: Final = ("earliest", "latest")


def target_name(identifier: str, moment: Moment, now: datetime | None = None) -> str:
    """Name of the new server: a run that is repeated for the same moment finds the server of the first."""
    when = moment.snapshot.rpartition(":")[2] or (moment.at or now or datetime.now(UTC)).astimezone(UTC).strftime(
        "%Y%m%d-%H%M"
    )
    return f"{identifier}-at-{when}"[:MAX_NAME].rstrip("-")


def carry_out(made: Plan, servers: Servers, progress: Progress) -> dict[str, Any]:
    """Restore, and wait until the new server is like the old; the server as RDS describes it.

    Raises:
        RefusedError: It failed, or ``pulumi up`` would replace what came of it.
        PatienceError: It is not available in time; calling it again goes on waiting.
    """
    if made.there:
        progress.say(f"{made.target} is there already: going on with it")
    else:
        progress.say(f"restoring {made.moment.words} of {made.source} into {made.target}")
        if made.copies:
            carrying.restore(made.copies, made.declared, made.target, made.moment, servers)
        else:
            servers.restore(made.declared, made.target, made.moment)
    servers.available(made.target)
    servers.complete(made.declared, made.target)
    server = servers.available(made.target, complete=True)
    if made.copies:
        carrying.tidy(made.target, servers, progress)
    if differences := replacing_differences(made.declared, server):
        raise RefusedError(f"{made.target} cannot take the stack's place: {'; '.join(differences)}")
    progress.say(f"{made.target} is available")
    return server


def moment_of(at: str, snapshot: str) -> Moment:
    """What the options ask for.

    Raises:
        RefusedError: Both are given, or the moment has no time zone.
    """
    if at and snapshot:
        raise RefusedError("give --at or --snapshot, one of them")
    if not at:
        return Moment(snapshot=snapshot)
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise RefusedError(f"--at {at} is no moment; write it as 2026-11-22T03:00Z") from None
    if moment.tzinfo is None:
        raise RefusedError(f"--at {at} has no time zone; write {at}Z for UTC")
    return Moment(at=moment)


def state_of(stack: str, *, sandbox: bool) -> dict[str, Any]:
    """The state of a stack.

    Raises:
        EngineError: There is no engine, or no such stack.
    """
    if not stack:
        raise StackError("no stack is named; give --stack, or set PULUMI_STACK")
    return stack_export(stack, sandbox=sandbox)


def database_command(
    stack: StackName = "",
    at: Annotated[str, typer.Option(help="A moment, such as 2026-11-22T03:00Z; without: the latest there is.")] = "",
    snapshot: Annotated[str, typer.Option(help="A snapshot in place of a moment.")] = "",
    called: Annotated[str, typer.Option("--as", help="Name of the new server; else it is made of the moment.")] = "",
    check: _Check = "",
    against: _Against = "",
    replica_of: _ReplicaOf = "",
    sandbox: InSandbox = False,
    json_output: AsJson = False,
    yes: Confirmed = False,
) -> None:
    """The database, into a new server beside the old one. `ops restore adopt` then puts it into the old one's place.

    The new server has the network, key, parameters and class that the stack declares. Nothing of the stack changes.
    Run it again with the same --at, --snapshot or --as and it goes on where it was.

    With --replica-of the database of a stack in a lost region comes into the network of this one, from the copies of
    its backups that this region has.
    """
    with explained("restore database"):
        moment = moment_of(at, snapshot)
        state = state_of(stack, sandbox=sandbox)
        if (own := onprem_database.database_of(state)) is not None:
            if check or against or replica_of:
                raise RefusedError("--check, --against and --replica-of are of servers that a cloud runs")
            onprem_database.restore(stack, own, moment, called, sandbox=sandbox, json_output=json_output, yes=yes)
            return
        declared = database_of(state)
        if declared.type == CLOUD_SQL:
            _google(declared, moment, called, json_output=json_output)
            raise typer.Exit(2 if yes else 0)
        progress = Progress()
        rds = aws("rds", declared.region)
        servers = Servers(rds, progress)
        copies = _copies(rds, declared, state_of(replica_of, sandbox=sandbox)) if replica_of else None
        made = plan(declared, servers, moment, called, copies)
        if not yes:
            _show_plan(made, json_output=json_output)
            return
        server = carry_out(made, servers, progress)
        found = contents(check, against)
        _show_result(stack, made, server, found, progress, json_output=json_output)
        if found.get("losses"):
            raise typer.Exit(1)


def _copies(rds: Any, declared: Declared, lost_state: Mapping[str, Any]) -> Copies:
    lost = database_of(lost_state)
    if lost.type != declared.type or lost.region == declared.region:
        raise RefusedError(
            f"{lost.identifier} is in {lost.region}, and {declared.identifier} in {declared.region}: "
            "--replica-of names a stack in another region of AWS"
        )
    return checked(copies_of(rds, lost.identifier, lost.region, lost.id), declared, lost.identifier)


def contents(check: str, against: str, count: Callable[[str], Counts] = counts) -> dict[str, Any]:
    """Rows of the restored server, and what has fewer than in the old one."""
    if not check:
        return {}
    restored = count(check)
    tables = {database: len(found) for database, found in restored.items()}
    rows = {database: sum(found.values()) for database, found in restored.items()}
    return {"tables": tables, "rows": rows, "losses": losses(count(against), restored) if against else []}


def _show_plan(made: Plan, *, json_output: bool) -> None:
    copies = made.copies
    facts = {
        "from": made.source,
        "what": made.moment.words,
        "into": made.target,
        "exists": made.there,
        **made.window,
    }
    if copies:
        facts |= {"copies": copies.facts(), "steps": carrying.steps(copies, made.declared)}
    if json_output:
        console.print_json(facts)
        return
    out = console.output()
    out.print(f"would restore {made.moment.words} of {facts['from']} into a new server, {facts['into']}")
    out.print(f"backups reach from {facts['earliest'] or 'an unknown moment'} to {facts['latest'] or 'an unknown one'}")
    if copies:
        out.print(f"they are copies of another region's, {copies.status}, {age_words(copies)}")
        for number, step in enumerate(carrying.steps(copies, made.declared), 1):
            out.print(f"  {number}. {step}")
    for one in made.window["snapshots"][:_SHOWN]:
        out.print(f"  snapshot {one['id']}  {one['taken']}")
    out.print("--yes does it; nothing of the stack changes")


def _show_result(
    stack: str, made: Plan, server: dict[str, Any], found: dict[str, Any], progress: Progress, *, json_output: bool
) -> None:
    host = server["Endpoint"]["Address"]
    secret = server["MasterUserSecret"]["SecretArn"]
    adopt = f"python -m ops restore adopt --stack {stack} --instance {made.target}"
    discard = f"python -m ops restore discard --stack {stack} --instance {made.target} --yes"
    if json_output:
        facts = {"instance": made.target, "host": host, "secret": secret, "seconds": round(progress.seconds)}
        console.print_json({**facts, **found, "adopt": adopt, "discard": discard})
        return
    out = console.output()
    out.print(f"{made.target} is at {host}; its password is in {secret}")
    for database, rows in found.get("rows", {}).items():
        out.print(f"  {database}: {found['tables'][database]} tables, {rows} rows")
    for loss in found.get("losses", ()):
        out.print(f"  fewer than in the old one: {loss}")
    out.print(f"to put it into the place of {made.declared.identifier}:\n  {adopt}\nto remove it again:\n  {discard}")


def google_commands(declared: Declared, moment: Moment, called: str = "") -> list[str]:
    """The way on Cloud SQL, where a server cannot be renamed: look at a copy, then load that into the old server."""
    source, target = declared.identifier, called or target_name(declared.identifier, moment)
    project = f" --project {declared.project}" if declared.project else ""
    when = f" --point-in-time '{moment.at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}'" if moment.at else ""
    beside = [f"gcloud sql instances clone {source} {target}{when}{project}"]
    if moment.snapshot:  # a backup needs a server to be loaded into; a clone has the same key, network and version
        load = f"gcloud sql backups restore {moment.snapshot} --backup-instance {source} --restore-instance {target}"
        beside.append(load + project)
    return [
        f"gcloud sql backups list --instance {source}{project}",
        *beside,
        f"# look at {target}; then, with the clients stopped:",
        f"gcloud sql backups create --instance {source} --description 'before the restore'{project}",
        f"gcloud sql backups create --instance {target} --description 'to be restored'{project}",
        f"gcloud sql backups list --instance {target}{project}  # its ID goes into the next line",
        f"gcloud sql backups restore ID --backup-instance {target} --restore-instance {source}{project}",
        f"gcloud sql instances delete {target}{project}",
    ]


def _google(declared: Declared, moment: Moment, called: str, *, json_output: bool) -> None:
    commands = google_commands(declared, moment, called)
    if json_output:
        console.print_json({"supported": False, "commands": commands})
        return
    console.complain("Cloud SQL is restored by its own tool; name, address and state stay as they are:")
    console.output().print("\n".join(commands), markup=False, soft_wrap=True)
