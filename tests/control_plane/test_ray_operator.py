"""KubeRay's own operator on what its chart makes of the emitted values: what it makes of our clusters and jobs.

It runs as its own account, with the rights that the chart gives it in the namespaces that it watches. Nothing runs in
the pods, so a job gets its cluster and is not submitted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from components.contract import ROLE_LABEL
from components.platform.ray import Ray, RayArgs
from components.platform.ray_jobs import RayJobArgs, RuntimeEnv, Workers, ray_job
from components.settings.teams import TeamSettings
from sandbox.kubernetes.api import Client, Manifest
from sandbox.kubernetes.crds import Definitions
from tests.control_plane.conftest import Stack
from tests.control_plane.declared import Declared, definitions, furnishing, objects_of, rendered_of
from tests.control_plane.pipelines_programs import home, started
from tests.control_plane.pipelines_service import eventually
from tests.data_plane.ports import free_port
from tests.data_plane.programs import program
from tests.unit.conftest import recording
from tests.unit.platform_site import options, site

pytestmark = pytest.mark.control_plane

DATA, SYSTEM, TEAM = "mlops-data", "mlops-system", "team-nlp"
OPERATOR: Final = "kuberay-operator"
KINDS: Final = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
JOB: Final = RayJobArgs(
    name="tokenize",
    entrypoint="python -m tokenize_corpus",
    workers=Workers(least=1, most=2, vcpu=2, memory_gib=8),
    runtime_env=RuntimeEnv(variables={"CORPUS": "s3://data/raw"}),
)


@dataclass(frozen=True)
class Operator:
    """A running operator.

    Attributes:
        stack: The cluster.
        log: What it wrote.
        declared: Type and inputs of what the program declares besides it.
    """

    stack: Stack
    log: Path
    declared: list[tuple[str, dict[str, Any]]]

    @property
    def client(self) -> Client:
        return self.stack.client

    def pods(self, cluster: str) -> list[Manifest]:
        return self.client.items(f"/api/v1/namespaces/{DATA}/pods", labelSelector=f"ray.io/cluster={cluster}")

    def told(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text()[-3000:]


@pytest.fixture(scope="module")
def operator(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    definitions("kuberay", "volcano")
    binary = program("RAY_OPERATOR", "kuberay-operator")
    folder, client = tmp_path_factory.mktemp("ray"), stack.client
    with recording() as recorder:

        def declare() -> None:
            here = site(teams=(TeamSettings(name="nlp"),))
            Ray("ray", RayArgs(site=here, scheduling_ready=(), team_namespaces=()), options(here))

        declared = objects_of(recorder, declare)
        (chart,) = rendered_of(recorder, folder).values()
    known = Definitions(client, print)
    for api, kinds in (
        ("ray.io/v1", ("RayCluster", "RayJob", "RayService", "RayCronJob")),
        ("scheduling.volcano.sh/v1beta1", ("PodGroup", "Queue")),
    ):
        for kind in kinds:
            assert known.resource_type(api, kind, namespaced=kind != "Queue"), kind
    with ExitStack() as running:
        running.enter_context(furnishing(stack, (DATA, SYSTEM, TEAM), priorities={"batch": 1000}))
        for one in (one for one in chart if one["kind"] in KINDS):
            api = "core/v1" if one["apiVersion"] == "v1" else one["apiVersion"]
            inputs = {name: value for name, value in one.items() if name not in ("apiVersion", "kind")}
            running.callback(Declared(stack, f"{api}:{one['kind']}", inputs).create().delete)
        (deployment,) = [one for one in chart if one["kind"] == "Deployment"]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        metrics, probe = free_port(), free_port()
        environment = home(folder, client, OPERATOR, SYSTEM)
        command = [
            binary,
            *container["args"],
            f"--leader-election-namespace={SYSTEM}",  # a pod knows its own
            f"--kubeconfig={environment['KUBECONFIG']}",
            f"--metrics-addr=127.0.0.1:{metrics}",
            f"--health-probe-bind-address=127.0.0.1:{probe}",
        ]
        log = folder / "operator.log"
        running.enter_context(started(command, environment, log, f"http://127.0.0.1:{metrics}/metrics"))
        accounts = [one for one in declared if one[0].endswith(":ServiceAccount")]
        for one in accounts:
            running.callback(Declared(stack, *one).create().delete)
        yield Operator(stack, log, declared)


def test_the_cluster_gets_its_head_and_its_least_workers(operator: Operator):
    (inputs,) = [inputs for token, inputs in operator.declared if token.endswith(":RayCluster")]
    cluster = Declared(operator.stack, "ray.io/v1:RayCluster", inputs).create()
    try:
        least = sum(group["minReplicas"] for group in inputs["spec"]["workerGroupSpecs"])
        name = inputs["metadata"]["name"]
        eventually(lambda: len(operator.pods(name)) >= 1 + least, operator.told)
        (head,) = [one for one in operator.pods(name) if one["metadata"]["labels"]["ray.io/node-type"] == "head"]
        assert "autoscaler" in {container["name"] for container in head["spec"]["containers"]}
        for pod in operator.pods(name):
            assert pod["spec"]["nodeSelector"] == {ROLE_LABEL: "cpu"}
            assert pod["spec"]["priorityClassName"] == "batch"
        assert "forbidden" not in operator.log.read_text()
    finally:
        cluster.delete()


def test_a_job_gets_a_cluster_of_its_own(operator: Operator):
    manifest = ray_job(JOB)
    job = Declared(operator.stack, "ray.io/v1:RayJob", {key: manifest[key] for key in ("metadata", "spec")}).create()

    def cluster() -> str:
        live = operator.client.items(f"/apis/ray.io/v1/namespaces/{DATA}/rayjobs")
        return next((one.get("status", {}).get("rayClusterName", "") for one in live), "")

    try:
        name = eventually(cluster, operator.told)
        eventually(lambda: operator.pods(name), operator.told)
        path = f"/apis/scheduling.volcano.sh/v1beta1/namespaces/{DATA}/podgroups/ray-{JOB.name}-pg"
        gang = operator.client.request("GET", path)["spec"]
        assert (gang["minMember"], gang["queue"]) == (1 + JOB.workers.least, "data")
        assert {pod["spec"]["schedulerName"] for pod in operator.pods(name)} == {"volcano"}
        assert "forbidden" not in operator.log.read_text()
    finally:
        job.delete()
