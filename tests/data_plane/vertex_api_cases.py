"""The providers of Vertex AI with Google's own client, against a local server that speaks the API."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.data_plane import vertex_server
from tests.data_plane.environments import environment
from tests.data_plane.vertex_server import Vertex
from workloads.managed.vertex import api, providers
from workloads.managed.vertex.providers import DeploymentProvider, EndpointProvider, ModelProvider

pytestmark = pytest.mark.data_plane

PARENT = "projects/llmops-test/locations/us-central1"
WHERE = {"project": "llmops-test", "location": "us-central1", "owner": "llmops-dev"}
ENDPOINT = {**WHERE, "endpointId": "llmops-dev-llama", "projects": []}
MODEL = {
    **WHERE,
    "modelId": "llmops-dev-llama-stable-1",
    "image": "us-docker.pkg.dev/llmops-test/models/managed-triton:26.07",
    "artifactUri": "gs://llmops-test-models/llama/1",
    "environment": {"MODEL_NAME": "llama"},
    "port": 8080,
    "healthPath": "/ping",
}


@pytest.fixture(scope="module", autouse=True)
def client_library() -> Iterator[None]:
    """Google's client, from an environment of its own whose packages are compatible with ours."""
    (packages,) = (environment("vertex") / "lib").glob("python*/site-packages")
    sys.path.append(str(packages))
    # The environment was not there when `google` was first imported.
    import google

    google.__path__ = [*google.__path__, str(packages / "google")]
    yield
    sys.path.remove(str(packages))


@pytest.fixture
def vertex(monkeypatch: pytest.MonkeyPatch) -> Iterator[Vertex]:
    with vertex_server.running() as server:
        monkeypatch.setenv(api.EMULATOR, server.url)
        yield server


def deployment(*models: str, **more: Any) -> dict[str, Any]:
    share, rest = divmod(100, len(models)) if models else (0, 0)
    return {
        "location": "us-central1",
        "endpoint": f"{PARENT}/endpoints/llmops-dev-llama",
        "models": [{"name": name, "percent": share + (rest if not i else 0)} for i, name in enumerate(models)],
        "machineType": "g2-standard-12",
        "acceleratorType": "NVIDIA_L4",
        "acceleratorCount": 1,
        "minReplicas": 1,
        "maxReplicas": 3,
        "serviceAccount": "models@llmops-test.iam.gserviceaccount.com",
        "host": f"llmops-dev-llama.us-central1-{vertex_server.NUMBER}.prediction.vertexai.goog",
        **more,
    }


def upload(identifier: str = MODEL["modelId"]) -> str:
    return ModelProvider().create({**MODEL, "modelId": identifier}).id


def on_endpoint(vertex: Vertex) -> dict[str, Any]:
    (endpoint,) = vertex.endpoints.values()
    return endpoint


def shares(vertex: Vertex) -> dict[str, int]:
    """Share of the requests by model."""
    endpoint = on_endpoint(vertex)
    return {one["model"]: endpoint["trafficSplit"].get(one["id"], 0) for one in endpoint["deployedModels"]}


def test_a_model_is_uploaded_with_its_container_and_its_own_paths(vertex: Vertex):
    made = ModelProvider().create(MODEL)
    assert made.id == f"{PARENT}/models/llmops-dev-llama-stable-1"
    model = vertex.models[made.id]
    spec = model["containerSpec"]
    assert (spec["imageUri"], model["artifactUri"]) == (MODEL["image"], MODEL["artifactUri"])
    assert spec["ports"] == [{"containerPort": 8080}]
    assert spec["invokeRoutePrefix"] == "/*"
    assert spec["env"] == [{"name": "MODEL_NAME", "value": "llama"}]
    assert model["labels"] == {api.OWNER_LABEL: "llmops-dev"}


def test_a_first_deployment_answers_every_request(vertex: Vertex):
    EndpointProvider().create(ENDPOINT)
    model = upload()
    made = DeploymentProvider().create(deployment(model))
    assert shares(vertex) == {model: 100}
    (deployed,) = on_endpoint(vertex)["deployedModels"]
    machines = deployed["dedicatedResources"]
    kind = api.types().AcceleratorType.NVIDIA_L4.value  # the client sends numbers for names
    assert machines["machineSpec"] == {
        "machineType": "g2-standard-12", "acceleratorType": kind, "acceleratorCount": 1,
    }  # fmt: skip
    assert (machines["minReplicaCount"], machines["maxReplicaCount"]) == (1, 3)
    assert deployed["serviceAccount"] == "models@llmops-test.iam.gserviceaccount.com"
    assert made.outs is not None
    assert made.outs["deployed"] == {model: deployed["id"]}


def test_a_new_version_takes_over_before_the_old_one_goes(vertex: Vertex):
    EndpointProvider().create(ENDPOINT)
    old, new = upload("m-1"), upload("m-2")
    provider = DeploymentProvider()
    before = provider.create(deployment(old))
    seen: list[dict[str, int]] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            with vertex.lock:
                seen.append(shares(vertex))
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    provider.update(before.id, before.outs or {}, deployment(new))
    stop.set()
    thread.join()
    assert shares(vertex) == {new: 100}
    assert {old: 100, new: 0} in seen, "the new version was deployed beside the old one"
    assert all(sum(now.values()) == 100 for now in seen), "somebody always answered"


