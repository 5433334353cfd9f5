"""Ray and Milvus on a real API server: their objects, and the pods that controllers would make of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

import pytest

from components.contract import ROLE_LABEL
from components.platform.ray import Ray, RayArgs
from components.platform.ray_jobs import RayJobArgs, RuntimeEnv, Workers, ray_job
from components.platform.vectors import Vectors, VectorsArgs
from components.settings.teams import TeamSettings
from sandbox.provider import ProviderError
from tests.control_plane.conftest import Stack
from tests.control_plane.declared import Declared, definitions, furnishing, objects_of
from tests.unit.conftest import Recorder
from tests.unit.conftest import recorded as recorded  # noqa: PLC0414 a fixture, for this module too
from tests.unit.platform_site import options, site

pytestmark = pytest.mark.control_plane

NAMESPACE = "mlops-data"
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
RAYJOB = "ray.io/v1:RayJob"
JOB = RayJobArgs(
    name="tokenize",
    entrypoint="python -m tokenize_corpus",
    workers=Workers(least=1, most=2, vcpu=2, memory_gib=8),
    runtime_env=RuntimeEnv(variables={"CORPUS": "s3://data/raw"}),
)


@pytest.fixture(scope="module")
def furnished(stack: Stack) -> Iterator[Stack]:
    definitions("kuberay")
    with furnishing(stack, {NAMESPACE: RESTRICTED}, priorities={"batch": 1000}):
        yield stack


def objects(recorded: Recorder) -> list[tuple[str, dict[str, Any]]]:
    """Everything but the releases; service accounts before those who use them."""

    def program() -> None:
        place = site(teams=(TeamSettings(name="research"),))
        Ray("ray", RayArgs(site=place, scheduling_ready=(), team_namespaces=()), options(place))
        Vectors("vectors", VectorsArgs(site=place, secrets_ready=(), mesh_ready=()), options(place))

    found = objects_of(recorded, program)
    return sorted(found, key=lambda one: not one[0].endswith(":ServiceAccount"))


def test_every_object_of_both_is_admitted(furnished: Stack, recorded: Recorder):
    made = [Declared(furnished, token, inputs).create() for token, inputs in objects(recorded)]
    try:
        client = furnished.client
        (cluster,) = client.items(f"/apis/ray.io/v1/namespaces/{NAMESPACE}/rayclusters")
        assert cluster["spec"]["authOptions"] == {"mode": "token"}
        jobs = client.items(f"/apis/batch/v1/namespaces/{NAMESPACE}/cronjobs")
        assert {one["metadata"]["name"]: one["spec"]["suspend"] for one in jobs} == {
            "milvus-backup": False,
            "milvus-restore": True,
        }
        policies = client.items(f"/apis/security.istio.io/v1/namespaces/{NAMESPACE}/authorizationpolicies")
        assert {one["metadata"]["name"] for one in policies} == {"milvus", "milvus-metadata"}
    finally:
        for one in reversed(made):
            one.delete()


def kept(wanted: Any, live: Any) -> bool:
    """Whether everything that is wanted is there, beside what was defaulted."""
    if isinstance(wanted, dict):
        want, have = cast("dict[str, Any]", wanted), cast("dict[str, Any]", live)
        return all(key in have and kept(value, have[key]) for key, value in want.items())
    if isinstance(wanted, list):
        wants, haves = cast("list[Any]", wanted), cast("list[Any]", live)
        return len(wants) == len(haves) and all(map(kept, wants, haves))
    return wanted == live


def integers(value: dict[str, Any]) -> dict[str, Any]:
    """The same with whole numbers as such: the mocks know one kind of number, as the engine does."""
    return json.loads(json.dumps(value), parse_float=lambda text: int(float(text)))


def test_a_job_for_workloads_is_admitted_as_it_is_written(furnished: Stack):
    manifest = ray_job(JOB)
    made = Declared(furnished, RAYJOB, {key: manifest[key] for key in ("metadata", "spec")}).create()
    try:
        (live,) = furnished.client.items(f"/apis/ray.io/v1/namespaces/{NAMESPACE}/rayjobs")
        assert live["spec"]["entrypointNumCpus"] == 1
        assert kept(manifest["spec"], live["spec"]), "nothing was pruned"
    finally:
        made.delete()


def test_the_definition_of_jobs_is_the_real_one(furnished: Stack):
    manifest = ray_job(JOB)
    wrong = {**manifest["spec"], "entryPoint": "python"}
    with pytest.raises(ProviderError, match="entryPoint"):
        Declared(furnished, RAYJOB, {"metadata": manifest["metadata"], "spec": wrong}).create()


def pods(recorded: Recorder) -> dict[str, dict[str, Any]]:
    """Specifications of the pods that KubeRay and the job controller make."""
    spec = ray_job(JOB)["spec"]
    cluster = spec["rayClusterSpec"]
    head = cluster["headGroupSpec"]["template"]["spec"]
    autoscaler = {
        "name": "autoscaler",
        "image": head["containers"][0]["image"],
        **{key: cluster["autoscalerOptions"][key] for key in ("resources", "securityContext")},
    }
    (group,) = cluster["workerGroupSpecs"]
    found = {
        "head": {**head, "containers": [*head["containers"], autoscaler]},
        "worker": group["template"]["spec"],
        "submitter": spec["submitterPodTemplate"]["spec"],
    }
    for token, inputs in objects(recorded):
        if token == "batch/v1:CronJob":
            template = inputs["spec"]["jobTemplate"]["spec"]["template"]
            found[inputs["metadata"]["name"]] = template["spec"]
    return found


@pytest.mark.parametrize("name", ["head", "worker", "submitter", "milvus-backup", "milvus-restore"])
def test_their_pods_are_admitted_where_pods_are_restricted(furnished: Stack, recorded: Recorder, name: str):
    accounts = [one for one in objects(recorded) if one[0].endswith(":ServiceAccount")]
    recorded.resources.clear()
    pod = pods(recorded)[name]
    made = [Declared(furnished, token, inputs).create() for token, inputs in accounts]
    try:
        assert pod["nodeSelector"] == {ROLE_LABEL: "cpu"}
        admitted = furnished.client.request(
            "POST",
            f"/api/v1/namespaces/{NAMESPACE}/pods",
            query={"dryRun": "All", "fieldValidation": "Strict"},
            body={"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": integers(pod)},
        )
        assert admitted["spec"]["priority"] == (0 if name.startswith("milvus") else 1000)
    finally:
        for one in reversed(made):
            one.delete()
