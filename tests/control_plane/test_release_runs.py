"""Runs of a release on Argo's own controller: which steps it takes, skips and repeats. Nothing runs in their pods."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
import requests

from sandbox.kubernetes.api import Manifest
from tests.control_plane.conftest import Stack
from tests.control_plane.declared import Declared, definitions, furnishing
from tests.control_plane.test_release_objects import PLACES, declared
from tests.control_plane.workflow_controller import Controller, play, running
from tests.unit.conftest import recording
from workloads.release.releases import NAMESPACE
from workloads.release.steps import EXIT_REFUSED

pytestmark = pytest.mark.control_plane

TEMPLATE: Final = "release-support"
ALL: Final = (
    "look",
    "preprocess",
    "plan",
    "train",
    "find",
    "answer",
    "evaluate",
    "register",
    "convert",
    "build",
    "sync",
    "trial",
    "promote",
)
DECISIONS: Final = ("preprocess", "train", "evaluate", "convert", "build", "sync", "trial")
RESULTS: Final = (
    "record", "name", "dataset", "model", "version", "source", "checkpointKey", "engineKey", "trialKey", "checkpoint",
    "engine", "release", "answers", "verdict", "reasons", "bearer",
)  # fmt: skip
_PATIENCE_SECONDS: Final = 120.0


@pytest.fixture(scope="module")
def controller(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    definitions("argo-workflows")
    with furnishing(stack, PLACES), running(stack, tmp_path_factory.mktemp("argo")) as found:
        with recording() as recorder:
            wanted = declared(recorder)
        made = [Declared(stack, *one).create() for one in wanted]
        yield found
        for one in reversed(made):
            one.delete()


class Run:
    """One run of the release."""

    def __init__(self, controller: Controller, name: str, told: Mapping[str, str]) -> None:
        self._controller, self._name, self._told = controller, name, told
        self.taken: list[str] = []
        kind = controller.client.kind("argoproj.io/v1alpha1", "Workflow")
        assert kind is not None
        self._kind = kind
        manifest = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"workflowTemplateRef": {"name": TEMPLATE}},
        }
        controller.client.apply(kind, manifest, manager="test")

    def now(self) -> Manifest:
        found = self._controller.client.get(self._kind, NAMESPACE, self._name)
        assert found is not None
        return found

    def step(self, codes: Mapping[str, int] | None = None) -> str:
        """End what runs; returns the phase."""
        self.taken += play(self._controller.client, self.now(), self._told, codes)
        return str(self.now().get("status", {}).get("phase", ""))

    def until(self, *phases: str, codes: Mapping[str, int] | None = None) -> Manifest:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self.step(codes) not in phases:
            assert time.monotonic() < deadline, (
                f"{self.now().get('status')}\n{self._controller.log.read_text()[-2000:]}"
            )
            time.sleep(0.5)
        return self.now()


def told(*leaves: str) -> dict[str, str]:
    """What steps put out: every decision is to run, but those that are left out."""
    return {**dict.fromkeys(RESULTS, "told"), **{name: "skip" if name in leaves else "run" for name in DECISIONS}}


def ended(run: Run, *phases: str, codes: Mapping[str, int] | None = None) -> Manifest:
    found = run.until("Succeeded", "Failed", "Error", codes=codes)
    assert found["status"]["phase"] in phases, found["status"]
    return found


def test_everything_is_done_in_its_order(controller: Controller):
    run = Run(controller, "everything", told())
    ended(run, "Succeeded")
    assert tuple(run.taken) == ALL


@pytest.mark.parametrize("left_out", [("preprocess",), ("train",), ("convert",), ("build",), ("sync",), ("trial",)])
def test_what_is_there_already_is_left_out_and_stops_nothing(controller: Controller, left_out: tuple[str, ...]):
    run = Run(controller, f"without-{left_out[0]}", told(*left_out))
    ended(run, "Succeeded")
    assert tuple(run.taken) == tuple(name for name in ALL if name not in left_out)


def test_a_look_that_finds_nothing_costs_three_pods(controller: Controller):
    run = Run(controller, "nothing", told(*DECISIONS))
    ended(run, "Succeeded")
    assert run.taken == ["look", "plan", "find"]


def test_a_step_that_refuses_is_not_tried_again(controller: Controller):
    run = Run(controller, "refused", told())
    ended(run, "Failed", codes={"plan": EXIT_REFUSED})
    assert run.taken == ["look", "preprocess", "plan"]


def test_a_step_that_fails_otherwise_is_tried_again_later(controller: Controller):
    run = Run(controller, "again", told(*DECISIONS))
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while "look" not in run.taken:
        assert time.monotonic() < deadline
        run.step({"look": 1})
        time.sleep(0.5)
    ended(run, "Succeeded")
    assert run.taken == ["look", "look", "plan", "find"]


def test_a_second_run_waits_for_the_first(controller: Controller):
    first, second = (Run(controller, name, told(*DECISIONS)) for name in ("one", "other"))
    deadline = time.monotonic() + _PATIENCE_SECONDS

    def waiting() -> Any:
        return second.now().get("status", {}).get("synchronization", {}).get("mutex", {}).get("waiting")

    while not waiting():
        assert time.monotonic() < deadline, second.now().get("status")
        time.sleep(0.5)
    ended(first, "Succeeded")
    ended(second, "Succeeded")
    assert second.taken == ["look", "plan", "find"]


def test_how_a_run_ended_is_counted(controller: Controller):
    ended(Run(controller, "counted", told(*DECISIONS)), "Succeeded")
    found = requests.get(controller.metrics, timeout=10).text
    wanted = 'argo_workflows_llmops_flow_created_seconds{flow="release-support",status="Succeeded"}'
    assert wanted in found, [line for line in found.splitlines() if "llmops" in line]
