"""The pack, put together: all policies, their configuration for the stack, and the exemptions."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pulumi_policy import EnforcementLevel, Severity

from policies import exemptions, gcp, kubernetes, money, quotas, remediation, security
from policies.registry import Context, Finding, Rule, Surroundings, configured
from policies.view import Resource

NAME: Final = "llmops"
CONFIGURATION: Final = Path(__file__).with_name("config")

POLICIES: Final[tuple[Rule, ...]] = (
    *quotas.RULES,
    *money.RULES,
    *security.RULES,
    *gcp.RULES,
    *kubernetes.RULES,
    *remediation.RULES,
)

_LEVEL: Final = "enforcementLevel"


def rules(register: exemptions.Register) -> tuple[Rule, ...]:
    """Every policy, that over the exemptions among them."""

    def check(resources: Sequence[Resource], _context: Context) -> Iterator[Finding]:
        for problem in register.problems:
            yield Finding(f"{exemptions.FILE.name}: {problem}")
        for line in register.idle([one.urn for one in resources], os.environ.get("PULUMI_STACK", "")):
            yield Finding(f"{exemptions.FILE.name}: {line}")

    own = Rule(
        name=EXEMPTIONS, group="pack", severity=Severity.MEDIUM, stack=check,
        description="Every exemption names a policy, a resource, a reason and a day on which it ends.",
    )  # fmt: skip
    return (*POLICIES, own)


EXEMPTIONS: Final = "exemptions"


def names() -> list[str]:
    """Names of all policies."""
    return [*(rule.name for rule in POLICIES), EXEMPTIONS]


def register() -> exemptions.Register:
    """The exemptions that count today."""
    return exemptions.read(exemptions.FILE, names(), datetime.now(UTC).date())


def surroundings(found: exemptions.Register) -> Surroundings:
    """What the policies share in a run by the engine."""
    return replace(Surroundings(), exempt=found)


def configuration(stack: str, known: Sequence[Rule]) -> dict[str, EnforcementLevel | dict[str, Any]]:
    """Configuration by policy: of the stack's file, or none, which leaves the strict defaults.

    ``pulumi --policy-pack-config`` goes over it.

    Raises:
        ValueError: The file names a policy that does not exist, or configures one wrongly.
    """
    path = CONFIGURATION / f"{stack}.json"
    if not path.is_file():
        return {}
    by_name = {rule.name: rule for rule in known}
    found: dict[str, EnforcementLevel | dict[str, Any]] = {}
    for name, given in json.loads(path.read_text()).items():
        if name not in by_name:
            raise ValueError(f"{path.name} configures {name}, and there is no such policy")
        found[name] = _for_sdk(path, by_name[name], given)
    return found


def _for_sdk(path: Path, rule: Rule, given: Mapping[str, Any]) -> dict[str, Any]:
    values = {key: value for key, value in given.items() if key != _LEVEL}
    configured(rule, values)
    try:
        # Always said: the SDK turns a policy that is configured without a level into an advisory.
        return {**values, _LEVEL: EnforcementLevel(given.get(_LEVEL, rule.level))}
    except ValueError:
        levels = ", ".join(level.value for level in EnforcementLevel)
        raise ValueError(f"{path.name}: {rule.name}.{_LEVEL} must be {levels}; got {given[_LEVEL]}") from None
