"""What the commands ask of the model gateway (LiteLLM's administration), and nothing more."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final, cast

_TIMEOUT_SECONDS: Final = 60
_PAGE: Final = 100  # keys; the API's most
_ROWS: Final = 1000  # of the table of spend, a page
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class GatewayError(Exception):
    """The gateway refused, or could not be asked.

    Attributes:
        status: HTTP status; 0 where there was no answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Team:
    """A team as the gateway has it: the hourly job keeps it as the stack declares it.

    Attributes:
        name: Its id.
        monthly_usd: Budget; None for no limit.
        requests_per_minute: Over all its keys; None for no limit.
        tokens_per_minute: The same of tokens.
        models: What it may call; empty for all.
        spent_usd: Since its budget was last reset.
        blocked: It may call nothing.
    """

    name: str
    monthly_usd: float | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    models: tuple[str, ...]
    spent_usd: float
    blocked: bool


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key as the gateway has it; its value is known to nobody but its holder.

    Attributes:
        token: SHA-256 of the value: what names it to the API.
        alias: Unique among all keys.
        team: Its team.
        models: What it may call; empty for what the team may.
        usd: Budget a month; None for the team's alone.
        requests_per_minute: None for the team's alone.
        tokens_per_minute: None for the team's alone.
        expires: When it ends; None for never.
        blocked: It is let in nowhere.
        spent_usd: In this month of its budget.
        metadata: What was written down with it.
    """

    token: str = field(repr=False)
    alias: str
    team: str
    models: tuple[str, ...] = ()
    usd: float | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    expires: datetime | None = None
    blocked: bool = False
    spent_usd: float = 0.0
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def lives(self, now: datetime) -> bool:
        """Whether it is let in."""
        return not self.blocked and (self.expires is None or self.expires > now)


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What was spent on something in a time.

    Attributes:
        usd: Money.
        requests: Calls, those that failed among them.
        tokens: Of prompts and of answers.
        label: What people call it, where that is known besides its id.
    """

    usd: float = 0.0
    requests: int = 0
    tokens: int = 0
    label: str = ""

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            usd=self.usd + other.usd,
            requests=self.requests + other.requests,
            tokens=self.tokens + other.tokens,
            label=self.label or other.label,
        )


@dataclass(frozen=True, kw_only=True)
class Activity:
    """What a team spent in a time.

    Attributes:
        total: Altogether.
        models: By the name that clients use.
        keys: By the key's token.
    """

    total: Spent
    models: Mapping[str, Spent]
    keys: Mapping[str, Spent]


