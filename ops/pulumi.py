"""What the commands ask the engine for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
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
    return run([*_program(sandbox=sandbox), *arguments])


def pulumi_streamed(
    arguments: Sequence[str], *, sandbox: bool, seconds: float, environment: Mapping[str, str] | None = None
) -> int:
    """Run the engine with what it prints on standard error, as it prints it, and return its exit code.

    Ctrl-C reaches the engine too; it winds down and saves its state, and so does one that is not done in ``seconds``.

    Raises:
        EngineError: There is no engine.
        KeyboardInterrupt: Somebody pressed Ctrl-C; the engine has ended.
    """
    command = [*_program(sandbox=sandbox), *arguments]
    try:
        process = subprocess.Popen(command, stdout=2, env={**os.environ, **(environment or {})})
    except FileNotFoundError:
        raise EngineError(_absent(command[0])) from None
    deadline, interrupted = time.monotonic() + seconds, False
    while True:
        try:
            code = process.wait(timeout=max(1.0, deadline - time.monotonic()))
        except KeyboardInterrupt:
            interrupted = True
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            deadline = time.monotonic() + _PATIENCE_SECONDS
        else:
            break
    if interrupted:
        raise KeyboardInterrupt
    return code


def _program(*, sandbox: bool) -> list[str]:
    return [sys.executable, "-m", "sandbox", "--quiet", "--", "pulumi"] if sandbox else ["pulumi"]


def _absent(program: str) -> str:
    return f"there is no `{program}` on PATH; give --sandbox, or --state where there is one"


def run(command: Sequence[str]) -> str:
    """Run a program to its end and return what it printed.

    Raises:
        EngineError: It is not there, refused, or did not end.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS)
    except FileNotFoundError:
        raise EngineError(_absent(command[0])) from None
    except subprocess.TimeoutExpired:
        raise EngineError(f"{' '.join(command)} did not answer within {_PATIENCE_SECONDS} s") from None
    if done.returncode != 0:
        raise EngineError(done.stderr.strip() or f"{' '.join(command)} ended with {done.returncode}")
    return done.stdout
