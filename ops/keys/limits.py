"""What a key may be: never more than its team, never without an end."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ops.keys.gateway import Key, Team

MARK: Final = {"managed-by": "llmops", "made-with": "ops keys"}
"""Metadata of the keys that these commands made; others they only report."""

LONGEST_DAYS: Final = 365
_NAME: Final = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_DAY: Final = 86_400


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A key that somebody wants.

    Attributes:
        team: Whose it is.
        name: What it is for; unique in the team.
        usd: Budget a month.
        requests_per_minute: None for no limit but the team's.
        tokens_per_minute: None for no limit but the team's.
        models: What it may call; empty for everything that the team may.
        days: Until it ends.
    """

    team: str
    name: str
    usd: float
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    models: tuple[str, ...] = ()
    days: int = 90


def problems(wish: Wish, team: Team | None, models: Sequence[str]) -> Iterator[str]:
    """Why a key is not made: what it wants, what the team has, and what to do."""
    if not _NAME.fullmatch(wish.name):
        yield f"the name must be lower-case letters, digits and hyphens, 40 at most, a letter first; got {wish.name}"
    if not 1 <= wish.days <= LONGEST_DAYS:
        yield f"--days must be 1 to {LONGEST_DAYS}: a key without an end is never changed; got {wish.days}"
    if not math.isfinite(wish.usd) or wish.usd <= 0:
        yield f"--usd must be above 0; got {wish.usd:g}"
    for option, wanted in (("--rpm", wish.requests_per_minute), ("--tpm", wish.tokens_per_minute)):
        if wanted is not None and wanted < 1:
            yield f"{option} must be at least 1; got {wanted}"
    if team is None:
        yield f"the gateway has no team {wish.team}: declare it in `teams` of the stack's settings, and `pulumi up`"
        return
    if team.blocked:
        yield f"team {team.name} is blocked: it has no budget, or is declared no more; see `teams` of the settings"
    for option, wanted, has, setting in (
        ("--usd", wish.usd, team.monthly_usd, "monthlyUsd"),
        ("--rpm", wish.requests_per_minute, team.requests_per_minute, "requestsPerMinute"),
        ("--tpm", wish.tokens_per_minute, team.tokens_per_minute, "tokensPerMinute"),
    ):
        if wanted is not None and has is not None and wanted > has:
            yield f"{option} {wanted:g} is more than team {team.name} has: {has:g} (`{setting}` of the team raises it)"
    if unknown := sorted(set(wish.models) - set(models)):
        yield f"the gateway has no model {', '.join(unknown)}; it has {', '.join(sorted(models)) or 'none'}"
    elif team.models and (foreign := sorted(set(wish.models) - set(team.models))):
        yield f"team {team.name} may not call {', '.join(foreign)}; it may call {', '.join(sorted(team.models))}"


def promised(team: Team, keys: Iterable[Key], now: datetime, more_usd: float) -> str:
    """What to know when all keys of a team together may spend more than it; empty where they may not.

    It is no mistake: the gateway stops them all at the team's budget.
    """
    total = sum(key.usd or 0 for key in keys if key.lives(now)) + more_usd
    if team.monthly_usd is None or total <= team.monthly_usd:
        return ""
    together = f"keys of {team.name} together may spend {total:g} USD a month, the team {team.monthly_usd:g}"
    return f"{together}: first come, first served"


def request(wish: Wish) -> dict[str, Any]:
    """The first key of a name, as the API takes it."""
    return _body(
        f"{wish.team}/{wish.name}",
        1,
        {
            "team_id": wish.team,
            "max_budget": wish.usd,
            "models": list(wish.models),
            "duration": f"{wish.days * _DAY}s",
            "rpm_limit": wish.requests_per_minute,
            "tpm_limit": wish.tokens_per_minute,
        },
        wish.days,
    )


def successor(key: Key, days: int | None) -> dict[str, Any]:
    """The key that takes another's place, with the same limits and what was spent of them in this month.

    Args:
        key: The one that goes.
        days: Until the new one ends; None for as many as the old one was given.
    """
    lasting = days if days is not None else int(key.metadata.get("days") or 90)
    return {
        **_body(
            family(key),
            generation(key) + 1,
            {
                "team_id": key.team,
                "max_budget": key.usd,
                "models": list(key.models),
                "duration": f"{lasting * _DAY}s",
                "rpm_limit": key.requests_per_minute,
                "tpm_limit": key.tokens_per_minute,
            },
            lasting,
        ),
        # Else a new key would be a new budget.
        "spend": key.spent_usd,
    }


def _body(name: str, number: int, limits: dict[str, Any], days: int) -> dict[str, Any]:
    return {
        "key_alias": name if number == 1 else f"{name}.{number}",
        **{key: value for key, value in limits.items() if value is not None},
        "budget_duration": "1mo",
        "key_type": "llm_api",  # calls of models, and no administration
        "metadata": {**MARK, "name": name, "generation": number, "days": days},
    }


def ours(key: Key) -> bool:
    """Whether these commands made it."""
    return not MARK.items() - key.metadata.items()


def family(key: Key) -> str:
    """``<team>/<name>``: what a key and those before and after it have in common."""
    return str(key.metadata.get("name") or key.alias)


def generation(key: Key) -> int:
    """Its number among those."""
    return int(key.metadata.get("generation") or 1)


def living(keys: Iterable[Key], name: str, now: datetime) -> list[Key]:
    """Keys of a name that are let in, the newest first."""
    found = [key for key in keys if ours(key) and family(key) == name and key.lives(now)]
    return sorted(found, key=generation, reverse=True)


def overlap_seconds(key: Key, hours: float, now: datetime) -> int:
    """How long the one that goes is still let in; never longer than it would have been."""
    wanted = int(hours * 3600)
    return wanted if key.expires is None else min(wanted, max(0, int((key.expires - now).total_seconds())))
