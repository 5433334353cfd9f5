"""What the commands refuse, and what they meet: one line and an exit code in place of a traceback."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import NoReturn

import typer

from ops import console
from ops.cli import EXIT_REFUSED, EXIT_UNUSABLE
from ops.progress import PatienceError
from ops.pulumi import EngineError


class RefusedError(Exception):
    """What was asked for must not or cannot be done, or did not come to what it must; the message says what to do."""


@contextmanager
def explained(command: str, *unusable: type[Exception]) -> Generator[None]:
    """Turn what a command may meet into one line and an exit code; ``unusable`` are the errors of its own clients."""

    def end(error: Exception, code: int) -> NoReturn:
        console.complain(f"ops {command}: {error}")
        raise typer.Exit(code) from None

    try:
        yield
    except RefusedError as error:
        end(error, EXIT_REFUSED)
    except (EngineError, PatienceError, *unusable) as error:
        end(error, EXIT_UNUSABLE)
