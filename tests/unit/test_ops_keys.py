"""``python -m ops keys``, what it decides: limits, successors, reports, and where a key goes."""

from __future__ import annotations

import csv
import io
import stat
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from components.platform.model_gateway import names
from ops.keys import limits, report, way
from ops.keys.gateway import Activity, Gateway, GatewayError, Key, Spent, Team
from ops.keys.hand_over import HandOver, HandOverError
from ops.secrets.store import EmptyError
from ops.stack import StackError

pytestmark = pytest.mark.unit

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TEAM = Team(
    name="research",
    monthly_usd=100,
    requests_per_minute=120,
    tokens_per_minute=1000,
    models=(),
    spent_usd=0,
    blocked=False,
)
MODELS = ("chat", "code")


def wish(**more: Any) -> limits.Wish:
    whole: dict[str, Any] = {"team": "research", "name": "ci", "usd": 10.0, **more}
    return limits.Wish(**whole)


def key(generation: int = 1, **more: Any) -> Key:
    body = limits.request(wish())
    metadata = {**body["metadata"], "generation": generation}
    made: dict[str, Any] = {"token": f"hash{generation}", "alias": f"research/ci.{generation}", "team": "research"}
    whole: dict[str, Any] = {**made, "usd": 10.0, "metadata": metadata, **more}
    return Key(**whole)


def refused(one: limits.Wish, team: Team | None = TEAM) -> str:
    return "\n".join(limits.problems(one, team, MODELS))


def test_a_key_within_its_team_is_made():
    assert refused(wish(requests_per_minute=120, tokens_per_minute=1000, usd=100.0, models=("chat",))) == ""


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"usd": 100.01}, "--usd 100.01 is more than team research has: 100"),
        ({"requests_per_minute": 121}, "--rpm 121 is more"),
        ({"tokens_per_minute": 1001}, "--tpm 1001 is more"),
        ({"models": ("chat", "gpt")}, "no model gpt; it has chat, code"),
        ({"days": 366}, "--days must be 1 to 365"),
        ({"usd": 0.0}, "--usd must be above 0"),
        ({"usd": float("nan")}, "--usd must be above 0"),
        ({"requests_per_minute": 0}, "--rpm must be at least 1"),
        ({"name": "CI/x"}, "the name must be"),
    ],
)
def test_no_key_is_more_than_its_team(more: Mapping[str, Any], told: str):
    assert told in refused(wish(**more))


def test_a_team_that_is_not_declared_or_has_no_budget_gets_no_keys():
    assert "declare it in `teams`" in refused(wish(), None)
    blocked = replace(TEAM, blocked=True)
    assert "is blocked" in refused(wish(), blocked)


def test_a_team_that_may_call_some_models_gets_no_key_for_others():
    narrow = replace(TEAM, models=("chat",))
    assert "may not call code" in refused(wish(models=("code",)), narrow)


def test_promising_more_than_the_team_has_is_told_and_dead_keys_do_not_count():
    others = [key(usd=60.0), key(usd=60.0, blocked=True), key(usd=60.0, expires=NOW - timedelta(1))]
    assert limits.promised(TEAM, others, NOW, 40) == ""
    assert "may spend 101 USD a month, the team 100" in limits.promised(TEAM, others, NOW, 41)


def test_a_key_can_call_models_and_administer_nothing():
    assert limits.request(wish())["key_type"] == "llm_api"


def test_a_successor_has_the_limits_of_the_one_before_and_no_new_budget():
    old = key(2, models=("chat",), requests_per_minute=7, spent_usd=9.5)
    new = limits.successor(old, None)
    assert (new["key_alias"], new["metadata"]["generation"]) == ("research/ci.3", 3)
    assert (new["models"], new["max_budget"], new["rpm_limit"]) == (["chat"], 10.0, 7)
    assert "tpm_limit" not in new
    assert new["spend"] == 9.5
    assert new["duration"] == limits.request(wish())["duration"], "as long as the first was given"


def test_an_overlap_never_lengthens_a_keys_life():
    assert limits.overlap_seconds(key(), 24, NOW) == 86400
    assert limits.overlap_seconds(key(expires=NOW + timedelta(hours=1)), 24, NOW) == 3600
    assert limits.overlap_seconds(key(expires=NOW + timedelta(hours=48)), 24, NOW) == 86400


