"""``python -m ops keys`` on LiteLLM's own key management: its endpoints, types and sign-in; tables are in memory."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from typer.testing import CliRunner

from components.platform.model_gateway import reconcile
from components.platform.model_gateway.teams import declared
from components.settings.teams import TeamSettings
from ops.keys import cli
from ops.stack import Stack
from tests.data_plane.environments import environment
from tests.data_plane.litellm_process import MASTER, await_answer
from tests.data_plane.ports import free_port

pytestmark = pytest.mark.data_plane

TEAMS = tuple(
    TeamSettings.model_validate({"name": name, "monthlyUsd": usd}) for name, usd in (("research", 100), ("support", 0))
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("keys")
    port, log = free_port(), folder / "log"
    program = Path(__file__).with_name("litellm_keys_server.py")
    given = {"LITELLM_MASTER_KEY": MASTER, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "HOME": str(folder)}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(environment("litellm") / "bin" / "python"), str(program), str(port)],
            env={"PATH": os.environ["PATH"], **given},
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            found = f"http://127.0.0.1:{port}"
            await_answer(f"{found}/health/liveliness", process, log)
            teams = declared(TEAMS)
            for team in teams:
                # It makes the team, and then does not find it again under the locks of a real database.
                with suppress(reconcile.RefusedError):
                    reconcile.Gateway(found, MASTER).create({**team, "metadata": reconcile.OWNER})
            assert reconcile.reconcile(reconcile.Gateway(found, MASTER), teams) == []
            yield found
        finally:
            process.terminate()
            process.wait(timeout=60)


class Entries:
    """The stack's secret store."""

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, str]] = {"litellm-master-key": {"key": MASTER}, "ci-login": {"user": "ci"}}
        self.broken = False

    def read(self, purpose: str) -> dict[str, str]:
        return self.entries[purpose]

    def write(self, purpose: str, values: Mapping[str, str]) -> None:
        if self.broken:
            raise cli.EngineError("the store refuses")
        self.entries[purpose] = dict(values)

    def changed(self, purpose: str) -> datetime | None:
        return None


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Ops = Callable[..., Run]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Entries:
    entries = Entries()

    def read(name: str, *, sandbox: bool = False) -> Stack:
        return Stack(name, sandbox, {"cloud": "aws"})

    def store_of(*_: Any) -> Entries:
        return entries

    monkeypatch.setattr(Stack, "read", read)
    monkeypatch.setattr(cli, "store_of", store_of)
    return entries


@pytest.fixture
def ops(url: str, store: Entries) -> Ops:
    def run(*arguments: str) -> Run:
        result = CliRunner().invoke(cli.app, [*arguments, "--stack", "dev", "--url", url])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert MASTER not in result.output
        return Run(result.exit_code, result.stdout, result.stderr)

    return run


def ask(url: str, key: str, model: str = "chat") -> int:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    headers = {"authorization": f"Bearer {key}"}
    return requests.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=60).status_code


def administer(url: str, key: str) -> int:
    return requests.get(f"{url}/key/list", headers={"authorization": f"Bearer {key}"}, timeout=60).status_code


def create(ops: Ops, name: str, *more: str) -> str:
    made = ops("create", name, "--team", "research", "--usd", "10", "--yes", *more)
    assert made.code == 0, made.err
    assert made.out.count("sk-") == 1, "shown once"
    assert "sk-" not in made.err
    return made.out.strip()


def listed(ops: Ops, family: str) -> dict[str, dict[str, Any]]:
    return {one["alias"]: one for one in ops("list", "--json").json if one["alias"].startswith(family)}


def test_a_key_calls_its_models_and_administers_nothing(url: str, ops: Ops):
    key = create(ops, "narrow", "--model", "chat", "--rpm", "60")
    assert (ask(url, key), ask(url, key, "code"), administer(url, key)) == (200, 403, 403)
    told = listed(ops, "research/narrow")["research/narrow"]
    assert (told["monthlyUsd"], told["requestsPerMinute"], told["models"]) == (10, 60, ["chat"])
    assert timedelta(89) < datetime.fromisoformat(told["expires"]) - datetime.now(UTC) < timedelta(91)


def test_without_yes_nothing_is_made(ops: Ops):
    dry = ops("create", "dry", "--team", "research", "--usd", "10")
    assert (dry.code, "would create research/dry" in dry.out) == (0, True)
    assert listed(ops, "research/dry") == {}


@pytest.mark.parametrize(
    ("team", "more", "told"),
    [
        ("research", ("--usd", "101"), "more than team research has: 100"),
        ("research", ("--usd", "1", "--rpm", "121"), "--rpm 121 is more"),
        ("research", ("--usd", "1", "--model", "gpt"), "no model gpt"),
        ("support", ("--usd", "1"), "is blocked"),
        ("nobody", ("--usd", "1"), "no team nobody"),
    ],
)
def test_more_than_the_declared_team_has_is_refused(ops: Ops, team: str, more: tuple[str, ...], told: str):
    refused = ops("create", "greedy", "--team", team, *more, "--yes")
    assert (refused.code, told in refused.err) == (1, True), refused.err


def test_a_name_is_given_once(ops: Ops):
    create(ops, "once")
    again = ops("create", "once", "--team", "research", "--usd", "1", "--yes")
    assert (again.code, "keys rotate research/once" in again.err) == (1, True)


