"""Kubeflow Pipelines for a single user, the default: its own programs on what is emitted, with their own rights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from components.platform.pipelines_manifests import RUNNER
from tests.control_plane.conftest import Stack
from tests.control_plane.pipelines_service import (
    API,
    NLP,
    OURS,
    PIPELINE,
    SINGLE,
    Service,
    eventually,
    furnished_with,
    manifests,
    serving,
)

pytestmark = pytest.mark.control_plane

WORKFLOWS = f"/apis/argoproj.io/v1alpha1/namespaces/{OURS}/workflows"


@pytest.fixture(scope="module")
def service(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    from_git = manifests(SINGLE, tmp_path_factory.mktemp("tree"))
    with (
        furnished_with(stack, SINGLE) as furnished,
        serving(furnished, from_git, tmp_path_factory.mktemp("pipelines")) as found,
    ):
        yield found


def started(service: Service, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A run in the default experiment, by nobody in particular, and its workflow."""
    answer = service.call("POST", f"{API}/runs", json={"display_name": name, "pipeline_spec": PIPELINE})
    assert answer.ok, answer.text
    run = answer.json()
    (workflow,) = service.client.items(WORKFLOWS, labelSelector=f"pipeline/runid={run['run_id']}")
    return run, workflow


def test_it_says_that_there_is_one_user(service: Service):
    assert service.call("GET", f"{API}/healthz").json()["multi_user"] is False


def test_a_run_becomes_a_workflow_beside_the_server(service: Service):
    _, workflow = started(service, "first")
    assert workflow["spec"]["serviceAccountName"] == RUNNER
    assert not service.client.items(f"/apis/argoproj.io/v1alpha1/namespaces/{NLP}/workflows")


def test_how_a_workflow_ends_is_seen_in_the_run(service: Service):
    run, workflow = started(service, "ending")
    service.end(workflow)

    def ended() -> bool:
        return service.call("GET", f"{API}/runs/{run['run_id']}").json()["state"] == "SUCCEEDED"

    eventually(ended, lambda: service.log.read_text()[-3000:])


def test_a_recurring_run_starts(service: Service):
    uploaded = service.upload("", "every-second")
    assert uploaded.ok, uploaded.text
    body = {
        "display_name": "every-second",
        "pipeline_version_reference": {"pipeline_id": uploaded.json()["pipeline_id"]},
        "mode": "ENABLE",
        "max_concurrency": "1",
        "trigger": {"periodic_schedule": {"interval_second": "1"}},
    }
    recurring = service.made(f"{API}/recurringruns", "", json=body)["recurring_run_id"]

    def begun() -> list[dict[str, Any]]:
        runs = service.call("GET", f"{API}/runs").json().get("runs", ())
        return [one for one in runs if one.get("recurring_run_id") == recurring]

    eventually(begun, lambda: service.log.read_text()[-3000:])
    assert service.call("DELETE", f"{API}/recurringruns/{recurring}").ok
