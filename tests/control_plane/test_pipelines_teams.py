"""Kubeflow Pipelines for several teams: its own programs, on what is emitted, ask a real API server who may what.

They run with the variables of the deployments that Argo CD would apply, each as its own service account, so that a
right which is missing is missing here too. Where Argo's controller is at hand, it makes the pods of the steps; nothing
runs in them.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import pytest

from components.platform.pipelines_manifests import API_SERVER, NO_HEADER, RUNNER
from components.platform.pipelines_teams import AUDIENCE, USER
from components.platform.workflows import EXECUTOR
from tests.control_plane.conftest import Stack
from tests.control_plane.declared import may
from tests.control_plane.pipelines_programs import ANSWERED, REFUSED, grpc_frames, token_of
from tests.control_plane.pipelines_service import (
    API,
    NLP,
    OURS,
    PIPELINE,
    SEARCH,
    SEVERAL,
    TEAMS,
    Service,
    eventually,
    furnished_with,
    manifests,
    serving,
)
from tests.control_plane.workflow_controller import Controller, play, pods_of, running
from tests.data_plane.environments import environment

pytestmark = pytest.mark.control_plane

_HERE: Final = Path(__file__).parent


@pytest.fixture(scope="module")
def from_git(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return manifests(SEVERAL, tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def furnished(stack: Stack) -> Iterator[Stack]:
    with furnished_with(stack, SEVERAL) as found:
        yield found


@pytest.fixture(scope="module")
def service(
    furnished: Stack, from_git: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    with serving(furnished, from_git, tmp_path_factory.mktemp("pipelines")) as found:
        yield found


@pytest.fixture(scope="module")
def controller(furnished: Stack, service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    del service  # its workflows are carried on
    with running(furnished, tmp_path_factory.mktemp("argo"), TEAMS) as found:
        yield found


class TestSignIn:
    def test_a_team_starts_a_run_that_becomes_a_workflow_of_its_namespace_and_account(self, service: Service):
        run = service.run(NLP, "first")

        workflows = service.client.items(f"/apis/argoproj.io/v1alpha1/namespaces/{NLP}/workflows")
        (one,) = [one for one in workflows if one["metadata"]["labels"]["pipeline/runid"] == run["run_id"]]
        assert one["spec"]["serviceAccountName"] == RUNNER
        assert not [
            one
            for elsewhere in (OURS, SEARCH)
            for one in service.client.items(f"/apis/argoproj.io/v1alpha1/namespaces/{elsewhere}/workflows")
            if one["metadata"]["labels"]["pipeline/runid"] == run["run_id"]
        ]

    def test_ml_engineers_go_on_in_the_namespace_of_pipelines(self, service: Service):
        run = service.run(OURS, "platform")
        assert service.call("GET", f"{API}/runs/{run['run_id']}", team=OURS).ok

    def test_another_teams_runs_experiments_and_pipelines_are_closed(self, service: Service):
        run = service.run(SEARCH, "secret")
        pipeline = service.upload(SEARCH, "secret-pipeline")
        assert pipeline.ok, pipeline.text
        for method, path in (
            ("GET", f"/runs/{run['run_id']}"),
            ("POST", f"/runs/{run['run_id']}:terminate"),
            ("DELETE", f"/runs/{run['run_id']}"),
            ("GET", f"/runs?namespace={SEARCH}"),
            ("GET", f"/experiments/{run['experiment_id']}"),
            ("GET", f"/experiments?namespace={SEARCH}"),
            ("GET", f"/pipelines?namespace={SEARCH}"),
            ("GET", f"/pipelines/{pipeline.json()['pipeline_id']}"),
            ("DELETE", f"/pipelines/{pipeline.json()['pipeline_id']}"),
            ("GET", f"/recurringruns?namespace={SEARCH}"),
        ):
            answer = service.call(method, f"{API}{path}", team=NLP)
            assert answer.status_code == HTTPStatus.FORBIDDEN, (method, path, answer.text)
            assert service.call(method, f"{API}{path}").status_code == HTTPStatus.UNAUTHORIZED, (method, path)
        assert service.call("GET", f"{API}/runs/{run['run_id']}", team=SEARCH).ok

    def test_nothing_is_made_in_another_teams_namespace(self, service: Service):
        body = {"display_name": "intruder", "namespace": SEARCH}
        assert service.call("POST", f"{API}/experiments", team=NLP, json=body).status_code == HTTPStatus.FORBIDDEN
        assert not service.upload(NLP, "intruder", namespace=SEARCH).ok
        theirs = service.experiment(SEARCH, "theirs")
        run = {"display_name": "intruder", "experiment_id": theirs, "pipeline_spec": PIPELINE}
        assert service.call("POST", f"{API}/runs", team=NLP, json=run).status_code == HTTPStatus.FORBIDDEN

    def test_a_pipeline_belongs_to_somebody(self, service: Service):
        answer = service.upload(NLP, "for-all", namespace="")
        assert not answer.ok
        assert "namespace" in answer.text.lower()

    def test_a_token_for_the_cluster_is_none_for_pipelines(self, service: Service):
        answer = service.call("GET", f"{API}/runs?namespace={NLP}", team=NLP, audience="")
        assert answer.status_code == HTTPStatus.UNAUTHORIZED

    @pytest.mark.parametrize("header", ["kubeflow-userid", "x-goog-authenticated-user-email", "x-forwarded-user"])
    def test_no_header_says_who_calls(self, service: Service, header: str):
        for prefix in ("", "accounts.google.com:"):
            said = {header: f"{prefix}system:serviceaccount:{NLP}:{USER}"}
            answer = service.call("GET", f"{API}/runs?namespace={NLP}", headers=said)
            assert answer.status_code == HTTPStatus.UNAUTHORIZED

    def test_nobody_can_send_a_header_of_the_name_that_is_set(self, service: Service):
        host, _, port = service.url.removeprefix("http://").partition(":")
        request = (
            f"GET {API}/runs?namespace={NLP} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
            f"{NO_HEADER}: system:serviceaccount:{NLP}:{USER}\r\n\r\n"
        )
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(request.encode())
            answer = connection.recv(200).decode()
        assert answer.startswith("HTTP/1.1 400"), answer

    def test_nor_by_grpc_which_steps_speak(self, service: Service):
        me = f"system:serviceaccount:{NLP}:{USER}"
        method = "/kubeflow.pipelines.backend.api.v2beta1.RunService/ListRuns"
        assert ANSWERED in grpc_frames(service.grpc, method, {"kubeflow-userid": me}), "the same is answered otherwise"
        refused = grpc_frames(service.grpc, method, {NO_HEADER: me})
        assert refused & REFUSED
        assert ANSWERED not in refused

    def test_the_server_says_that_there_are_several_users(self, service: Service):
        assert service.call("GET", f"{API}/healthz").json()["multi_user"] is True

    def test_logs_are_told_to_nobody_although_nobody_is_asked(self, service: Service):
        run = service.run(NLP, "talkative")
        answer = service.call("GET", f"/apis/v1alpha1/runs/{run['run_id']}/nodes/any/log")
        assert "Failed to read logs" in answer.text
        refusal = f'"system:serviceaccount:{OURS}:{API_SERVER}" cannot get resource "pods/log"'
        eventually(lambda: refusal in service.log.read_text(), service.log.read_text)


class TestWhatIsNotKeptApart:
    """What docs/pipelines.md says so of: should a new version close it, the page is to be changed."""

    def test_records_of_cached_steps_are_taken_from_anybody(self, service: Service):
        run = service.run(SEARCH, "cached")
        task = {
            "pipelineName": f"namespace/{SEARCH}/pipeline/greet",
            "runId": run["run_id"],
            "mlmdExecutionID": "1",
            "fingerprint": "planted",
            "createdAt": "2026-01-01T00:00:00Z",
        }
        answer = service.call("POST", "/apis/v1alpha1/tasks", json=task)
        assert answer.ok, answer.text


class TestClient:
    """Kubeflow's own client, as docs/pipelines.md says."""

    def test_it_signs_in_with_a_token(self, service: Service, tmp_path: Path):
        python = environment("pipelines") / "bin" / "python"

        def call(namespace: str) -> subprocess.CompletedProcess[str]:
            token = token_of(service.client, NLP, USER, AUDIENCE)
            command = [python, _HERE / "pipelines_client.py", service.url, namespace, token]
            return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)

        done = call(NLP)
        assert done.returncode == 0, done.stderr
        run, _, listed = done.stdout.strip().splitlines()[-1].partition(" ")
        assert service.call("GET", f"{API}/runs/{run}", team=NLP).ok
        assert "hello" in listed

        refused = call(SEARCH)
        assert refused.returncode != 0
        assert "not authorized" in refused.stderr


