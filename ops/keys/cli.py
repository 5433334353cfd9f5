"""``python -m ops keys``: keys of the model gateway."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from ops.cli import EXIT_REFUSED, EXIT_UNUSABLE
from ops.console import complain, output, print_json
from ops.keys import limits, report
from ops.keys.gateway import Gateway, GatewayError, Key
from ops.keys.hand_over import HandOver, HandOverError
from ops.keys.way import forwarded
from ops.pulumi import EngineError
from ops.secrets.store import Store, store_of
from ops.stack import AsJson, Confirmed, InSandbox, Stack, StackName

_MASTER: Final = "litellm-master-key"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Keys of the model gateway. docs/keys.md explains them.",
)

Address = Annotated[
    str,
    typer.Option(
        help="Where the gateway's administration answers, such as https://<adminHost>, or http://localhost:4000 of a "
        "`kubectl port-forward` of yours. Without it the command forwards a port itself."
    ),
]
Out = Annotated[
    Path | None, typer.Option(help="New file for the key, readable by this account only. Else it is shown, once.")
]
Entry = Annotated[
    str,
    typer.Option(
        help="Entry of the stack's secret store for the key in place of a file: a supplied one, as PURPOSE or "
        "PURPOSE.PROPERTY (`key` where none is named)."
    ),
]
TeamName = Annotated[str, typer.Option("--team", help="A team of the stack.")]
KeyName = Annotated[str, typer.Argument(help="The key: TEAM/NAME.")]


class By(StrEnum):
    """What a report has a line for."""

    TEAM = "team"
    KEY = "key"
    MODEL = "model"


@dataclass(frozen=True)
class _Way:
    """The gateway and the store of a stack."""

    gateway: Gateway
    store: Store


@contextmanager
def _way(stack: str, sandbox: bool, url: str) -> Generator[_Way]:
    """Lead to the gateway; what goes wrong is said in a line, and ends the command."""
    try:
        with ExitStack() as held:
            found = Stack.read(stack, sandbox=sandbox)
            # On premises the cluster is the store as well; elsewhere it is not needed when an address is given.
            needed = not url or found.output("cloud") == "onprem"
            kubeconfig = held.enter_context(found.kubeconfig()) if needed else None
            store = store_of(found, kubeconfig)
            master = store.read(_MASTER)["key"]
            address = url or held.enter_context(forwarded(kubeconfig or Path()))
            yield _Way(Gateway(address, master), store)
    except (EngineError, HandOverError) as error:
        complain(str(error))
        sys.exit(EXIT_UNUSABLE)
    except GatewayError as error:
        complain(str(error))
        sys.exit(EXIT_REFUSED if 400 <= error.status < 500 else EXIT_UNUSABLE)


def _refuse(reasons: list[str]) -> None:
    if reasons:
        for reason in reasons:
            complain(reason)
        sys.exit(EXIT_REFUSED)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What it is for, such as `ci`; unique in the team.")],
    team: Annotated[str, typer.Option(help="Whose it is: a team of the stack's settings.")],
    usd: Annotated[float, typer.Option(help="Budget a month in USD; at most the team's.")],
    stack: StackName = "",
    rpm: Annotated[int | None, typer.Option(help="Requests a minute at most; without it the team's.")] = None,
    tpm: Annotated[int | None, typer.Option(help="Tokens a minute at most; without it the team's.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model that it may call; again for more. None: all of the team's.")
    ] = None,
    days: Annotated[int, typer.Option(help="Days until it ends, at most 365.")] = 90,
    out: Out = None,
    entry: Entry = "",
    url: Address = "",
    sandbox: InSandbox = False,
    yes: Confirmed = False,
    as_json: AsJson = False,
) -> None:
    """Make a key of a team, within what the stack declares for the team."""
    with _way(stack, sandbox, url) as way:
        wish = limits.Wish(
            team=team,
            name=name,
            usd=usd,
            requests_per_minute=rpm,
            tokens_per_minute=tpm,
            models=tuple(model or ()),
            days=days,
        )
        found = way.gateway.team(team)
        _refuse(list(limits.problems(wish, found, way.gateway.models())))
        assert found
        now, keys = datetime.now(UTC), list(way.gateway.keys(team))
        title = f"{team}/{name}"
        if any(key.alias == title or limits.family(key) == title for key in keys):
            _refuse([f"there is a key {title} already; `keys rotate {title}` gives it another value"])
        if told := limits.promised(found, keys, now, usd):
            typer.echo(told, err=True)
        hand_over = HandOver.to(out, entry, way.store)
        body = limits.request(wish)
        if yes:
            _deliver(way.gateway, hand_over, way.gateway.create(body), body, as_json=as_json)
        else:
            _would("create", body, as_json=as_json)


@app.command("list")
def listed(
    stack: StackName = "",
    team: TeamName = "",
    url: Address = "",
    sandbox: InSandbox = False,
    as_json: AsJson = False,
) -> None:
    """Keys, their limits and when they end."""
    with _way(stack, sandbox, url) as way:
        now = datetime.now(UTC)
        keys = sorted(way.gateway.keys(team), key=lambda key: (key.team, limits.family(key), limits.generation(key)))
        if as_json:
            return print_json([_described(key, now) for key in keys])
        table = Table()
        for column in ("Key", "State", "Ends", "USD a month", "Spent", "Models"):
            table.add_column(column, justify="right" if column in ("USD a month", "Spent") else "left")
        for key in keys:
            told = _described(key, now)
            table.add_row(
                key.alias or f"{key.token[:12]}…",
                told["state"],
                key.expires.strftime("%Y-%m-%d %H:%M") if key.expires else "never",
                "" if key.usd is None else f"{key.usd:,.2f}",
                f"{key.spent_usd:,.2f}",
                ", ".join(key.models) or "all of the team",
            )
        output().print(table)
    return None


@app.command("rotate")
def rotate(
    key: KeyName,
    stack: StackName = "",
    overlap: Annotated[float, typer.Option(help="Hours in which the one before is still let in.")] = 24.0,
    days: Annotated[int | None, typer.Option(help="Days until the new one ends; as before without it.")] = None,
    out: Out = None,
    entry: Entry = "",
    url: Address = "",
    sandbox: InSandbox = False,
    yes: Confirmed = False,
    as_json: AsJson = False,
) -> None:
    """Make a key that takes another's place; for some hours both are let in."""
    if not 0 <= overlap <= 24 * 31 or (days is not None and not 1 <= days <= limits.LONGEST_DAYS):
        _refuse([f"--overlap must be 0 to 744 hours, --days 1 to {limits.LONGEST_DAYS}"])
    with _way(stack, sandbox, url) as way:
        now = datetime.now(UTC)
        keys = list(way.gateway.keys(key.partition("/")[0]))
        newest = _living(keys, key, now)[0]
        used = [limits.generation(one) for one in keys if limits.family(one) == key]
        body = limits.successor(newest, days)
        if max(used) > limits.generation(newest):
            _refuse([f"{key} has a newer key that is not let in any more; `keys revoke {key}`, then create another"])
        hand_over = HandOver.to(out, entry, way.store)
        if not yes:
            _would(f"let {newest.alias} in for {overlap:g} more hours, and create", body, as_json=as_json)
            return
        _deliver(way.gateway, hand_over, way.gateway.create(body), body, as_json=as_json)
        for old in limits.living(keys, key, now):
            if seconds := limits.overlap_seconds(old, overlap, now):
                way.gateway.expire(old, seconds)
            else:
                way.gateway.block(old)
            typer.echo(f"{old.alias} is let in for {seconds / 3600:.1f} more hours", err=True)


