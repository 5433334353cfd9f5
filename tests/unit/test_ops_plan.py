"""The plan report: real previews of the sandbox (tests/plan/fixtures), and what becomes of them."""

from __future__ import annotations

import difflib
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ops.cost.read import InputError, read_json, states_of_export
from ops.plan import cli, html, markdown
from ops.plan.cli import read_events
from ops.plan.preview import UNKNOWN, Change, Difference, Preview, value_text
from ops.plan.report import Report, build

pytestmark = pytest.mark.unit

PLAN = Path(__file__).resolve().parents[1] / "plan"
FIXTURES = PLAN / "fixtures"
SCENES = {
    "nothing": "prod",
    "new-node-group": "prod",
    "bigger-node-group": "prod",
    "budget-breach": "prod",
    "policy-breach": "prod",
    "database-protected": "prod",
    "database-replaced": "dev",
    "bucket-deleted": "dev",
    "group-removed": "dev",
    "refused": "prod",
    "failed": "prod",
    "first": "",
}


def report(scene: str) -> Report:
    events = FIXTURES / f"{scene}.events.jsonl"
    stack = SCENES[scene]
    return build(
        read_json(FIXTURES / f"{scene}.json"),
        state=states_of_export(read_json(FIXTURES / f"{stack}.state.json")) if stack else None,
        events=list(read_events(events)) if events.exists() else (),
    )


def text_of(page: str) -> str:
    """What a browser would show of a page."""
    parts: list[str] = []

    class Reader(HTMLParser):
        skipping = False

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.skipping = tag in ("style", "script")

        def handle_endtag(self, tag: str) -> None:
            self.skipping = False

        def handle_data(self, data: str) -> None:
            if not self.skipping:
                parts.append(data)

    Reader().feed(page)
    return " ".join(" ".join(parts).split())


@pytest.mark.parametrize("scene", SCENES)
def test_the_comment_is_the_one_that_was_reviewed(scene: str, request: pytest.FixtureRequest):
    """Rewritten by ``--update-golden`` only."""
    golden = PLAN / "golden" / f"{scene}.md"
    now = markdown.render(report(scene))
    if request.config.getoption("--update-golden"):
        golden.write_text(now)
    reviewed = golden.read_text() if golden.exists() else ""
    changed = "\n".join(difflib.unified_diff(reviewed.splitlines(), now.splitlines(), golden.name, "now", lineterm=""))
    assert not changed, changed


@pytest.mark.parametrize("scene", SCENES)
def test_the_page_says_no_less_than_the_comment(scene: str):
    found = report(scene)
    shown = text_of(html.render(found))
    for objection in found.objections:
        assert " ".join(objection.split()) in shown
    for change in found.preview.changes:
        assert change.name in shown
    for quota in found.quotas:
        assert f"{quota.name} " in shown


# What must be loud


def test_a_database_that_is_replaced_comes_first_with_the_property_that_forces_it():
    found = report("database-replaced")
    (risk,) = found.at_risk
    assert risk.name == "foundation-database-server"
    assert [one.path for one in risk.differences if one.replaces] == ["username"]
    assert not risk.protected
    comment = markdown.render(found)
    assert comment.index("Data at risk") < comment.index("### Cost") < comment.index("### Changes")


def test_a_refusal_by_protection_is_told_with_the_engines_own_words():
    found = report("database-protected")
    assert found.at_risk[0].protected
    assert "currently marked for protection" in found.preview.errors[0]
    assert found.objections[0] == "the preview failed"


def test_a_bucket_that_the_program_no_longer_declares_is_data_at_risk():
    risks = {(one.action, one.type) for one in report("bucket-deleted").at_risk}
    assert ("delete", "aws:s3/bucket:Bucket") in risks


def test_a_mandatory_policy_stops_it_and_an_advisory_one_is_only_told():
    found = report("policy-breach")
    assert [one.policy for one in found.preview.violations if one.mandatory] == ["gpu-quota"]
    assert "1 mandatory policy violation" in found.objections
    assert found.preview.errors == (), "that a policy refused is no failure of the program"
    assert "storage is small" in markdown.render(found)


def test_what_the_stack_costs_above_its_budget_is_an_objection():
    found = report("budget-breach")
    assert any(one.startswith("the expected cost of") and "budget.monthlyUsd" in one for one in found.objections)


def test_a_preview_that_failed_has_no_numbers_rather_than_wrong_ones():
    for scene in ("failed", "refused"):
        found = report(scene)
        assert found.preview.errors
        assert found.total is None
        assert found.quotas == ()


def test_nothing_changes_and_nothing_is_objected_to():
    found = report("nothing")
    assert found.preview.changes == ()
    assert found.total is not None
    assert found.total.difference is not None
    assert found.total.difference.expected == 0
    assert found.objections == ()


# Numbers


