"""Exemptions: who need not keep a policy, why, and until when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Final, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

FILE: Final = Path(__file__).with_name("exemptions.yaml")
LONGEST_DAYS: Final = 366  # nobody remembers a reason longer; a new date is a new decision


class Exemption(BaseModel):
    """One entry of the file.

    Attributes:
        policy: Name of the policy.
        resource: URN of the resource; ``*`` stands for any part of it, not for all of it. A violation of the stack as a
            whole has the URN ``*stack*``.
        reason: Why the policy need not hold here.
        expires: The last day on which the entry counts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: Annotated[str, Field(min_length=1)]
    resource: Annotated[str, Field(min_length=1)]
    reason: Annotated[str, Field(min_length=15)]
    expires: date


@dataclass(frozen=True)
class Register:
    """The exemptions that count, and what is wrong with the others.

    Attributes:
        entries: Those that count today.
        problems: One line for each that does not.
    """

    entries: tuple[Exemption, ...] = ()
    problems: tuple[str, ...] = ()

    def covers(self, policy: str, urn: str) -> bool:
        """Whether a violation of a policy by a resource is exempt."""
        return any(one.policy == policy and fnmatchcase(urn, one.resource) for one in self.entries)

    def idle(self, urns: Sequence[str], stack: str) -> list[str]:
        """A line for each entry that names nothing in this stack; those that name another stack are left alone."""
        return [
            f"{one.policy}: no resource is named {one.resource}; remove the entry"
            for one in self.entries
            if _is_for(one.resource, stack) and not any(fnmatchcase(urn, one.resource) for urn in (*urns, "*stack*"))
        ]


def _is_for(pattern: str, stack: str) -> bool:
    return pattern.startswith(f"urn:pulumi:{stack}::")


def read(path: Path, policies: Iterable[str], today: date) -> Register:
    """The register in a file; an entry that cannot count exempts nothing and is a problem."""
    content: Any = yaml.safe_load(path.read_text()) or []
    if not isinstance(content, list):
        return Register(problems=(f"{path.name} must hold a list",))
    known = set(policies)
    entries: list[Exemption] = []
    problems: list[str] = []
    for number, raw in enumerate(cast("list[Any]", content)):
        try:
            entry = Exemption.model_validate(raw)
        except ValidationError as error:
            problems += [f"entry {number}: {_words(one)}" for one in error.errors(include_url=False)]
            continue
        if found := _problem(entry, known, today):
            problems.append(f"entry {number} ({entry.policy}, {entry.resource}): {found}")
        else:
            entries.append(entry)
    return Register(tuple(entries), tuple(problems))


def _words(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"]) or "it"
    if error["type"] == "missing":
        return f"{path} is missing: an exemption has policy, resource, reason and expires"
    if path == "reason":
        return "reason must say why, in 15 characters or more"
    return f"{path}: {error['msg']}"


def _problem(entry: Exemption, policies: set[str], today: date) -> str:
    if entry.policy not in policies:
        return "there is no policy of this name"
    if not entry.resource.rpartition("::")[2].replace("*", "").strip():
        return "resource must name resources, not everything"
    if entry.expires < today:
        return f"expired on {entry.expires}: keep the policy, or decide again"
    if (entry.expires - today).days > LONGEST_DAYS:
        return f"expires on {entry.expires}: at most {LONGEST_DAYS} days from today"
    return ""
