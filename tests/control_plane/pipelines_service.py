"""Kubeflow Pipelines: the programs of the deployed commit on what our program emits.

They run with the variables of the deployments that Argo CD would apply, each as its own service account, so that a
right which is missing is missing here too.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boto3
import pytest
import requests
import yaml
from moto.server import ThreadedMotoServer

from components.platform.kustomize import KustomizedArgs, application_spec
from components.platform.pipelines import Pipelines, PipelinesArgs
from components.platform.pipelines_manifests import AGENT, API_SERVER, SCHEDULER, sources
from components.platform.pipelines_teams import AUDIENCE, USER
from components.settings.teams import TeamSettings
from sandbox.kubernetes.api import Client
from sandbox.kubernetes.crds import Definitions
from tests.control_plane.conftest import Stack
from tests.control_plane.declared import Declared, definitions, furnishing, objects_of
from tests.control_plane.pipelines_programs import (
    PASSWORD,
    TOKENS,
    Database,
    built,
    database,
    home,
    started,
    token_of,
    variables,
)
from tests.data_plane.ports import free_port
from tests.trees import rendered
from tests.unit.conftest import Recorder, recording
from tests.unit.platform_site import options, site

Settings = Mapping[str, Any]

TEAMS: Final = (TeamSettings(name="nlp"), TeamSettings(name="search"))
SINGLE: Final[Settings] = {}
SEVERAL: Final[Settings] = {"pipelines": {"multiUser": True}}
NLP, SEARCH, OURS = "team-nlp", "team-search", "kubeflow"
API: Final = "/apis/v2beta1"
_PATIENCE_SECONDS: Final = 90.0

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
        return self.call("POST", f"{API}/pipelines/upload", team=team, params=query, files=file)

    def experiment(self, team: str, name: str) -> str:
        """Make an experiment in the namespace of a team; without one for a single user."""
        body = {"display_name": name, "namespace": team}
        return str(self.made(f"{API}/experiments", team, json=body)["experiment_id"])

    def run(self, team: str, name: str) -> dict[str, Any]:
        """Start a run in a new experiment."""
        body = {"display_name": name, "experiment_id": self.experiment(team, name), "pipeline_spec": PIPELINE}
        return self.made(f"{API}/runs", team, json=body)

    def end(self, workflow: Mapping[str, Any]) -> None:
        """Say of a workflow that it has succeeded, as Argo's controller would."""
        kind = self.client.kind("argoproj.io/v1alpha1", "Workflow")
        assert kind is not None
        metadata = {name: workflow["metadata"][name] for name in ("name", "namespace")}
        manifest = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "metadata": metadata,
            "status": {"phase": "Succeeded", "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:01:00Z"},
        }
        self.client.apply(kind, manifest, manager="test")


def declared(recorded: Recorder, settings: Settings) -> list[tuple[str, dict[str, Any]]]:
    """Type and inputs of every object that the program declares itself."""

    def program() -> None:
        here = site(settings, teams=TEAMS)
        args = PipelinesArgs(site=here, secrets=(), gitops=(), workflows=(), team_namespaces={NLP: (), SEARCH: ()})
        Pipelines("pipelines", args, options(here))

    return objects_of(recorded, program)


def manifests(settings: Settings, folder: Path) -> list[dict[str, Any]]:
    """Every object that Argo CD gets from the repository at its pinned commit."""
    found: list[dict[str, Any]] = []

    def program() -> None:
        here = site(settings, teams=TEAMS)
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
    return rendered(found[0], folder)


@contextmanager
def furnished_with(stack: Stack, settings: Settings) -> Iterator[Stack]:
    """Namespaces, and in them everything that the program declares but pods and what other systems would answer."""
    definitions("argo-workflows", "kubeflow-pipelines")
    skipped = (":Application", ":AppProject", ":ExternalSecret", ":StatefulSet", ":PodDisruptionBudget")
    with furnishing(stack, (OURS, NLP, SEARCH, "argocd", "mlops-data", "mlops-training")):
        with recording() as recorder:
            wanted = [one for one in declared(recorder, settings) if not one[0].endswith(skipped)]
        made = [Declared(stack, *one).create() for one in wanted]
        known = Definitions(stack.client, print)
        for api, kind in (("argoproj.io/v1alpha1", "Workflow"), ("kubeflow.org/v1beta1", "ScheduledWorkflow")):
            assert known.resource_type(api, kind, namespaced=True)
        yield stack
        for one in reversed(made):
            one.delete()


@contextmanager
def serving(furnished: Stack, from_git: list[dict[str, Any]], folder: Path) -> Iterator[Service]:
    """The API server and its two controllers."""
    programs, client = built(), furnished.client
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
        running.enter_context(started(command, environment, log, f"{url}{API}/healthz"))
        running.enter_context(tokens(client))
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


@contextmanager
def tokens(client: Client) -> Iterator[None]:
    """The controllers' tokens at the place that is written into them, which other workers of a run want too."""
    names = {AGENT: "persistenceagent-sa-token", SCHEDULER: "scheduledworkflow-sa-token"}
    try:
        TOKENS.mkdir(parents=True, exist_ok=True)
        lock = (TOKENS / ".lock").open("w")
    except OSError as closed:
        pytest.skip(f"the controllers' tokens cannot be put where they look for them: {closed}")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for account, name in names.items():
            (TOKENS / name).write_text(token_of(client, OURS, account, AUDIENCE))
        yield
        for name in names.values():
            (TOKENS / name).unlink()


def eventually(ask: Callable[[], Any], why: Callable[[], str]) -> Any:
    """What ``ask`` finds in the end; ``why`` says what there was instead."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not (found := ask()):
        assert time.monotonic() < deadline, why()
        time.sleep(0.5)
    return found
