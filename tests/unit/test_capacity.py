"""Capacity: what a node leaves to pods."""

from __future__ import annotations

import pytest

from components.capacity import DAEMONSETS, Request, fits, for_workloads, shortfalls, smallest_fitting, times, total
from components.capacity.ec2 import CATALOGUE, MAX_PODS, REGIONS, pod_addresses, shape_of, zones_of

pytestmark = pytest.mark.unit

TRAINING_7B = Request(cpu_millicores=8000, memory_mib=32 * 1024, ephemeral_storage_gib=100, gpus=1, gpu_model="a10g")
SERVING_7B = Request(cpu_millicores=4000, memory_mib=24 * 1024, ephemeral_storage_gib=50, gpus=1, gpu_model="a10g")


@pytest.mark.parametrize(
    ("kind", "cpu_millicores"),
    # Allocatable CPU as Karpenter's instance type reference lists it (v1.14).
    [("m6i.large", 1930), ("m6i.xlarge", 3920), ("g5.2xlarge", 7910), ("g5.4xlarge", 15890), ("g5.48xlarge", 191450)],
)
def test_cpu_is_what_the_kubelets_reserve_leaves(kind: str, cpu_millicores: int):
    assert shape_of(kind, 100).cpu_millicores == cpu_millicores


def test_memory_is_nominal_less_the_hypervisor_the_kubelets_reserve_and_the_eviction_threshold():
    # 32768 - 7.5 % (2458) - (255 + 11 * 110) - 100
    assert shape_of("g5.2xlarge", 100).memory_mib == 28745


def test_the_instance_store_is_the_disk_where_there_is_one_and_the_root_volume_where_not():
    assert shape_of("m6i.xlarge", 100).ephemeral_storage_gib == 89  # 100 GiB less 10 % eviction threshold and 1 GiB
    assert shape_of("g5.2xlarge", 100).ephemeral_storage_gib == 376  # 450 GB are 419 GiB


def test_a_7b_model_is_served_on_a_g5_2xlarge_and_trained_on_a_g5_4xlarge():
    g5 = [shape_of(name, 100) for name in CATALOGUE if name.startswith("g5.")]
    serving, training = smallest_fitting(SERVING_7B, g5), smallest_fitting(TRAINING_7B, g5)
    assert serving is not None
    assert training is not None
    assert (serving.instance_type, training.instance_type) == ("g5.2xlarge", "g5.4xlarge")


def test_neither_row_fits_the_node_tables_g5_xlarge():
    assert not fits(SERVING_7B, shape_of("g5.xlarge", 100))
    assert not fits(TRAINING_7B, shape_of("g5.xlarge", 100))


def test_the_pods_of_every_node_are_counted_before_workloads():
    shape = shape_of("m6i.xlarge", 100)
    whole = Request(cpu_millicores=shape.cpu_millicores, memory_mib=shape.memory_mib)
    rest = Request(
        cpu_millicores=shape.cpu_millicores - DAEMONSETS.cpu_millicores,
        memory_mib=shape.memory_mib - DAEMONSETS.memory_mib,
    )
    assert not fits(whole, shape)
    assert fits(rest, shape)


def test_what_lacks_is_said_in_words():
    offer = for_workloads(shape_of("g6.xlarge", 100))
    request = Request(cpu_millicores=8000, memory_mib=32768, ephemeral_storage_gib=500, gpus=1, gpu_model="a10g")
    assert shortfalls(request, offer) == [
        "3.42 of 8 vCPU",
        "12.3 of 32 GiB memory",
        "208 of 500 GiB disk",
        "l4 instead of a10g GPUs",
    ]


def test_several_nodes_add_up():
    two, one = times(for_workloads(shape_of("g5.xlarge", 100)), 2), for_workloads(shape_of("g6.xlarge", 100))
    assert total([two, one]).gpus == 3
    assert total([two, one]).gpu_model == ""
    assert total([two]).gpu_model == "a10g"
    assert total([]) == Request()


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_type_of_the_catalogue_has_addresses_for_the_pods_that_it_takes(name: str):
    """Prefix delegation: a /28 in each secondary address slot, less the interfaces' own."""
    kind = CATALOGUE[name]
    assert kind.enis * (kind.addresses_per_eni - 1) * 16 >= MAX_PODS
    assert pod_addresses(kind) >= MAX_PODS


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_type_leaves_something_for_workloads(name: str):
    left = for_workloads(shape_of(name, 30))
    assert left.cpu_millicores > 0
    assert left.memory_mib > 0
    assert left.ephemeral_storage_gib > 0


def test_every_region_has_at_least_two_zones_and_a_type_for_system_nodes():
    for name, region in REGIONS.items():
        assert len(zones_of(name)) >= 2, name
        assert region.general_families, name
