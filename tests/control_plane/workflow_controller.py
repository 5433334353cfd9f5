"""Argo's own controller on what its chart makes of the emitted values, and the part of the pods played by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
import yaml

from components.platform.openings import team_namespace
from components.platform.priorities import PRIORITIES
from components.platform.quotas import Allowance, limit_range_spec, quota_specs
from components.platform.workflows import NAMESPACE, Workflows, WorkflowsArgs
from components.settings.platform.isolation import ContainerSettings
from components.settings.teams import TeamSettings
from sandbox.kubernetes.api import Client, Manifest
from sandbox.kubernetes.crds import Definitions
from tests.control_plane.conftest import Stack
from tests.control_plane.declared import Declared, furnishing, objects_of, rendered_of
from tests.control_plane.pipelines_programs import home, started, token_of
from tests.data_plane import postgres
from tests.data_plane.ports import free_port
from tests.data_plane.programs import program
from tests.unit.conftest import recording
from tests.unit.platform_site import options, site

_ACCOUNT: Final = "argo-workflows-workflow-controller"
_MAP: Final = "argo-workflows-workflow-controller-configmap"
_KINDS: Final = ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount", "ConfigMap")
_WATCHED: Final = (
    "ClusterWorkflowTemplate",
    "CronWorkflow",
    "Workflow",
    "WorkflowArtifactGCTask",
    "WorkflowTaskResult",
    "WorkflowTaskSet",
    "WorkflowTemplate",
)
_HEALTH: Final = "http://127.0.0.1:6060/healthz"  # the port is written into the program


@dataclass(frozen=True)
class Controller:
    """A running controller.

    Attributes:
        client: The cluster.
        archive: The server that has its archive.
        metrics: Where its metrics are.
        log: What it wrote.
    """

    client: Client
    archive: postgres.Postgres
    metrics: str
    log: Path


@contextmanager
def running(stack: Stack, folder: Path, teams: Sequence[TeamSettings] = ()) -> Iterator[Controller]:
    """The controller as its own account, with the rights that its chart gives; skipped where either is missing.

    Its database and ports are elsewhere here; everything else of its configuration is as it is emitted. The namespaces
    of workflows must be there.
    """
    binary = program("ARGO_WORKFLOW_CONTROLLER", "workflow-controller")
    client = stack.client
    with recording() as recorder:

        def declare() -> None:
            here = site(teams=teams)
            spaces = {team_namespace(team.name): () for team in teams}
            Workflows("workflows", WorkflowsArgs(site=here, databases=(), team_namespaces=spaces), options(here))

        declared = [one for one in objects_of(recorder, declare) if one[0].rpartition(":")[2] in _KINDS]
        chart = rendered_of(recorder, folder)["argo-workflows"]
    known = Definitions(client, print)
    for kind in _WATCHED:
        assert known.resource_type("argoproj.io/v1alpha1", kind, namespaced=not kind.startswith("Cluster")), kind
    priority = PRIORITIES["batch"]
    with ExitStack() as running_:
        server, metrics = running_.enter_context(postgres.running("package")), free_port()
        server.query("CREATE ROLE argo LOGIN PASSWORD 'Argo0123456789'")
        server.query("CREATE DATABASE argo_workflows OWNER argo")
        running_.enter_context(furnishing(stack, (NAMESPACE,), priorities={"batch": priority.value}))
        secret = {"username": "argo", "password": "Argo0123456789"}
        for team in teams:
            running_.enter_context(_bounded(stack, team_namespace(team.name), team.vcpu, team.memory_gib))
        for one in declared:
            running_.callback(Declared(stack, *one).create().delete)
        made = [one for one in chart if one["kind"] in _KINDS]
        made.append(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "argo-workflows-database", "namespace": NAMESPACE},
                "stringData": secret,
            }
        )
        for one in made:
            running_.callback(_deleted, client, one)
            _applied(client, _here(one, server.port, metrics) if one["metadata"]["name"] == _MAP else one)
        (deployment,) = [one for one in chart if one["kind"] == "Deployment" and one["metadata"]["name"] == _ACCOUNT]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        # It looks at a workflow again after that time; ten seconds by default, for each step.
        variables = {"ARGO_NAMESPACE": NAMESPACE, "LEADER_ELECTION_IDENTITY": "here", "DEFAULT_REQUEUE_TIME": "1s"}
        environment = {**home(folder, client, _ACCOUNT, NAMESPACE), **variables}
        log = folder / "controller.log"
        command = [binary, *container["args"], f"--kubeconfig={environment['KUBECONFIG']}", f"--namespace={NAMESPACE}"]
        running_.enter_context(started(command, environment, log, _HEALTH))
        yield Controller(client, server, f"http://127.0.0.1:{metrics}/metrics", log)


@contextmanager
def _bounded(stack: Stack, namespace: str, vcpu: int, memory_gib: int) -> Iterator[None]:
    """Quota and defaults, as the platform gives them to a team."""
    allowance = Allowance(cpu_millicores=vcpu * 1000, memory_mib=memory_gib * 1024, reserved_priorities=False)
    wanted: list[tuple[str, dict[str, Any]]] = [
        ("core/v1:ResourceQuota", {"metadata": {"name": name, "namespace": namespace}, "spec": spec})
        for name, spec in quota_specs(allowance).items()
    ]
    defaults = {"metadata": {"name": "defaults", "namespace": namespace}, "spec": limit_range_spec(ContainerSettings())}
    made = [Declared(stack, *one).create() for one in (*wanted, ("core/v1:LimitRange", defaults))]
    yield
    for one in reversed(made):
        one.delete()


def _here(config: Manifest, port: int, metrics: int) -> Manifest:
    content = yaml.safe_load(config["data"]["config"])
    content["persistence"]["postgresql"] |= {"host": "127.0.0.1", "port": port, "ssl": False, "sslMode": "disable"}
    content["metricsConfig"]["port"] = metrics
    return {**config, "data": {"config": yaml.safe_dump(content)}}


def _applied(client: Client, manifest: Manifest) -> None:
    kind = client.kind(manifest["apiVersion"], manifest["kind"])
    assert kind is not None
    client.apply(kind, dict(manifest), manager="test", force=True)


def _deleted(client: Client, manifest: Manifest) -> None:
    kind = client.kind(manifest["apiVersion"], manifest["kind"])
    assert kind is not None
    client.delete(kind, manifest["metadata"].get("namespace"), manifest["metadata"]["name"])


def pods_of(client: Client, workflow: Manifest) -> list[Manifest]:
    """Pods of a workflow."""
    namespace, name = workflow["metadata"]["namespace"], workflow["metadata"]["name"]
    return client.items(f"/api/v1/namespaces/{namespace}/pods", labelSelector=f"workflows.argoproj.io/workflow={name}")


def play(
    client: Client, workflow: Manifest, told: Mapping[str, str], codes: Mapping[str, int] | None = None
) -> list[str]:
    """End every pod of a workflow that has not, as its containers would; what they report goes out with their token.

    Args:
        client: The cluster.
        workflow: Whose pods.
        told: Values of the parameters that steps put out, by name.
        codes: Exit codes of steps that fail, by the name of their template.

    Returns:
        Names of the templates whose pods ended.
    """
    ended: list[str] = []
    for pod in pods_of(client, workflow):
        if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            continue
        template = _template(pod)
        code = (codes or {}).get(template["name"], 0)
        wanted = [one["name"] for one in template.get("outputs", {}).get("parameters", ())]
        _report(client, workflow, pod, {} if code else {name: told[name] for name in wanted})
        path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}/status"
        terminated = {"state": {"terminated": {"exitCode": code}}, "ready": False, "restartCount": 0}
        image = {"image": "registry.test/any:1", "imageID": ""}
        status = {
            "phase": "Failed" if code else "Succeeded",
            "containerStatuses": [{"name": "main", **terminated, **image}],
        }
        client.request("PATCH", path, body={"status": status}, patch="merge")
        ended.append(template["name"])
    return ended


def _template(pod: Manifest) -> dict[str, Any]:
    """The template of a pod, as the controller gives it to the executor."""
    return json.loads(
        next(
            one["value"]
            for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])
            for one in container.get("env", ())
            if one["name"] == "ARGO_TEMPLATE"
        )
    )


def _report(client: Client, workflow: Manifest, pod: Manifest, outputs: Mapping[str, str]) -> None:
    namespace, account = pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"]
    result = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "WorkflowTaskResult",
        "metadata": {
            "name": pod["metadata"]["annotations"]["workflows.argoproj.io/node-id"],
            "namespace": namespace,
            "labels": {
                "workflows.argoproj.io/workflow": workflow["metadata"]["name"],
                "workflows.argoproj.io/report-outputs-completed": "true",
            },
        },
        "outputs": {"parameters": [{"name": name, "value": value} for name, value in outputs.items()]},
    }
    server, authority = client._server, client._authority  # pyright: ignore[reportPrivateUsage] the same server, another caller
    answer = requests.post(
        f"{server}/apis/argoproj.io/v1alpha1/namespaces/{namespace}/workflowtaskresults",
        json=result,
        headers={"Authorization": f"Bearer {token_of(client, namespace, account)}"},
        verify=authority,
        timeout=30,
    )
    assert answer.ok, answer.text
