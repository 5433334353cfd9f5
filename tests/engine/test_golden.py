"""The graphs of the shipped stacks are those in tests/golden, which only ``--update-golden`` rewrites."""

from __future__ import annotations

import difflib

import pytest

from tests.engine.graph import snapshot
from tests.engine.harness import ROOT, FullStack

pytestmark = pytest.mark.engine

GOLDEN = ROOT / "tests" / "golden"


def test_the_graph_is_the_one_that_was_reviewed(every_stack: FullStack, request: pytest.FixtureRequest):
    """A refactoring leaves it as it is; a change shows here what it does to every stack, line by line."""
    golden = GOLDEN / f"{every_stack.stack}.yaml"
    now = snapshot(every_stack.exported)
    if request.config.getoption("--update-golden"):
        golden.write_text(now)
    reviewed = golden.read_text() if golden.exists() else ""
    changed = "\n".join(
        difflib.unified_diff(reviewed.splitlines(), now.splitlines(), f"tests/golden/{golden.name}", "now", lineterm="")
    )
    assert not changed, f"{changed}\n\nIf this is what you mean: pytest tests/engine/test_golden.py --update-golden"
