"""The clouds' clients of the restore commands, and their refusals in one line."""

from __future__ import annotations

import importlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

from ops import console
from ops.cli import EXIT_REFUSED, EXIT_UNUSABLE
from ops.pulumi import EngineError
from ops.restore.progress import PatienceError


class RefusedError(Exception):
    """Something must not or cannot be done as it was asked for; the message says what to do instead."""


def aws(service: str, region: str, **more: Any) -> Any:
    """A client of AWS; credentials and endpoints are those of the environment."""
    return importlib.import_module("boto3").client(service, region_name=region, **more)  # takes a second to load


@contextmanager
def explained(command: str) -> Generator[None]:
    """Turn what a command may meet into one line and an exit code."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as boto3

    def end(error: Exception, code: int) -> NoReturn:
        console.complain(f"ops {command}: {error}")
        raise typer.Exit(code) from None

    try:
        yield
    except RefusedError as error:
        end(error, EXIT_REFUSED)
    except (BotoCoreError, ClientError, EngineError, PatienceError) as error:
        end(error, EXIT_UNUSABLE)
