"""Values keep their meaning on the way to the engine and back."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.values import UNKNOWN, Secret, from_struct, has_unknown, plain, to_struct

pytestmark = pytest.mark.unit

DEEP: dict[str, Any] = {
    "text": "a",
    "whole": 3,
    "fraction": 0.5,
    "yes": True,
    "nothing": None,
    "list": [1, "b", [False]],
    "object": {"unknown": UNKNOWN, "secret": Secret({"password": "p", "later": UNKNOWN})},
}


def test_a_round_trip_changes_nothing():
    back = from_struct(to_struct(DEEP))
    assert back == DEEP
    assert isinstance(back["whole"], int)
    assert back["object"]["unknown"] is UNKNOWN


@pytest.mark.parametrize(
    "signature",
    [
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
    ],
)
def test_every_kind_of_unknown_is_recognised(signature: str):
    assert from_struct(to_struct({"value": signature}))["value"] is UNKNOWN


def test_unknowns_are_found_at_any_depth():
    assert has_unknown(DEEP)
    assert has_unknown([{"a": Secret([UNKNOWN])}])
    assert not has_unknown({"a": [1, Secret("b")]})


def test_secrets_are_unwrapped_at_any_depth_and_never_shown_by_accident():
    assert plain([{"a": Secret({"b": Secret("c")})}]) == [{"a": {"b": "c"}}]
    assert "hunter2" not in repr({"password": Secret("hunter2")})
