"""What the shipped stacks let pods do in the cloud: whole, and as the page in docs says it."""

from __future__ import annotations

import copy
import difflib
import json
from typing import Any

import pytest

from ops import access_page
from ops.access_matrix import read
from ops.access_problems import problems
from tests.engine.harness import ROOT, FullStack

pytestmark = pytest.mark.engine

PAGE = ROOT / "docs" / "access-matrix.md"


def test_every_identity_has_a_use_every_chart_its_role_and_all_data_its_key(full_stack: FullStack):
    assert problems(full_stack.exported_in_clear) == []


def test_the_check_bites_on_this_very_state(full_stack: FullStack):
    """Taking the key grants out of any role that has data must be noticed, or the check reads the state wrongly."""
    state = copy.deepcopy(full_stack.exported_in_clear)
    stripped = 0
    for resource in state["deployment"]["resources"]:
        if resource["type"] != "aws:iam/rolePolicy:RolePolicy" or not isinstance(resource["inputs"]["policy"], str):
            continue
        document = json.loads(resource["inputs"]["policy"])
        kept = [statement for statement in document["Statement"] if not _is_of_keys(statement)]
        if kept and len(kept) < len(document["Statement"]):
            resource["inputs"]["policy"] = json.dumps({**document, "Statement": kept})
            stripped += 1
    assert stripped
    found = problems(state)
    assert any("objects of" in line and "without kms:Decrypt" in line for line in found)
    assert any("secret" in line and "without kms:Decrypt" in line for line in found)


def _is_of_keys(statement: dict[str, Any]) -> bool:
    actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
    return all(action.startswith("kms:") for action in actions)


def test_no_identity_may_do_everything_with_anything(full_stack: FullStack):
    for role in read(full_stack.exported_in_clear).roles:
        for permission in role.permissions:
            assert not any(action == "*" or action.endswith(":*") for action in permission.actions), role.resource


def test_the_page_in_docs_is_that_of_prod(prod: FullStack, request: pytest.FixtureRequest):
    now = access_page.render(prod.exported_in_clear)
    if request.config.getoption("--update-golden"):
        PAGE.write_text(now)
    there = PAGE.read_text() if PAGE.exists() else ""
    changed = "\n".join(
        difflib.unified_diff(there.splitlines(), now.splitlines(), f"docs/{PAGE.name}", "now", lineterm="")
    )
    assert not changed, f"{changed}\n\nIf this is what you mean: pytest {__file__} --update-golden"
