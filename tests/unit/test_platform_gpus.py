"""GPU software: on every GPU node, on no other, and by whom the node image says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pytest
from conftest import Recorded, Recorder
from platform_site import options, site
from pydantic import ValidationError

from components.aws.nodes import pool_of
from components.contract import NodePool
from components.platform.gpus import Gpus, GpusArgs
from components.platform.quotas import PER_GPU_NODE, SHARES
from components.settings.nodes import GPU_ROLES, NodeGroupSettings, table
from components.settings.platform.gpus import GpuSettings

pytestmark = pytest.mark.unit

MIXED = (
    {"name": "system", "role": "system", "instanceTypes": ["m6i.xlarge"], "minSize": 2, "maxSize": 3},
    {"name": "cpu", "role": "cpu", "instanceTypes": ["m6i.2xlarge"], "maxSize": 3},
    {"name": "training", "role": "gpu-training", "instanceTypes": ["g5.4xlarge"], "maxSize": 2},
    {"name": "inference", "role": "gpu-inference", "instanceTypes": ["g5.2xlarge"], "maxSize": 2},
    {"name": "small", "role": "gpu-inference", "instanceTypes": ["g6.xlarge"], "maxSize": 2},
)
POOLS: tuple[NodePool, ...] = tuple(pool_of(NodeGroupSettings.model_validate(group)) for group in MIXED)


def declared(recorded: Recorder, *, pools: Sequence[NodePool] = POOLS, software: str = "node-image", **settings: Any):
    def program() -> None:
        place = site({"gpus": settings}, pools=pools, gpu_software=software)
        Gpus("gpus", GpusArgs(site=place), options(place))

    recorded.run(program)
    return {one.inputs["name"]: one for one in recorded.of("kubernetes:helm.sh/v3:Release").values()}


def runs_on(affinity: Mapping[str, Any], pools: Sequence[NodePool] = POOLS) -> set[str]:
    """Node groups that a required node affinity admits, as the scheduler reads it."""
    required = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]

    def holds(condition: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
        among = labels.get(condition["key"]) in condition["values"]
        return among if condition["operator"] == "In" else not among

    return {
        pool.name
        for pool in pools
        for term in required["nodeSelectorTerms"]
        if all(holds(condition, pool.labels) for condition in term["matchExpressions"])
    }


def of(release: Recorded) -> dict[str, Any]:
    return release.inputs["values"]


GPU_POOLS = {pool.name for pool in POOLS if pool.role in GPU_ROLES}


def test_the_node_images_driver_gets_the_plugin_and_no_operator(recorded: Recorder):
    made = declared(recorded)

    assert {one.inputs["chart"] for one in made.values()} == {"nvidia-device-plugin", "dcgm-exporter"}


def test_without_a_driver_on_the_node_the_operator_brings_everything(recorded: Recorder):
    made = declared(recorded, software="operator")

    assert set(made) == {"gpu-operator"}, "an exporter beside the operator's would count every GPU twice"
    chosen = of(made["gpu-operator"])
    assert chosen["operator"]["nodeSelector"] == {"llmops/role": "system"}
    assert chosen["dcgmExporter"]["serviceMonitor"]["enabled"] is False


def test_plugin_exporter_and_discovery_run_on_gpu_nodes_only(recorded: Recorder):
    made = declared(recorded)
    plugin = of(made["nvidia-device-plugin"])

    assert runs_on(plugin["affinity"]) == GPU_POOLS
    assert runs_on(plugin["nfd"]["worker"]["affinity"]) == GPU_POOLS
    assert runs_on(of(made["dcgm-exporter"])["affinity"]) == GPU_POOLS
    for part in ("master", "gc"):
        assert plugin["nfd"][part]["nodeSelector"] == {"llmops/role": "system"}


def test_what_runs_on_gpu_nodes_tolerates_their_taint(recorded: Recorder):
    made = declared(recorded)
    taints = {taint.key: taint.effect for pool in POOLS for taint in pool.taints}

    for tolerations in (
        of(made["dcgm-exporter"])["tolerations"],
        of(made["nvidia-device-plugin"])["nfd"]["worker"]["tolerations"],
    ):
        assert {one["key"]: one["effect"] for one in tolerations} == taints


def test_no_gpu_nodes_no_gpu_software(recorded: Recorder):
    assert declared(recorded, pools=[pool for pool in POOLS if pool.role not in GPU_ROLES]) == {}


def test_shared_gpus_are_those_of_the_named_model_on_inference_nodes_and_each_node_has_one_plugin(recorded: Recorder):
    made = declared(recorded, timeSlicing={"a10g": 4})
    exclusive, shared = of(made["nvidia-device-plugin"]), of(made["nvidia-device-plugin-a10g"])

    assert runs_on(shared["affinity"]) == {"inference"}
    assert runs_on(exclusive["affinity"]) == GPU_POOLS - {"inference"}
    sharing = json.loads(shared["config"]["map"][shared["config"]["default"]])["sharing"]["timeSlicing"]
    assert sharing["resources"] == [{"name": "nvidia.com/gpu", "replicas": 4}]
    assert sharing["failRequestsGreaterThanOne"] is True
    assert "config" not in exclusive
    assert shared["nfd"] == {"enabled": False}, "one discovery serves all"


def test_sharing_a_model_that_no_inference_node_has_is_refused_with_those_that_there_are(recorded: Recorder):
    with pytest.raises(pulumi.RunError, match=r"\(a10g, l4\); got h100"):
        declared(recorded, timeSlicing={"h100": 2})


def test_a_gpu_is_divided_in_one_way():
    with pytest.raises(ValidationError, match="must be empty with mig single"):
        GpuSettings.model_validate({"mig": "single", "timeSlicing": {"a10g": 2}})


@pytest.mark.parametrize(("mig", "strategy", "manager"), [("none", "single", False), ("mixed", "mixed", True)])
def test_the_operators_partition_manager_comes_only_with_partitions(
    recorded: Recorder, mig: str, strategy: str, manager: bool
):
    chosen = of(declared(recorded, software="operator", mig=mig)["gpu-operator"])

    assert chosen["mig"]["strategy"] == strategy
    assert chosen["migManager"]["enabled"] is manager


def test_metrics_can_be_left_out(recorded: Recorder):
    assert set(declared(recorded, metrics=False)) == {"nvidia-device-plugin"}


def test_what_one_gpu_node_carries_fits_what_the_quota_keeps_for_it(recorded: Recorder):
    made = declared(recorded, pools=[pool_of(group) for group in table()])
    plugin, exporter = of(made["nvidia-device-plugin"]), of(made["dcgm-exporter"])
    # The plugin and feature discovery have the same requests.
    each = [plugin["resources"], plugin["resources"], plugin["nfd"]["worker"]["resources"], exporter["resources"]]
    kept = PER_GPU_NODE["gpu-system"]

    assert sum(int(one["requests"]["cpu"].removesuffix("m")) for one in each) <= kept.cpu_millicores
    assert sum(int(one["requests"]["memory"].removesuffix("Mi")) for one in each) <= kept.memory_mib
    central = [plugin["nfd"][part]["resources"] for part in ("master", "gc")]
    share = SHARES["gpu-system"]
    assert 2 * sum(int(one["requests"]["cpu"].removesuffix("m")) for one in central) <= share.cpu_millicores
    assert 2 * sum(int(one["requests"]["memory"].removesuffix("Mi")) for one in central) <= share.memory_mib
