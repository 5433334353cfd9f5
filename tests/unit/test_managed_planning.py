"""Models on managed endpoints: machines, names, what the gateway calls, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from stack_models import chat, planned

from components.contract import EndpointGrant
from components.platform.model_gateway import GatewayModel
from components.platform.model_gateway.config import configuration
from components.platform.model_gateway.models import grants
from components.settings import SettingsError, parse
from components.settings.managed_models import ManagedSettings, VertexSettings
from components.settings.platform.model_gateway import ModelGatewaySettings
from workloads.managed.machines import MACHINES, chosen, fitting
from workloads.managed.names import endpoint_name, with_content
from workloads.managed.planning import federated, machines_at_most
from workloads.models.registration import gateway_models
from workloads.models.registry import BACKENDS

pytestmark = pytest.mark.unit

IMAGE = "us-docker.pkg.dev/llmops-test/models/managed-triton:26.07"
VERTEX = {
    "project": "llmops-test",
    "projectNumber": "210987654321",
    "location": "us-central1",
    "serviceAccount": "models@llmops-test.iam.gserviceaccount.com",
}
OUR_IMAGE = {"repositories": ["managed-triton"]}
ON_SAGEMAKER = chat(backend="sagemaker", replicas={"min": 1, "max": 2})
ON_VERTEX = chat(
    backend="vertex", source="gs://any-bucket/llama", gpu={"type": "l4", "count": 1}, replicas={"min": 1, "max": 2},
    managed={"image": IMAGE, "vertex": VERTEX},
)  # fmt: skip


def changed(model: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    return {**model, **changes}


def problems(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    try:
        parse(
            {
                "owner": "ml",
                "costCenter": "1",
                "registry": OUR_IMAGE,
                "models": [dict(model)],
            }
        )
    except SettingsError as error:
        return [(problem.path, problem.message) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("model", "path", "message"),
    [
        (changed(ON_SAGEMAKER, source="hf://org/name"), "source", "copy it there"),
        (changed(ON_VERTEX, source="s3://models/llama"), "source", "from gs://"),
        (changed(ON_SAGEMAKER, gpu={"type": "h100"}), "gpu.type", "must be a10g or l4 or l40s"),
        (changed(ON_VERTEX, gpu={"type": "a10g"}), "gpu.type", "must be l4"),
        (
            changed(ON_SAGEMAKER, gpu={"type": "a10g", "count": 4}, managed={"instanceType": "ml.g5.2xlarge"}),
            "managed.instanceType",
            "does not hold the model; ml.g5.12xlarge",
        ),
        (
            changed(ON_SAGEMAKER, managed={"instanceType": "ml.m5.large"}),
            "managed.instanceType",
            "is no machine in the table; ml.g5.",
        ),
        (changed(ON_SAGEMAKER, managed={"update": "rolling"}), "managed.update", "replicas.min must be 2 or more"),
        (changed(ON_SAGEMAKER, managed={"image": "nvcr.io/nvidia/x:1"}), "managed.image", "from ECR in us-east-1"),
        (changed(ON_SAGEMAKER, managed={"vertex": VERTEX}), "managed.vertex", "only for backend vertex"),
        (changed(ON_SAGEMAKER, objective={"p99Seconds": 90}), "objective.p99Seconds", "60 s"),
        (changed(ON_VERTEX, managed={"image": IMAGE}), "managed.vertex", "project, projectNumber"),
        (changed(ON_VERTEX, managed={"vertex": VERTEX}), "managed.image", "Artifact Registry"),
        (changed(ON_VERTEX, replicas={"min": 0}), "replicas.min", "set 1, or backend sagemaker"),
        (
            changed(ON_VERTEX, managed={"image": IMAGE, "vertex": VERTEX, "capturePercent": 5}),
            "managed.capturePercent",
            "only for backend sagemaker",
        ),
        (
            changed(ON_VERTEX, managed={"image": IMAGE, "vertex": {**VERTEX, "privateServiceConnect": ["other"]}}),
            "managed.vertex",
            "needs address",
        ),
    ],
)
def test_a_model_that_its_service_cannot_serve_is_refused_with_a_remedy(
    model: Mapping[str, Any], path: str, message: str
):
    found = problems(model)
    assert [said for where, said in found if where == f"models[0].{path}" and message in said], found


def test_the_examples_that_the_refusals_start_from_are_accepted():
    assert problems(ON_SAGEMAKER) == []
    assert problems(ON_VERTEX) == []


def test_the_cheapest_machine_that_holds_a_model_is_chosen():
    need = {"gpu": "a10g", "gpus": 1, "stored_gib": 15}
    small = chosen("sagemaker", "", memory_gib=10, **need)
    large = chosen("sagemaker", "", memory_gib=40, **need)
    assert small is not None
    assert large is not None
    assert (small.name, large.name) == ("ml.g5.xlarge", "ml.g5.4xlarge")
    assert chosen("sagemaker", "", memory_gib=10, gpu="a10g", gpus=9, stored_gib=15) is None


@pytest.mark.parametrize("service", ["sagemaker", "vertex"])
def test_more_gpus_of_one_kind_never_cost_less(service: Any):
    for gpu in {one.gpu for one in MACHINES if one.service == service}:
        cheapest = [next(fitting(service, gpu, count)).usd_per_hour for count in (1, 2, 4, 8)]
        assert cheapest == sorted(cheapest)


def test_weights_that_a_machines_own_disk_does_not_hold_take_a_larger_machine():
    need = {"gpu": "a10g", "gpus": 1, "memory_gib": 10}
    small = chosen("sagemaker", "", stored_gib=100, **need)
    large = chosen("sagemaker", "", stored_gib=300, **need)
    assert small is not None
    assert large is not None
    assert small.local_disk_gib < large.local_disk_gib


def test_a_models_cost_is_that_of_its_machines_on_the_endpoint():
    plan = planned(ON_SAGEMAKER, registry=OUR_IMAGE).plans["chat"]
    machine = next(one for one in MACHINES if one.name == plan.instance_type)
    assert plan.cost.minimum_hourly_usd == machine.usd_per_hour
    assert plan.cost.maximum_hourly_usd == 2 * machine.usd_per_hour


def test_the_quota_that_is_asked_for_holds_an_update_too():
    ruled = changed(ON_SAGEMAKER, replicas={"min": 2, "max": 3}, managed={"update": "rolling"})
    for model, needed in ((ON_SAGEMAKER, 4), (ruled, 5), (chat(), 0)):
        found = planned(model, registry=OUR_IMAGE)
        assert sum(machines_at_most(found.specs, found.plans).values()) == needed


def gateway(*models: dict[str, Any]) -> tuple[tuple[GatewayModel, ...], list[dict[str, Any]]]:
    """Models at the gateway, and the entries that LiteLLM gets."""
    found = planned(*models, registry=OUR_IMAGE)
    made = gateway_models(found.specs, found.plans)
    file = configuration(made, ModelGatewaySettings())
    return made, [entry["litellm_params"] for entry in file["model_list"]]


def test_the_gateway_calls_each_version_at_its_own_endpoint_and_may_call_no_other():
    canary = {"source": "s3://models/llama-2", "percent": 10, "baseline": {}}
    models, entries = gateway(changed(ON_SAGEMAKER, canary=canary))
    assert [(entry["model"], entry["weight"]) for entry in entries] == [
        ("sagemaker_chat/llmops-test-chat", 90),
        ("sagemaker_chat/llmops-test-chat-canary", 10),
    ]
    assert grants(models) == (
        EndpointGrant(
            service="sagemaker", endpoints=("llmops-test-chat", "llmops-test-chat-canary"), region="us-east-1"
        ),
    )


def test_a_model_that_scales_to_zero_is_called_by_its_inference_component():
    models, (entry,) = gateway(changed(ON_SAGEMAKER, replicas={"min": 0, "max": 2}))
    assert (entry["model"], entry["model_id"]) == (
        "sagemaker_chat/llmops-test-chat-zero", "llmops-test-chat-zero-model",
    )  # fmt: skip
    (grant,) = grants(models)
    assert isinstance(grant, EndpointGrant)
    assert grant.components == ("llmops-test-chat-zero-model",)


def test_a_vertex_endpoint_is_called_at_its_own_address_and_the_gateway_gets_an_identity_for_it():
    models, (entry,) = gateway(ON_VERTEX)
    assert entry["api_base"] == (
        "https://llmops-test-chat.us-central1-210987654321.prediction.vertexai.goog/v1/projects/llmops-test/locations/"
        "us-central1/endpoints/llmops-test-chat/invoke/v1"
    )
    assert grants(models) == (EndpointGrant(service="vertex", endpoints=("llmops-test-chat",), region="us-central1"),)


def test_signing_in_from_another_cloud_takes_no_credential():
    """The document names who is asked for a token; the proof is signed by the pod's own role."""
    provider = "projects/1/locations/global/workloadIdentityPools/llmops/providers/aws"
    given = {**VERTEX, "federation": {"provider": provider, "serviceAccount": "gw@llmops-test.iam.gserviceaccount.com"}}
    document = federated(VertexSettings.model_validate(given), "us-east-1")
    assert document["audience"] == f"//iam.googleapis.com/{provider}"
    assert "gw@llmops-test" in document["service_account_impersonation_url"]
    assert not [key for key in document if "key" in key or "secret" in key or key == "private_key"]
    assert federated(VertexSettings.model_validate(VERTEX), "us-east-1") == {}
    _, (entry,) = gateway(changed(ON_VERTEX, managed={"image": IMAGE, "vertex": given}))
    assert json.loads(entry["vertex_credentials"]) == document


def test_names_at_the_cloud_fit_and_stay_different_when_they_are_cut():
    long = "x" * 60
    names = {endpoint_name("llmops-prod", f"{long}-{suffix}") for suffix in ("stable", "canary")}
    assert len(names) == 2
    assert all(len(name) <= 63 for name in names)
    contents = {with_content(name, {"version": number}) for name in names for number in (1, 2)}
    assert len(contents) == 4
    assert all(len(name) <= 63 for name in contents)


def test_every_backend_of_the_settings_can_be_served():
    assert {"sagemaker", "vertex"} <= set(BACKENDS)
    assert ManagedSettings().image == "", "SageMaker takes the image of the stack's own registry"
