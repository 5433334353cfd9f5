"""``python -m ops models promote``."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from ops import models
from tests.unit.test_evaluation_gate import Registry, judged

pytestmark = pytest.mark.unit


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    made = Registry(3)
    judged(made, "2")
    judged(made, "3")
    monkeypatch.setattr(models, "_client", lambda: made)
    return made


def called(*arguments: str) -> Any:
    return CliRunner().invoke(models.app, ["promote", "chat", *arguments])


def test_a_version_that_passed_is_promoted_and_back_again_by_a_person(registry: Registry):
    assert called("3").exit_code == 0
    assert registry.aliases == {"production": "3"}
    stays = called("2")
    assert (stays.exit_code, "stays with version 3" in stays.output) == (1, True)
    assert called("2", "--back").exit_code == 0
    assert registry.aliases == {"production": "2"}


def test_a_version_that_was_not_evaluated_needs_a_reason(registry: Registry):
    refused = called("1", "--alias", "trial")
    assert (refused.exit_code, "has not been evaluated" in refused.output) == (1, True)
    assert called("1", "--alias", "trial", "--unevaluated", "imported").exit_code == 0
    assert registry.aliases == {"trial": "1"}


def test_a_registry_that_cannot_be_asked_is_no_refusal(registry: Registry):
    def away() -> None:
        raise ConnectionError("nobody there")

    registry.step = away
    failed = called("3")
    assert (failed.exit_code, "nobody there" in failed.output) == (2, True)
