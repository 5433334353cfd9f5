"""KServe: a model's servers are admitted, placed, scaled and called as declared."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pulumi
import pytest
from conftest import Recorder
from platform_site import options, site

from components.aws.nodes import pool_of
from components.platform.cold_start import ColdStartBudget, timeouts
from components.platform.inference import ModelObjects, ModelServer, declare, inference_service
from components.platform.network_policies import network_policies
from components.platform.openings import Opening
from components.platform.quotas import SHARES
from components.platform.runtimes import CONTAINER, RUNTIMES, RuntimeName, runtime_of
from components.platform.serving import Serving, ServingArgs, openings
from components.settings.nodes import table
from components.settings.platform.serving import ColdStartSettings

pytestmark = pytest.mark.unit

PROMETHEUS = "http://prometheus-operated.monitoring:9090"
WAITS = timeouts(ColdStartBudget.of(ColdStartSettings()), answer_seconds=600, idle_seconds=1200)
SMALL = ModelServer(
    name="small",
    namespace="mlops-serving",
    runtime="vllm",
    waits=WAITS,
    service_account="small",
    cpu_millicores=4000,
    memory_mib=24 * 1024,
    gpus=1,
    gpu_model="a10g",
)
ALL_RUNTIMES = pytest.mark.parametrize("runtime", list(RUNTIMES))


def objects(prometheus_url: str = "", activator: bool = True, **changes: Any) -> ModelObjects:
    return inference_service(dataclasses.replace(SMALL, **changes), prometheus_url=prometheus_url, activator=activator)


def declared(recorded: Recorder, **platform: Any) -> dict[str, Any]:
    def program() -> None:
        place = site(platform)
        Serving("serving", ServingArgs(site=place, certificates=()), options(place))

    recorded.run(program)
    return recorded.one("kubernetes:helm.sh/v3:Release", "serving-controller").inputs["values"]["kserve"]


def test_the_model_gateway_is_the_only_way_in(recorded: Recorder):
    chosen = declared(recorded)["controller"]

    assert chosen["deploymentMode"] == "Standard"
    assert chosen["gateway"]["disableIngressCreation"] is True
    assert chosen["gateway"]["disableIstioVirtualHost"] is True


def test_a_server_without_a_limit_of_cpu_gets_none_below_its_request(recorded: Recorder):
    """KServe fills in what a model leaves out; one core as a limit would refuse every model that requests more."""
    assert declared(recorded)["inferenceservice"]["resources"]["limits"] == {"cpu": ""}


def test_a_second_controller_completes_pods_while_the_first_is_away(recorded: Recorder):
    declared(recorded)

    patch = recorded.one("kubernetes:apps/v1:DeploymentPatch")
    assert patch.inputs["metadata"] == {"name": "kserve-controller-manager", "namespace": "kserve"}
    assert patch.inputs["spec"] == {"replicas": 2}
    assert "serving-controller" in patch.depends_on
    budget = recorded.one("kubernetes:policy/v1:PodDisruptionBudget").inputs
    assert budget["metadata"]["namespace"] == "kserve"


def test_a_small_stack_keeps_the_charts_one_controller(recorded: Recorder):
    declared(recorded, highlyAvailable=False)

    assert not recorded.of("kubernetes:apps/v1:DeploymentPatch")
    assert not recorded.of("kubernetes:policy/v1:PodDisruptionBudget")


def test_two_controllers_and_a_third_of_a_rolling_update_fit_the_namespaces_share(recorded: Recorder):
    controller = declared(recorded)["controller"]
    requests = [part["resources"]["requests"] for part in (controller, controller["rbacProxy"])]
    share = SHARES["kserve"]

    assert 3 * sum(int(one["cpu"].removesuffix("m")) for one in requests) <= share.cpu_millicores
    assert 3 * sum(int(one["memory"].removesuffix("Mi")) for one in requests) <= share.memory_mib


def test_runtimes_come_after_the_webhook_that_judges_them(recorded: Recorder):
    declared(recorded)

    runtimes = recorded.of("kubernetes:serving.kserve.io/v1alpha1:ClusterServingRuntime")
    assert {one.inputs["metadata"]["name"] for one in runtimes.values()} == {"llmops-vllm", "llmops-triton"}
    assert all("serving-controller" in one.depends_on for one in runtimes.values())


def test_the_api_server_reaches_the_webhooks():
    place = site({"serving": {"activation": {"enabled": False}}})
    ways: tuple[Opening, ...] = openings(place)
    policies = network_policies(ways, place.foundation.cluster.networks, ["kserve", "monitoring"], ["monitoring"])

    ingress = [rule for one in policies["kserve"] for rule in one.spec.get("ingress", ())]
    assert any({"protocol": "TCP", "port": 9443} in rule["ports"] for rule in ingress)


def pod(runtime: RuntimeName, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Pod and main container as KServe puts them together: the model's over the runtime's, arguments appended."""
    base = runtime_of(RUNTIMES[runtime])["containers"][0]
    predictor = dict(objects(runtime=runtime, **changes).service["predictor"])
    model = predictor["model"]
    main = {**base, **{key: model[key] for key in ("resources", "startupProbe")}}
    main["args"] = [*base["args"], *model["args"]]
    return predictor, main