@app.command("revoke")
def revoke(
    key: KeyName,
    stack: StackName = "",
    previous: Annotated[bool, typer.Option("--previous", help="Only those before the newest.")] = False,
    url: Address = "",
    sandbox: InSandbox = False,
    yes: Confirmed = False,
    as_json: AsJson = False,
) -> None:
    """Let a key in no more, at once. What it spent stays known."""
    with _way(stack, sandbox, url) as way:
        living = _living(list(way.gateway.keys(key.partition("/")[0])), key, datetime.now(UTC))
        going = living[1:] if previous else living
        if yes:
            for one in going:
                way.gateway.block(one)
        names = [one.alias for one in going]
        if as_json:
            return print_json({"revoked" if yes else "wouldRevoke": names})
        verb = "revoked" if yes else "would revoke"
        output().print(f"{verb} {', '.join(names) or 'nothing'}" + ("" if yes else "; --yes does it"))
    return None


@app.command("report")
def reported(
    stack: StackName = "",
    team: TeamName = "",
    by: Annotated[By, typer.Option(help="A line for each.")] = By.TEAM,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day (UTC); the month's first without it.")
    ] = None,
    until: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day; today without it.")] = None,
    url: Address = "",
    sandbox: InSandbox = False,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV, in place of a table.")] = False,
) -> None:
    """What was spent, against the budgets of a month."""
    today = datetime.now(UTC).date()
    last = until.date() if until else today
    first = since.date() if since else last.replace(day=1)
    if first > last:
        _refuse([f"--since {first} is after --until {last}"])
    with _way(stack, sandbox, url) as way:
        found = _report(way.gateway, team, by, first, last)
    if as_json:
        return print_json({"since": str(first), "until": str(last), "by": by.value, "rows": report.document(found)})
    if as_csv:
        return typer.echo(report.comma_separated(found), nl=False)
    output().print(report.table(found, by.value, f"{first} to {last} (UTC)"))
    return None


