"""The platform as a whole: what is installed, and what is said of settings that do nothing."""

from __future__ import annotations

import pytest
from aws_stack import run
from conftest import Recorder
from platform_site import site

from components.platform.platform import Platform, PlatformArgs, openings, secret_entries
from components.settings import Settings, parse

pytestmark = pytest.mark.unit

NEEDED = {"owner": "ml-platform", "costCenter": "ml"}
SECTIONS = ("secrets", "certificates", "mesh", "gateway", "scheduling", "gpus", "autoscaling", "backups", "delivery")
RELEASE = "kubernetes:helm.sh/v3:Release"


def settings(**platform: object) -> Settings:
    return parse({**NEEDED, "platform": platform})


def test_with_everything_switched_off_only_the_namespaces_remain(recorded: Recorder):
    off = settings(**{section: {"enabled": False} for section in SECTIONS})

    def program() -> None:
        Platform("platform", PlatformArgs(foundation=site().foundation, settings=off))

    run(program)
    assert not [one for one in recorded.resources if one.type == RELEASE]
    assert [one for one in recorded.resources if one.type == "kubernetes:core/v1:Namespace"]


@pytest.mark.parametrize("section", SECTIONS)
def test_each_system_can_be_left_out_by_itself_or_the_settings_say_who_needs_it(recorded: Recorder, section: str):
    needed_by = {
        "secrets": {"delivery": {"enabled": False}},
        "certificates": {"gateway": {"enabled": False}},
        "mesh": {"gateway": {"enabled": False}},
    }
    without = settings(**{section: {"enabled": False}}, **needed_by.get(section, {}))

    def program() -> None:
        Platform("platform", PlatformArgs(foundation=site().foundation, settings=without))

    run(program)
    assert not [one for one in recorded.resources if one.parent == f"platform-{section}"]


def test_what_is_switched_off_opens_no_way_and_reads_no_credential():
    everything: list[int] = []

    def program() -> None:
        off = site({"delivery": {"enabled": False}, "gateway": {"enabled": False}})
        assert list(secret_entries(off)) == []
        everything.extend((len(list(openings(site()))), len(list(openings(off)))))

    run(program)
    assert everything[0] > everything[1]


LEARNING = ("ray", "vectors", "experiments", "workflows", "pipelines", "training", "modelGateway", "serving")


def releases_of(recorded: Recorder, **platform: object) -> set[str]:
    given = settings(**platform)

    def program() -> None:
        Platform("platform", PlatformArgs(foundation=site(teams=given.teams).foundation, settings=given))

    run(program)
    return {one.name for one in recorded.resources if one.parent.startswith("platform-ml")}


def test_the_systems_of_learning_are_installed_where_their_section_is_given(recorded: Recorder):
    assert releases_of(recorded) == set()
    assert releases_of(recorded, **{section: {} for section in LEARNING})
