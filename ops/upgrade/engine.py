"""What the engine says it would do: as JSON, also where it says that it would fail."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import yaml

from ops.pulumi import EngineError
from ops.stack_file import stack_file

_PATIENCE_SECONDS: Final = 3600  # a refresh asks a cloud about a thousand resources


def asked(arguments: Sequence[str], *, sandbox: bool) -> dict[str, Any]:
    """Run an engine command that prints JSON, and return that.

    A preview that fails, because a protected resource would be replaced or a policy refuses, prints it too: what it
    would do is what is wanted then.

    Raises:
        EngineError: There is no engine, or it printed no JSON; the message is its own.
    """
    program = [sys.executable, "-m", "sandbox", "--quiet", "--", "pulumi"] if sandbox else ["pulumi"]
    try:
        done = subprocess.run(
            [*program, *arguments], capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS
        )
    except FileNotFoundError:
        raise EngineError(f"there is no `{program[0]}` on PATH; --sandbox takes the sandbox's") from None
    except subprocess.TimeoutExpired:
        raise EngineError(f"pulumi {' '.join(arguments[:2])} did not answer within {_PATIENCE_SECONDS} s") from None
    start = done.stdout.find("{")  # what a plugin says to standard output stands before it
    try:
        content = json.loads(done.stdout[start:]) if start >= 0 else None
    except ValueError:
        content = None
    if not isinstance(content, dict) or "steps" not in content:
        said = done.stderr.strip() or done.stdout.strip()
        raise EngineError(said or f"pulumi {' '.join(arguments[:2])} ended with {done.returncode} and said nothing")
    return cast("dict[str, Any]", content)


def preview(stack: str, *, sandbox: bool, config_file: Path | None = None) -> dict[str, Any]:
    """What the present program would change.

    Raises:
        EngineError: There is no engine, or it previewed nothing.
    """
    configured = ["--config-file", str(config_file)] if config_file else []
    return asked(["preview", "--json", "--stack", stack, *configured], sandbox=sandbox)


def refresh(stack: str, *, sandbox: bool) -> dict[str, Any]:
    """What differs between the state and what exists; nothing is written.

    Raises:
        EngineError: There is no engine, or it asked nothing.
    """
    return asked(["refresh", "--preview-only", "--json", "--stack", stack], sandbox=sandbox)


@contextmanager
def settings_with(stack: str, changes: Mapping[str, Any]) -> Generator[Path]:
    """The stack's settings with a cluster section that is laid over, for as long as they are needed.

    A copy: ``pulumi preview --config`` would write the change into the stack's own file.

    Raises:
        EngineError: The stack has no file of settings here.
    """
    source = stack_file(stack)
    try:
        content = cast("dict[str, Any]", yaml.safe_load(source.read_text()))
    except OSError as error:
        raise EngineError(f"{source.name}: {error.strerror}; run this in the checkout that the stack is from") from None
    section = cast("dict[str, Any]", content.setdefault("config", {}).setdefault("llmops:cluster", {}))
    for key, value in changes.items():
        section[key] = {**section.get(key, {}), **value} if isinstance(value, dict) else value
    with tempfile.TemporaryDirectory(prefix="llmops-") as folder:
        path = Path(folder) / source.name
        path.write_text(yaml.safe_dump(content))
        yield path