def _report(gateway: Gateway, team: str, by: By, first: date, last: date) -> list[report.Row]:
    teams = sorted((one for one in gateway.teams() if team in ("", one.name)), key=lambda one: one.name)
    if team and not teams:
        _refuse([f"the gateway has no team {team}"])
    keys = list(gateway.keys(team)) if by is By.KEY else []
    return report.rows(by.value, teams, keys, {one.name: gateway.activity(one.name, first, last) for one in teams})


def _living(keys: list[Key], name: str, now: datetime) -> list[Key]:
    if not (found := limits.living(keys, name, now)):
        known = sorted({limits.family(one) for one in keys if limits.ours(one) and one.lives(now)})
        _refuse([f"no key {name} is let in; there are {', '.join(known) or 'none of that team'}"])
    return found


def _deliver(gateway: Gateway, hand_over: HandOver, value: str, body: dict[str, Any], *, as_json: bool) -> None:
    """Hand a new key over; one that nobody gets is removed again."""
    try:
        place = hand_over.give(value)
    except (EngineError, HandOverError):
        alias, team = str(body["key_alias"]), str(body["team_id"])
        for key in [one for one in gateway.keys(team) if one.alias == alias]:
            gateway.delete(key)
        raise
    told = {name: wanted for name, wanted in body.items() if name != "metadata"}
    if as_json:
        print_json({**told, **({"keptIn": place} if place else {"key": value})})
    elif place:
        output().print(f"{body['key_alias']} is in {place}")
    else:
        typer.echo(f"{body['key_alias']}: shown this once", err=True)
        typer.echo(value)


def _would(verb: str, body: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        return print_json({"wouldCreate": body})
    told = ", ".join(f"{name} {value}" for name, value in body.items() if name not in ("key_alias", "metadata"))
    output().print(f"would {verb} {body['key_alias']}: {told}; --yes does it", markup=False)
    return None


def _described(key: Key, now: datetime) -> dict[str, Any]:
    return {
        "alias": key.alias,
        "team": key.team,
        "state": "revoked" if key.blocked else "active" if key.lives(now) else "expired",
        "expires": key.expires.isoformat() if key.expires else None,
        "monthlyUsd": key.usd,
        "spentUsd": key.spent_usd,
        "requestsPerMinute": key.requests_per_minute,
        "tokensPerMinute": key.tokens_per_minute,
        "models": list(key.models),
        "madeHere": limits.ours(key),
    }
