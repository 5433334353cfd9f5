"""What the commands ask the engine for, where no file was given."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, cast


class EngineError(Exception):
    """The engine did not answer."""


def stack_export(stack: str, *, sandbox: bool) -> dict[str, Any]:
    """The stack's state, with secrets as ciphertext.

    Raises:
        EngineError: There is no engine, or it refused.
    """
    program = [sys.executable, "-m", "sandbox", "--quiet", "--", "pulumi"] if sandbox else ["pulumi"]
    try:
        answer = subprocess.run(
            [*program, "stack", "export", "--stack", stack], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise EngineError("there is no `pulumi` on PATH; give --state or --preview, or --sandbox") from None
    if answer.returncode != 0:
        raise EngineError(answer.stderr.strip() or f"pulumi stack export ended with {answer.returncode}")
    return cast("dict[str, Any]", json.loads(answer.stdout))
