"""Ray: who its pods are, what they may reach, and the jobs that others make with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Recorder
from platform_site import Identities, options, site

from components.capacity import Request
from components.contract import ROLE_LABEL, ObjectGrant
from components.platform import ray as ray_module
from components.platform.ray import CLUSTER, Ray, RayArgs, openings, requests
from components.platform.ray_jobs import (
    AUTOSCALER,
    HEAD,
    PYTHON_VERSION,
    RAY_VERSION,
    SUBMITTER,
    Place,
    RayJobArgs,
    RuntimeEnv,
    Workers,
    ray_job,
)
from components.platform.vectors_values import requests as vector_requests
from components.settings import parse
from components.settings.teams import TeamSettings
from components.versions import IMAGES

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
TEAMS = (TeamSettings(name="research"), TeamSettings(name="search"))
CLUSTER_TYPE = "kubernetes:ray.io/v1:RayCluster"
RELEASE = "kubernetes:helm.sh/v3:Release"
ACCOUNT = "kubernetes:core/v1:ServiceAccount"


def declared(recorded: Recorder, identities: Identities | None = None, **settings: Any) -> None:
    def program() -> None:
        place = site(settings, teams=TEAMS, identities=identities)
        Ray("ray", RayArgs(site=place, scheduling_ready=(), team_namespaces=()), options(place))

    recorded.run(program)


def job(**changed: Any) -> dict[str, Any]:
    chosen: dict[str, Any] = {
        "name": "tokenize",
        "entrypoint": "python -m tokenize_corpus",
        "workers": Workers(least=1, most=2, vcpu=2, memory_gib=8),
    }
    return ray_job(RayJobArgs(**(chosen | changed)))


def pods_of(cluster: dict[str, Any]) -> dict[str, dict[str, Any]]:
    (group,) = cluster["workerGroupSpecs"]
    return {
        "head": cluster["headGroupSpec"]["template"]["spec"],
        "worker": group["template"]["spec"],
    }


def test_code_on_workers_reads_and_writes_data_and_the_head_has_no_cloud_identity(recorded: Recorder):
    asked = Identities()
    declared(recorded, asked)

    (granted,) = asked.granted
    assert (granted.namespace, granted.service_account) == ("mlops-data", "ray-worker")
    may = {grant.bucket: grant.access for grant in granted.grants if isinstance(grant, ObjectGrant)}
    assert len(may) == len(granted.grants), "objects and nothing else"
    assert may["data"] == "read-write"
    assert may["mlflow"] == "read-write", "MLflow's client uploads artifacts from the worker"
    assert "backups" not in may
    accounts = {one.inputs["metadata"]["name"]: one.inputs for one in recorded.of(ACCOUNT).values()}
    assert accounts["ray-worker"]["metadata"]["annotations"]
    assert "annotations" not in accounts["ray-head"]["metadata"]


def test_only_the_head_has_a_token_of_the_kubernetes_api(recorded: Recorder):
    declared(recorded)
    pods = pods_of(recorded.one(CLUSTER_TYPE).inputs["spec"])

    assert pods["head"]["automountServiceAccountToken"] is True, "the autoscaler asks for workers"
    assert pods["worker"]["automountServiceAccountToken"] is False
    assert pods["head"]["serviceAccountName"] != pods["worker"]["serviceAccountName"]


def test_user_code_stays_off_the_head():
    spec = job()["spec"]

    assert spec["entrypointNumCpus"] >= 1, "the driver is placed where there are CPUs"
    assert spec["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_nobody_runs_code_without_the_clusters_token(recorded: Recorder):
    declared(recorded)

    for spec in (recorded.one(CLUSTER_TYPE).inputs["spec"], job()["spec"]["rayClusterSpec"]):
        assert spec["authOptions"] == {"mode": "token"}
        # KubeRay refuses tokens with less.
        assert tuple(map(int, spec["rayVersion"].split("."))) >= (2, 52, 0)
        assert spec["headGroupSpec"]["serviceType"] == "ClusterIP", "its ports are not public"
        assert "enableIngress" not in spec["headGroupSpec"]


@pytest.mark.parametrize("part", ["head", "worker", "submitter"])
def test_every_pod_meets_the_restricted_level(part: str):
    spec = job()["spec"]
    pod = {**pods_of(spec["rayClusterSpec"]), "submitter": spec["submitterPodTemplate"]["spec"]}[part]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    autoscaler = spec["rayClusterSpec"]["autoscalerOptions"]["securityContext"]
    assert autoscaler["capabilities"] == {"drop": ["ALL"]}


def test_ray_counts_what_kubernetes_gives():
    """Without a limit of CPU Ray would count the node's cores, and plan tasks for CPUs that others have."""
    (group,) = job()["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    resources = group["template"]["spec"]["containers"][0]["resources"]

    assert "cpu" not in resources["limits"]
    assert group["rayStartParams"]["num-cpus"] == "2"
    assert resources["requests"]["cpu"] == "2000m"
    assert resources["requests"]["memory"] == resources["limits"]["memory"], "its object store is sized by the limit"


def test_a_worker_with_gpus_may_run_on_nodes_that_have_some():
    (group,) = job(gpus=1, place=Place(role="gpu-training"))["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    pod = group["template"]["spec"]

    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert group["rayStartParams"]["num-gpus"] == "1"
    assert pod["nodeSelector"] == {ROLE_LABEL: "gpu-training"}
    assert [one["key"] for one in pod["tolerations"]] == ["nvidia.com/gpu"]


def test_clusters_and_jobs_are_gangs_in_their_namespaces_queue(recorded: Recorder):
    declared(recorded)
    wanted = {"volcano.sh/queue-name": "data", "ray.io/priority-class-name": "batch"}

    assert recorded.one(CLUSTER_TYPE).inputs["metadata"]["labels"] == wanted
    assert job()["metadata"]["labels"] == wanted
    assert recorded.one(RELEASE).inputs["values"]["batchScheduler"] == {"name": "volcano"}


def test_without_volcano_the_default_scheduler_places_the_pods(recorded: Recorder):
    declared(recorded, scheduling={"enabled": False})

    assert not recorded.one(RELEASE).inputs["values"]["batchScheduler"]
    assert "volcano.sh/queue-name" not in recorded.one(CLUSTER_TYPE).inputs["metadata"].get("labels", {})


def test_a_job_leaves_nothing_running():
    spec = job()["spec"]

    assert spec["shutdownAfterJobFinishes"] is True
    assert 0 < spec["ttlSecondsAfterFinished"] < 3600
    assert spec["activeDeadlineSeconds"] > 0
    assert spec["backoffLimit"] >= 1, "workers may leave with their node"


def test_what_the_code_needs_reaches_ray_as_it_reads_it():
    env = RuntimeEnv(
        working_dir="s3://data/code.zip", packages=["pyarrow==21.0.0"], variables={"CORPUS": "s3://data/raw"}
    )
    read = yaml.safe_load(job(runtime_env=env)["spec"]["runtimeEnvYAML"])

    assert read == {
        "working_dir": "s3://data/code.zip",
        "pip": ["pyarrow==21.0.0"],
        "env_vars": {"CORPUS": "s3://data/raw"},
    }
    assert "runtimeEnvYAML" not in job()["spec"]


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "Tokenize"},
        {"name": "t" * 41},
        {"entrypoint": "  "},
        {"workers": Workers(least=3, most=2, vcpu=1, memory_gib=2)},
        {"workers": Workers(most=0, vcpu=1, memory_gib=2)},
    ],
)
def test_what_kuberay_would_refuse_later_is_refused_at_once(changed: dict[str, Any]):
    with pytest.raises(ValueError, match="RayJob"):
        job(**changed)


