"""``python -m ops destroy``: a destroy that ends."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer

from ops import console
from ops.cli import EXIT_REFUSED, EXIT_UNUSABLE
from ops.destroy import running
from ops.destroy.report import as_json, show
from ops.destroy.running import Destroy, DestroyError, RefusedError
from ops.leftovers.cli import RecordFolder, UnusableError
from ops.leftovers.record import RecordError
from ops.preflight.aws.account import CredentialsError
from ops.preflight.gcp.account import CredentialsError as GoogleCredentials
from ops.preflight.model import UnansweredError
from ops.pulumi import EngineError
from ops.stack import AsJson, Confirmed, InSandbox, StackName

_HELP: Final = """Destroy a stack to the end. Without --yes: what is protected, and what Pulumi does not know and would
leave or stumble over, in the order in which it goes. With --yes: do it, then prove from the account that nothing
remains. Run again after an interrupt or an error: it goes on. Exit codes: 0 gone and proven, 1 refused, stuck or
something remains, 2 it could not be carried out. docs/destroy.md has more."""
_INTERRUPTED: Final = 130

app = typer.Typer(add_completion=False)


@app.command(help=_HELP)
def destroy(
    stack: StackName = "",
    sandbox: InSandbox = False,
    yes: Confirmed = False,
    unprotect: Annotated[
        bool, typer.Option("--unprotect", help="Let go what is protected; wants --confirm, and --yes.")
    ] = False,
    confirm: Annotated[str, typer.Option(help="The stack's name once more, for what was ever protected.")] = "",
    without_cluster: Annotated[
        bool, typer.Option("--without-cluster", help="The cluster does not answer any more: go on without it.")
    ] = False,
    patience: Annotated[float, typer.Option(help="Multiplies every deadline.", min=0.0)] = 1.0,
    as_json_: AsJson = False,
    record_folder: RecordFolder = None,
) -> None:
    """Plan, or carry out, the destroy of a stack."""
    try:
        if not stack:
            raise DestroyError("no stack is named; give --stack, or set PULUMI_STACK")
        work = Destroy.read(stack, sandbox=sandbox, folder=record_folder, cluster=not without_cluster, scale=patience)
        if not yes:
            plan = running.plan(work)
            if as_json_:
                console.print_json(as_json(plan))
            else:
                show(console.output(), plan)
            sys.exit(EXIT_REFUSED if plan.protected else 0)
        done = running.carry_out(work, unprotect=unprotect, confirm=confirm)
    except RefusedError as refused:
        console.complain(f"ops destroy: {refused}")
        sys.exit(EXIT_REFUSED)
    except (CredentialsError, GoogleCredentials) as error:  # they can end on the way, which takes an hour
        console.complain(f"ops destroy: {error}; with new ones the same command goes on with what is left")
        sys.exit(EXIT_UNUSABLE)
    except (DestroyError, EngineError, RecordError, UnusableError, UnansweredError) as error:
        console.complain(f"ops destroy: {error}")
        sys.exit(EXIT_UNUSABLE)
    except KeyboardInterrupt:
        console.complain("ops destroy: interrupted; the same command goes on with what is left")
        sys.exit(_INTERRUPTED)
    if as_json_:
        console.print_json(done.as_json())
    else:
        done.show(console.output())
    sys.exit(done.exit_code)