class TestControllers:
    def test_how_a_workflow_ends_is_seen_in_the_run(self, service: Service):
        """The part of Argo's controller is played here; the persistence agent reports with its own token."""
        run = service.run(NLP, "ending")
        path = f"/apis/argoproj.io/v1alpha1/namespaces/{NLP}/workflows"
        (workflow,) = [
            one for one in service.client.items(path) if one["metadata"]["labels"]["pipeline/runid"] == run["run_id"]
        ]
        service.end(workflow)

        def ended() -> bool:
            return service.call("GET", f"{API}/runs/{run['run_id']}", team=NLP).json()["state"] == "SUCCEEDED"

        eventually(ended, lambda: service.log.read_text()[-3000:])
        assert f'profile="{NLP}"' in service.call("GET", "/metrics").text, (
            "docs/pipelines.md says that it is told there"
        )

    def test_a_recurring_run_starts_in_its_teams_namespace(self, service: Service):
        uploaded = service.upload(SEARCH, "every-second")
        assert uploaded.ok, uploaded.text
        body = {
            "display_name": "every-second",
            "experiment_id": service.experiment(SEARCH, "every-second"),
            "pipeline_version_reference": {"pipeline_id": uploaded.json()["pipeline_id"]},
            "mode": "ENABLE",
            "max_concurrency": "1",
            "trigger": {"periodic_schedule": {"interval_second": "1"}},
        }
        recurring = service.made(f"{API}/recurringruns", SEARCH, json=body)

        def started_() -> list[dict[str, Any]]:
            answer = service.call("GET", f"{API}/runs?namespace={SEARCH}", team=SEARCH).json()
            return [
                one for one in answer.get("runs", ()) if one.get("recurring_run_id") == recurring["recurring_run_id"]
            ]

        eventually(started_, lambda: service.log.read_text()[-3000:])
        gone = service.call("DELETE", f"{API}/recurringruns/{recurring['recurring_run_id']}", team=SEARCH)
        assert gone.ok, gone.text


