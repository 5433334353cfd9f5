"""What the commands print: tables for people, JSON for programs, colour on terminals only."""

from __future__ import annotations

import json
import sys
from typing import Any

import typer
from rich.console import Console

_WIDE = 160  # a pipe should get whole names


def output() -> Console:
    """Standard output; Rich leaves colour out where it is no terminal or where NO_COLOR is set."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)


def print_json(value: Any) -> None:
    """JSON on standard output."""
    typer.echo(json.dumps(value, indent=2, sort_keys=False))


def complain(message: str) -> None:
    """A line on standard error."""
    Console(stderr=True, highlight=False).print(message, style="red", markup=False, soft_wrap=True)
