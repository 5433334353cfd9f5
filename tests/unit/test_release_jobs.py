"""Steps of a release that are objects of the cluster: created once, waited for, read; on a small API server."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.unit import image_code  # noqa: F401 - makes the next imports possible

from release import cluster, conditions  # isort: skip
from release.config import Start  # isort: skip


pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "document", "holds"),
    [
        ("status.jobStatus == SUCCEEDED", {"status": {"jobStatus": "SUCCEEDED"}}, True),
        ("status.jobStatus == SUCCEEDED", {"status": {"jobStatus": "RUNNING"}}, False),
        ("status.jobStatus == SUCCEEDED", {}, False),
        ("status.conditions[Failed] == True", {"status": {"conditions": [{"type": "Failed", "status": "True"}]}}, True),
        (
            "status.conditions[Failed] == True",
            {"status": {"conditions": [{"type": "Failed", "status": "False"}]}},
            False,
        ),
        (
            "status.conditions[Failed] == True",
            {"status": {"conditions": [{"type": "Complete", "status": "True"}]}},
            False,
        ),
        ("status.a == 1, status.b == 2", {"status": {"a": 1, "b": 3}}, False),
        ("status.a == 1 || status.b == 2", {"status": {"a": 0, "b": 2}}, True),
        ("status.jobs.0.succeeded > 0", {"status": {"jobs": [{"succeeded": 1}]}}, True),
        ("status.completionTime", {"status": {"completionTime": "now"}}, True),
        ("status.phase != Failed", {}, True),
    ],
)
def test_conditions_say_how_an_object_is(text: str, document: Any, holds: bool):
    conditions.check(text)
    assert conditions.holds(text, document) is holds


@pytest.mark.parametrize("text", ["", "status.a = b", "status.conditions[?(@)] == True", "a == b || "])
def test_a_condition_that_cannot_be_read_is_a_wrong_configuration(text: str):
    with pytest.raises(conditions.ConditionError):
        conditions.check(text)


class Cluster(ThreadingHTTPServer):
    """An API server with objects; each is asked for ``states`` in turn."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, Any] = {}
        self.states: list[Any] = []
        self.calls: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def api(self) -> cluster.Api:
        return cluster.Api(root=f"http://127.0.0.1:{self.server_port}", token=lambda: "t")


class Handler(BaseHTTPRequestHandler):
    server: Cluster

    def _answer(self, code: int, body: Any) -> None:
        self.server.calls.append(f"{self.command} {code}")
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        path = f"{self.path}/{body['metadata']['name']}"
        if path in self.server.objects:
            return self._answer(409, {})
        self.server.objects[path] = body
        return self._answer(201, body)

    def do_GET(self) -> None:
        if self.path not in self.server.objects:
            return self._answer(404, {})
        state = self.server.states.pop(0) if len(self.server.states) > 1 else self.server.states[0]
        if state == "away":
            return self._answer(503, {})
        return self._answer(200, {**self.server.objects[self.path], "status": state})

    def do_DELETE(self) -> None:
        self.server.objects.pop(self.path, None)
        self._answer(200, {})

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def control() -> Iterator[Cluster]:
    server = Cluster()
    yield server
    server.shutdown()


DONE, FAILED = (
    {"conditions": [{"type": "Complete", "status": "True"}]},
    {"conditions": [{"type": "Failed", "status": "True"}]},
)


def starting(**more: Any) -> Start:
    told = {
        "task": "start", "run": "run-1", "seconds": 5, "everySeconds": 0.01,
        "manifest": {
            "apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob",
            "metadata": {"name": "fine-tune-support", "namespace": "mlops-training"},
            "spec": {"trainer": {"numNodes": 2}},
        },
        "success": "status.conditions[Complete] == True", "failure": "status.conditions[Failed] == True",
    }  # fmt: skip
    return Start.model_validate(told | more)


def test_a_job_is_created_once_and_waited_for(control: Cluster):
    control.states = [{}, "away", {}, DONE]
    name = cluster.start(starting(), control.api)["name"]

    suffix = hashlib.sha256(b"run-1").hexdigest()[:8]
    assert name == f"fine-tune-support-{suffix}"
    assert control.calls.count("POST 201") == 1


def test_a_step_that_is_tried_again_finds_its_own_job_and_another_run_makes_another(control: Cluster):
    control.states = [DONE]
    cluster.start(starting(), control.api)
    cluster.start(starting(), control.api)
    assert len(control.objects) == 1

    cluster.start(starting(run="run-2"), control.api)
    assert len(control.objects) == 2


def test_a_job_that_failed_makes_room_for_the_next_try(control: Cluster):
    control.states = [FAILED]
    with pytest.raises(cluster.JobError, match="failed"):
        cluster.start(starting(), control.api)
    control.states = [FAILED, DONE]

    assert cluster.start(starting(), control.api)["name"]
    assert control.calls.count("POST 201") == 2


def test_a_job_that_takes_too_long_is_deleted(control: Cluster):
    control.states = [{}]
    with pytest.raises(cluster.LateError):
        cluster.start(starting(seconds=1), control.api)

    assert control.objects == {}


def test_results_of_a_workflow_are_handed_on(control: Cluster):
    node = {"outputs": {"parameters": [{"name": "answers", "value": "s3://data/answers"}]}}
    control.states = [{"phase": "Succeeded", "nodes": {"n": node}}]
    manifest = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": "w", "namespace": "n"}}
    told = starting(manifest=manifest, success="status.phase == Succeeded", failure="status.phase == Failed")

    assert cluster.start(told.model_copy(update={"gives": ["answers"]}), control.api)["answers"] == "s3://data/answers"
    with pytest.raises(cluster.JobError, match="gave no verdict"):
        cluster.start(told.model_copy(update={"gives": ["verdict"]}), control.api)


def test_only_kinds_of_the_account_s_rights_are_started(control: Cluster):
    with pytest.raises(cluster.JobError, match="Secret is no kind"):
        cluster.start(
            starting(manifest={"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "b"}}),
            control.api,
        )
