"""What a Google Cloud stack costs."""

from __future__ import annotations

from typing import Any

import pytest

from components.capacity.gce import CATALOGUE, REGIONS
from components.capacity.prices import GOOGLE, GOOGLE_REGION_FACTORS, load
from ops.cost import gcp
from ops.cost.estimation import estimate
from ops.cost.free import why_free
from ops.cost.model import HOURS, Estimate, Resource

pytestmark = pytest.mark.unit

CLUSTER, POOL = "gcp:container/cluster:Cluster", "gcp:container/nodePool:NodePool"
SQL, REDIS = "gcp:sql/databaseInstance:DatabaseInstance", "gcp:redis/instance:Instance"


def resource(kind: str, name: str = "one", region: str = "us-central1", **properties: Any) -> Resource:
    return Resource(urn=f"urn:pulumi:gcp::llmops::{kind}::{name}", type=kind, properties=properties, region=region)


def bill(*resources: Resource) -> Estimate:
    return estimate(resources)


def usd(found: Estimate, item: str) -> tuple[float, float]:
    """Idle and most, of the lines whose item begins so."""
    lines = [line for line in found.lines if line.item.startswith(item)]
    assert lines, [line.item for line in found.lines]
    return sum(line.usd.low for line in lines), sum(line.usd.high for line in lines)


def test_a_pool_costs_nothing_idle_and_all_of_its_nodes_at_most():
    config = {"machineType": "g2-standard-16", "diskType": "pd-balanced", "diskSizeGb": 100, "spot": True}
    scaling = {"totalMinNodeCount": 0, "totalMaxNodeCount": 2}
    found = bill(resource(POOL, nodeConfig=config, autoscaling=scaling))
    hour = load().items["gce/g2-standard-16"].usd
    assert usd(found, "nodes") == (0, pytest.approx(2 * hour * HOURS))  # a spot node at the price on demand, at worst
    assert usd(found, "boot disks") == (0, pytest.approx(2 * 100 * 0.10))
    assert not found.unpriced


def test_sizes_for_each_zone_count_in_every_zone():
    config = {"machineType": "n2-standard-2"}
    three = bill(resource(POOL, nodeConfig=config, autoscaling={"minNodeCount": 1, "maxNodeCount": 1}))
    two = bill(resource(POOL, nodeConfig=config, nodeLocations=["a", "b"], nodeCount=1))
    hour = load().items["gce/n2-standard-2"].usd
    assert usd(three, "nodes")[0] == pytest.approx(3 * hour * HOURS)
    assert usd(two, "nodes")[1] == pytest.approx(2 * hour * HOURS)


@pytest.mark.parametrize(("availability", "copies"), [("ZONAL", 1), ("REGIONAL", 2)])
def test_a_standby_is_paid_for_with_its_disk(availability: str, copies: int):
    settings = {"tier": "db-custom-2-8192", "availabilityType": availability, "diskSize": 20, "diskAutoresizeLimit": 40}
    found = bill(resource(SQL, settings=settings))
    assert usd(found, "2 vCPU")[0] == pytest.approx(2 * 0.0413 * HOURS * copies)
    assert usd(found, "8 GiB")[0] == pytest.approx(8 * 0.007 * HOURS * copies)
    assert usd(found, "storage") == (pytest.approx(20 * 0.17 * copies), pytest.approx(40 * 0.17 * copies))


def test_what_has_no_price_is_said_and_not_left_out_in_silence():
    found = bill(resource(SQL, settings={"tier": "db-f1-micro"}), resource(SQL, name="two", settings={}))
    reasons = {one.reason for one in found.unpriced}
    assert reasons == {"Cloud SQL tier db-f1-micro", "Cloud SQL tier unset"}


@pytest.mark.parametrize(
    ("gib", "basic", "standard"),
    [(1, 35.77, 46.72), (5, 98.55, 197.10), (25, 419.75, 839.50), (45, 624.15, 1149.75), (105, 1226.40, 2299.50)],
)
def test_a_gibibyte_of_a_larger_cache_costs_less(gib: int, basic: float, standard: float):
    """A month in us-central1, as the Cloud Billing catalogue had it (`infracost` in the price table)."""
    for tier, usd_a_month in (("BASIC", basic), ("STANDARD_HA", standard)):
        found = bill(resource(REDIS, memorySizeGb=gib, tier=tier))
        assert usd(found, f"{gib} GiB")[0] == pytest.approx(usd_a_month)


def test_another_region_costs_what_its_factor_says_and_an_unknown_one_is_said():
    regions = ("us-central1", "europe-west4")
    here, there = (usd(bill(resource(CLUSTER, region=region)), "control plane")[0] for region in regions)
    assert there / here == pytest.approx(GOOGLE_REGION_FACTORS["europe-west4"])
    nowhere = bill(resource(CLUSTER, region="mars-north1"))
    assert any("no price of gcp/gke-cluster in mars-north1" in one.reason for one in nowhere.unpriced)


def test_volumes_and_load_balancers_in_the_cluster_are_googles():
    service = resource("kubernetes:core/v1:Service", "gateway", spec={"type": "LoadBalancer"})
    claim = resource("kubernetes:core/v1:PersistentVolumeClaim", spec={"resources": {"requests": {"storage": "10Gi"}}})
    found = bill(resource(CLUSTER), service, claim)
    assert usd(found, "load balancer")[0] == pytest.approx(0.025 * HOURS)
    assert usd(found, "volume")[0] == pytest.approx(10 * 0.10)


def test_every_machine_and_region_that_settings_take_has_a_price():
    items = load().items
    assert {name for name in CATALOGUE if f"gce/{name}" not in items} == set()
    assert {name for name in REGIONS if name not in GOOGLE_REGION_FACTORS} == set()


def test_every_price_of_google_is_of_a_known_machine_or_is_used():
    import inspect

    source = inspect.getsource(gcp) + inspect.getsource(__import__("ops.cost.kubernetes", fromlist=["x"]))
    # Keys that are put together from parts: disks, tiers of stores.
    built = ("gcp/pd-", "gcp/sql-", "gcp/redis-", "gcp/filestore-")
    for key in load().items:
        if key.startswith(GOOGLE) and not key.startswith(("gce/", *built)):
            assert f'"{key}"' in source, key
    assert {key.removeprefix("gce/") for key in load().items if key.startswith("gce/")} <= set(CATALOGUE)


@pytest.mark.parametrize(
    ("kind", "free"),
    [
        ("gcp:storage/bucketIAMMember:BucketIAMMember", True),
        ("gcp:kms/keyRing:KeyRing", True),
        ("gcp:compute/instance:Instance", False),
    ],
)
def test_what_is_free_is_known_to_be(kind: str, free: bool):
    assert (why_free(kind) is not None) is free
