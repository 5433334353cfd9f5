"""``ops preflight``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from ops import console
from ops.cli import EXIT_UNUSABLE
from ops.preflight import report, runner
from ops.preflight.model import GROUPS, Check, Finding, exit_code
from ops.preflight.redaction import redacted, redactor
from ops.preflight.target import Target, TargetError, read

_HELP: Final = """Ask the account, or the cluster, whether `pulumi up` can work, before it begins: quotas and what is
left of them, types in the zones, permissions, names, regions. Nothing is created. Exit codes: 0 all is ok, 1 something
is refused, 2 preflight could not run, 3 nothing is refused but something is unknown. docs/preflight.md has more."""

app = typer.Typer(add_completion=False, help=_HELP)


class UnusableError(Exception):
    """Preflight cannot run at all."""


@app.command()
def preflight(
    stack: Annotated[str, typer.Option("--stack", "-s", help="Stack of this checkout.")] = "dev",
    only: Annotated[
        list[str] | None, typer.Option(help=f"Only this kind of question: {', '.join(GROUPS)}. Repeat for more.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show what is ok, too.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds for everything together.", min=1)] = 60,
    mask_account: Annotated[
        bool, typer.Option("--mask-account", help="Hide the account's number, for public logs.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", help="Write what is refused and unknown, for a workflow's summary.")
    ] = None,
) -> None:
    """Ask the account."""
    if wrong := [one for one in only or () if one not in GROUPS]:
        console.complain(f"ops preflight: --only must be one of {', '.join(GROUPS)}; got {', '.join(wrong)}")
        sys.exit(EXIT_UNUSABLE)
    try:
        findings = answers(read(stack), only or GROUPS, timeout_seconds=timeout, mask_account=mask_account)
    except (TargetError, UnusableError) as error:
        console.complain(f"ops preflight: {error}")
        sys.exit(EXIT_UNUSABLE)
    if json_output:
        console.print_json(report.as_json(stack, findings))
    else:
        report.show(console.output(), stack, findings, every=every)
    if markdown_file:
        markdown_file.write_text(report.markdown(stack, findings))
    sys.exit(exit_code(findings))


def answers(
    target: Target, groups: Sequence[str], *, timeout_seconds: float, mask_account: bool = False
) -> list[Finding]:
    """Ask the cloud of the stack, and return what may be shown.

    Raises:
        UnusableError: There are no credentials, or nobody answers at all.
    """
    match target.settings.cloud:
        case "aws":
            checks, secrets, account_id = _aws(target)
        case "gcp":
            checks, secrets, account_id = _gcp(target)
        case "onprem":
            checks, secrets, account_id = _onprem(target)
    redact = redactor(account=account_id if mask_account else "", secrets=secrets)
    wanted = [check for check in checks if check.group in groups]
    return [redacted(finding, redact) for finding in runner.run(wanted, timeout_seconds=timeout_seconds)]


def _aws(target: Target) -> tuple[list[Check], list[str], str]:
    from ops.preflight.aws import plan, regions  # noqa: PLC0415 only where the stack is on AWS
    from ops.preflight.aws.account import BotoAccount, CredentialsError  # noqa: PLC0415 the same
    from ops.preflight.model import UnansweredError  # noqa: PLC0415 beside what raises it

    account = BotoAccount()
    try:
        identity = regions.identify(account, target.settings.aws.region)
    except CredentialsError as error:
        raise UnusableError(f"{error}; set AWS_PROFILE, or log in") from None
    except UnansweredError as error:
        raise UnusableError(f"AWS does not answer: {error}") from None
    return list(plan.checks(account, target, identity)), account.secrets, identity.account_id


def _gcp(target: Target) -> tuple[list[Check], list[str], str]:
    from ops.preflight.gcp import plan  # noqa: PLC0415 only where the stack is on Google Cloud
    from ops.preflight.gcp.account import CredentialsError, GoogleAccount  # noqa: PLC0415 the same

    try:
        account = GoogleAccount()
    except CredentialsError as error:
        raise UnusableError(f"{error}; run gcloud auth application-default login") from None
    return list(plan.checks(account, target)), account.secrets, target.settings.gcp.project_number


def _onprem(target: Target) -> tuple[list[Check], list[str], str]:
    from components.onprem.facts import UnreachableError  # noqa: PLC0415 only where the stack is on-prem
    from ops.preflight.onprem import plan  # noqa: PLC0415 the same

    try:
        facts = plan.facts_of(target.settings)
    except UnreachableError as error:
        raise UnusableError(str(error)) from None
    return list(plan.checks(target, facts)), [], ""
