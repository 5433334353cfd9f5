"""The real LiteLLM in front of managed endpoints: real addresses, real signatures, our container behind them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest
import requests

from components.platform.model_gateway import Backend, GatewayModel, Hosted
from components.settings.managed_models import VertexSettings
from tests.data_plane import managed_clouds
from tests.data_plane.environments import environment
from tests.data_plane.litellm_process import MASTER, START_SECONDS, Replica, answer_of, emitted, replica
from tests.data_plane.managed_clouds import Clouds
from tests.data_plane.openai_backend import PIECES, Server, serving
from tests.data_plane.redis_server import running as cache_running
from tests.unit.conftest import Recorder, mocked
from workloads.managed.container import serve
from workloads.managed.planning import federated
from workloads.managed.vertex.endpoint import Place

pytestmark = pytest.mark.data_plane

VERTEX = VertexSettings.model_validate(
    {
        "project": "llmops-test",
        "projectNumber": "210987654321",
        "location": "us-central1",
        "serviceAccount": "models@llmops-test.iam.gserviceaccount.com",
        "federation": {"provider": "projects/210987654321/locations/global/workloadIdentityPools/llmops/providers/aws"},
    }
)
PLACE = Place(project="llmops-test", project_number="210987654321", location="us-central1")
# Its name holds those of models that LiteLLM would treat in their own ways.
BGE = "llmops-dev-bge-gemma"


def models() -> tuple[GatewayModel, ...]:
    def model(name: str, target: Hosted, **more: Any) -> GatewayModel:
        return GatewayModel(name=name, backends=(Backend(name="stable", target=target, timeout_seconds=30),), **more)

    sagemaker = Hosted(provider="sagemaker", model="llmops-dev-llama", region="us-east-1")
    sleeping = Hosted(
        provider="sagemaker", model="llmops-dev-zero", region="us-east-1", component="llmops-dev-zero-model"
    )
    vertex = Hosted(
        provider="vertex",
        model=BGE,
        region="us-central1",
        url=PLACE.url(BGE),
        project=PLACE.project,
        sign_in=federated(VERTEX, "us-east-1"),
    )
    return (
        model("sagemaker", sagemaker),
        model("sleeping", sleeping, fallbacks=("vertex",)),
        model("vertex", vertex),
    )


class World:
    """A model server, the container's program in front of it, the clouds in front of that, and the gateway."""

    def __init__(self, triton: Server, clouds: Clouds, gateway: Replica) -> None:
        self.triton, self.clouds, self.gateway = triton, clouds, gateway

    def asked(self) -> tuple[str, dict[str, str]]:
        """The last request at a model's endpoint."""
        return [one for one in self.clouds.asked if not one[0].startswith("sts.")][-1]


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    """Mocks for the whole module: the program is run once."""
    return mocked()


@pytest.fixture(scope="module")
def world(recorder: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("managed")
    (google,) = (environment("vertex") / "lib").glob("python*/site-packages")
    with ExitStack() as stack:
        triton = stack.enter_context(serving("managed"))
        settings = serve.Settings(
            model="llama", folder=Path("/opt/ml/model"), storage_url="", port=0, health_path="/ping",
            frontend_port=triton.server_port,
        )  # fmt: skip
        container = serve.Server(settings, "127.0.0.1")
        threading.Thread(target=container.serve_forever, daemon=True).start()
        stack.callback(container.shutdown)
        hosts = ["runtime.sagemaker.us-east-1.amazonaws.com", PLACE.host(BGE), "sts.googleapis.com"]
        clouds = stack.enter_context(managed_clouds.running(folder, container.server_port, hosts))
        given = emitted(recorder, models())
        more = {
            **clouds.variables(),
            # What the pod's identity gives; LiteLLM's image has Google's packages, its environment here has not.
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "PYTHONPATH": str(google),
        }
        given.containers["model-gateway"]["env"] += [{"name": key, "value": value} for key, value in more.items()]
        cache = stack.enter_context(cache_running(folder))
        gateway = stack.enter_context(replica(given, cache, folder / "gateway"))
        # The first call of Vertex AI loads Google's packages, which takes long on a busy machine.
        question = {"model": "vertex", "messages": [{"role": "user", "content": "first"}]}
        headers = {"authorization": f"Bearer {MASTER}"}
        requests.post(f"{gateway.url}/v1/chat/completions", json=question, headers=headers, timeout=START_SECONDS)
        yield World(triton, clouds, gateway)


@pytest.fixture(autouse=True)
def _copies_are_there(world: World) -> Iterator[None]:
    yield
    world.clouds.without_capacity = False


def pieces_of(answer: Any) -> list[str]:
    """Texts of an answer that came in pieces."""
    lines = [line.decode().removeprefix("data: ") for line in answer.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    deltas = [json.loads(line)["choices"][0]["delta"] for line in lines[:-1]]
    return [delta["content"] for delta in deltas if delta.get("content")]


def test_sagemaker_is_asked_signed_at_the_endpoint_and_answers(world: World):
    assert answer_of(world.gateway.ask("sagemaker")) == "managed"
    path, headers = world.asked()
    assert path == "runtime.sagemaker.us-east-1.amazonaws.com/endpoints/llmops-dev-llama/invocations"
    assert "/us-east-1/sagemaker/aws4_request" in headers["authorization"]
    assert "x-amzn-sagemaker-inference-component" not in headers


def test_an_answer_of_sagemaker_in_pieces_arrives_in_pieces(world: World):
    pieces = pieces_of(world.gateway.ask("sagemaker", stream=True))
    assert pieces == [f"managed{number} " for number in range(PIECES)]
    assert world.asked()[0].endswith("/endpoints/llmops-dev-llama/invocations-response-stream")


def test_an_inference_component_is_asked_by_its_name(world: World):
    assert answer_of(world.gateway.ask("sleeping")) == "managed"
    assert world.asked()[1]["x-amzn-sagemaker-inference-component"] == "llmops-dev-zero-model"


def test_while_an_endpoint_wakes_up_the_fallback_answers(world: World):
    """SageMaker refuses at once and starts a copy; whoever asked does not wait for it."""
    world.clouds.without_capacity = True
    assert answer_of(world.gateway.ask("sleeping")) == "managed"
    assert world.asked()[0].startswith(PLACE.host(BGE))


def test_vertex_is_asked_at_the_endpoints_own_address_with_a_token_for_the_pods_aws_identity(world: World):
    assert answer_of(world.gateway.ask("vertex")) == "managed"
    path, headers = world.asked()
    assert path == (
        f"{PLACE.host(BGE)}/v1/projects/llmops-test/locations/us-central1/endpoints/{BGE}/invoke/v1/chat/completions"
    )
    assert headers["authorization"] == f"Bearer {managed_clouds.TOKEN}"
    exchange = {key: values[0] for key, values in parse_qs(world.clouds.exchanged[0]).items()}
    assert exchange["audience"] == f"//iam.googleapis.com/{VERTEX.federation.provider if VERTEX.federation else ''}"
    proof = json.loads(unquote(exchange["subject_token"]))
    assert "Action=GetCallerIdentity" in proof["url"]
    assert "AKIAIOSFODNN7EXAMPLE" in json.dumps(proof), "signed with what the pod's identity gave"


def test_an_answer_of_vertex_in_pieces_arrives_in_pieces(world: World):
    pieces = pieces_of(world.gateway.ask("vertex", stream=True))
    assert pieces == [f"managed{number} " for number in range(PIECES)]
