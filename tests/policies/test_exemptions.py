"""Exemptions: each names a policy, a resource, a reason and its last day; what does not exempts nothing."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from world import changed, judge, world

from policies import pack
from policies.exemptions import Register, read

pytestmark = pytest.mark.policies

TODAY = date(2026, 11, 22)
URN = "urn:pulumi:test::llmops::aws:efs/fileSystem:FileSystem::files"
REASON = "Scratch space, filled again every night."


def _register(folder: Path, text: str) -> Register:
    path = folder / "exemptions.yaml"
    path.write_text(text)
    return read(path, pack.names(), TODAY)


def _entry(**changes: str) -> str:
    entry = {"policy": "files-encrypted", "resource": f'"{URN}"', "reason": REASON, "expires": "2027-01-31", **changes}
    return "- " + "\n  ".join(f"{key}: {value}" for key, value in entry.items() if value)


def test_a_complete_entry_lets_its_resource_pass(tmp_path: Path):
    register = _register(tmp_path, _entry())
    plain_text = changed(world(), "files", ("encrypted",), False)
    assert register.problems == ()
    assert judge("files-encrypted", plain_text)
    assert judge("files-encrypted", plain_text, exempt=register) == []


def test_it_covers_neither_another_policy_nor_another_resource(tmp_path: Path):
    register = _register(tmp_path, _entry())
    assert judge("database-encrypted", changed(world(), "database", ("storageEncrypted",), False), exempt=register)
    assert not register.covers("files-encrypted", URN.replace("::files", "::other"))


def test_a_pattern_covers_what_it_matches(tmp_path: Path):
    register = _register(tmp_path, _entry(resource='"urn:pulumi:test::*::fil*"'))
    assert register.covers("files-encrypted", URN)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"expires": "2026-11-21"}, "expired on 2026-11-21"),
        ({"expires": "2028-01-01"}, "at most 366 days"),
        ({"expires": "soon"}, "expires"),
        ({"expires": ""}, "expires is missing"),
        ({"reason": ""}, "reason is missing"),
        ({"reason": "later"}, "reason must say why"),
        ({"policy": "no-such-policy"}, "no policy of this name"),
        ({"resource": '"*"'}, "not everything"),
        ({"resource": '"urn:pulumi:*::*::*"'}, "not everything"),
        ({"approved": "me"}, "approved"),
    ],
)
def test_an_incomplete_or_expired_entry_exempts_nothing_and_is_a_violation(
    tmp_path: Path, changes: dict[str, str], words: str
):
    register = _register(tmp_path, _entry(**changes))
    assert register.entries == ()
    (problem,) = register.problems
    assert words in problem
    (rule,) = (one for one in pack.rules(register) if one.name == pack.EXEMPTIONS)
    (said,) = judge(rule, [])
    assert words in said


def test_the_last_day_still_counts(tmp_path: Path):
    assert _register(tmp_path, _entry(expires="2026-11-22")).entries


def test_an_entry_that_names_nothing_in_its_stack_must_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PULUMI_STACK", "test")
    register = _register(tmp_path, _entry(resource='"urn:pulumi:test::*::gone"'))
    (rule,) = (one for one in pack.rules(register) if one.name == pack.EXEMPTIONS)
    (said,) = judge(rule, world())
    assert "no resource is named urn:pulumi:test::*::gone" in said
    monkeypatch.setenv("PULUMI_STACK", "prod")
    assert judge(rule, world()) == [], "an entry for another stack is not this stack's business"


def test_a_violation_of_the_whole_stack_can_be_exempt(tmp_path: Path):
    too_many = changed(world(), "training", ("scalingConfig", "maxSize"), 5)
    register = _register(tmp_path, _entry(policy="gpu-quota", resource='"*stack*"'))
    assert judge("gpu-quota", too_many)
    assert judge("gpu-quota", too_many, exempt=register) == []


def test_the_shipped_exemptions_are_complete_today():
    assert pack.register().problems == ()


def test_the_shipped_reasons_for_wildcards_are_complete():
    from policies.security import wildcards

    for one in wildcards.recorded():
        assert one.reason.endswith("."), f"{one.resource}: a reason is a sentence"


def test_a_file_that_is_no_list_is_a_problem(tmp_path: Path):
    assert "must hold a list" in _register(tmp_path, "policy: x").problems[0]
