"""``python -m ops leftovers``: prove from the account that nothing of a stack remains."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table

from ops import console
from ops.cli import EXIT_REFUSED, EXIT_UNUSABLE
from ops.leftovers import record as records
from ops.leftovers.model import Leftover, Proof, Unseen
from ops.leftovers.record import Record, RecordError
from ops.preflight.aws.account import CredentialsError
from ops.preflight.gcp.account import CredentialsError as GoogleCredentials
from ops.stack import AsJson, Confirmed, StackName

if TYPE_CHECKING:
    from ops.leftovers.gcp.removal import GoogleRemover
    from ops.preflight.aws.account import Account

_HELP: Final = """Ask the account whether anything of a stack remains: by its tags, its names, its cluster, and by the
record that `ops destroy` wrote. Works when the stack is gone. Exit codes: 0 nothing remains, 1 something does, 2 it
could not be proven. docs/destroy.md has more."""
_SECONDS: Final = 900.0  # a load balancer's interfaces can take this long to go

app = typer.Typer(add_completion=False)

RecordFolder = Annotated[
    Path | None,
    typer.Option(envvar="LLMOPS_RECORDS", help="Where records of destroyed stacks are kept.", show_default=False),
]
"""Option of both commands: the folder with the record."""


@app.command(help=_HELP)
def leftovers(
    stack: StackName = "",
    remove: Annotated[bool, typer.Option("--remove", help="Remove what holds no data; with --yes.")] = False,
    data: Annotated[
        bool, typer.Option("--data", help="With --remove: volumes, snapshots, buckets, backups, secrets, too.")
    ] = False,
    confirm: Annotated[str, typer.Option(help="The stack's name once more; --data wants it.")] = "",
    yes: Confirmed = False,
    as_json: AsJson = False,
    record_folder: RecordFolder = None,
) -> None:
    """Find what remains, and remove it where that is wanted."""
    try:
        record = known(stack, record_folder)
        if data and remove and yes and confirm != stack:
            console.complain(f"ops leftovers: --data deletes for good; type the stack's name again: --confirm {stack}")
            sys.exit(EXIT_REFUSED)
        found = look(record)
        if remove:
            found = _remove(record, found, data=data, yes=yes, tell=tell)
    except (RecordError, UnusableError) as error:
        console.complain(f"ops leftovers: {error}")
        sys.exit(EXIT_UNUSABLE)
    except (CredentialsError, GoogleCredentials) as error:  # they can end while something is removed
        console.complain(f"ops leftovers: {error}; what is removed stays removed, run it again")
        sys.exit(EXIT_UNUSABLE)
    except KeyboardInterrupt:
        tell("interrupted; run it again, it goes on with what is left")
        sys.exit(130)
    if as_json:
        console.print_json({"stack": stack, **found.as_json()})
    else:
        show(stack, found)
    sys.exit(found.exit_code)


class UnusableError(Exception):
    """The account cannot be asked at all."""


def tell(line: str) -> None:
    """A line of progress on standard error."""
    typer.echo(line, err=True)


def known(stack: str, folder: Path | None) -> Record:
    """What is known of a stack: the record of its destroy, else its settings.

    Raises:
        RecordError: Nothing is.
    """
    if not stack:
        raise RecordError("no stack is named; give --stack, or set PULUMI_STACK")
    return records.read(records.place(stack, folder)) or records.of_settings(stack)


def look(record: Record) -> Proof:
    """Ask the stack's cloud.

    Raises:
        UnusableError: There are no credentials.
    """
    match record.cloud:
        case "aws":
            from ops.leftovers.aws.search import search  # noqa: PLC0415 only where the stack is on AWS

            try:
                return search(aws_account(record), record)
            except CredentialsError as error:
                raise UnusableError(f"{error}; set AWS_PROFILE, or log in") from None
        case "gcp":
            from ops.leftovers.gcp.search import search as search_project  # noqa: PLC0415 only where the stack is there
            from ops.preflight.gcp.account import GoogleAccount  # noqa: PLC0415 the same

            try:
                return search_project(GoogleAccount(), record)
            except GoogleCredentials as error:
                raise UnusableError(f"{error}; run gcloud auth application-default login") from None
        case _:
            from ops.leftovers.onprem import search as search_cluster  # noqa: PLC0415 only where the stack is there

            return search_cluster(record)


def aws_account(record: Record) -> Account:
    """The account of the credentials at hand, if it is the stack's: another one would be proven clean, or cleaned.

    Raises:
        UnusableError: There are no credentials, or they are of another account.
    """
    from ops.preflight.aws.account import BotoAccount  # noqa: PLC0415 only where the stack is on AWS
    from ops.preflight.model import UnansweredError  # noqa: PLC0415 the same

    account = BotoAccount(read_seconds=60)  # a thousand versions take S3 longer than a question does
    try:
        number = str(account.call("sts", "get_caller_identity", record.regions[0])["Account"])
    except CredentialsError as error:
        raise UnusableError(f"{error}; set AWS_PROFILE, or log in") from None
    except UnansweredError as error:
        raise UnusableError(f"AWS does not answer: {error}") from None
    if record.account and number != record.account:
        raise UnusableError(f"these credentials are of account {number}; the stack is in {record.account}")
    return account


def google_account() -> GoogleRemover:
    """Google Cloud with the credentials at hand; whose project it is, each question says.

    Raises:
        UnusableError: There are no credentials.
    """
    from ops.leftovers.gcp.removal import GoogleRemover  # noqa: PLC0415 only where the stack is there

    try:
        return GoogleRemover()
    except GoogleCredentials as error:
        raise UnusableError(f"{error}; run gcloud auth application-default login") from None


def _remove(record: Record, found: Proof, *, data: bool, yes: bool, tell: Callable[[str], None]) -> Proof:
    if record.cloud == "gcp":
        return _remove_google(record, found, data=data, yes=yes, tell=tell)
    if record.cloud != "aws":
        tell("--remove works on AWS and Google Cloud only; run the commands that are shown")
        return found
    from ops.leftovers.aws.removal import removable, remove  # noqa: PLC0415 only where something is removed

    wanted = [one for one in found.found if removable(one, data=data)]
    if not yes:
        for one in wanted:
            tell(f"would remove {one.kind} {one.name}")
        tell("nothing was removed; --yes does it")
        return found
    refused = remove(aws_account(record), wanted, record.regions[0], tell, seconds=_SECONDS)
    for line in refused:
        console.complain(line)
    return look(record)


def _remove_google(record: Record, found: Proof, *, data: bool, yes: bool, tell: Callable[[str], None]) -> Proof:
    from ops.leftovers.gcp import removal  # noqa: PLC0415 only where the stack is there, and something is removed

    wanted = [one for one in found.found if removal.removable(one, data=data)]
    if not yes:
        for one in wanted:
            tell(f"would remove {one.kind} {one.name}")
        tell("nothing was removed; --yes does it")
        return found
    refused = removal.remove(google_account(), wanted, record.account, tell, seconds=_SECONDS)
    for line in refused:
        console.complain(line)
    return look(record)


def show(stack: str, found: Proof) -> None:
    """A table of what is left, and a sentence that says what it means."""
    out = console.output()
    if found.found:
        table = Table("what", "name", "made by", "what may be done", "how it goes")
        for one in found.found:
            table.add_row(one.kind, _name(one), one.made_by, _fate(one), one.command)
        out.print(table)
    for missing in found.unseen:
        out.print(f"not seen: {missing.what}: {missing.why}", markup=False)
    out.print(_verdict(stack, found), markup=False)


def _name(one: Leftover) -> str:
    return f"{one.name} ({one.note})" if one.note else one.name


def _fate(one: Leftover) -> str:
    match one.fate:
        case "safe":
            return "--remove"
        case "data":
            return "--remove --data"
        case "waits":
            return "goes by itself"
        case "by hand":
            return "look first"


def _verdict(stack: str, found: Proof) -> str:
    unseen: list[Unseen] = list(found.unseen)
    if found.remains:
        return f"{stack}: {len(found.remains)} things remain"
    if unseen:
        return f"{stack}: nothing was found, but {len(unseen)} questions had no answer: this proves nothing"
    waiting = len(found.found)
    return f"{stack}: nothing remains" + (f"; {waiting} go by themselves" if waiting else "")