class TestSteps:
    """Argo's controller makes the pods of a run; what their containers would do is played by hand."""

    TOLD: Final = {
        "execution-id": "1",
        "iteration-count": "0",
        "condition": "true",
        "cached-decision": "false",
        "pod-spec-patch": json.dumps(
            {"containers": [{"name": "main", "image": "registry.test/say:1", "command": ["echo"], "resources": {}}]}
        ),
    }

    def test_a_run_goes_through_all_its_pods_within_its_teams_bounds(self, service: Service, controller: Controller):
        run = service.run(NLP, "whole")
        path = f"/apis/argoproj.io/v1alpha1/namespaces/{NLP}/workflows"

        def workflow() -> dict[str, Any]:
            (one,) = service.client.items(path, labelSelector=f"pipeline/runid={run['run_id']}")
            return one

        seen: list[str] = []

        def ended() -> bool:
            seen.extend(play(service.client, workflow(), self.TOLD))
            return workflow().get("status", {}).get("phase") in ("Succeeded", "Failed", "Error")

        eventually(ended, lambda: f"{workflow().get('status')}\n{controller.log.read_text()[-3000:]}")
        assert workflow()["status"]["phase"] == "Succeeded", workflow()["status"]
        assert len(seen) == 3, "the driver of the run, that of the step, the step"
        for pod in pods_of(service.client, workflow()):  # they stay ten minutes
            assert pod["spec"]["serviceAccountName"] == RUNNER
            assert pod["metadata"]["labels"]["pipelines.kubeflow.org/v2_component"] == "true"
            assert pod["spec"]["nodeSelector"] == {"llmops/role": "cpu"}
            assert pod["spec"]["priorityClassName"] == "batch"

        def known() -> bool:
            return service.call("GET", f"{API}/runs/{run['run_id']}", team=NLP).json()["state"] == "SUCCEEDED"

        eventually(known, lambda: service.log.read_text()[-3000:])
        archived = controller.archive.query(
            f"SELECT namespace, phase FROM argo_archived_workflows WHERE name = '{workflow()['metadata']['name']}'",
            database="argo_workflows",
        )
        assert archived == f"{NLP}|Succeeded"

    def test_a_workflow_that_says_nothing_runs_as_its_namespaces_account(self, controller: Controller):
        """Argo's own workflows share the controller with those of pipelines."""
        client = controller.client
        kind = client.kind("argoproj.io/v1alpha1", "Workflow")
        assert kind is not None
        container = {"image": "registry.test/say:1", "command": ["echo"]}
        manifest = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {"name": "plain", "namespace": NLP},
            "spec": {"entrypoint": "say", "templates": [{"name": "say", "container": container}]},
        }
        client.apply(kind, manifest, manager="test")

        def workflow() -> dict[str, Any]:
            found = client.get(kind, NLP, "plain")
            assert found is not None
            return found

        accounts: set[str] = set()

        def ended() -> bool:
            accounts.update(pod["spec"]["serviceAccountName"] for pod in pods_of(client, workflow()))
            play(client, workflow(), {})
            return workflow().get("status", {}).get("phase") in ("Succeeded", "Failed", "Error")

        eventually(ended, lambda: f"{workflow().get('status')}\n{controller.log.read_text()[-3000:]}")
        assert workflow()["status"]["phase"] == "Succeeded", workflow()["status"]
        assert accounts == {EXECUTOR}


