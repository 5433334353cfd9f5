"""Runbooks: every alert has one, every one has an alert, and each says what a person on call needs."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import BaseModel

from components.platform.observability import catalogue, rules
from components.platform.observability.dashboards import boards
from components.platform.observability.dashboards.model import Board
from components.platform.observability.rules import ModelObjective, SiteFacts, runbook_url
from components.settings.platform import PlatformSettings
from tests.unit import workload_alerts
from tests.unit.conftest import Recorder
from tests.unit.platform_site import site
from tests.unit.platform_stores import STORES
from tests.unit.runbook_commands import RUNBOOKS, VARIABLES, commands, expressions, problems

pytestmark = pytest.mark.unit

DOCS = RUNBOOKS.parent
PAGES = {page.stem: page.read_text() for page in sorted(RUNBOOKS.glob("*.md"))}
PARTS = ("**Means.**", "**See.**", "**Do.**", "**Back.**")

ALERTS = {
    alert.name: alert
    for group in rules.groups(
        SiteFacts(settings=PlatformSettings(), spot_pools=({"llmops/role": "gpu-training"},), stores=STORES),
        (ModelObjective(name="m", namespace="n", team="t", backend="vllm", cold_start_seconds=1),),
    )
    for alert in group.alerts
}

NAMES = {*ALERTS, *(name for module in workload_alerts.modules() for name in workload_alerts.constants(module))}


def sections() -> dict[tuple[str, str], str]:
    """Text by page and heading."""
    found: dict[tuple[str, str], str] = {}
    for page, whole in PAGES.items():
        for part in re.split(r"^## ", whole, flags=re.MULTILINE)[1:]:
            title, _, text = part.partition("\n")
            found[page, title.strip()] = text
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


@pytest.fixture
def shown(recorded: Recorder) -> dict[str, Board]:
    """Dashboards of a stack with everything on, by their address."""
    made: list[Board] = []
    recorded.run(lambda: made.extend(boards(site())))
    return {f"/d/{board.uid}": board for board in made}


def see(text: str) -> str:
    """The part that says how to look."""
    return text.partition("**See.**")[2].partition("**Do.**")[0]


def test_a_runbook_names_the_dashboard_that_its_alert_links_to(shown: dict[str, Board], recorded: Recorder):
    of_workloads = [alert for group in workload_alerts.groups(recorded).values() for alert in group.alerts]
    for alert in (*ALERTS.values(), *of_workloads):
        if alert.name == "Watchdog":
            continue
        assert alert.dashboard, f"{alert.name} links to no dashboard"
        place = f"/d/{rules.DASHBOARD_UIDS[alert.dashboard]}"
        named = f"Dashboard *{shown[place].title}* (`{place}`)"
        assert named in see(sections()[alert.page, alert.name]), f"{alert.name} does not say: {named}"


def test_every_dashboard_and_every_panel_that_a_runbook_names_exists(shown: dict[str, Board]):
    titles = {board.title for board in shown.values()}
    panels = {panel.title for board in shown.values() for panel in board.panels}
    for page, text in PAGES.items():
        assert set(re.findall(r"`(/d/[^`]+)`", text)) <= set(shown), page
        assert set(re.findall(r"[Dd]ashboard \*([^*]+)\*", text)) <= titles, page
        assert set(re.findall(r"[Pp]anel \*([^*]+)\*", text)) <= panels, page


@pytest.mark.parametrize("where", sections(), ids="/".join)
def test_a_runbook_says_what_to_type_to_see_it(where: tuple[str, str]):
    page, _ = where
    text = see(sections()[where])

    assert commands(page, text) or expressions(page, text) or "As for [" in text


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_runbook_can_be_typed(page: str):
    assert {one.text: found for one in commands(page, PAGES[page]) if (found := problems(one.text))} == {}


def test_every_expression_of_a_runbook_asks_for_series_that_somebody_exports():
    asked = [one for page, text in PAGES.items() for one in expressions(page, text)]

    assert len(asked) > 20
    assert {one.text: found for one in asked if (found := catalogue.problems(one.text))} == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("kubectl -n mlops-traning get pods", "no namespace mlops-traning"),
        ("kubectl -n $NS get pod $POD -o wide | grep x", ""),
        ("kubectl -n $NS get inferenceservise", "no kind inferenceservise"),
        ("kubectl get rayjobs", "rayjobs is looked for in the namespace default"),
        ("kubectl -n $NS list pods", "kubectl has no list"),
        ("kubectl -n $NS logs $POD --tial=5", "kubectl logs has no --tial"),
        ("kubectl -n $NS exec $POD -- nvidia-smy", "in the pod"),
        ("kubectl -n $NS get pod $WHAT", "nobody says what $WHAT is"),
        ("kubectl -n $NS delete pod <pod>", "a shell takes < for something else"),
        ("kubectl -n $NS get pod -o jsonpath='{.status", "a shell does not read it"),
        ("velero backup make", "velero has no backup make"),
        ("velero restore create --from-backup $NAME", ""),
        ("python -m ops preflite", "ops has no preflite"),
        ("python -m ops cost --not-there", "ops cost"),
        ("python -m ops access-matrix", ""),
        ("kubctl -n $NS get pods", "no program kubctl is known"),
    ],
)
def test_a_command_that_cannot_be_typed_is_noticed(line: str, said: str):
    found = problems(line)

    assert any(said in one for one in found) if said else not found


def test_every_variable_of_a_runbook_is_explained():
    told = (DOCS / "alerts.md").read_text()

    assert {name for name in VARIABLES if f"`${name}`" not in told} == set()


SETTING = re.compile(r"`(platform(?:\.\w+)+)(?:: [^`]*)?`")


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_of_the_platform_that_a_runbook_names_exists(page: str):
    for path in SETTING.findall(PAGES[page]):
        model: Any = PlatformSettings
        for name in path.split(".")[1:]:
            assert issubclass(model, BaseModel), path
            fields = {field.alias or key: field.annotation for key, field in model.model_fields.items()}
            assert name in fields, path
            model = fields[name]
            model = model if isinstance(model, type) else object


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
