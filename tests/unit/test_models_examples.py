"""The examples are accepted as they stand, one for each backend, and their table is current."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from components.settings import parse
from components.settings.models import BackendName
from workloads.models import tables

pytestmark = pytest.mark.unit

EXAMPLES = sorted(tables.EXAMPLES.glob("*.yaml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=[one.stem for one in EXAMPLES])
def test_an_example_is_accepted(example: Path):
    settings = parse(tables.settings_of(example))
    assert settings.models or settings.datasets or settings.fine_tunes or settings.retrievals


def test_there_is_an_example_for_each_backend():
    shown = {model.backend for example in EXAMPLES for model in parse(tables.settings_of(example)).models}

    assert shown == set(get_args(BackendName))


def test_the_table_of_the_examples_is_current(request: pytest.FixtureRequest):
    text = tables.PAGE.read_text()
    now = tables.placed(text)
    if request.config.getoption("--update-golden"):
        tables.PAGE.write_text(now)
        return
    assert text == now, "python -m workloads.models.tables writes it anew"
