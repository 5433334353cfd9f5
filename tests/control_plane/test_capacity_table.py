"""The architecture's capacity table on the real scheduler: what our preview says, the scheduler says too."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.aws.nodes import pool_of
from components.contract import GPU_TAINT, ROLE_LABEL, NodePool
from components.settings import SettingsError, parse
from sandbox.kubernetes.api import Client
from sandbox.kubernetes.cluster import Cluster
from sandbox.kubernetes.nodes import NodeGroupSpec, Nodes
from sandbox.toolchain.control_plane import ControlPlaneBinaries

pytestmark = pytest.mark.control_plane

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_SECONDS = 120


def stack_settings(stack: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())
    return {key.removeprefix("llmops:"): value for key, value in content["config"].items()}


def spec_of(pool: NodePool) -> NodeGroupSpec:
    shape = pool.shapes[0]
    resources = {
        "cpu": f"{shape.cpu_millicores}m",
        "memory": f"{shape.memory_mib}Mi",
        "ephemeral-storage": f"{shape.ephemeral_storage_gib}Gi",
        "pods": str(shape.max_pods),
        **({"nvidia.com/gpu": str(shape.gpus)} if shape.gpus else {}),
    }
    return NodeGroupSpec(
        name=pool.name,
        instance_types=[one.instance_type for one in pool.shapes],
        min_size=pool.min_size,
        desired=pool.min_size,
        max_size=pool.max_size,
        labels=pool.labels,
        taints=[{"key": taint.key, "value": taint.value, "effect": taint.effect} for taint in pool.taints],
        allocatable=resources,
        capacity=resources,
    )


def pod(name: str, role: str, *, cpu: str, memory: str, disk: str) -> dict[str, Any]:
    resources = {"cpu": cpu, "memory": memory, "ephemeral-storage": disk, "nvidia.com/gpu": "1"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "nodeSelector": {ROLE_LABEL: role},
            "tolerations": [{"key": GPU_TAINT.key, "operator": "Exists", "effect": GPU_TAINT.effect}],
            "containers": [{"name": "main", "image": "registry.k8s.io/pause:3.10", "resources": {"limits": resources}}],
        },
    }


SERVING = pod("serving-7b", "gpu-inference", cpu="4", memory="24Gi", disk="50Gi")
TRAINING = pod("training-7b", "gpu-training", cpu="8", memory="32Gi", disk="100Gi")


@pytest.fixture(scope="module")
def client(binaries: ControlPlaneBinaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    cluster = Cluster(tmp_path_factory.mktemp("capacity"), binaries)
    try:
        yield cluster.up(print)
    finally:
        cluster.down()


def settle(client: Client, groups: Sequence[NodeGroupSpec], manifest: dict[str, Any]) -> tuple[str, str]:
    """Create a pod, let the groups scale for it, and return its node and the scheduler's last words about it."""
    nodes = Nodes(client)
    nodes.reconcile(groups)
    kind = client.kind("v1", "Pod")
    assert kind is not None
    name = manifest["metadata"]["name"]
    client.apply(kind, manifest, manager="test")
    deadline = time.monotonic() + _PATIENCE_SECONDS
    placed, words, tried = "", "", False
    while time.monotonic() < deadline:
        live = client.get(kind, "default", name)
        assert live is not None
        placed = live["spec"].get("nodeName", "")
        words = "; ".join(nodes.explain(groups))
        if placed or (tried and words):
            break
        tried = bool(words)  # the groups have had a go at a pod that the scheduler could not place
        nodes.autoscale(groups)
        time.sleep(0.2)
    client.delete(kind, "default", name)
    while client.get(kind, "default", name) is not None:  # its name is the next test's too
        assert time.monotonic() < deadline + _PATIENCE_SECONDS, f"{name} does not go"
        time.sleep(0.2)
    nodes.reconcile(())  # or a bigger node of a group of the same name would take the next test's pod
    return placed, words


@pytest.mark.parametrize("stack", ["dev", "prod"])
@pytest.mark.parametrize("manifest", [SERVING, TRAINING], ids=["serving", "training"])
def test_the_shipped_groups_take_the_rows_that_the_preview_accepted(client: Client, stack: str, manifest):
    groups = [spec_of(pool_of(group)) for group in parse(stack_settings(stack)).node_groups]

    node, words = settle(client, groups, manifest)

    assert node, f"the scheduler says: {words}"


def test_a_group_of_g5_xlarge_alone_is_refused_at_preview_with_the_remedy_and_pending_for_the_scheduler(client: Client):
    settings = stack_settings("dev")
    (inference,) = [group for group in settings["nodeGroups"] if group["role"] == "gpu-inference"]
    inference["instanceTypes"] = ["g5.xlarge"]

    with pytest.raises(SettingsError) as refusal:
        parse(settings)
    (problem,) = refusal.value.problems
    assert problem.path.startswith("workloads[")
    assert "serving-7b" in problem.message
    assert "g5.2xlarge" in problem.message  # the remedy: the smallest type that fits

    relaxed = parse({**settings, "workloads": []})
    node, words = settle(client, [spec_of(pool_of(group)) for group in relaxed.node_groups], SERVING)

    assert node == ""
    assert "Insufficient cpu" in words
    assert "Insufficient memory" in words