class TestRights:
    def test_people_make_tokens_of_the_one_account_and_of_no_other(self, furnished: Stack):
        client, groups = furnished.client, ("llmops:team-nlp",)

        def allowed(namespace: str, name: str) -> bool:
            asked = {
                "verb": "create",
                "resource": "serviceaccounts",
                "subresource": "token",
                "namespace": namespace,
                "name": name,
            }
            body = {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {"user": "ada", "groups": list(groups), "resourceAttributes": asked},
            }
            return bool(
                client.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body=body)["status"][
                    "allowed"
                ]
            )

        assert allowed(NLP, USER)
        assert not allowed(NLP, RUNNER)
        assert not allowed(SEARCH, USER)
        assert not allowed(OURS, USER)

    def test_the_account_that_signs_in_may_do_nothing_in_the_cluster(self, furnished: Stack):
        me = f"system:serviceaccount:{NLP}:{USER}"
        for verb, resource in (("get", "pods"), ("list", "secrets"), ("create", "workflows.argoproj.io")):
            assert not may(furnished.client, me, verb, resource, NLP)

    def test_steps_of_one_team_do_nothing_in_the_namespace_of_another(self, furnished: Stack):
        step = f"system:serviceaccount:{NLP}:{RUNNER}"
        assert may(furnished.client, step, "create", "workflowtaskresults.argoproj.io", NLP)
        assert may(furnished.client, step, "create", "trainjobs.trainer.kubeflow.org", NLP)
        for namespace in (SEARCH, OURS, "mlops-training"):
            for verb, resource in (
                ("create", "workflowtaskresults.argoproj.io"),
                ("create", "trainjobs.trainer.kubeflow.org"),
                ("get", "pods"),
            ):
                assert not may(furnished.client, step, verb, resource, namespace)


def test_what_comes_from_git_has_no_user_interface(from_git: list[dict[str, Any]]):
    names = {(one["kind"], one["metadata"]["name"]) for one in from_git}
    assert ("Deployment", API_SERVER) in names
    assert not [name for _, name in names if "ui" in name.split("-") or "envoy" in name]
    assert "secret" not in json.dumps([one["kind"] for one in from_git]).lower()
