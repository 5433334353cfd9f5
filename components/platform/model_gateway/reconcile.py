"""Make the teams of LiteLLM, and the key of the smoke tests. It runs in a pod, with nothing but Python's own library.

``python3 reconcile.py teams.json``, with ``LITELLM_URL``, ``LITELLM_MASTER_KEY`` and ``SMOKE_KEY`` in the environment.
Running it again changes nothing. Teams that it made and that are declared no more are blocked, not deleted: what they
spent stays known.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

OWNER = {"managed-by": "llmops"}
# What the smoke tests of all models may spend; each sends a few dozen tokens.
SMOKE_ALIAS = "smoke-tests"
SMOKE = {"key_alias": SMOKE_ALIAS, "max_budget": 5.0, "budget_duration": "30d"}
_TRIES = 5
_TIMEOUT_SECONDS = 30


class RefusedError(Exception):
    """LiteLLM answered with an error.

    Attributes:
        status: HTTP status.
    """

    def __init__(self, status: int, what: str) -> None:
        super().__init__(f"{what}: {status}")
        self.status = status


class Gateway:
    """LiteLLM's administration."""

    def __init__(self, url: str, key: str) -> None:
        self._url, self._key = url.rstrip("/"), key

    def team(self, team_id: str) -> dict[str, Any] | None:
        """One team, or None where there is none."""
        try:
            found = self._call("GET", "/team/info?" + urllib.parse.urlencode({"team_id": team_id}))
        except RefusedError as refused:
            if refused.status == 404:
                return None
            raise
        return found["team_info"]

    def teams(self) -> list[dict[str, Any]]:
        """All teams."""
        return self._call("GET", "/team/list")

    def create(self, team: dict[str, Any]) -> None:
        """Create a team."""
        self._call("POST", "/team/new", team)

    def update(self, team: dict[str, Any]) -> None:
        """Change what is named of a team."""
        self._call("POST", "/team/update", team)

    def knows_key(self, key: str) -> bool:
        """Whether there is such a key; it is asked for by its hash, so that no log shows it."""
        query = urllib.parse.urlencode({"key": hashlib.sha256(key.encode()).hexdigest()})
        try:
            found = self._call("GET", f"/key/info?{query}")
        except RefusedError as refused:
            if refused.status == 404:
                return False
            raise
        return not found["info"].get("deleted_at")  # deleted keys are still told of

    def create_key(self, key: str, settings: dict[str, Any]) -> None:
        """Create a key of which the value is known already."""
        self._call("POST", "/key/generate", {**settings, "key": key})

    def update_key(self, key: str, settings: dict[str, Any]) -> None:
        """Change what is named of a key."""
        self._call("POST", "/key/update", {**settings, "key": key})

    def delete_key(self, alias: str) -> None:
        """Delete the key with an alias, where there is one."""
        try:
            self._call("POST", "/key/delete", {"key_aliases": [alias]})
        except RefusedError as refused:
            if refused.status != 404:
                raise

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data=data, headers=headers, method=method)
        for left in reversed(range(_TRIES)):
            try:
                with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code < 500 or not left:
                    # The body may repeat the request; it holds no key, but a log is no place for it.
                    raise RefusedError(error.code, f"{method} {path.partition('?')[0]}") from None
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                if not left:
                    raise
            time.sleep(2 * (_TRIES - left))
        raise AssertionError("the last try returns or raises")


def reconcile(gateway: Gateway, teams: list[dict[str, Any]]) -> list[str]:
    """Bring what is there to what is declared; returns what was done, a line each."""
    done: list[str] = []
    for team in teams:
        there = gateway.team(team["team_id"])
        if there is None:
            gateway.create({**team, "metadata": OWNER})
            done.append(f"{team['team_id']}: created")
            continue
        metadata: dict[str, Any] = there.get("metadata") or {}
        changed = {key: value for key, value in team.items() if there.get(key) != value}
        if OWNER.items() - metadata.items():
            changed["metadata"] = {**metadata, **OWNER}
        if changed:
            gateway.update({"team_id": team["team_id"], **changed})
            done.append(f"{team['team_id']}: changed {', '.join(sorted(changed))}")
    known = {team["team_id"] for team in teams}
    for there in gateway.teams():
        ours = not OWNER.items() - (there.get("metadata") or {}).items()
        if ours and there["team_id"] not in known and not there.get("blocked"):
            gateway.update({"team_id": there["team_id"], "blocked": True})
            done.append(f"{there['team_id']}: blocked, it is declared no more")
    return done


def keep_key(gateway: Gateway, key: str) -> list[str]:
    """Make the key of the smoke tests what the secret store says; returns what was done, a line each."""
    if gateway.knows_key(key):
        return []
    gateway.delete_key(SMOKE_ALIAS)  # with another value: its alias would be taken
    gateway.create_key(key, {**SMOKE, "metadata": OWNER})
    return [f"{SMOKE_ALIAS}: key created"]


def main() -> int:
    """Read the declaration, bring it about, say what was done."""
    teams = json.loads(Path(sys.argv[1]).read_text())
    gateway = Gateway(os.environ["LITELLM_URL"], os.environ["LITELLM_MASTER_KEY"])
    for line in (*reconcile(gateway, teams), *keep_key(gateway, os.environ["SMOKE_KEY"])):
        print(line)
    print(f"{len(teams)} teams are as declared")
    return 0


if __name__ == "__main__":
    sys.exit(main())
