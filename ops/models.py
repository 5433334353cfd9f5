"""``python -m ops models promote``: give an alias of the model registry to a version, or take it back to an older."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workloads.evaluation.gate import Refused, promote

if TYPE_CHECKING:
    from workloads.evaluation.gate import Client

_REFUSED = 1
_UNUSABLE = 2

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The model registry.")


@app.callback()
def models() -> None:
    """The model registry; its address and account are those of MLflow's client: ``MLFLOW_TRACKING_URI`` and others."""


@app.command("promote")
def promote_command(
    model: Annotated[str, typer.Argument(help="The registered model.")],
    version: Annotated[str, typer.Argument(help="Its version.")],
    alias: Annotated[str, typer.Option(help="The alias that it gets.")] = "production",
    back: Annotated[
        bool, typer.Option("--back", help="Back to this version: newer ones lose their claim to the alias.")
    ] = False,
    unevaluated: Annotated[
        str, typer.Option(help="Why a version gets it that has passed no evaluation; it is written down.")
    ] = "",
    by: Annotated[str, typer.Option(help="Who decides; the name of this account where it is empty.")] = "",
) -> None:
    """Give an alias to a version that has passed its evaluation; doing it again changes nothing.

    What serves the model takes the version with the next ``up`` (``models[].refresh``), or with its release.
    """
    client = _client()
    try:
        done = promote(client, model, version, alias, by=by or getpass.getuser(), back=back, unevaluated=unevaluated)
    except Refused as refused:
        typer.echo(str(refused), err=True)
        sys.exit(_REFUSED)
    except Exception as error:  # MLflow has many, and each says what it was
        typer.echo(f"the model registry could not be asked: {error}", err=True)
        sys.exit(_UNUSABLE)
    if not done.moved and done.after != version:
        typer.echo(f"@{alias} stays with version {done.after}: {done.reason}; --back takes it to {version}", err=True)
        sys.exit(_REFUSED)
    typer.echo(f"@{alias} of {model} is version {done.after} ({done.reason})")


def _client() -> Client:
    try:
        from mlflow import MlflowClient  # noqa: PLC0415 - takes seconds to import; --help should not
    except ModuleNotFoundError:
        typer.echo("the package mlflow is missing; `make setup` installs what is pinned", err=True)
        sys.exit(_UNUSABLE)
    client: Any = MlflowClient()
    return client
