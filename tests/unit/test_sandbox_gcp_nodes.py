"""GKE node pools as nodes of the sandbox's cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.capacity.gce import shape_of
from sandbox.gcp.node_pools import node_pools
from sandbox.gcp.provider import GcpProvider
from sandbox.kubernetes.nodes import NodeGroupSpec
from sandbox.node_groups import node_groups
from sandbox.store import Store
from tests.unit.gcp_account import NODE_POOL, create

pytestmark = pytest.mark.unit


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "account.sqlite")
    yield opened
    opened.close()


def pool(store: Store, **inputs: Any) -> NodeGroupSpec:
    gcp = GcpProvider(store)
    create(gcp, NODE_POOL, name="pool", cluster="c", location="us-central1", **inputs)
    (spec,) = node_pools(store)
    return spec


def test_a_gpu_pool_is_seen_as_its_program_declares_it(store: Store):
    spec = pool(
        store,
        nodeLocations=["us-central1-a", "us-central1-b"],
        autoscaling={"totalMinNodeCount": 0, "totalMaxNodeCount": 3},
        nodeConfig={
            "machineType": "g2-standard-24", "spot": True, "diskSizeGb": 200, "labels": {"llmops/role": "gpu-training"},
            "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}],
            "guestAccelerators": [{"type": "nvidia-l4", "count": 2}],
        },
    )  # fmt: skip
    shape = shape_of("g2-standard-24", 200)
    assert (spec.min_size, spec.desired, spec.max_size) == (0, 0, 3)
    assert spec.allocatable["nvidia.com/gpu"] == "2"
    assert spec.allocatable["memory"] == f"{shape.memory_mib}Mi"
    assert spec.taints == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]
    assert spec.labels["cloud.google.com/gke-spot"] == "true"
    assert spec.labels["cloud.google.com/gke-accelerator"] == "nvidia-l4"
    assert spec.labels["llmops/role"] == "gpu-training"
    assert (spec.zones, spec.region) == (["us-central1-a", "us-central1-b"], "us-central1")


@pytest.mark.parametrize(
    ("inputs", "sizes"),
    [
        ({"autoscaling": {"minNodeCount": 1, "maxNodeCount": 2}, "nodeLocations": ["a", "b"]}, (2, 2, 4)),
        ({"autoscaling": {"totalMinNodeCount": 2, "totalMaxNodeCount": 9}, "initialNodeCount": 1}, (2, 3, 9)),
        ({"nodeCount": 2, "nodeLocations": ["a"]}, (2, 2, 2)),
        ({}, (3, 3, 3)),
    ],
)
def test_sizes_for_each_zone_count_in_every_zone(store: Store, inputs: dict[str, Any], sizes: tuple[int, ...]):
    spec = pool(store, nodeConfig={"machineType": "n2-standard-2"}, **inputs)
    assert (spec.min_size, spec.desired, spec.max_size) == sizes


def test_a_machine_that_the_catalogue_lacks_is_no_node(store: Store):
    create(GcpProvider(store), NODE_POOL, name="pool", cluster="c", nodeConfig={"machineType": "m3-ultramem-32"})
    assert node_pools(store) == []


def test_all_clouds_and_servers_are_one_list(store: Store):
    spec = pool(store, nodeConfig={"machineType": "n2-standard-2"})
    assert node_groups(store, [spec]) == [spec, spec]