def test_a_canary_has_its_share_and_promotion_gives_it_all(vertex: Vertex):
    EndpointProvider().create(ENDPOINT)
    stable, canary = upload("m-1"), upload("m-2")
    provider = DeploymentProvider()
    wanted = deployment(stable, canary)
    wanted["models"] = [{"name": stable, "percent": 90}, {"name": canary, "percent": 10}]
    made = provider.create(wanted)
    assert shares(vertex) == {stable: 90, canary: 10}
    provider.update(made.id, made.outs or {}, deployment(canary))
    assert shares(vertex) == {canary: 100}


def test_other_numbers_of_machines_move_nobody(vertex: Vertex):
    EndpointProvider().create(ENDPOINT)
    model = upload()
    provider = DeploymentProvider()
    made = provider.create(deployment(model))
    (before,) = on_endpoint(vertex)["deployedModels"]
    vertex.calls.clear()
    provider.update(made.id, made.outs or {}, deployment(model, minReplicas=2, maxReplicas=5))
    (after,) = on_endpoint(vertex)["deployedModels"]
    assert after["id"] == before["id"]
    assert (after["dedicatedResources"]["minReplicaCount"], after["dedicatedResources"]["maxReplicaCount"]) == (2, 5)
    assert "POST endpoints:deployModel" not in vertex.calls


def test_another_machine_is_another_deployment(vertex: Vertex):
    EndpointProvider().create(ENDPOINT)
    model = upload()
    provider = DeploymentProvider()
    made = provider.create(deployment(model))
    provider.update(made.id, made.outs or {}, deployment(model, machineType="g2-standard-24", acceleratorCount=2))
    (after,) = on_endpoint(vertex)["deployedModels"]
    assert after["dedicatedResources"]["machineSpec"]["machineType"] == "g2-standard-24"
    assert shares(vertex) == {model: 100}


def test_what_an_interrupted_create_left_is_taken_over(vertex: Vertex):
    """A second run finds the finished work of the first, and makes nothing twice."""
    first = (
        EndpointProvider().create(ENDPOINT).id,
        upload(),
        DeploymentProvider().create(deployment(f"{MODEL_NAME}")).id,
    )
    vertex.calls.clear()
    again = (
        EndpointProvider().create(ENDPOINT).id,
        upload(),
        DeploymentProvider().create(deployment(f"{MODEL_NAME}")).id,
    )
    assert again == first
    assert not [call for call in vertex.calls if not call.startswith("GET")]


MODEL_NAME = f"{PARENT}/models/{MODEL['modelId']}"


def test_work_that_goes_on_from_an_interrupted_create_is_waited_for(vertex: Vertex, monkeypatch: pytest.MonkeyPatch):
    """The first run is killed while Google works; the second asks for the same and is told that it is being made."""
    vertex.seconds = 1.5
    monkeypatch.setattr(providers, "UPLOAD_SECONDS", 0.1)
    with pytest.raises(api.VertexError, match="is not done after 0 s; it goes on as"):
        EndpointProvider().create(ENDPOINT)
    assert vertex.endpoints == {}
    monkeypatch.setattr(providers, "UPLOAD_SECONDS", 10)
    assert EndpointProvider().create(ENDPOINT).id == f"{PARENT}/endpoints/llmops-dev-llama"
    assert list(vertex.endpoints) == [f"{PARENT}/endpoints/llmops-dev-llama"]


def test_a_failed_deployment_changes_nothing_for_callers_and_can_be_repeated(vertex: Vertex):
    EndpointProvider().create(ENDPOINT)
    old, new = upload("m-1"), upload("m-2")
    provider = DeploymentProvider()
    made = provider.create(deployment(old))
    vertex.failing = {"deployModel": (429, "The following quotas are exceeded: NVIDIA_L4_GPUS")}
    with pytest.raises(api.VertexError, match="NVIDIA_L4_GPUS"):
        provider.update(made.id, made.outs or {}, deployment(new))
    assert shares(vertex) == {old: 100}
    vertex.failing = {}
    provider.update(made.id, made.outs or {}, deployment(new))
    assert shares(vertex) == {new: 100}


def test_an_endpoint_takes_what_an_interrupted_deployment_left_with_it(vertex: Vertex):
    """It is the part that costs money, and the state may not know it."""
    endpoint = EndpointProvider().create(ENDPOINT)
    model = upload()
    DeploymentProvider().create(deployment(model))
    EndpointProvider().delete(endpoint.id, endpoint.outs or {})
    ModelProvider().delete(model, MODEL)
    assert (vertex.endpoints, vertex.models) == ({}, {})


