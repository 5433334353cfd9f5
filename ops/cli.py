"""``python -m ops``: one command for each thing that an operator does; its module is loaded when it is called."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import typer

PROGRAM: Final = "python -m ops"

EXIT_REFUSED: Final = 1
"""A check failed: over budget, data at risk, something refused."""

EXIT_UNUSABLE: Final = 2
"""The command could not be carried out: wrong arguments, unreadable files, no engine."""


@dataclass(frozen=True)
class Command:
    """A command, without its module.

    Attributes:
        module: Where it is.
        attribute: A Typer application, or a function that returns an exit code and takes a list of arguments or none.
        summary: For the list of commands.
    """

    module: str
    attribute: str
    summary: str


COMMANDS: Final[Mapping[str, Command]] = {
    "access-matrix": Command("ops.access_matrix", "main", "Who may do what: cloud roles and cluster roles of a state."),
    "artifacts": Command("ops.artifacts.cli", "app", "A link to a model's artifact that ends by itself."),
    "cost": Command("ops.cost.cli", "app", "What a stack costs a month: idle, as expected, and at most."),
    "destroy": Command("ops.destroy.cli", "app", "A stack to its end: what Pulumi does not know first, in order."),
    "drill": Command("ops.drill.cli", "app", "Restores, rehearsed beside what lives and measured against objectives."),
    "drift": Command("ops.drift.cli", "app", "What exists and is not what the state says, and what to do about it."),
    "keys": Command("ops.keys.cli", "app", "Keys of the model gateway: create, rotate, revoke, report."),
    "leftovers": Command("ops.leftovers.cli", "app", "Proof from the account that nothing of a stack remains."),
    "mirror": Command("ops.mirror.cli", "app", "What a stack needs from the internet, and its copy behind an air gap."),
    "models": Command(
        "ops.models.cli", "app", "What is served; promotions, the way back, and where a model comes from."
    ),
    "plan": Command("ops.plan.cli", "app", "A preview as a report for a pull request, in Markdown and HTML."),
    "preflight": Command("ops.preflight.cli", "app", "Before `up`: quotas, permissions, names, offers of the account."),
    "render": Command("ops.render", "main", "Manifests of workloads that Argo CD delivers, as a Kustomize tree."),
    "secrets": Command("ops.secrets.cli", "app", "Credentials of a stack: age, readers, rotation."),
    "restore": Command("ops.restore.cli", "app", "What was lost, back from its backup: database, region and others."),
    "upgrade": Command("ops.upgrade.cli", "app", "Versions: what goes with what, and what an upgrade does to a stack."),
}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="The operator's commands. Exit codes: 0 done, 1 a check failed, 2 the command could not be carried out.",
)


def main() -> NoReturn:
    """Run the command line."""
    app(prog_name=PROGRAM)
    sys.exit(0)


def _run(name: str, arguments: list[str]) -> None:
    command = COMMANDS[name]
    try:
        module = importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        if error.name is None or not command.module.startswith(error.name):
            typer.echo(f"{name}: the package {error.name} is missing; `make setup` installs what is pinned", err=True)
        else:
            typer.echo(f"{name} is not part of this checkout", err=True)
        sys.exit(EXIT_UNUSABLE)
    target: Any = getattr(module, command.attribute)
    if isinstance(target, typer.Typer):
        target(arguments, prog_name=f"{PROGRAM} {name}")
        return
    if inspect.signature(target).parameters:
        sys.exit(target(arguments))
    sys.argv = [f"{PROGRAM} {name}", *arguments]
    sys.exit(target())


def _delegate(name: str) -> Callable[[typer.Context], None]:
    def command(context: typer.Context) -> None:
        _run(name, context.args)

    return command


# What follows a command's name is the command's own, options and --help too.
_EVERYTHING: Final[dict[str, Any]] = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}

for _name, _command in COMMANDS.items():
    app.command(_name, help=_command.summary, add_help_option=False, context_settings=_EVERYTHING)(_delegate(_name))
