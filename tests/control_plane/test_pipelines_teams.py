"""Kubeflow Pipelines for several teams: its own programs, on what is emitted, ask a real API server who may what.

They run with the variables of the deployments that Argo CD would apply, each as its own service account, so that a
right which is missing is missing here too. What does not run are steps: nothing here runs pods.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import boto3
import pytest
import requests
import yaml
from moto.server import ThreadedMotoServer

from components.platform.kustomize import KustomizedArgs, application_spec
from components.platform.pipelines import Pipelines, PipelinesArgs
from components.platform.pipelines_manifests import AGENT, API_SERVER, NO_HEADER, RUNNER, SCHEDULER, sources
from components.platform.pipelines_teams import AUDIENCE, USER
from components.settings.teams import TeamSettings
from sandbox.kubernetes.api import Client
from sandbox.kubernetes.crds import Definitions
from tests.control_plane.conftest import Stack
from tests.control_plane.declared import Declared, definitions, furnishing, may, objects_of
from tests.control_plane.pipelines_programs import (
    ANSWERED,
    PASSWORD,
    REFUSED,
    TOKENS,
    Database,
    built,
    database,
    grpc_frames,
    home,
    started,
    token_of,
    variables,
)
from tests.data_plane.environments import environment
from tests.data_plane.ports import free_port
from tests.trees import rendered
from tests.unit.conftest import Recorder, recording
from tests.unit.platform_site import options, site

pytestmark = pytest.mark.control_plane

TEAMS: Final = (TeamSettings(name="nlp"), TeamSettings(name="search"))
SETTINGS: Final = {"pipelines": {"multiUser": True}}
NLP, SEARCH, OURS = "team-nlp", "team-search", "kubeflow"
_API: Final = "/apis/v2beta1"
_PATIENCE_SECONDS: Final = 90.0
_HERE: Final = Path(__file__).parent

PIPELINE: Final = {
    "pipelineInfo": {"name": "greet"},
    "schemaVersion": "2.1.0",
    "sdkVersion": "kfp-2.17.0",
    "root": {
        "dag": {
            "tasks": {
                "say": {
                    "cachingOptions": {},
                    "componentRef": {"name": "comp-say"},
                    "taskInfo": {"name": "say"},
                }
            }
        }
    },
    "components": {"comp-say": {"executorLabel": "exec-say"}},
    "deploymentSpec": {
        "executors": {"exec-say": {"container": {"image": "registry.test/say:1", "command": ["echo", "hello"]}}}
    },
}


@dataclass(frozen=True)
class Service:
    """The API server of pipelines.

    Attributes:
        url: Where it answers HTTP.
        grpc: Port where it answers gRPC.
        client: The cluster behind it.
        log: What it wrote.
    """

    url: str
    grpc: int
    client: Client
    log: Path

    def call(
        self, method: str, path: str, *, team: str = "", audience: str = AUDIENCE, **more: Any
    ) -> requests.Response:
        """One call; in the name of who signed in to ``team``, or of nobody."""
        headers = dict(more.pop("headers", {}))
        if team:
            headers["Authorization"] = f"Bearer {token_of(self.client, team, USER, audience)}"
        return requests.request(method, f"{self.url}{path}", headers=headers, timeout=60, **more)

    def made(self, path: str, team: str, **more: Any) -> dict[str, Any]:
        """What a call made that must succeed."""
        answer = self.call("POST", path, team=team, **more)
        assert answer.ok, answer.text
        return answer.json()

    def upload(self, team: str, name: str, namespace: str | None = None) -> requests.Response:
        """Upload the pipeline to a namespace, by default that of the team itself."""
        query = {"name": name, "namespace": team if namespace is None else namespace}
        file = {"uploadfile": ("greet.yaml", yaml.safe_dump(PIPELINE))}
        return self.call("POST", f"{_API}/pipelines/upload", team=team, params=query, files=file)

    def experiment(self, team: str, name: str) -> str:
        body = {"display_name": name, "namespace": team}
        return str(self.made(f"{_API}/experiments", team, json=body)["experiment_id"])

    def run(self, team: str, name: str) -> dict[str, Any]:
        """Start a run in a new experiment."""
        body = {"display_name": name, "experiment_id": self.experiment(team, name), "pipeline_spec": PIPELINE}
        return self.made(f"{_API}/runs", team, json=body)


def declared(recorded: Recorder) -> list[tuple[str, dict[str, Any]]]:
    def program() -> None:
        here = site(SETTINGS, teams=TEAMS)
        args = PipelinesArgs(site=here, secrets=(), gitops=(), workflows=(), team_namespaces={NLP: (), SEARCH: ()})
        Pipelines("pipelines", args, options(here))

    return objects_of(recorded, program)


@pytest.fixture(scope="module")
def from_git(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Every object that Argo CD gets from the repository at its pinned commit."""
    found: list[dict[str, Any]] = []

    def program() -> None:
        here = site(SETTINGS, teams=TEAMS)
        args = KustomizedArgs(
            site=here,
            tree="kubeflow-pipelines",
            namespace="kubeflow",
            sources=sources(here),
            kinds=(),
            definitions=(),
            after=(),
        )
        found.append(application_spec(args))

    with recording() as recorder:
        recorder.run(program)
    return rendered(found[0], tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def furnished(stack: Stack) -> Iterator[Stack]:
    """Namespaces, and in them everything that the program declares but pods and what other systems would answer."""
    definitions("argo-workflows", "kubeflow-pipelines")
    skipped = (":Application", ":AppProject", ":ExternalSecret", ":StatefulSet", ":PodDisruptionBudget")
    with furnishing(stack, (OURS, NLP, SEARCH, "argocd", "mlops-data", "mlops-training")):
        with recording() as recorder:
            wanted = [one for one in declared(recorder) if not one[0].endswith(skipped)]
        made = [Declared(stack, *one).create() for one in wanted]
        known = Definitions(stack.client, print)
        for api, kind in (("argoproj.io/v1alpha1", "Workflow"), ("kubeflow.org/v1beta1", "ScheduledWorkflow")):
            assert known.resource_type(api, kind, namespaced=True)
        yield stack
        for one in reversed(made):
            one.delete()


@pytest.fixture(scope="module")
def service(
    furnished: Stack, from_git: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The API server and its two controllers."""
    programs, folder, client = built(), tmp_path_factory.mktemp("pipelines"), furnished.client
    read = _readable(client)
    http, grpc, metrics = free_port(), free_port(), free_port()
    with ExitStack() as running:
        base = running.enter_context(database())
        environment = {
            **_variables(from_git, API_SERVER, read),
            **_stand_ins(base, running),
            **home(folder, client, API_SERVER),
        }
        config = folder / "config"
        config.mkdir()
        for name, text in read["ConfigMap", "ml-pipeline-config"].items():
            (config / name).write_text(text)
        command = [
            programs / "apiserver",
            f"--config={config}",
            f"--sampleconfig={config / 'sample_config.json'}",
            f"--rpcPortFlag=:{grpc}",
            f"--httpPortFlag=:{http}",
            "-logtostderr=true",
        ]
        url, log = f"http://127.0.0.1:{http}", folder / "server.log"
        running.enter_context(started(command, environment, log, f"{url}{_API}/healthz"))
        running.enter_context(_tokens(client))
        where = ["--mlPipelineAPIServerName=127.0.0.1", f"--mlPipelineServiceGRPCPort={grpc}"]
        for account, binary, more in (
            (AGENT, "persistence", [f"--mlPipelineServiceHttpPort={http}"]),
            (SCHEDULER, "scheduledworkflow", [f"--metricsPort={metrics}", "--recurringRunResyncIntervalSeconds=1"]),
        ):
            told = {**_variables(from_git, account, read), **home(folder, client, account)}
            kubeconfig = [f"--kubeconfig={told['KUBECONFIG']}", f"--namespace={told['NAMESPACE']}"]
            program = [programs / binary, *where, *more, *kubeconfig, "--logtostderr=true"]
            running.enter_context(started(program, told, folder / f"{binary}.log", ""))
        yield Service(url, grpc, client, log)


def _readable(client: Client) -> dict[tuple[str, str], Mapping[str, str]]:
    """What variables are read from, in the cluster; the Secret is what External Secrets would bring."""
    maps = client.items("/api/v1/namespaces/kubeflow/configmaps")
    found: dict[tuple[str, str], Mapping[str, str]] = {
        ("ConfigMap", one["metadata"]["name"]): one.get("data", {}) for one in maps
    }
    found["Secret", "mysql-secret"] = {"username": "pipelines", "password": PASSWORD}
    return found


def _variables(
    from_git: list[dict[str, Any]], name: str, read: Mapping[tuple[str, str], Mapping[str, str]]
) -> dict[str, str]:
    (one,) = [one for one in from_git if (one["kind"], one["metadata"]["name"]) == ("Deployment", name)]
    (container,) = one["spec"]["template"]["spec"]["containers"]
    return variables(container, read)


def _stand_ins(base: Database, running: ExitStack) -> dict[str, str]:
    """Where the database and the object store are here."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
    moto.start()
    running.callback(moto.stop)
    host, port = moto.get_host_and_port()
    keys = {"aws_access_key_id": "here", "aws_secret_access_key": "here"}
    boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", **keys).create_bucket(
        Bucket="pipelines"
    )
    return {
        "DBCONFIG_MYSQLCONFIG_HOST": "127.0.0.1",
        "DBCONFIG_MYSQLCONFIG_PORT": str(base.port),
        "DBCONFIG_HOST": "127.0.0.1",
        "DBCONFIG_PORT": str(base.port),
        "OBJECTSTORECONFIG_HOST": str(host),
        "OBJECTSTORECONFIG_PORT": str(port),
        "OBJECTSTORECONFIG_SECURE": "false",
        **{key.upper(): value for key, value in keys.items()},
    }


class _tokens:  # noqa: N801 used as a function
    """The controllers' tokens at the place that is written into them; the test is skipped where it is closed."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._made: list[Path] = []

    def __enter__(self) -> None:
        names = {AGENT: "persistenceagent-sa-token", SCHEDULER: "scheduledworkflow-sa-token"}
        try:
            TOKENS.mkdir(parents=True, exist_ok=True)
            for account, name in names.items():
                (TOKENS / name).write_text(token_of(self._client, OURS, account, AUDIENCE))
                self._made.append(TOKENS / name)
        except OSError as closed:
            pytest.skip(f"the controllers' tokens cannot be put where they look for them: {closed}")

    def __exit__(self, *_: object) -> None:
        for path in self._made:
            path.unlink()


def eventually(ask: Callable[[], Any], why: Callable[[], str]) -> Any:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not (found := ask()):
        assert time.monotonic() < deadline, why()
        time.sleep(0.5)
    return found


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
        assert service.call("GET", f"{_API}/runs/{run['run_id']}", team=OURS).ok

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
            answer = service.call(method, f"{_API}{path}", team=NLP)
            assert answer.status_code == HTTPStatus.FORBIDDEN, (method, path, answer.text)
            assert service.call(method, f"{_API}{path}").status_code == HTTPStatus.UNAUTHORIZED, (method, path)
        assert service.call("GET", f"{_API}/runs/{run['run_id']}", team=SEARCH).ok

    def test_nothing_is_made_in_another_teams_namespace(self, service: Service):
        body = {"display_name": "intruder", "namespace": SEARCH}
        assert service.call("POST", f"{_API}/experiments", team=NLP, json=body).status_code == HTTPStatus.FORBIDDEN
        assert not service.upload(NLP, "intruder", namespace=SEARCH).ok
        theirs = service.experiment(SEARCH, "theirs")
        run = {"display_name": "intruder", "experiment_id": theirs, "pipeline_spec": PIPELINE}
        assert service.call("POST", f"{_API}/runs", team=NLP, json=run).status_code == HTTPStatus.FORBIDDEN

    def test_a_pipeline_belongs_to_somebody(self, service: Service):
        answer = service.upload(NLP, "for-all", namespace="")
        assert not answer.ok
        assert "namespace" in answer.text.lower()

    def test_a_token_for_the_cluster_is_none_for_pipelines(self, service: Service):
        answer = service.call("GET", f"{_API}/runs?namespace={NLP}", team=NLP, audience="")
        assert answer.status_code == HTTPStatus.UNAUTHORIZED

    @pytest.mark.parametrize("header", ["kubeflow-userid", "x-goog-authenticated-user-email", "x-forwarded-user"])
    def test_no_header_says_who_calls(self, service: Service, header: str):
        for prefix in ("", "accounts.google.com:"):
            said = {header: f"{prefix}system:serviceaccount:{NLP}:{USER}"}
            answer = service.call("GET", f"{_API}/runs?namespace={NLP}", headers=said)
            assert answer.status_code == HTTPStatus.UNAUTHORIZED

    def test_nobody_can_send_a_header_of_the_name_that_is_set(self, service: Service):
        host, _, port = service.url.removeprefix("http://").partition(":")
        request = (
            f"GET {_API}/runs?namespace={NLP} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
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
        assert service.call("GET", f"{_API}/healthz").json()["multi_user"] is True

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
        assert service.call("GET", f"{_API}/runs/{run}", team=NLP).ok
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
        status = {"phase": "Succeeded", "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:01:00Z"}
        kind = service.client.kind("argoproj.io/v1alpha1", "Workflow")
        assert kind is not None
        manifest = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": {"name": workflow["metadata"]["name"], "namespace": NLP},
            "status": status,
        }
        service.client.apply(kind, manifest, manager="test")

        def ended() -> bool:
            return service.call("GET", f"{_API}/runs/{run['run_id']}", team=NLP).json()["state"] == "SUCCEEDED"

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
        recurring = service.made(f"{_API}/recurringruns", SEARCH, json=body)

        def started_() -> list[dict[str, Any]]:
            answer = service.call("GET", f"{_API}/runs?namespace={SEARCH}", team=SEARCH).json()
            return [
                one for one in answer.get("runs", ()) if one.get("recurring_run_id") == recurring["recurring_run_id"]
            ]

        eventually(started_, lambda: service.log.read_text()[-3000:])
        gone = service.call("DELETE", f"{_API}/recurringruns/{recurring['recurring_run_id']}", team=SEARCH)
        assert gone.ok, gone.text


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
