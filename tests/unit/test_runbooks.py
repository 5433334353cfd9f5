"""Runbooks: every alert has one, every one has an alert, and each says what a person on call needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from components.platform.observability import rules
from components.platform.observability.rules import ModelObjective, SiteFacts, runbook_url
from components.settings.platform import PlatformSettings
from workloads.models.alerts import ALERT as CANARY
from workloads.preprocess.alerts import ALERT as DATASET
from workloads.release import alerts as releases
from workloads.retrieval.alerts import NAMES as RETRIEVAL

pytestmark = pytest.mark.unit

DOCS = Path(__file__).resolve().parents[2] / "docs"
RUNBOOKS = DOCS / "runbooks"
PARTS = ("**Means.**", "**See.**", "**Do.**", "**Back.**")

ALERTS = {
    alert.name: alert
    for group in rules.groups(
        SiteFacts(settings=PlatformSettings(), spot_pools=({"llmops/role": "gpu-training"},)),
        (ModelObjective(name="m", namespace="n", team="t", backend="vllm", cold_start_seconds=1),),
    )
    for alert in group.alerts
}


NAMES = {*ALERTS, CANARY, DATASET, *RETRIEVAL, releases.FAILED, releases.LATE}


def sections() -> dict[tuple[str, str], str]:
    """Text by page and heading."""
    found: dict[tuple[str, str], str] = {}
    for page in sorted(RUNBOOKS.glob("*.md")):
        for part in re.split(r"^## ", page.read_text(), flags=re.MULTILINE)[1:]:
            title, _, text = part.partition("\n")
            found[page.stem, title.strip()] = text
    return found


def anchor(title: str) -> str:
    """As the forges make it of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("name", ALERTS)
def test_the_link_of_an_alert_leads_to_its_section(name: str):
    page, _, section = runbook_url(ALERTS[name], "docs/runbooks").removeprefix("docs/runbooks/").partition(".md#")

    assert (page, name) in sections()
    assert section == anchor(name)


def test_no_runbook_is_of_an_alert_that_is_no_more():
    assert {title for _, title in sections()} == NAMES


@pytest.mark.parametrize("where", sections(), ids="/".join)
def test_a_runbook_says_what_it_means_how_to_see_it_what_to_do_and_the_way_back(where: tuple[str, str]):
    text = sections()[where]

    places = [text.find(part) for part in PARTS]
    assert -1 not in places
    assert places == sorted(places)
    assert [len(text.split(part)) for part in PARTS] == [2, 2, 2, 2]


def test_every_link_of_a_runbook_leads_somewhere():
    for page in (*RUNBOOKS.glob("*.md"), DOCS / "alerts.md"):
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if target.startswith("https://"):
                continue
            path, _, section = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), f"{page.name}: {target}"
            if section:
                titles = re.findall(r"^#+ (.+)$", file.read_text(), flags=re.MULTILINE)
                assert section in {anchor(title) for title in titles}, f"{page.name}: {target}"
