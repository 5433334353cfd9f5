"""AWS's clients of the commands, and their refusals in one line."""

from __future__ import annotations

import importlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from ops import refusals


def aws(service: str, region: str, **more: Any) -> Any:
    """A client of AWS; credentials and endpoints are those of the environment."""
    return importlib.import_module("boto3").client(service, region_name=region, **more)  # takes a second to load


@contextmanager
def explained(command: str) -> Generator[None]:
    """As :func:`ops.refusals.explained`, and what AWS and the way to it refuse."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as boto3

    with refusals.explained(command, BotoCoreError, ClientError):
        yield
