"""Records of raw text: what is done to them, by what they are compared, and where they go."""

from __future__ import annotations

import hashlib
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workloads" / "preprocess" / "image"))
from preprocess import text  # noqa: E402  # pyright: ignore[reportMissingImports] the pods' code
from preprocess.config import Config, Split  # noqa: E402  # pyright: ignore[reportMissingImports] the same

pytestmark = pytest.mark.unit


def config(**changed: Any) -> Any:
    return Config.model_validate(
        {
            "name": "a",
            "sources": [{"name": "raw/", "url": "file:///raw"}],
            "output": "file:///out",
            "work": "file:///work",
            "tokenizer": {"url": "file:///tokenizer", "revision": "0" * 64},
        }
        | changed
    )


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_clean_text_is_left_as_it_is(some: str):
    once = text.clean(some)
    assert text.clean(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert not [one for one in once if unicodedata.category(one) == "Cc" and one not in "\n\t"]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1))
def test_case_and_spaces_make_no_other_record(some: str):
    assert text.normalise(f"  {some}\n\t") == text.normalise(some)
    assert text.normalise(text.normalise(some)) == text.normalise(some)


def test_what_differs_in_a_word_is_another_record():
    one, other = (text.record(some, config()) for some in ("The sum is 41.", "The sum is 42."))
    assert one.hash != other.hash


def test_a_conversation_is_another_one_where_somebody_else_says_the_same():
    def said(*roles: str) -> bytes:
        return text.conversation([{"role": role, "content": "yes"} for role in roles], config(kind="chat")).hash

    assert said("user", "assistant") != said("assistant", "user")


def test_the_sides_have_about_the_shares_that_were_asked_for():
    split = Split(evaluation_percent=5, test_percent=2)
    drawn = [text.side(hashlib.sha256(str(number).encode()).digest()[:16], split) for number in range(20_000)]
    # Four standard deviations of 20,000 draws are 0.6 points for 5 %, and 0.4 for 2 %.
    assert abs(drawn.count("evaluation") / len(drawn) - 0.05) < 0.006
    assert abs(drawn.count("test") / len(drawn) - 0.02) < 0.004


def test_a_larger_share_takes_records_from_training_and_gives_none_back():
    hashes = [hashlib.sha256(str(number).encode()).digest()[:16] for number in range(2_000)]
    small, large = (
        {one for one in hashes if text.side(one, Split(evaluation_percent=percent)) == "evaluation"}
        for percent in (2, 10)
    )
    assert small < large


def test_another_salt_deals_anew():
    hashes = [hashlib.sha256(str(number).encode()).digest()[:16] for number in range(2_000)]
    dealt = [[text.side(one, Split(evaluation_percent=50, salt=salt)) for one in hashes] for salt in ("", "x")]
    assert dealt[0] != dealt[1]


@pytest.mark.parametrize("line", ["[" * 100_000, '{"text": ' + "9" * 5000 + "}", "null", '"text"', "{}"])
def test_json_that_parsers_stumble_over_is_set_aside(line: str):
    with pytest.raises(text.BadRecordError):
        text.from_line(line, config())