def test_only_living_keys_made_here_are_rotated_and_the_newest_comes_first():
    foreign = Key(token="t", alias="research/ci", team="research")
    keys = [key(1), key(3), key(2, blocked=True), foreign]
    assert [limits.generation(one) for one in limits.living(keys, "research/ci", NOW)] == [3, 1]


ACTIVITY = Activity(
    total=Spent(usd=25, requests=4, tokens=40),
    models={"chat": Spent(usd=5, requests=1, tokens=10), "code": Spent(usd=20, requests=3, tokens=30)},
    keys={
        "hash1": Spent(usd=5, requests=1, tokens=10),
        "hash2": Spent(usd=7, requests=1, tokens=10),
        "gone": Spent(usd=13, requests=2, tokens=20, label="research/old"),
    },
)


def lines(by: report.By) -> list[report.Row]:
    return report.rows(by, [TEAM], [key(1), key(2)], {"research": ACTIVITY})


def test_a_report_by_team_compares_with_the_budget():
    (row,) = lines("team")
    assert (row.usd, row.budget_usd, row.percent) == (25, 100, 25.0)


def test_a_report_by_model_begins_with_the_dearest():
    assert [(row.subject, row.usd) for row in lines("model")] == [("code", 20), ("chat", 5)]


def test_keys_that_took_each_others_place_are_one_line_and_those_that_are_gone_are_told():
    found = {row.subject: (row.usd, row.percent) for row in lines("key")}
    assert found == {"research/old": (13, None), "research/ci": (12, 120.0)}


def test_lines_of_a_report_add_up_to_the_team():
    for by in ("key", "model"):
        assert sum(row.usd for row in lines(by)) == 25


def test_csv_reads_back_as_the_rows():
    read = list(csv.DictReader(io.StringIO(report.comma_separated(lines("key")))))
    assert [(row["subject"], float(row["usd"])) for row in read] == [(row.subject, row.usd) for row in lines("key")]


@pytest.mark.parametrize("url", ["http://gateway.example.com", "gateway:4000", "ftp://localhost"])
def test_the_administrators_key_crosses_no_network_in_the_clear(url: str):
    with pytest.raises(GatewayError):
        Gateway(url, "sk-x")


def test_a_port_of_this_machine_and_tls_are_ways():
    Gateway("http://127.0.0.1:4000", "sk-x")
    Gateway("https://gateway.example.com", "sk-x")


def test_the_forwarded_service_is_the_programs():
    assert (way.NAME, way.NAMESPACE, way.PORT) == (names.NAME, names.NAMESPACE, names.PORT)


class Entries:
    """A store of one supplied entry."""

    def __init__(self, there: dict[str, str] | None, *, closed: bool = False) -> None:
        self.there, self.closed = there, closed

    def read(self, purpose: str) -> dict[str, str]:
        if self.closed:
            raise StackError("denied")
        if self.there is None:
            raise EmptyError(purpose)
        return self.there

    def write(self, purpose: str, values: Mapping[str, str]) -> None:
        self.there = dict(values)

    def changed(self, purpose: str) -> datetime | None:
        return None


def test_a_file_with_a_key_is_this_accounts_alone_and_replaces_none(tmp_path: Path):
    file = tmp_path / "key"
    HandOver.to(file, "", Entries(None)).give("sk-value")
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("sk-value\n", 0o600)
    with pytest.raises(HandOverError, match="already"):
        HandOver.to(file, "", Entries(None))


def test_an_entry_keeps_its_other_properties():
    store = Entries({"user": "ci"})
    HandOver.to(None, "ci-login.apiKey", store).give("sk-value")
    assert store.there == {"user": "ci", "apiKey": "sk-value"}
    empty = Entries(None)
    HandOver.to(None, "ci-login", empty).give("sk-value")
    assert empty.there == {"key": "sk-value"}


def test_an_entry_that_cannot_be_read_is_not_overwritten():
    store = Entries({"user": "ci"}, closed=True)
    with pytest.raises(StackError):
        HandOver.to(None, "ci-login", store).give("sk-value")
    assert store.there == {"user": "ci"}


def test_what_the_program_draws_is_no_place_for_a_key():
    with pytest.raises(HandOverError, match="draws its value"):
        HandOver.to(None, "litellm-master-key", Entries({}))
