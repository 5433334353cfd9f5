"""A Vertex AI endpoint in the program, and both managed backends behind the seam."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pulumi
import pytest
from aws_stack import run
from conftest import Recorder
from platform_site import site
from pulumi.dynamic.dynamic import serialize_provider
from stack_models import chat, planned
from test_managed_planning import ON_SAGEMAKER, ON_VERTEX, OUR_IMAGE
from test_managed_sagemaker import IMAGE, hosting

from components.platform.site import Site
from workloads.managed.machines import machine
from workloads.managed.vertex.deployment import deployed_id
from workloads.managed.vertex.endpoint import Place, Share, VertexEndpoint, VertexEndpointArgs
from workloads.managed.vertex.providers import DeploymentProvider, EndpointProvider, ModelProvider
from workloads.models.backends import Deployed, VersionArgs
from workloads.models.registry import BACKENDS
from workloads.models.weights import weights_of

pytestmark = pytest.mark.unit

MODEL = "pulumi-python:dynamic/vertex:Model"
ENDPOINT = "pulumi-python:dynamic/vertex:Endpoint"
DEPLOYMENT = "pulumi-python:dynamic/vertex:Deployment"


def endpoint(**changes: Any) -> VertexEndpoint:
    kind = machine("vertex", "g2-standard-24")
    assert kind is not None
    given: dict[str, Any] = {
        "place": Place(project="llmops-test", project_number="1", location="us-central1"),
        "endpoint": "llmops-test-chat",
        "owner": "llmops-test",
        "image": "us-docker.pkg.dev/x/y:1",
        "shares": [Share(name="stable", artifact_uri="gs://bucket/1")],
        "machine": kind,
        "fewest": 1,
        "most": 3,
        "service_account": "models@llmops-test.iam.gserviceaccount.com",
        "environment": {"MODEL_NAME": "chat"},
        **changes,
    }
    return VertexEndpoint("model", VertexEndpointArgs(**given))


def test_what_is_deployed_waits_for_the_endpoint_and_its_models(recorded: Recorder):
    run(endpoint)
    deployment = recorded.one(DEPLOYMENT)
    assert deployment.depends_on >= {"model-endpoint", "model-stable"}
    assert deployment.inputs["acceleratorType"] == "NVIDIA_L4"
    assert (deployment.inputs["acceleratorCount"], deployment.inputs["machineType"]) == (2, "g2-standard-24")
    assert deployment.inputs["host"] == "llmops-test-chat.us-central1-1.prediction.vertexai.goog"


def test_a_model_has_another_id_when_it_is_another(recorded: Recorder):
    ids: list[str] = []
    for changes in ({}, {}, {"image": "us-docker.pkg.dev/x/y:2"}, {"environment": {"MODEL_NAME": "other"}}):
        recorded.resources.clear()
        run(lambda changes=changes: endpoint(**changes))
        ids.append(recorded.one(MODEL).inputs["modelId"])
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_a_private_endpoint_is_compared_with_no_address(recorded: Recorder):
    run(lambda: endpoint(projects=("consumers",), address="models.internal"))
    assert recorded.one(DEPLOYMENT).inputs["host"] == ""
    assert recorded.one(ENDPOINT).inputs["projects"] == ["consumers"]


def test_a_deployment_is_another_one_only_when_its_machines_are_others():
    wanted = {
        "machineType": "g2-standard-12", "acceleratorType": "NVIDIA_L4", "acceleratorCount": 1, "serviceAccount": "x",
        "minReplicas": 1, "maxReplicas": 2,
    }  # fmt: skip
    same = {**wanted, "acceleratorCount": 1.0, "minReplicas": 5}
    assert deployed_id(wanted, "m") == deployed_id(same, "m")
    others = {deployed_id(wanted, "m2"), deployed_id({**wanted, "machineType": "g2-standard-24"}, "m")}
    assert deployed_id(wanted, "m") not in others
    assert all(len(one) == 10 and one.isdigit() for one in others)


@pytest.mark.parametrize("provider", [ModelProvider, EndpointProvider, DeploymentProvider])
def test_the_state_holds_the_name_of_a_provider_and_neither_code_nor_values(provider: Any):
    """New code is no new provider, and there is nothing in it to hide."""
    assert len(serialize_provider(provider())) < 200
    assert provider.serialize_as_secret_always is False


def declare(model: dict[str, Any], place: Site) -> Deployed:
    found = planned(model, registry=OUR_IMAGE)
    (spec,) = found.specs
    version = spec.versions[0]
    parent = pulumi.ComponentResource("test:Parent", "parent")
    weights = weights_of("chat", spec=spec, version=version, site=place, parent=parent)
    args = VersionArgs(
        name="chat",
        spec=spec,
        version=version,
        plan=found.plans["chat"],
        weights=weights,
        site=place,
        parent=parent,
        after=(),
    )
    return BACKENDS[spec.backend].declare(args)


def on_aws() -> Site:
    place = site()
    return replace(place, foundation=replace(place.foundation, model_hosting=hosting()))


def test_a_declared_model_is_put_on_the_endpoint_that_the_gateway_calls(recorded: Recorder):
    model = {**ON_SAGEMAKER, "managed": {"image": IMAGE, "capturePercent": 5, "instanceType": "ml.g5.2xlarge"}}
    run(lambda: declare(model, on_aws()))
    target = BACKENDS["sagemaker"].target(planned(model).specs[0], planned(model).specs[0].versions[0])
    assert recorded.one("aws:sagemaker/endpoint:Endpoint").inputs["name"] == getattr(target, "model", "")
    made = recorded.one("aws:sagemaker/model:Model").inputs["primaryContainer"]
    assert made["image"] == IMAGE
    assert made["environment"] == {"MODEL_NAME": "chat"}
    (source,) = made["modelDataSource"]["s3DataSources"]
    assert source["s3Uri"] == "s3://models/llama/"
    (variant,) = recorded.one("aws:sagemaker/endpointConfiguration:EndpointConfiguration").inputs["productionVariants"]
    assert variant["instanceType"] == "ml.g5.2xlarge"


def test_a_declared_model_on_vertex_needs_nothing_of_the_stacks_own_cloud(recorded: Recorder):
    run(lambda: declare(ON_VERTEX, site()))
    assert not [one for one in recorded.resources if one.type.startswith("aws:")]
    assert recorded.one(MODEL).inputs["artifactUri"] == "gs://any-bucket/llama"
    assert recorded.one(MODEL).inputs["owner"] == "llmops-test"


def test_sagemaker_without_aws_and_without_an_image_is_said(recorded: Recorder):
    with pytest.raises(pulumi.RunError, match="needs a stack on AWS"):
        recorded.run(lambda: declare(ON_SAGEMAKER, site()))
    with pytest.raises(pulumi.RunError, match=r"set managed\.image, or add managed-triton to registry\.repositories"):
        recorded.run(lambda: declare(chat(backend="sagemaker", replicas={"min": 1}), on_aws()))
