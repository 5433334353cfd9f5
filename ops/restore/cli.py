"""``python -m ops restore``: what was lost, back from its backup; one command for each thing."""

from __future__ import annotations

from typing import Final

import typer

from ops.restore.adoption import adopt_command, discard_command
from ops.restore.cluster import cluster_command
from ops.restore.database import database_command
from ops.restore.locations import locations_command
from ops.restore.region import region_command
from ops.restore.vectors import vectors_command
from ops.restore.workloads import workloads_command

_HELP: Final = """Restore from backups. Each command is told the stack, says what it would do, and does it with --yes.
docs/recovery.md says what is backed up, for how long, and which command brings it back."""

app = typer.Typer(add_completion=False, help=_HELP, no_args_is_help=True)


@app.callback()
def restore() -> None:
    """Restore from backups."""


# One line for each command: `app.command("name")(function)`. Its module imports no cloud SDK before the call.
app.command("database")(database_command)
app.command("adopt")(adopt_command)
app.command("discard")(discard_command)
app.command("region")(region_command)
app.command("locations")(locations_command)
app.command("vectors")(vectors_command)
app.command("cluster")(cluster_command)
app.command("workloads")(workloads_command)
