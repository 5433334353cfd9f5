"""Vertex AI's API, as far as the providers need it: clients, waiting, and what counts as absent.

Nothing of Google's is imported before a provider calls it: a stack without Vertex AI needs none of it. Credentials are
those of whoever runs the program (application default credentials); they are in no input and in no state.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

OWNER_LABEL: Final = "llmops-owner"
"""Label of everything that the providers make: whose it is. What an interrupted run left is found by it."""

EMULATOR: Final = "VERTEX_EMULATOR"
"""Variable with the root of a local server that speaks the API; it is called without credentials."""

_REPORT_EVERY_SECONDS: Final = 60
_LOCAL: Final = ("127.0.0.1", "localhost", "::1")


class VertexError(Exception):
    """What went wrong, and what was left behind."""


def is_installed() -> bool:
    """Whether Google's client is there."""
    try:
        return importlib.util.find_spec("google.cloud.aiplatform_v1") is not None
    except ModuleNotFoundError:
        return False


# The engine asks for several resources at once, in threads of one process; two of them that import Google's packages,
# which import each other, would wait for one another for ever.
_importing = threading.Lock()


def _module(name: str) -> Any:
    with _importing, warnings.catch_warnings():
        # About versions of Python that will once be too old: nothing that whoever runs the program can do now.
        warnings.simplefilter("ignore", FutureWarning)
        return importlib.import_module(name)


def types() -> Any:
    """Google's types of requests."""
    return _module("google.cloud.aiplatform_v1.types")


def _errors() -> Any:
    return _module("google.api_core.exceptions")


def client(service: str, location: str) -> Any:
    """Client of one service of the API, such as ``model_service``: gRPC, Google's default; HTTP to a local server."""
    module = _module(f"google.cloud.aiplatform_v1.services.{service}")
    name = "".join(part.capitalize() for part in service.split("_"))
    made = getattr(module, f"{name}Client")
    emulator = os.environ.get(EMULATOR, "")
    if not emulator:
        return made(client_options={"api_endpoint": f"{location}-aiplatform.googleapis.com"})
    where = urlsplit(emulator)
    if where.hostname not in _LOCAL:
        raise VertexError(f"{EMULATOR} must be on this machine: {emulator}")
    credentials = _module("google.auth.credentials").AnonymousCredentials()
    transport = made.get_transport_class("rest")
    return made(transport=transport(host=where.netloc, url_scheme=where.scheme, credentials=credentials))


def found(get: Callable[[], Any]) -> Any | None:
    """What ``get`` returns; None where it does not exist."""
    try:
        return get()
    except _errors().NotFound:
        return None


def is_taken(error: Exception) -> bool:
    """Whether an error says that the thing is there already, or being made."""
    errors = _errors()
    return isinstance(error, (errors.AlreadyExists, errors.Conflict, errors.FailedPrecondition, errors.Aborted))


def poll_seconds() -> float:
    """Between two looks at something that takes minutes; a local server is faster."""
    return 0.05 if os.environ.get(EMULATOR) else 10.0


def wait(operation: Any, what: str, seconds: float) -> Any:
    """Wait for a long-running operation and say from time to time that it runs.

    Raises:
        VertexError: It failed, or is not done in time; then it goes on at Google, and the next run finds its result.
    """
    started = reported = time.monotonic()
    while not operation.done():
        now = time.monotonic()
        if now - started > seconds:
            raise VertexError(
                f"{what} is not done after {seconds:.0f} s; it goes on as {operation.operation.name}: run again, and "
                "what it has made by then is taken over"
            )
        if now - reported >= _REPORT_EVERY_SECONDS:
            reported = now
            print(f"{what}: {now - started:.0f} s", flush=True)
        time.sleep(poll_seconds())
    try:
        return operation.result(timeout=1)
    except _errors().GoogleAPICallError as error:
        raise VertexError(f"{what} failed: {error}") from error


def wait_until(there: Callable[[], Any | None], what: str, seconds: float) -> Any:
    """Wait for what another run has begun."""
    deadline = time.monotonic() + seconds
    while (result := there()) is None:
        if time.monotonic() > deadline:
            raise VertexError(f"{what} was begun before and is not there after {seconds:.0f} s")
        time.sleep(poll_seconds())
    return result


def check_owner(thing: Any, owner: str, what: str) -> None:
    """Refuse to take over what is not ours."""
    label = dict(thing.labels).get(OWNER_LABEL, "")
    if label != owner:
        raise VertexError(
            f"{what} exists and belongs to {label or 'somebody else'}, not to {owner}: remove it or rename the model"
        )