@ALL_RUNTIMES
def test_a_server_runs_without_rights(runtime: RuntimeName):
    predictor, main = pod(runtime)

    assert predictor["securityContext"]["runAsNonRoot"] is True
    assert predictor["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert predictor["automountServiceAccountToken"] is False
    assert main["securityContext"]["allowPrivilegeEscalation"] is False
    assert main["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert main["name"] == CONTAINER


@ALL_RUNTIMES
def test_every_mount_has_a_volume_and_shared_memory_is_memory(runtime: RuntimeName):
    predictor, main = pod(runtime, shared_memory_mib=1024)
    volumes = {one["name"]: one for one in predictor["volumes"]}

    assert {one["name"] for one in main["volumeMounts"]} == set(volumes)
    (shared,) = [one["name"] for one in main["volumeMounts"] if one["mountPath"] == "/dev/shm"]
    assert volumes[shared]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1024Mi"}


@ALL_RUNTIMES
def test_probes_ask_a_port_that_the_container_has(runtime: RuntimeName):
    _, main = pod(runtime)
    ports = {one["containerPort"] for one in main["ports"]}

    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert main[probe]["httpGet"]["port"] in ports
    assert any(f"port={port}" in argument for port in ports for argument in main["args"])


@ALL_RUNTIMES
def test_images_are_pinned_and_kept(runtime: RuntimeName):
    image = RUNTIMES[runtime].image

    assert image.rpartition(":")[2] not in ("", "latest")
    assert pod(runtime)[1]["imagePullPolicy"] == "IfNotPresent"


@ALL_RUNTIMES
def test_what_was_fetched_is_what_is_served(runtime: RuntimeName):
    _, fetched = pod(runtime, storage_uri="s3://models/small")
    _, own = pod(runtime)

    assert any("/mnt/models" in one for one in fetched["args"])
    assert not any("/mnt/models" in one for one in own["args"])


def test_a_server_is_placed_on_nodes_for_inference_with_its_gpu():
    predictor, main = pod("vllm")
    pools = [pool_of(group) for group in table()]

    able = [
        pool
        for pool in pools
        if predictor["nodeSelector"].items() <= dict(pool.labels).items()
        and all(any(one["key"] == taint.key for one in predictor["tolerations"]) for taint in pool.taints)
    ]
    assert able
    assert {pool.role for pool in able} == {"gpu-inference"}
    assert main["resources"]["limits"]["nvidia.com/gpu"] == main["resources"]["requests"]["nvidia.com/gpu"] == "1"
    assert "cpu" not in main["resources"]["limits"]


def test_a_model_that_may_have_no_server_is_called_through_the_activator():
    held, kept = objects(), objects(fewest=1)

    assert held.url == "http://small.mlops-serving.svc.cluster.local:8080"
    assert held.route is not None
    assert held.route["rules"][0]["hosts"][0] == "small.mlops-serving.svc.cluster.local"
    assert kept.url == "http://small-predictor.mlops-serving.svc.cluster.local"
    assert kept.route is None


def test_kserve_leaves_scaling_to_our_scaled_object():
    assert objects().annotations["serving.kserve.io/autoscalerClass"] == "external"


def test_a_fixed_number_of_servers_is_set_by_kserve():
    """With ``external`` it would leave the number to others, and the Deployment would stay at one."""
    fixed = objects(fewest=2, most=2)

    assert fixed.annotations["serving.kserve.io/autoscalerClass"] == "none"
    assert fixed.service["predictor"]["minReplicas"] == 2


def triggers(found: ModelObjects) -> list[str]:
    assert found.scaling is not None
    return [one["type"] for one in found.scaling["triggers"]]


def test_a_model_wakes_by_requests_and_grows_by_the_queues_of_its_servers():
    assert triggers(objects()) == ["external-push"]
    assert triggers(objects(PROMETHEUS, most=3)) == ["external-push", "prometheus"]
    assert triggers(objects(PROMETHEUS, fewest=1, most=3)) == ["prometheus"]
    assert triggers(objects(PROMETHEUS, most=1)) == ["external-push"], "one server cannot become more"


@ALL_RUNTIMES
def test_a_queue_is_that_of_the_model_alone(runtime: RuntimeName):
    found = objects(PROMETHEUS, most=3, runtime=runtime)
    assert found.scaling is not None
    query = found.scaling["triggers"][1]["metadata"]["query"]

    selectors = re.findall(r"\{(.*?)\}", query)
    assert selectors
    for selector in selectors:
        assert 'namespace="mlops-serving"' in selector
        assert 'pod=~"small-predictor-.+"' in selector


def test_a_fixed_number_of_servers_is_not_scaled():
    assert objects(fewest=1, most=1).scaling is None


def test_what_nothing_can_wake_or_scale_is_refused_with_its_remedy():
    with pytest.raises(ValueError, match=r"activation\.enabled"):
        objects(activator=False)
    with pytest.raises(ValueError, match="prometheusUrl"):
        objects(fewest=1, most=3)


@pytest.mark.parametrize(
    "changes",
    [{"name": "Small"}, {"name": "a" * 60}, {"fewest": 2, "most": 1}, {"most": 0}, {"shared_memory_mib": 24 * 1024}],
)
def test_a_model_that_cannot_be_is_refused(changes: dict[str, Any]):
    with pytest.raises(ValueError, match="model"):
        dataclasses.replace(SMALL, **changes)


def test_a_budget_of_disruption_never_pins_the_only_server():
    assert objects().budget is None
    several = objects(most=3).budget
    assert several is not None
    assert several["selector"]["matchLabels"] == {"app": "isvc.small-predictor"}


def test_what_scales_a_model_is_made_after_it_and_removed_before_it(recorded: Recorder):
    def program() -> None:
        place = site()
        server = dataclasses.replace(SMALL, most=2)
        parent = pulumi.ComponentResource("test:Model", "model", None, options(place))
        made = inference_service(server, prometheus_url="", activator=True)
        declare(server, made, parent=parent, after=())

    recorded.run(program)
    scaling = recorded.one("kubernetes:keda.sh/v1alpha1:ScaledObject")
    assert {"mlops-serving-small-server", "mlops-serving-small-route"} <= scaling.depends_on
    name = recorded.one("kubernetes:core/v1:Service").inputs
    assert name["spec"] == {
        "type": "ExternalName",
        "externalName": "keda-add-ons-http-interceptor-proxy.mlops-serving.svc.cluster.local",
    }
    service = recorded.one("kubernetes:serving.kserve.io/v1beta1:InferenceService").inputs
    assert service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    assert all(one.parent == "model" for one in recorded.resources if one.name.startswith("mlops-serving-small"))
