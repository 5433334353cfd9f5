"""LiteLLM's own key management on tables in memory, for where its database client's engine cannot be had.

Run by the Python of LiteLLM's environment: ``litellm_keys_server.py PORT``, with ``LITELLM_MASTER_KEY``. Endpoints,
types of requests and answers, sign-in and budgets of keys are LiteLLM's; what stands in is the client of the database,
with the filters that those endpoints use. ``POST /test/spend`` adds to what was spent, as the proxy's writer would.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import litellm.proxy.proxy_server as proxy
import uvicorn
from litellm import Router
from litellm.caching.dual_cache import DualCache
from litellm.proxy.utils import PrismaClient, ProxyLogging
from pydantic import BaseModel, ConfigDict

_JSON = ("metadata", "aliases", "config", "permissions", "model_max_budget", "model_spend", "router_settings")
_JSON_TOO = ("budget_limits", "budget_fallbacks", "members_with_roles")
_DEFAULTS = {"spend": 0.0, "total_spend": 0.0, "model_spend": {}, "soft_budget_cooldown": False, "blocked": False}
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "equals": lambda left, right: left == right,
    "not": lambda left, right: left != right,
    "in": lambda left, right: left in right,
    "gt": lambda left, right: left is not None and left > right,
    "gte": lambda left, right: left is not None and left >= right,
    "lt": lambda left, right: left is not None and left < right,
    "lte": lambda left, right: left is not None and left <= right,
    "contains": lambda left, right: left is not None and right in left,
}


class Row(BaseModel):
    """A row as the client gives it: columns as attributes, those that were never written are empty."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            return super().__getattr__(name)
        return (self.__pydantic_extra__ or {}).get(name)


def fits(row: Row, where: dict[str, Any] | None) -> bool:
    for name, wanted in (where or {}).items():
        if name == "AND":
            found = all(fits(row, one) for one in (wanted if isinstance(wanted, list) else [wanted]))
        elif name == "OR":
            found = any(fits(row, one) for one in wanted)
        elif name == "NOT":
            found = not any(fits(row, one) for one in (wanted if isinstance(wanted, list) else [wanted]))
        elif isinstance(wanted, dict):
            there = getattr(row, name)
            found = all(_COMPARED[verb](there, right) for verb, right in wanted.items() if verb != "mode")
        else:
            found = getattr(row, name) == wanted
        if not found:
            return False
    return True


def stored(data: dict[str, Any]) -> dict[str, Any]:
    return {
        name: json.loads(value) if name in (*_JSON, *_JSON_TOO) and isinstance(value, str) else value
        for name, value in data.items()
    }


class Table:
    """The calls of one table that the endpoints make."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    async def find_many(
        self, where: Any = None, skip: int = 0, take: int | None = None, order: Any = None, **_: Any
    ) -> list[Row]:
        found = [Row(**row.model_dump()) for row in self.rows if fits(row, where)]
        return found[skip : None if take is None else skip + take]

    async def find_first(self, where: Any = None, **_: Any) -> Row | None:
        return next(iter(await self.find_many(where)), None)

    find_unique = find_first

    async def count(self, where: Any = None, **_: Any) -> int:
        return len(await self.find_many(where))

    async def create(self, data: dict[str, Any], **_: Any) -> Row:
        now = datetime.now(UTC)
        row = Row(**{**_DEFAULTS, "created_at": now, "updated_at": now, **stored(data)})
        self.rows.append(row)
        return row

    async def upsert(self, where: Any, data: dict[str, Any], **_: Any) -> Row:
        if await self.find_first(where):
            return await self.update(where=where, data=data["update"])
        return await self.create(data["create"])

    async def update(self, where: Any, data: dict[str, Any], **_: Any) -> Row:
        (row,) = [row for row in self.rows if fits(row, where)]
        for name, value in stored(data).items():
            setattr(row, name, value)
        return Row(**row.model_dump())

    async def create_many(self, data: list[dict[str, Any]], **_: Any) -> int:
        for one in data:
            await self.create(one)
        return len(data)

    async def delete_many(self, where: Any = None, **_: Any) -> int:
        before = len(self.rows)
        self.rows = [row for row in self.rows if not fits(row, where)]
        return before - len(self.rows)


class Tables:
    """All tables, made when they are first named."""

    def __getattr__(self, name: str) -> Table:
        if not name.startswith("litellm_"):
            raise AttributeError(name)
        self.__dict__[name] = Table()
        return self.__dict__[name]

    async def query_first(self, query: str, *values: Any) -> dict[str, Any] | None:
        """The one statement of the sign-in: a key with its team."""
        assert 'FROM "LiteLLM_VerificationToken" AS v' in query, query
        key = await self.litellm_verificationtoken.find_first({"token": values[0]})
        if key is None:
            return None
        team = await self.litellm_teamtable.find_first({"team_id": key.team_id}) or Row()
        names = ("spend", "max_budget", "tpm_limit", "rpm_limit", "models", "metadata", "blocked", "team_alias")
        columns = {f"team_{name.removeprefix('team_')}": getattr(team, name) for name in names}
        empty = ("team_members_with_roles", "team_model_aliases", "litellm_budget_table_max_budget", "org_id")
        more = ("team_soft_budget", "team_model_max_budget", "team_object_permission_id", "team_tpd_limit", "user_id")
        return {**dict.fromkeys((*empty, *more)), **columns, **key.model_dump()}

    async def query_raw(self, query: str, *_: Any) -> list[Any]:
        return []

    async def execute_raw(self, query: str, *_: Any) -> int:
        return 0

    def tx(self, **_: Any) -> Tables:
        return self

    async def __aenter__(self) -> Tables:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


class Client(PrismaClient):
    """LiteLLM's client of the database, on these tables."""

    def __init__(self) -> None:
        self.db = Tables()
        self.proxy_logging_obj = ProxyLogging(user_api_key_cache=DualCache())
        self.spend_log_transactions: list[Any] = []

    @property
    def writer_db(self) -> Tables:
        return self.db

    async def _query_first_with_cached_plan_fallback(self, query: str, *values: Any) -> Any:
        return await self.db.query_first(query, *values)


client = Client()


@proxy.app.post("/test/spend")
async def spend(row: dict[str, Any]) -> None:
    """Add a row of a team's day, and what it cost to its key and its team."""
    await client.db.litellm_dailyteamspend.create({"id": str(len(client.db.litellm_dailyteamspend.rows)), **row})
    keys, teams = client.db.litellm_verificationtoken.rows, client.db.litellm_teamtable.rows
    for one in (*keys, *teams):
        if one.token == row["api_key"] or (one.token is None and one.team_id == row["team_id"]):
            one.spend += row["spend"]


def main() -> None:
    """Serve."""
    proxy.prisma_client = client
    proxy.master_key = os.environ["LITELLM_MASTER_KEY"]
    answered = {"model": "openai/m", "api_key": "none", "mock_response": "answered"}
    models = [{"model_name": name, "litellm_params": answered} for name in ("chat", "code")]
    proxy.llm_router = Router(model_list=models)
    proxy.general_settings.update({"master_key": proxy.master_key})
    uvicorn.run(proxy.app, host="127.0.0.1", port=int(sys.argv[1]), lifespan="off", log_level="warning")


if __name__ == "__main__":
    main()
