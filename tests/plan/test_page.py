"""The report's page in a real Chromium, light and dark, wide and narrow."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from ops.cost.read import read_json, states_of_export
from ops.plan import html
from ops.plan.cli import read_events
from ops.plan.report import build

pytestmark = pytest.mark.browser

FIXTURES = Path(__file__).resolve().parent / "fixtures"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SECONDS = 120


@pytest.fixture(scope="module")
def chromium() -> str:
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"there is no Chromium on PATH ({', '.join(_NAMES)})")
    return found


def page(scene: str, stack: str, folder: Path, probe: str = "") -> Path:
    """The report of a preview; ``probe`` is a script for the test alone, which the page's own policy would refuse."""
    events = FIXTURES / f"{scene}.events.jsonl"
    report = build(
        read_json(FIXTURES / f"{scene}.json"),
        state=states_of_export(read_json(FIXTURES / f"{stack}.state.json")),
        events=list(read_events(events)) if events.exists() else (),
    )
    text = html.render(report)
    if probe:
        text = re.sub(r"<meta http-equiv=[^>]*>", "", text).replace("</body>", f"<script>{probe}</script></body>")
    path = folder / f"{scene}.html"
    path.write_text(text)
    return path


def run(chromium: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # --no-sandbox: Chromium's own sandbox refuses to start as root, which containers often are.
    fixed = (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}",
    )
    return subprocess.run([chromium, *fixed, *arguments], capture_output=True, text=True, timeout=_SECONDS, check=True)


MEASURE = """
const facts = {
  wider: document.documentElement.scrollWidth > document.documentElement.clientWidth,
  ground: getComputedStyle(document.body).backgroundColor,
  ink: getComputedStyle(document.body).color,
  verdict: document.querySelector('.verdict').getBoundingClientRect().top,
  tables: [...document.querySelectorAll('table')].map(one => one.rows.length),
  heads: [...document.querySelectorAll('h2')].map(one => one.textContent),
};
document.title = JSON.stringify(facts);
"""


def measured(chromium: str, path: Path, folder: Path, *arguments: str) -> dict[str, object]:
    shown = run(chromium, folder, "--dump-dom", "--virtual-time-budget=2000", *arguments, path.as_uri()).stdout
    match = re.search(r"<title>(.*?)</title>", shown, re.DOTALL)
    assert match, shown[:500]
    return json.loads(match[1].replace("&quot;", '"').replace("&amp;", "&"))


@pytest.mark.parametrize("width", [1280, 500])
def test_the_page_is_laid_out_without_scrolling_sideways(chromium: str, tmp_path: Path, width: int):
    path = page("policy-breach", "prod", tmp_path, MEASURE)
    facts = measured(chromium, path, tmp_path, f"--window-size={width},900")
    assert facts["wider"] is False
    assert facts["heads"] == ["Policies", "Cost", "Quotas", "Changes"]
    assert facts["tables"]


def test_light_and_dark_follow_the_readers_system(chromium: str, tmp_path: Path):
    path = page("database-replaced", "dev", tmp_path, MEASURE)
    light = measured(chromium, path, tmp_path)
    dark = measured(chromium, path, tmp_path, "--blink-settings=preferredColorScheme=0")
    assert light["ground"] == "rgb(255, 255, 255)"
    assert dark["ground"] == "rgb(22, 24, 27)"
    assert light["ink"] != dark["ink"]


def test_what_holds_data_is_on_the_first_screen(chromium: str, tmp_path: Path):
    path = page("database-replaced", "dev", tmp_path, MEASURE)
    facts = measured(chromium, path, tmp_path, "--window-size=1280,900")
    assert facts["heads"][0] == "Data at risk"  # type: ignore[index]  # JSON
    assert 0 < float(str(facts["verdict"])) < 300


def test_the_page_as_it_is_written_breaks_none_of_its_own_rules(chromium: str, tmp_path: Path):
    """Its policy forbids everything from elsewhere, so anything that it lacked would be an error on the console."""
    path = page("policy-breach", "prod", tmp_path)
    picture = tmp_path / "page.png"
    answer = run(
        chromium,
        tmp_path,
        "--enable-logging=stderr",
        f"--screenshot={picture}",
        "--window-size=1280,1600",
        path.as_uri(),
    )
    assert "Content Security Policy" not in answer.stderr
    width, height = struct.unpack(">II", picture.read_bytes()[16:24])
    assert (width, height) == (1280, 1600)
