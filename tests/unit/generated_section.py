"""Tables of documents that are generated: they are current, or ``--update-golden`` makes them so."""

from __future__ import annotations

from pathlib import Path

import pytest


def assert_current(page: Path, section: str, content: str, request: pytest.FixtureRequest) -> None:
    """Between the comments ``<!-- section: begin -->`` and ``end`` the page has ``content``."""
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    text = page.read_text()
    before, rest = text.split(begin)
    now = f"{before}{begin}\n\n{content}\n\n{end}{rest.split(end)[1]}"
    if request.config.getoption("--update-golden"):
        page.write_text(now)
        text = now
    assert text == now, f"{page.name} is not current: pytest {request.path.name} --update-golden writes it anew"