def test_both_keys_are_let_in_until_the_first_ends(url: str, ops: Ops):
    old = create(ops, "turn", "--days", "30")
    rotated = ops("rotate", "research/turn", "--overlap", "2", "--yes")
    assert rotated.code == 0, rotated.err
    new = rotated.out.strip()
    assert new != old
    assert (ask(url, old), ask(url, new)) == (200, 200)
    keys, now = listed(ops, "research/turn"), datetime.now(UTC)
    left = {alias: datetime.fromisoformat(one["expires"]) - now for alias, one in keys.items()}
    assert timedelta(hours=1) < left["research/turn"] < timedelta(hours=2)
    assert timedelta(29) < left["research/turn.2"] < timedelta(31)

    assert ops("revoke", "research/turn", "--previous", "--yes").code == 0
    assert (ask(url, old), ask(url, new)) == (401, 200)


def test_a_rotation_without_an_overlap_ends_the_first_at_once(url: str, ops: Ops):
    old = create(ops, "leak")
    new = ops("rotate", "research/leak", "--overlap", "0", "--yes").out.strip()
    assert (ask(url, old), ask(url, new)) == (401, 200)


def test_a_revoked_key_is_let_in_no_more_and_stays_known(url: str, ops: Ops):
    key = create(ops, "gone")
    assert ask(url, key) == 200
    assert ops("revoke", "research/gone").code == 0
    assert ask(url, key) == 200, "a dry run"
    assert ops("revoke", "research/gone", "--yes", "--json").json == {"revoked": ["research/gone"]}
    assert ask(url, key) == 401
    assert listed(ops, "research/gone")["research/gone"]["state"] == "revoked"
    assert ops("revoke", "research/gone", "--yes").code == 1


def test_a_key_goes_into_a_file_or_an_entry_and_then_to_no_screen(url: str, ops: Ops, store: Entries, tmp_path: Path):
    file = tmp_path / "key"
    made = ops("create", "filed", "--team", "research", "--usd", "1", "--out", str(file), "--yes", "--json")
    assert ("sk-" in made.out + made.err, made.json["keptIn"]) == (False, str(file))
    assert ask(url, file.read_text().strip()) == 200
    kept = ops("create", "kept", "--team", "research", "--usd", "1", "--entry", "ci-login.apiKey", "--yes")
    assert "sk-" not in kept.out + kept.err
    assert ask(url, store.entries["ci-login"]["apiKey"]) == 200
    assert store.entries["ci-login"]["user"] == "ci"


def test_a_key_that_nobody_got_does_not_stay(ops: Ops, store: Entries):
    store.broken = True
    failed = ops("create", "lost", "--team", "research", "--usd", "1", "--entry", "ci-login", "--yes")
    assert (failed.code, "the store refuses" in failed.err) == (2, True)
    assert listed(ops, "research/lost") == {}


def spend(url: str, key: str, model: str, usd: float) -> None:
    row = {
        "team_id": "research",
        "date": datetime.now(UTC).date().isoformat(),
        "api_key": hashlib.sha256(key.encode()).hexdigest(),
        "model": f"openai/{model}",
        "model_group": model,
        "custom_llm_provider": "openai",
        "mcp_namespaced_tool_name": "",
        "endpoint": "/chat/completions",
        "spend": usd,
        **dict.fromkeys(("prompt_tokens", "completion_tokens", "api_requests", "successful_requests"), 1),
        **dict.fromkeys(("cache_read_input_tokens", "cache_creation_input_tokens", "failed_requests"), 0),
    }
    requests.post(f"{url}/test/spend", json=row, timeout=60).raise_for_status()


def test_a_rotated_key_keeps_what_it_has_spent_and_reports_are_one_line(url: str, ops: Ops):
    old = create(ops, "thrifty")
    spend(url, old, "chat", 9.0)
    new = ops("rotate", "research/thrifty", "--yes").out.strip()
    spend(url, new, "code", 2.5)
    told = listed(ops, "research/thrifty")["research/thrifty.2"]
    assert told["spentUsd"] == 11.5
    assert ask(url, new) != 200, "over its budget of 10, although each of the two keys spent less"

    rows = ops("report", "--by", "key", "--json").json["rows"]
    (mine,) = [row for row in rows if row["subject"] == "research/thrifty"]
    assert (mine["usd"], mine["budget_usd"], mine["percent"]) == (11.5, 10, 115.0)
    models = {row["subject"]: row["usd"] for row in ops("report", "--by", "model", "--json").json["rows"]}
    assert models == {"chat": 9.0, "code": 2.5}
    team = {row["team"]: row for row in ops("report", "--json").json["rows"]}
    assert (team["research"]["usd"], team["research"]["budget_usd"]) == (11.5, 100)
    assert ops("report", "--by", "key", "--csv").out.splitlines()[0].startswith("team,subject,usd,budget_usd")
    assert "research/thrifty" in ops("report", "--by", "key").out


def test_a_gateway_that_does_not_answer_or_takes_no_such_master_key_is_said(ops: Ops, store: Entries, url: str):
    store.entries["litellm-master-key"] = {"key": "sk-wrong0123456789"}
    wrong = ops("list")
    assert (wrong.code, "sk-wrong" in wrong.err) == (1, False)
    away = CliRunner().invoke(cli.app, ["list", "--stack", "dev", "--url", f"http://127.0.0.1:{free_port()}"])
    assert (away.exit_code, "does not answer" in away.stderr) == (2, True)
