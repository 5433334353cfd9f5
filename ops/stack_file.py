"""The file with a stack's settings, and what an edit of it looks like."""

from __future__ import annotations

import difflib
from pathlib import Path


def stack_file(stack: str, folder: Path = Path()) -> Path:
    """``Pulumi.<stack>.yaml``; of a full name (``organization/project/stack``) the engine, too, takes the last part."""
    return folder / f"Pulumi.{stack.rpartition('/')[2]}.yaml"


def difference(before: str, after: str, name: str) -> str:
    """The edit as a patch that ``git apply`` takes; empty where nothing changes."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