class Gateway:
    """LiteLLM's administration, as its administrator."""

    def __init__(self, url: str, master_key: str) -> None:
        """Nothing is asked yet.

        Raises:
            GatewayError: The administrator's key would cross a network in the clear.
        """
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise GatewayError(0, f"--url must be an address such as https://host or http://localhost:4000; got {url}")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            message = f"{url} is not encrypted, and the administrator's key would be sent there; use https"
            raise GatewayError(0, f"{message}, or leave --url out")
        self._url, self._key = url.rstrip("/"), master_key

    def models(self) -> tuple[str, ...]:
        """Names that clients can call."""
        return tuple(str(one["id"]) for one in self._get("/v1/models")["data"])

    def team(self, name: str) -> Team | None:
        """One team; None where the gateway has none of that name."""
        try:
            return _team(self._get("/team/info", team_id=name)["team_info"])
        except GatewayError as refused:
            if refused.status == 404:
                return None
            raise

    def teams(self) -> list[Team]:
        """All teams."""
        return [_team(one) for one in cast("list[dict[str, Any]]", self._get("/team/list"))]

    def keys(self, team: str = "") -> Iterator[Key]:
        """Keys of a team, or of all; blocked and expired ones too."""
        page, pages = 1, 1
        narrowed = {"team_id": team} if team else {}
        while page <= pages:
            found = self._get("/key/list", page=page, size=_PAGE, return_full_object="true", **narrowed)
            yield from (_key(one) for one in found["keys"])
            page, pages = page + 1, int(found["total_pages"])

    def create(self, wanted: Mapping[str, Any]) -> str:
        """Make a key and return its value, which cannot be asked for again."""
        return str(self._post("/key/generate", wanted)["key"])

    def expire(self, key: Key, seconds: int) -> None:
        """Let a key end in so many seconds."""
        self._post("/key/update", {"key": key.token, "duration": f"{seconds}s"})

    def block(self, key: Key) -> None:
        """Let a key in no more; what it spent stays known."""
        self._post("/key/block", {"key": key.token})

    def delete(self, key: Key) -> None:
        """Remove a key."""
        self._post("/key/delete", {"keys": [key.token]})

    def activity(self, team: str, since: date, until: date) -> Activity:
        """What a team spent from one day to another, both included (UTC)."""
        total, models, keys = Spent(), dict[str, Spent](), dict[str, Spent]()
        page, more = 1, True
        while more:
            found = self._get(
                "/team/daily/activity",
                team_ids=team,
                start_date=since.isoformat(),
                end_date=until.isoformat(),
                page=page,
                page_size=_ROWS,
            )
            for day in found["results"]:
                total += _spent(day)
                _add(models, day["breakdown"]["model_groups"])
                _add(keys, day["breakdown"]["api_keys"])
            page, more = page + 1, bool(found["metadata"]["has_more"])
        return Activity(total=total, models=models, keys=keys)

    def _get(self, path: str, **parameters: str | int) -> Any:
        query = "?" + urllib.parse.urlencode(parameters) if parameters else ""
        return self._call("GET", path, query)

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._call("POST", path, "", json.dumps(dict(body)).encode())

    def _call(self, method: str, path: str, query: str, data: bytes | None = None) -> Any:
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        request = urllib.request.Request(self._url + path + query, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise GatewayError(
                error.code, f"{method} {path}: {error.code} {_reason(error.read(), self._key)}"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise GatewayError(0, f"the model gateway does not answer at {self._url}: {reason}") from None
        except ValueError:
            raise GatewayError(0, f"{self._url} answers something else than the model gateway") from None


def _team(found: Mapping[str, Any]) -> Team:
    return Team(
        name=str(found["team_id"]),
        monthly_usd=found.get("max_budget"),
        requests_per_minute=found.get("rpm_limit"),
        tokens_per_minute=found.get("tpm_limit"),
        models=tuple(found.get("models") or ()),
        spent_usd=float(found.get("spend") or 0),
        blocked=bool(found.get("blocked")),
    )


def _key(found: Mapping[str, Any]) -> Key:
    return Key(
        token=str(found["token"]),
        alias=str(found.get("key_alias") or ""),
        team=str(found.get("team_id") or ""),
        models=tuple(found.get("models") or ()),
        usd=found.get("max_budget"),
        requests_per_minute=found.get("rpm_limit"),
        tokens_per_minute=found.get("tpm_limit"),
        expires=_time(found.get("expires")),
        blocked=bool(found.get("blocked")),
        spent_usd=float(found.get("spend") or 0),
        metadata=found.get("metadata") or {},
    )


def _time(text: str | None) -> datetime | None:
    if not text:
        return None
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _spent(found: Mapping[str, Any]) -> Spent:
    metrics, known = found["metrics"], cast("Mapping[str, Any]", found.get("metadata") or {})
    return Spent(
        usd=float(metrics["spend"]),
        requests=int(metrics["api_requests"]),
        tokens=int(metrics["total_tokens"]),
        label=str(known.get("key_alias") or ""),
    )


def _add(totals: dict[str, Spent], found: Mapping[str, Any]) -> None:
    for name, one in found.items():
        totals[name] = totals.get(name, Spent()) + _spent(one)


def _reason(body: bytes, key: str) -> str:
    """LiteLLM's message, in whichever form; never with the key in it."""
    text = body.decode(errors="replace")
    try:
        found: Any = json.loads(text)
        while isinstance(found, dict):
            told = cast("dict[str, Any]", found)
            found = told.get("error", told.get("detail", told.get("message", text)))
        text = str(found)
    except ValueError:
        pass
    return " ".join(text.replace(key, "***").split())[:500]
