"""``python -m ops artifacts``: a link to a model's artifact, for a limited time."""

from __future__ import annotations

import getpass
import logging
import re
import sys
from collections.abc import Mapping
from typing import Annotated, Any, Final, cast

import typer

from ops import console
from ops.cli import EXIT_REFUSED
from ops.restore.clients import aws, explained
from ops.stack import AsJson, InSandbox, Stack, StackName
from workloads.artifacts.links import GoogleSigner, LinkRefusedError, S3Signer, Signer, link

LINKED: Final = ("models", "mlflow", "pipelines")
"""Buckets that links are given to: models, and what runs and pipelines have written. Never data, logs or backups."""

_UNITS: Final = {"m": 60, "h": 3600}

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Artifacts of models and runs.")


@app.callback()
def artifacts() -> None:
    """Artifacts of models and runs."""


@app.command("link")
def link_command(
    url: Annotated[str, typer.Argument(help="s3://… or gs://…: one object in a bucket of models or artifacts.")],
    lifetime: Annotated[str, typer.Option("--for", help="How long it holds: 30m, 1h; 12h at most.")] = "1h",
    purpose: Annotated[str, typer.Option(help="What it is for; it is written down.")] = "",
    filename: Annotated[str, typer.Option(help="What a browser saves it as.")] = "",
    account: Annotated[
        str, typer.Option("--as", help="Role (AWS) or service account (Google) that signs; else the stack's own role.")
    ] = "",
    stack: StackName = "",
    sandbox: InSandbox = False,
    json_output: AsJson = False,
) -> None:
    """A link to one object that whoever has it may read, without an account, until it ends.

    A line of JSON about it, without the link, goes to standard error. docs/recovery.md says where the cloud writes
    down who signed and who read.
    """
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    logging.getLogger("llmops.artifacts.links").setLevel(logging.INFO)
    with explained("artifacts link"):
        found = Stack.read(stack, sandbox=sandbox)
        buckets = cast("Mapping[str, str]", found.output("buckets"))
        within = [buckets[role] for role in LINKED if role in buckets]
        who = getpass.getuser()
        try:
            seconds = seconds_of(lifetime)
            signer = _signer(found, url, account, seconds, who)
            made = link(url, seconds, within=within, purpose=purpose, filename=filename, asked_by=who, signer=signer)
        except LinkRefusedError as refused:
            console.complain(str(refused))
            raise typer.Exit(EXIT_REFUSED) from None
    if json_output:
        console.print_json({"url": made.url, "object": made.object, "until": made.until.isoformat(), "by": made.by})
        return
    typer.echo(made.url)


def seconds_of(lifetime: str) -> int:
    """``30m`` or ``1h`` in seconds.

    Raises:
        LinkRefusedError: It is neither.
    """
    if not (found := re.fullmatch(r"(\d{1,4})([mh])", lifetime)):
        raise LinkRefusedError(f"--for {lifetime} is no time; write 30m or 1h")
    return int(found[1]) * _UNITS[found[2]]


def _signer(stack: Stack, url: str, account: str, seconds: int, who: str) -> Signer | None:
    """Who signs: a role that may read these buckets and nothing else, where there is one."""
    if url.startswith("gs://"):
        return GoogleSigner(account=account or _own(stack))
    role = account or _own(stack)
    return role_signer(role, str(stack.output("region")), seconds, who) if role else None


def _own(stack: Stack) -> str:
    return str(stack.outputs.get("artifactLinks") or "")


def role_signer(role: str, region: str, seconds: int, who: str) -> S3Signer:
    """Credentials of the role for as long as the link holds, under the name of who asks: CloudTrail has it then.

    Raises:
        LinkRefusedError: The role is not lent, or not for so long.
    """
    from botocore.exceptions import ClientError  # noqa: PLC0415 - --help should not load it
    from botocore.session import Session  # noqa: PLC0415 - likewise

    session_name = re.sub(r"[^\w+=,.@-]", "-", who)[:64] or "unknown"
    lasting = min(max(900, seconds + 300), 12 * 3600)  # STS lends for 15 minutes at least
    try:
        lent: Any = aws("sts", region).assume_role(RoleArn=role, RoleSessionName=session_name, DurationSeconds=lasting)
    except ClientError as error:
        raise LinkRefusedError(
            f"{role} is not lent to {who} for {lasting // 60} minutes: {error}. Credentials that are a role's already "
            "get another role for one hour at most (role chaining): ask for 55m, or sign in as a user, or with --as"
        ) from None
    credentials = lent["Credentials"]
    session: Any = Session()
    session.set_credentials(credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"])
    signer = S3Signer(session, region=region, by=lent["AssumedRoleUser"]["Arn"])
    signer.ends = credentials["Expiration"]
    return signer
