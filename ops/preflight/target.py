"""The stack that is asked about, read from its files; no engine is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import yaml

from components.settings import NAMESPACE, Settings, SettingsError, parse
from ops.stack_file import stack_file

ROOT: Final = Path(__file__).resolve().parents[2]


class TargetError(Exception):
    """The stack's files cannot be read, or its settings cannot work."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A stack.

    Attributes:
        project: Project name.
        stack: Stack name.
        settings: Its settings.
    """

    project: str
    stack: str
    settings: Settings

    @property
    def prefix(self) -> str:
        """``<project>-<stack>``: begins the names that are known in advance, and is the value of the tag ``stack``."""
        return f"{self.project}-{self.stack}"

    def owns(self, tags: Mapping[str, str]) -> bool:
        """Whether something with these tags is this stack's own."""
        return tags.get("stack") == self.prefix


def read(stack: str, folder: Path = ROOT) -> Target:
    """Read a stack of the checkout.

    Raises:
        TargetError: There is no such stack, or its settings are refused.
    """
    file = stack_file(stack, folder)
    if not file.is_file():
        known = sorted(path.name.split(".")[1] for path in folder.glob("Pulumi.*.yaml"))
        raise TargetError(f"there is no stack {stack!r}: the checkout has {', '.join(known) or 'none'}")
    project = _yaml(folder / "Pulumi.yaml").get("name")
    given = cast("Mapping[str, Any]", _yaml(file).get("config") or {})
    prefix = f"{NAMESPACE}:"
    raw = {key.removeprefix(prefix): _value(value) for key, value in given.items() if key.startswith(prefix)}
    try:
        return Target(project=str(project), stack=stack, settings=parse(raw))
    except SettingsError as error:
        lines = "\n".join(f"  {problem}" for problem in error.problems)
        raise TargetError(f"{file.name} is refused:\n{lines}") from None


def _value(value: Any) -> Any:
    """Pulumi hands plain values over as texts; lists and objects come as they are."""
    if isinstance(value, bool):
        return str(value).lower()
    return cast("Any", value) if isinstance(value, (dict, list)) else str(value)


def _yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise TargetError(f"{path.name} cannot be read: {error}") from None
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}
