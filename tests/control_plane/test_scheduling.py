"""Queues, gangs and backups on a real API server, with the definitions that their charts bring."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pulumi
import pytest

from components.aws.nodes import pool_of
from components.platform.backups import Backups, BackupsArgs
from components.platform.scheduling import Scheduling, SchedulingArgs
from components.platform.site import Site
from components.settings.nodes import table
from components.settings.teams import TeamSettings
from sandbox.provider import ProviderError
from tests.control_plane.conftest import Stack
from tests.control_plane.declared import Declared, definitions, furnishing, objects_of
from tests.unit.conftest import Recorder
from tests.unit.conftest import recorded as recorded  # noqa: PLC0414 a fixture, for this module too
from tests.unit.platform_site import options, site

pytestmark = pytest.mark.control_plane

TEAMS = (TeamSettings(name="research", gpus=4), TeamSettings(name="search", gpus=6))
NAMESPACES = ("mlops-training", "mlops-data", "team-research", "team-search", "volcano-system", "velero", "free")
_PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def furnished(stack: Stack) -> Iterator[Stack]:
    definitions("volcano")
    with furnishing(stack, {name: {} for name in NAMESPACES}):
        yield stack


def objects(recorded: Recorder, component: Callable[[Site, pulumi.ResourceOptions], Any]) -> list[tuple[str, Any]]:
    """Type and inputs of everything but the release that a component declares."""

    def program() -> None:
        place = site(teams=TEAMS, pools=[pool_of(group) for group in table()])
        component(place, options(place))

    return objects_of(recorded, program)


def scheduling(place: Site, opts: pulumi.ResourceOptions) -> Scheduling:
    return Scheduling("scheduling", SchedulingArgs(site=place), opts)


def backups(place: Site, opts: pulumi.ResourceOptions) -> Backups:
    return Backups("backups", BackupsArgs(site=place), opts)


def gang(name: str, namespace: str, queue: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "queue": queue,
            "minMember": 4,
            "minResources": {"nvidia.com/gpu": "4", "cpu": "32"},
            "priorityClassName": "training",
        },
    }


GANG = "scheduling.volcano.sh/v1beta1:PodGroup"
QUEUE = "scheduling.volcano.sh/v1beta1:Queue"


def refused(stack: Stack, inputs: dict[str, Any]) -> str:
    """Why a gang is refused; a policy takes effect some moments after it was created."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            Declared(stack, GANG, inputs).create().delete()
        except ProviderError as error:
            return str(error)
        time.sleep(0.5)
    return ""


def test_queues_and_gangs_are_admitted_and_a_gang_in_anothers_queue_is_not(furnished: Stack, recorded: Recorder):
    made = [Declared(furnished, token, inputs).create() for token, inputs in objects(recorded, scheduling)]
    try:
        live = furnished.client.items("/apis/scheduling.volcano.sh/v1beta1/queues")
        specs = {one["metadata"]["name"]: one["spec"] for one in live}
        assert set(specs) == {"training", "data", "team-research", "team-search"}
        assert specs["team-research"]["capability"]["nvidia.com/gpu"] == "4"

        why = refused(furnished, gang("stolen", "team-search", "team-research"))
        assert "queue team-research is of another namespace; use team-search" in why

        for namespace, queue in (
            ("team-search", "team-search"),
            ("team-search", "default"),
            ("mlops-training", "training"),
            ("free", "training"),  # not one of the namespaces whose jobs are scheduled: not judged
        ):
            Declared(furnished, GANG, gang("own", namespace, queue)).create().delete()
    finally:
        for one in reversed(made):
            one.delete()


def test_the_definition_of_queues_is_the_real_one(furnished: Stack):
    with pytest.raises(ProviderError, match="deservd"):
        Declared(furnished, QUEUE, {"metadata": {"name": "a"}, "spec": {"deservd": {"nvidia.com/gpu": "1"}}}).create()
    with pytest.raises(ProviderError, match="capability"):
        Declared(furnished, QUEUE, {"metadata": {"name": "a"}, "spec": {"capability": {"cpu": "four"}}}).create()


def test_the_schedule_and_the_way_to_take_snapshots_are_admitted(furnished: Stack, recorded: Recorder):
    made = [Declared(furnished, token, inputs).create() for token, inputs in objects(recorded, backups)]

    (schedule,) = furnished.client.items("/apis/velero.io/v1/namespaces/velero/schedules")
    assert "team-research" in schedule["spec"]["template"]["includedNamespaces"]
    (snapshots,) = furnished.client.items("/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses")
    assert snapshots["deletionPolicy"] == "Retain"
    for one in reversed(made):
        one.delete()
