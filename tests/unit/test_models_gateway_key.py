"""The key of the smoke tests: made once, made anew with another value, and never shown."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from components.platform.model_gateway.reconcile import SMOKE, SMOKE_ALIAS, Gateway, RefusedError, keep_key

pytestmark = pytest.mark.unit

KEY = "sk-first0123456789"


class Keys(Gateway):
    """LiteLLM's keys: known by their hash, each alias once."""

    def __init__(self) -> None:
        super().__init__("http://nowhere", "sk-master")
        self.known: dict[str, dict[str, Any]] = {}
        self.paths: list[str] = []

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        self.paths.append(path)
        if path.startswith("/key/info"):
            (hashed,) = parse_qs(urlsplit(path).query)["key"]
            if hashed not in self.known:
                raise RefusedError(404, "GET /key/info")
            return {"info": self.known[hashed]}
        assert body is not None
        if path == "/key/delete":
            doomed = [hashed for hashed, key in self.known.items() if key["key_alias"] in body["key_aliases"]]
            if not doomed:
                raise RefusedError(404, "POST /key/delete")
            for hashed in doomed:
                del self.known[hashed]
            return {}
        assert path == "/key/generate"
        assert body["key_alias"] not in {key["key_alias"] for key in self.known.values()}, "LiteLLM refuses it"
        self.known[hashlib.sha256(body["key"].encode()).hexdigest()] = body
        return {}


def test_the_key_is_made_once_with_a_budget_of_its_own():
    there = Keys()

    assert keep_key(there, KEY)
    assert keep_key(there, KEY) == []
    (made,) = there.known.values()
    assert made["max_budget"] == SMOKE["max_budget"]


def test_another_value_in_the_secret_store_takes_the_place_of_the_first():
    there = Keys()
    keep_key(there, KEY)
    keep_key(there, "sk-second0123456789")

    assert [key["key"] for key in there.known.values()] == ["sk-second0123456789"]


def test_a_key_that_was_deleted_is_made_again():
    there = Keys()
    keep_key(there, KEY)
    (hashed,) = there.known
    there.known[hashed]["deleted_at"] = "2026-11-22"

    assert keep_key(there, KEY) == [f"{SMOKE_ALIAS}: key created"]


def test_no_path_and_no_line_shows_the_key():
    there = Keys()
    done = keep_key(there, KEY)

    assert not any(KEY in text for text in (*there.paths, *done))


def test_other_refusals_are_no_missing_key():
    class Forbidding(Keys):
        def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
            raise RefusedError(403, path)

    with pytest.raises(RefusedError):
        keep_key(Forbidding(), KEY)
