"""Models on a real API server: everything that is declared for one is admitted, and so are its pods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pulumi
import pytest

from components.platform.activation import Activation, ActivationArgs
from components.platform.cold_start import ColdStartBudget, timeouts
from components.platform.inference import ModelServer, declare, inference_service
from components.platform.runtimes import RUNTIMES, RuntimeName, runtime_of
from components.platform.serving import Serving, ServingArgs
from components.platform.site import Site
from components.settings.platform.serving import ColdStartSettings
from sandbox.provider import ProviderError
from tests.control_plane.conftest import Stack
from tests.control_plane.declared import Declared, definitions, furnishing, objects_of
from tests.unit.conftest import Recorder
from tests.unit.conftest import recorded as recorded  # noqa: PLC0414 a fixture, for this module too
from tests.unit.platform_site import options, site

pytestmark = pytest.mark.control_plane

PLACE = "mlops-serving"
ALL_RUNTIMES = pytest.mark.parametrize("runtime", list(RUNTIMES))


@pytest.fixture(scope="module")
def furnished(stack: Stack) -> Iterator[Stack]:
    definitions("kserve", "keda", "keda-http", "istio")
    with furnishing(stack, (PLACE, "kserve"), priorities={"serving": 100_000}, accounts=[(PLACE, "small")]):
        yield stack


def objects(recorded: Recorder, component: Callable[[Site, pulumi.ResourceOptions], Any]) -> list[tuple[str, Any]]:
    """Type and inputs of everything that is declared but releases, and patches of what they bring."""

    def program() -> None:
        place = site()
        component(place, options(place))

    return objects_of(recorded, program)


def server(runtime: RuntimeName) -> ModelServer:
    return ModelServer(
        name="small",
        namespace=PLACE,
        runtime=runtime,
        waits=timeouts(ColdStartBudget.of(ColdStartSettings()), answer_seconds=600, idle_seconds=1200),
        service_account="small",
        cpu_millicores=4000,
        memory_mib=24 * 1024,
        gpus=1,
        gpu_model="a10g",
        most=3,
        storage_uri="s3://models/small",
        arguments=("--max-model-len=8192",),
        environment={"AWS_REGION": "us-east-1"},
    )


def declared(runtime: RuntimeName) -> Callable[[Site, pulumi.ResourceOptions], Any]:
    def component(place: Site, opts: pulumi.ResourceOptions) -> None:
        parent = pulumi.ComponentResource("test:Model", "model", None, opts)
        one = server(runtime)
        made = inference_service(one, prometheus_url="http://prometheus-operated.monitoring:9090", activator=True)
        declare(one, made, parent=parent, after=())

    return component


@ALL_RUNTIMES
def test_everything_that_is_declared_for_a_model_is_admitted(
    furnished: Stack, recorded: Recorder, runtime: RuntimeName
):
    made = [Declared(furnished, token, inputs).create() for token, inputs in objects(recorded, declared(runtime))]

    kinds = {
        "serving.kserve.io/v1beta1/namespaces/mlops-serving/inferenceservices/small",
        "http.keda.sh/v1beta1/namespaces/mlops-serving/interceptorroutes/small",
        "keda.sh/v1alpha1/namespaces/mlops-serving/scaledobjects/small",
        "policy/v1/namespaces/mlops-serving/poddisruptionbudgets/small-predictor",
    }
    for path in kinds:
        assert furnished.client.request("GET", f"/apis/{path}")
    for one in reversed(made):
        one.delete()


def test_runtimes_and_what_stands_around_the_controllers_are_admitted(furnished: Stack, recorded: Recorder):
    def serving(place: Site, opts: pulumi.ResourceOptions) -> None:
        Serving("serving", ServingArgs(site=place, certificates=()), opts)
        Activation("activation", ActivationArgs(site=place, autoscaling=(), mesh=()), opts)

    made = [Declared(furnished, token, inputs).create() for token, inputs in objects(recorded, serving)]

    live = furnished.client.items("/apis/serving.kserve.io/v1alpha1/clusterservingruntimes")
    assert {one["metadata"]["name"] for one in live} == {"llmops-vllm", "llmops-triton"}
    for one in reversed(made):
        one.delete()


def pod(runtime: RuntimeName) -> dict[str, Any]:
    """The pod of a model as KServe puts it together, without what it adds itself."""
    spec = runtime_of(RUNTIMES[runtime])
    predictor = dict(inference_service(server(runtime), prometheus_url="", activator=True).service["predictor"])
    model = predictor.pop("model")
    for own in ("minReplicas", "maxReplicas", "deploymentStrategy", "labels"):
        predictor.pop(own)
    main = {**spec["containers"][0], **{key: model[key] for key in ("resources", "startupProbe", "env")}}
    main["args"] = [*spec["containers"][0]["args"], *model["args"]]
    return {"metadata": {"name": f"small-{runtime}", "namespace": PLACE}, "spec": {**predictor, "containers": [main]}}


@ALL_RUNTIMES
def test_a_models_pod_is_admitted_where_only_restricted_pods_are(furnished: Stack, runtime: RuntimeName):
    Declared(furnished, "core/v1:Pod", pod(runtime)).preview()

    loose = pod(runtime)
    del loose["spec"]["securityContext"]["seccompProfile"]
    with pytest.raises(ProviderError, match="seccompProfile"):
        Declared(furnished, "core/v1:Pod", loose).preview()


def test_the_definitions_are_the_real_ones(furnished: Stack, recorded: Recorder):
    by_kind = {token.rsplit(":", 1)[1]: (token, inputs) for token, inputs in objects(recorded, declared("vllm"))}

    token, route = by_kind["InterceptorRoute"]
    route["spec"]["timeouts"]["readyness"] = "60s"
    with pytest.raises(ProviderError, match="readyness"):
        Declared(furnished, token, route).preview()
    token, service = by_kind["InferenceService"]
    service["spec"]["predictor"]["model"]["startupProbe"]["failureTreshold"] = 3
    with pytest.raises(ProviderError, match="failureTreshold"):
        Declared(furnished, token, service).preview()