def test_a_new_group_moves_the_quotas_by_its_maximum_and_the_cost_by_its_range():
    found = report("new-node-group")
    quotas = {one.name: one for one in found.quotas}
    assert quotas["nodes"].before is not None
    assert quotas["nodes"].after - quotas["nodes"].before == 2
    assert quotas["gpus.a10g"].after - (quotas["gpus.a10g"].before or 0) == 8
    assert quotas["vcpu.onDemandG"].headroom == quotas["vcpu.onDemandG"].limit - quotas["vcpu.onDemandG"].after < 0
    (cost,) = found.costs
    assert cost.name == "foundation-gpu-inference-70b-group"
    assert found.total
    assert found.total.difference
    assert cost.difference
    assert cost.difference.high == pytest.approx(found.total.difference.high)


def test_differences_by_resource_add_up_to_the_difference_of_the_total():
    for scene in ("new-node-group", "bigger-node-group", "budget-breach", "group-removed"):
        found = report(scene)
        assert found.total
        assert found.total.difference
        for bound in ("low", "expected", "high"):
            parts = sum(getattr(one.difference, bound) for one in found.costs)
            assert parts == pytest.approx(getattr(found.total.difference, bound), abs=0.02)


def test_without_a_state_the_cost_before_may_come_from_an_earlier_run():
    preview = read_json(FIXTURES / "first.json")
    previous = {"total": {"min": 1.0, "expected": 2.0, "max": 3.0}}
    # The shipped preview is complete, so what it says itself is better than what an earlier run said.
    exact = build(preview, previous=previous).total
    assert exact
    assert exact.before
    assert exact.before.expected == 0


def test_a_preview_without_what_stays_needs_the_state():
    with pytest.raises(InputError, match="--show-sames"):
        build(read_json(FIXTURES / "new-node-group.json"))


# Form


def many(count: int) -> Report:
    def change(number: int) -> Change:
        name = f"a-resource-with-a-long-name-{number}"
        return Change(
            urn=f"urn:pulumi:dev::p::aws:s3/bucketPolicy:BucketPolicy::{name}",
            type="aws:s3/bucketPolicy:BucketPolicy",
            action="update",
            layer="foundation",
            differences=(Difference(path="policy", old="x" * 40, new="y" * 40),),
        )

    changes = tuple(change(number) for number in range(count))
    return Report(preview=Preview(stack="dev", changes=changes, unchanged=0, errors=(), config={}))


@pytest.mark.parametrize("count", [10, 400, 5000])
def test_the_comment_fits_into_what_github_takes_and_says_what_it_leaves_out(count: int):
    comment = markdown.render(many(count))
    assert len(comment) <= markdown.LIMIT < 65_536
    listed = comment.count("a-resource-with-a-long-name-")
    assert listed == count or f"and {count - listed} more" in comment
    assert comment.count("<details>") == comment.count("</details>")
    assert html.render(many(count)).count("a-resource-with-a-long-name-") == count


@pytest.mark.parametrize(
    "text", ["a`b", "@acme/everyone", "x|y", "<img src=x onerror=alert(1)>", "[a](http://b)", "a\n# b"]
)
def test_names_from_a_pull_request_cannot_ping_link_or_break_the_comment(text: str):
    shown = markdown.code(text)
    assert shown.startswith("`")
    assert shown.endswith("`")
    assert "`" not in shown[1:-1]
    assert "\n" not in shown
    change = Change(urn=f"urn:pulumi:dev::p::t::{text}", type="t", action="create", layer="foundation")
    page = html.render(Report(preview=Preview(stack="dev", changes=(change,), unchanged=0, errors=(text,), config={})))
    assert "<img" not in page


def test_the_page_asks_for_nothing_from_elsewhere():
    page = html.render(report("database-replaced"))
    assert "default-src 'none'" in page
    assert not [mark for mark in ("http://", "https://", "<script", "<link", "@import", "url(") if mark in page]


def test_secrets_and_unknown_values_are_never_shown():
    secret = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:abc"}
    assert value_text(secret) == "[secret]"
    assert value_text(UNKNOWN) == "(known later)"
    assert value_text("long" * 100) == ""


# The command


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, arguments)
    return result.exit_code, result.stdout


def given(scene: str) -> list[str]:
    return ["--preview", str(FIXTURES / f"{scene}.json"), "--state", str(FIXTURES / f"{SCENES[scene]}.state.json")]


def test_files_are_written_and_json_tells_the_same(tmp_path: Path):
    comment, page = tmp_path / "comment.md", tmp_path / "page.html"
    code, output = run(*given("new-node-group"), "--markdown", str(comment), "--html", str(page), "--json")
    assert code == 0
    found: dict[str, Any] = json.loads(output)
    assert [one["action"] for one in found["changes"]] == ["create"] * 3
    assert comment.read_text() == (PLAN / "golden" / "new-node-group.md").read_text()
    assert page.read_text().startswith("<!doctype html>")


def test_strict_ends_with_1_where_something_speaks_against_it():
    assert run(*given("database-replaced"), "--strict")[0] == 1
    assert run(*given("database-replaced"))[0] == 0
    assert run(*given("nothing"), "--strict")[0] == 0


def test_what_is_no_preview_ends_with_2(tmp_path: Path):
    path = tmp_path / "preview.json"
    path.write_text("{}")
    assert run("--preview", str(path))[0] == 2
