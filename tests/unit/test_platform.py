"""The platform as a whole: what is installed, and what is left out."""

from __future__ import annotations

import pytest
from aws_stack import run
from conftest import Recorder
from platform_site import site

from components.platform.platform import Platform, PlatformArgs, openings, secret_entries
from components.settings import Settings, parse

pytestmark = pytest.mark.unit

NEEDED = {"owner": "ml-platform", "costCenter": "ml"}
WATCHING = ("metrics", "grafana", "logs", "traces")
LEARNING = ("ray", "vectors", "experiments", "workflows", "pipelines", "training", "modelGateway", "serving")
SECTIONS = (
    *("secrets", "certificates", "mesh", "gateway", "scheduling", "gpus", "autoscaling", "backups", "delivery"),
    *LEARNING,
    *WATCHING,
)
# Who needs a section, and must be switched off with it. Nobody needs the others: they are left out together.
NEEDED_BY = {
    "secrets": ("delivery", "vectors", "experiments", "workflows", "pipelines", "training", "modelGateway", "grafana"),
    "certificates": ("gateway", "serving"),
    "mesh": ("gateway", "vectors"),
    "scheduling": ("training",),
    "autoscaling": ("serving",),
    "delivery": ("pipelines", "training"),
    "workflows": ("pipelines",),
    "metrics": ("grafana",),
}
OFF = {"enabled": False}
# Components that are called otherwise than their section.
NAMED = {"modelGateway": "models", "grafana": "dashboards"}
RELEASE = "kubernetes:helm.sh/v3:Release"


def settings(**platform: object) -> Settings:
    return parse({**NEEDED, "platform": platform})


def components_of(recorded: Recorder) -> set[str]:
    """Names of what was made, without those of what they are part of."""
    names = {one.name.removeprefix("platform-") for one in recorded.resources}
    return {name.removeprefix("ml-").removeprefix("observability-") for name in names}


def test_with_everything_switched_off_only_the_namespaces_remain(recorded: Recorder):
    off = settings(**dict.fromkeys(SECTIONS, OFF))

    def program() -> None:
        Platform("platform", PlatformArgs(foundation=site().foundation, settings=off))

    run(program)
    assert not [one for one in recorded.resources if one.type == RELEASE]
    assert [one for one in recorded.resources if one.type == "kubernetes:core/v1:Namespace"]


@pytest.mark.parametrize("section", [*NEEDED_BY, "ray"])
def test_a_system_can_be_left_out_with_those_that_need_it(recorded: Recorder, section: str):
    unneeded = [one for one in SECTIONS if one not in NEEDED_BY] if section == "ray" else []
    without = settings(**dict.fromkeys((section, *unneeded, *NEEDED_BY.get(section, ())), OFF))

    def program() -> None:
        Platform("platform", PlatformArgs(foundation=site().foundation, settings=without))

    run(program)
    assert NAMED.get(section, section) not in components_of(recorded)


def test_what_is_switched_off_opens_no_way_and_reads_no_credential():
    everything: list[int] = []

    def program() -> None:
        off = site(dict.fromkeys(SECTIONS, OFF))
        assert list(secret_entries(off)) == []
        everything.extend((len(list(openings(site()))), len(list(openings(off)))))

    run(program)
    assert everything[0] > everything[1]


def test_everything_is_installed_unless_it_is_switched_off(recorded: Recorder):
    given = settings()

    def program() -> None:
        Platform("platform", PlatformArgs(foundation=site(teams=given.teams).foundation, settings=given))

    run(program)
    assert {NAMED.get(section, section) for section in SECTIONS} <= components_of(recorded)
