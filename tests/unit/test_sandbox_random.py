"""The ``random`` stand-in draws real values, within the limits that it is given."""

from __future__ import annotations

import base64
import string
from typing import Any

import bcrypt
import pytest

from sandbox.provider import Resource
from sandbox.random_provider import RandomProvider
from sandbox.values import UNKNOWN, Properties, Secret

pytestmark = pytest.mark.unit

RANDOM = RandomProvider()


def resource(kind: str) -> Resource:
    return Resource(f"urn:pulumi:dev::probe::random:index/{kind[0].lower()}{kind[1:]}:{kind}::thing")


def draw(kind: str, **inputs: Any) -> tuple[str, Properties]:
    checked, failures = RANDOM.check(resource(kind), {}, inputs, b"")
    assert not failures
    return RANDOM.create(resource(kind), checked, 0, preview=False)


def test_a_password_is_as_long_and_of_such_letters_as_asked_and_never_its_own_identifier():
    resource_id, outputs = draw("RandomPassword", length=40, special=False, minNumeric=5)
    result = outputs["result"]
    assert resource_id == "none"
    assert len(result) == 40
    assert set(result) <= set(string.ascii_letters + string.digits)
    assert sum(letter.isdigit() for letter in result) >= 5
    assert bcrypt.checkpw(result.encode(), outputs["bcryptHash"].encode())


def test_two_passwords_differ():
    assert draw("RandomPassword", length=40)[1]["result"] != draw("RandomPassword", length=40)[1]["result"]


def test_special_letters_are_those_that_are_named():
    _, outputs = draw("RandomString", length=12, lower=False, upper=False, numeric=False, overrideSpecial="+-")
    assert set(outputs["result"]) <= {"+", "-"}


def test_the_forms_of_an_identifier_are_the_same_bytes():
    resource_id, outputs = draw("RandomId", byteLength=8)
    raw = bytes.fromhex(outputs["hex"])
    assert len(raw) == 8
    assert base64.b64decode(outputs["b64Std"]) == raw
    assert int(outputs["dec"]) == int.from_bytes(raw, "big")
    assert outputs["b64Url"] == resource_id


def test_a_number_lies_in_its_range():
    assert {draw("RandomInteger", min=1, max=2)[1]["result"] for _ in range(100)} == {1, 2}


@pytest.mark.parametrize(
    ("inputs", "path"),
    [
        ({}, "length"),
        ({"length": "long"}, "length"),
        ({"length": 0}, "length"),
        ({"length": 3, "minLower": 2, "minUpper": 2}, "length"),
        ({"length": 8, "size": 8}, "size"),
    ],
)
def test_inputs_that_cannot_work_are_refused(inputs: Properties, path: str):
    _, failures = RANDOM.check(resource("RandomPassword"), {}, inputs, b"")
    assert [failure.property for failure in failures] == [path]


def test_a_preview_draws_nothing():
    _, outputs = RANDOM.create(resource("RandomPassword"), {"length": 8}, 0, preview=True)
    assert outputs["result"] is outputs["bcryptHash"] is UNKNOWN
    assert outputs["length"] == 8


def test_any_change_makes_a_new_value_and_none_keeps_it():
    old: Properties = {"length": 8, "keepers": {"a": "1"}}
    changed = RANDOM.diff(resource("RandomPassword"), "none", old, {"length": 8, "keepers": {"a": "2"}}, {})
    assert [(d.path, d.replaces) for d in changed.differences] == [("keepers.a", True)]
    assert RANDOM.diff(resource("RandomPassword"), "none", old, {**old, "length": Secret(8)}, {}).differences == []
    assert RANDOM.read(resource("RandomPassword"), "none", old, {"result": "kept"}) == (old, {"result": "kept"})
