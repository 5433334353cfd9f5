"""Retrievals on a real API server: their objects, the job that brings documents in, and its pods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from components.settings.retrieval import RetrievalSettings
from tests.control_plane.conftest import Stack
from tests.control_plane.declared import Declared, admit, definitions, furnishing, objects_of
from tests.unit.conftest import Recorder
from tests.unit.conftest import recorded as recorded  # noqa: PLC0414 a fixture, for this module too
from tests.unit.platform_site import options, site
from workloads.retrieval.component import Retrievals, RetrievalsArgs

pytestmark = pytest.mark.control_plane

RETRIEVALS = TypeAdapter(tuple[RetrievalSettings, ...]).validate_python(
    [
        {
            "name": "handbook",
            "source": "raw/handbook",
            "embedding": {"model": "embed", "dimension": 1024},
            "answer": {"model": "writer"},
            "ingestion": {"schedule": "15 2 * * *"},
        },
        {"name": "red", "documentsOf": "handbook", "answer": {"model": "writer"}},
    ]
)
# They would wait for pods, which are simulated here and become ready, and for Secrets that nobody makes.
WAITING = ("apps/v1:Deployment", "batch/v1:Job")


@pytest.fixture(scope="module")
def furnished(stack: Stack) -> Iterator[Stack]:
    definitions("argo-workflows", "external-secrets", "istio", "kuberay", "prometheus-operator")
    with furnishing(
        stack,
        ("mlops-data", "mlops-serving", "monitoring"),
        priorities={"batch": 1000, "serving": 100_000},
        accounts=[("mlops-data", "ray-head")],
    ):
        yield stack


def objects(recorded: Recorder) -> list[tuple[str, dict[str, Any]]]:
    def program() -> None:
        place = site({"highlyAvailable": True})
        args = RetrievalsArgs(
            site=place,
            retrievals=RETRIEVALS,
            secrets=(),
            mesh=(),
            gateway=(),
            vectors=(),
            ray=(),
            workflows=(),
            rules=(place.foundation.cluster.provider,),
        )
        Retrievals("retrievals", args, options(place))

    found = objects_of(recorded, program)
    return sorted(found, key=lambda one: not one[0].endswith(":ServiceAccount"))


def integers(value: Any) -> Any:
    """The same with whole numbers as such: the mocks know one kind of number, as the engine does."""
    return json.loads(
        json.dumps(value), parse_float=lambda text: int(float(text)) if float(text).is_integer() else float(text)
    )


def test_every_object_is_admitted_and_reads_back_as_declared(furnished: Stack, recorded: Recorder):
    found = objects(recorded)

    assert {token.split(":")[-1] for token, _ in found} >= {
        "AuthorizationPolicy",
        "CronWorkflow",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "PodMonitor",
        "PrometheusRule",
        "WorkflowTemplate",
    }
    admit(furnished, found, waiting=WAITING)


def pods(recorded: Recorder) -> dict[str, tuple[str, dict[str, Any]]]:
    """Namespace and specification of the pods that are made of them."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for token, inputs in objects(recorded):
        if token in WAITING:
            metadata = inputs["metadata"]
            found[metadata["name"]] = (metadata["namespace"], inputs["spec"]["template"]["spec"])
        if token.endswith(":WorkflowTemplate"):
            job = json.loads(inputs["spec"]["templates"][0]["resource"]["manifest"])["spec"]
            (group,) = job["rayClusterSpec"]["workerGroupSpecs"]
            found["worker"] = ("mlops-data", group["template"]["spec"])
    return found


@pytest.mark.parametrize(
    "name", ["retrieval-handbook", "retrieval-red", "retrievals-key", "retrievals-accounts", "worker"]
)
def test_their_pods_are_admitted_where_pods_are_restricted(furnished: Stack, recorded: Recorder, name: str):
    accounts = [one for one in objects(recorded) if one[0].endswith(":ServiceAccount")]
    recorded.resources.clear()
    namespace, pod = pods(recorded)[name]
    made = [Declared(furnished, *one).create() for one in accounts]
    try:
        furnished.client.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/pods",
            query={"dryRun": "All", "fieldValidation": "Strict"},
            body={"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": integers(pod)},
        )
    finally:
        for one in reversed(made):
            one.delete()


def test_the_job_of_a_run_is_one_that_the_operator_knows(furnished: Stack, recorded: Recorder):
    (template,) = [inputs for token, inputs in objects(recorded) if token.endswith(":WorkflowTemplate")]
    manifest = json.loads(template["spec"]["templates"][0]["resource"]["manifest"])
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "generateName"}
    name = manifest["metadata"]["generateName"] + "x7k2p"

    made = Declared(
        furnished, "ray.io/v1:RayJob", {"metadata": {**metadata, "name": name}, "spec": integers(manifest["spec"])}
    ).create()
    try:
        (live,) = furnished.client.items("/apis/ray.io/v1/namespaces/mlops-data/rayjobs")
        (group,) = live["spec"]["rayClusterSpec"]["workerGroupSpecs"]
        named = {one["name"] for one in group["template"]["spec"]["containers"][0]["env"]}
        assert {"GATEWAY_KEY", "MILVUS_PASSWORD"} <= named, "nothing was pruned"
    finally:
        made.delete()