@pytest.mark.parametrize("wrong", [{"working_dir": "/home/me/code"}, {"packages": ["pyarrow"]}])
def test_a_job_depends_on_nothing_that_is_elsewhere_tomorrow(wrong: dict[str, Any]):
    with pytest.raises(ValueError, match="must be"):
        RuntimeEnv(**wrong)


def test_the_operator_has_roles_in_the_namespaces_that_it_watches_and_nowhere_else(recorded: Recorder):
    declared(recorded)
    chosen = recorded.one(RELEASE).inputs["values"]

    assert chosen["singleNamespaceInstall"] is True
    assert chosen["watchNamespace"] == ["mlops-data", "team-research", "team-search"]


def test_the_operator_lives_away_from_peoples_code(recorded: Recorder):
    declared(recorded)

    assert recorded.one(RELEASE).inputs["namespace"] not in recorded.one(RELEASE).inputs["values"]["watchNamespace"]


def test_the_operator_reaches_the_head_of_every_cluster_that_it_watches(recorded: Recorder):
    def program() -> None:
        place = site(teams=TEAMS)
        ways = [way for way in openings(place) if way.ports == (8265,)]
        reached = {getattr(way.target, "namespace", None) for way in ways}
        assert reached == set(ray_module.namespaces(place))
        assert all(getattr(way.target, "labels", None) == {"ray.io/node-type": "head"} for way in ways)

    recorded.run(program)


def test_the_standing_cluster_can_be_left_out(recorded: Recorder):
    declared(recorded, ray={"standingCluster": False})

    assert not recorded.of(CLUSTER_TYPE)
    assert recorded.of(RELEASE), "jobs bring clusters of their own"


def test_the_standing_cluster_comes_after_the_operator_and_its_accounts(recorded: Recorder):
    declared(recorded)
    cluster = recorded.one(CLUSTER_TYPE)

    assert {"ray-operator", "ray-head", "ray-worker"} <= cluster.depends_on
    assert cluster.inputs["metadata"]["name"] == CLUSTER


def test_the_number_of_workers_is_the_autoscalers(recorded: Recorder):
    """It writes into the same list: an update must neither set the number back nor fail on a conflict."""
    declared(recorded)
    cluster = recorded.one(CLUSTER_TYPE).inputs

    assert all("replicas" not in group for group in cluster["spec"]["workerGroupSpecs"])
    assert cluster["metadata"]["annotations"]["pulumi.com/patchForce"] == "true"


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_ray_and_milvus_fit_their_row_and_leave_room_for_a_job(stack: str):
    document = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())
    settings = parse({key.removeprefix("llmops:"): value for key, value in document["config"].items()})
    (row,) = (one.request for one in settings.workloads if one.name == "data-processing")
    several = settings.platform.highly_available
    small = (HEAD, AUTOSCALER, SUBMITTER, Request(cpu_millicores=2000, memory_mib=8192, ephemeral_storage_gib=20))
    taken = (
        *requests(settings.platform.ray),
        *vector_requests(settings.platform.vectors, cluster=several, highly_available=several),
        *small,
    )

    assert sum(one.cpu_millicores for one in taken) <= row.cpu_millicores
    assert sum(one.memory_mib for one in taken) <= row.memory_mib
    assert sum(one.ephemeral_storage_gib for one in taken) <= row.ephemeral_storage_gib


def test_ray_and_its_python_are_said_once():
    assert IMAGES["ray"].endswith(f":{RAY_VERSION}-py{PYTHON_VERSION.replace('.', '')}")
    pinned = (ROOT / "tests" / "data_plane" / "requirements-ray.txt").read_text().splitlines()
    assert f"ray=={RAY_VERSION}" in pinned, "what the data plane runs is what the image has"


def test_a_job_is_plain_json():
    assert json.loads(json.dumps(job())) == job()