def test_what_is_gone_already_is_deleted_without_a_word(vertex: Vertex):
    endpoint = EndpointProvider().create(ENDPOINT)
    vertex.endpoints.clear()
    DeploymentProvider().delete("any", deployment(MODEL_NAME))
    EndpointProvider().delete(endpoint.id, endpoint.outs or {})
    ModelProvider().delete(MODEL_NAME, MODEL)


def test_what_belongs_to_somebody_else_is_left_alone(vertex: Vertex):
    EndpointProvider().create({**ENDPOINT, "owner": "llmops-prod"})
    with pytest.raises(api.VertexError, match="belongs to llmops-prod, not to llmops-dev"):
        EndpointProvider().create(ENDPOINT)


def test_an_endpoint_at_another_address_than_the_gateway_calls_is_said(vertex: Vertex):
    EndpointProvider().create(ENDPOINT)
    wanted = deployment(upload(), host="llmops-dev-llama.us-central1-1.prediction.vertexai.goog")
    with pytest.raises(
        api.VertexError, match=rf"set managed\.vertex\.address to .*-{vertex_server.NUMBER}\.prediction"
    ):
        DeploymentProvider().create(wanted)
    assert on_endpoint(vertex)["deployedModels"] == [], "nothing runs and costs money that nobody can reach"


def test_a_refresh_sees_what_somebody_changed_by_hand(vertex: Vertex):
    EndpointProvider().create(ENDPOINT)
    model = upload()
    provider = DeploymentProvider()
    wanted = deployment(model)
    made = provider.create(wanted)
    assert made.outs is not None
    assert not provider.diff(made.id, made.outs, wanted).changes
    on_endpoint(vertex)["deployedModels"][0]["dedicatedResources"]["maxReplicaCount"] = 50
    read = provider.read(made.id, made.outs)
    assert read.outs is not None
    assert read.outs["maxReplicas"] == 50
    assert provider.diff(made.id, read.outs, wanted).changes
    provider.update(made.id, read.outs, wanted)
    assert not provider.diff(made.id, provider.read(made.id, made.outs).outs or {}, wanted).changes


def test_a_refresh_sees_what_is_gone(vertex: Vertex):
    endpoint = EndpointProvider().create(ENDPOINT)
    model = ModelProvider().create(MODEL)
    assert model.outs is not None
    assert ModelProvider().read(model.id, model.outs).id == model.id
    made = DeploymentProvider().create(deployment(model.id))
    vertex.models.clear()
    on_endpoint(vertex)["deployedModels"].clear()
    assert ModelProvider().read(model.id, model.outs).id == ""
    assert DeploymentProvider().read(made.id, made.outs or {}).id == ""
    vertex.endpoints.clear()
    assert EndpointProvider().read(endpoint.id, endpoint.outs or {}).id == ""


def test_a_private_endpoint_names_who_may_reach_it(vertex: Vertex):
    EndpointProvider().create({**ENDPOINT, "projects": ["consumers"]})
    endpoint = on_endpoint(vertex)
    assert endpoint["privateServiceConnectConfig"] == {
        "enablePrivateServiceConnect": True, "projectAllowlist": ["consumers"],
    }  # fmt: skip
    assert not endpoint.get("dedicatedEndpointEnabled")
    DeploymentProvider().create(deployment(upload(), host=""))


def test_no_credential_is_sent_to_a_local_server_and_only_to_a_local_one(
    vertex: Vertex, monkeypatch: pytest.MonkeyPatch
):
    EndpointProvider().create(ENDPOINT)
    assert not [seen for seen in vertex.headers_seen if "authorization" in {name.lower() for name in seen}]
    monkeypatch.setenv(api.EMULATOR, "http://vertex.example.com")
    with pytest.raises(api.VertexError, match="must be on this machine"):
        EndpointProvider().create(ENDPOINT)


def test_shares_that_are_not_whole_and_missing_inputs_are_refused_before_anything_is_done():
    wanted = deployment("m", serviceAccount="")
    wanted["models"] = [{"name": "m", "percent": 90}]
    failures = {one.property: one.reason for one in DeploymentProvider().check({}, wanted).failures}
    assert failures == {
        "serviceAccount": "must be set",
        "models": "shares of the requests must be 100 together; got 90",
    }


def test_resources_that_are_made_at_once_do_not_wait_for_each_others_imports():
    """The engine asks for them in threads of one process, which has loaded nothing of Google's yet."""
    (packages,) = (environment("vertex") / "lib").glob("python*/site-packages")
    program = """
import threading
from workloads.managed.vertex import api
made = []
def make(service):
    made.append(api.client(service, "us-central1"))
threads = [threading.Thread(target=make, args=(name,)) for name in ("model_service", "endpoint_service") * 3]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(made) == 6
"""
    root = Path(__file__).resolve().parents[2]
    variables = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{packages}", api.EMULATOR: "http://127.0.0.1:1"}
    done = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_pinned_packages_are_those_that_a_user_installs():
    root = Path(__file__).resolve().parents[2]

    def pins(path: Path) -> list[str]:
        return [line for line in path.read_text().splitlines() if not line.startswith("#")]

    assert pins(root / "requirements-vertex.txt") == pins(root / "tests/data_plane/requirements-vertex.txt")
