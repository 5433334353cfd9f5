"""What the commands ask the engine for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Final, cast

_PATIENCE_SECONDS: Final = 600


class EngineError(Exception):
    """The engine did not answer."""


def stack_export(stack: str, *, sandbox: bool) -> dict[str, Any]:
    """The stack's state, with secrets as ciphertext.

    Raises:
        EngineError: There is no engine, or it refused.
    """
    return cast("dict[str, Any]", json.loads(pulumi(["stack", "export", "--stack", stack], sandbox=sandbox)))


def pulumi(arguments: Sequence[str], *, sandbox: bool) -> str:
    """Run the engine, or the sandbox's, and return what it printed.

    Raises:
        EngineError: There is no engine, or it refused; the message is its own.
    """
    program = [sys.executable, "-m", "sandbox", "--quiet", "--", "pulumi"] if sandbox else ["pulumi"]
    return run([*program, *arguments])


def run(command: Sequence[str]) -> str:
    """Run a program to its end and return what it printed.

    Raises:
        EngineError: It is not there, refused, or did not end.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS)
    except FileNotFoundError:
        raise EngineError(f"there is no `{command[0]}` on PATH; --sandbox takes the sandbox's") from None
    except subprocess.TimeoutExpired:
        raise EngineError(f"{' '.join(command)} did not answer within {_PATIENCE_SECONDS} s") from None
    if done.returncode != 0:
        raise EngineError(done.stderr.strip() or f"{' '.join(command)} ended with {done.returncode}")
    return done.stdout
