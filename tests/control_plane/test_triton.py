"""Triton's pods on a real API server: what is declared is admitted, and so is the pod that KServe makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from components.platform.runtimes import RUNTIMES, runtime_of
from sandbox.provider import ProviderError
from tests.control_plane.conftest import Stack
from tests.control_plane.declared import Declared, definitions, furnishing
from tests.unit.conftest import Recorder
from tests.unit.conftest import recorded as recorded  # noqa: PLC0414 a fixture, for this module too
from tests.unit.platform_site import options, site
from tests.unit.stack_models import chat, planned
from workloads.models.component import Models, ModelsArgs

pytestmark = pytest.mark.control_plane

PLACE = "mlops-serving"


@pytest.fixture(scope="module")
def furnished(stack: Stack) -> Iterator[Stack]:
    definitions("kserve", "keda", "keda-http", "istio", "gateway-api")
    with furnishing(stack, (PLACE,), priorities={"serving": 100_000}):
        yield stack


def objects(recorded: Recorder) -> dict[str, tuple[str, Any]]:
    """Type and inputs of everything that is declared for a model, by kind and name."""
    found = planned(
        chat(backend="triton", quantization="awq", source="s3://models/llama", triton={"balance": "requests"}),
        platform={"mesh": {"waypoints": True}},
    )

    def program() -> None:
        place = site({"serving": found.settings.platform.serving.model_dump(by_alias=True)})
        Models("models", ModelsArgs(site=place, specs=found.specs, plans=found.plans, after=()), options(place))

    recorded.run(program)
    return {
        f"{one.type.rsplit(':', 1)[1]} {one.name}": (one.type.removeprefix("kubernetes:"), one.inputs)
        for one in recorded.resources
        if one.type.startswith("kubernetes:")
    }


def test_everything_that_is_declared_for_a_model_is_admitted(furnished: Stack, recorded: Recorder):
    made = [Declared(furnished, token, inputs).create() for token, inputs in objects(recorded).values()]

    for path in (
        "apis/serving.kserve.io/v1beta1/namespaces/mlops-serving/inferenceservices/chat",
        "apis/security.istio.io/v1/namespaces/mlops-serving/authorizationpolicies/chat-control",
        "apis/gateway.networking.k8s.io/v1/namespaces/mlops-serving/gateways/chat-waypoint",
        "apis/networking.istio.io/v1/namespaces/mlops-serving/destinationrules/chat-predictor",
        "apis/keda.sh/v1alpha1/namespaces/mlops-serving/scaledobjects/chat",
        "api/v1/namespaces/mlops-serving/serviceaccounts/chat",
    ):
        assert furnished.client.request("GET", f"/{path}")
    for one in reversed(made):
        one.delete()


def test_a_release_of_servers_that_run_cannot_be_changed_under_them(furnished: Stack, recorded: Recorder):
    token, inputs = objects(recorded)["ConfigMap model-chat-release"]
    made = Declared(furnished, token, inputs).create()
    try:
        name = inputs["metadata"]["name"]
        live = furnished.client.request("GET", f"/api/v1/namespaces/{PLACE}/configmaps/{name}")
        assert live["immutable"] is True
    finally:
        made.delete()


def pod(recorded: Recorder) -> dict[str, Any]:
    """The pod of a model as KServe puts it together (``MergePodSpec``, and the other containers appended)."""
    predictor = dict(objects(recorded)["InferenceService mlops-serving-chat-server"][1]["spec"]["predictor"])
    model = predictor.pop("model")
    for own in ("minReplicas", "maxReplicas", "deploymentStrategy", "labels", "annotations"):
        predictor.pop(own)
    base = runtime_of(RUNTIMES["triton"])["containers"][0]
    main = {**base, "resources": model["resources"], "startupProbe": model["startupProbe"]}
    main["args"] = [*base["args"], *model["args"]]
    main["volumeMounts"] = [*base["volumeMounts"], *model["volumeMounts"]]
    return {
        "metadata": {"name": "chat-triton", "namespace": PLACE},
        "spec": {**predictor, "containers": [main, *predictor["containers"]]},
    }


def test_a_models_pod_is_admitted_where_only_restricted_pods_are(furnished: Stack, recorded: Recorder):
    account = Declared(furnished, *objects(recorded)["ServiceAccount model-chat-account"]).create()
    recorded.resources.clear()
    whole = pod(recorded)
    Declared(furnished, "core/v1:Pod", whole).preview()

    loader = whole["spec"]["containers"][1]
    del loader["securityContext"]["allowPrivilegeEscalation"]
    with pytest.raises(ProviderError, match="loader"):
        Declared(furnished, "core/v1:Pod", whole).preview()
    account.delete()


def test_the_definitions_are_the_real_ones(furnished: Stack, recorded: Recorder):
    token, service = objects(recorded)["InferenceService mlops-serving-chat-server"]
    service["spec"]["predictor"]["containers"][0]["readynessProbe"] = {}

    with pytest.raises(ProviderError, match="readynessProbe"):
        Declared(furnished, token, service).preview()
