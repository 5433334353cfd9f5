"""What is removed of a project of Google Cloud, and what is asked and done in it around a destroy."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.destroy import google as google_destroy
from ops.destroy.protection import delayed
from ops.destroy.running import Destroy
from ops.leftovers.gcp.removal import place, removable, remove
from ops.leftovers.model import Fate, Leftover
from tests.unit.gcp_project import (
    HASH,
    NETWORK,
    OF_CLUSTER,
    PREFIX,
    PROJECT,
    REGION,
    Google,
    Removing,
    Told,
    record,
    resource,
)

pytestmark = pytest.mark.unit


@pytest.fixture
def google() -> Google:
    return Google()


# Removal


def leftover(kind: str, name: str, region: str = REGION, fate: Fate = "safe") -> Leftover:
    return Leftover(kind=kind, name=name, region=region, made_by="", command=f"delete {name}", fate=fate)


def removed(google: Removing, *found: Leftover, seconds: float = 60) -> list[str]:
    return remove(google, found, PROJECT, lambda _: None, seconds=seconds, pause=lambda _: None)


def test_what_is_held_is_tried_again_when_its_holder_is_gone():
    google = Removing()
    service, rule = f"regions/{REGION}/backendServices/b", f"regions/{REGION}/forwardingRules/f"
    google.held_by = {service: rule}
    assert removed(google, leftover("backend service", "b"), leftover("forwarding rule", "f")) == []
    assert google.deleted == [rule, service]


def test_what_is_refused_says_so_with_its_command_and_what_is_gone_says_nothing():
    google = Removing()
    told = removed(google, leftover("firewall rule", "denied", ""), leftover("firewall rule", "gone", ""))
    assert len(told) == 1
    assert "denied" in told[0]
    assert told[0].endswith("delete denied")


def test_what_stays_held_is_told_when_the_time_is_up():
    google = Removing()
    google.held_by = {"global/networks/n": "never"}
    assert len(removed(google, leftover("network", "n", ""), seconds=0)) == 1


@pytest.mark.parametrize(
    ("kind", "name", "region", "path"),
    [
        ("volume", "pvc-1", "us-central1-a", "zones/us-central1-a/disks/pvc-1"),
        ("subnet", "nodes", REGION, f"regions/{REGION}/subnetworks/nodes"),
        ("address", "psa", "", "global/addresses/psa"),
        ("instance group", "gke-x-grp", "us-central1-a", "zones/us-central1-a/instanceGroupManagers/gke-x-grp"),
        ("instance group", "k8s-ig--1", "us-central1-a", "zones/us-central1-a/instanceGroups/k8s-ig--1"),
        ("log sink", "s", "", "sinks/s"),
    ],
)
def test_each_kind_has_the_place_that_its_region_says(kind: str, name: str, region: str, path: str):
    assert place(leftover(kind, name, region), PROJECT).endswith(f"/projects/{PROJECT}/{path}")


def test_databases_files_and_keys_are_never_removed_by_the_way():
    for kind in ("database", "file system", "cluster", "bucket", "key", "cache"):
        assert not removable(leftover(kind, "x", fate="data"), data=True)
    assert not removable(leftover("volume", "x", fate="data"), data=False)
    assert removable(leftover("volume", "x", fate="data"), data=True)
    assert not removable(leftover("role", "x", fate="by hand"), data=True)


# The project around a destroy


def test_protections_that_somebody_set_by_hand_refuse_with_the_way_out():
    files = f"projects/{PROJECT}/locations/us-central1-a/instances/f"
    logs = f"projects/{PROJECT}/locations/{REGION}/buckets/l"
    told = Told(
        {
            "/instances/db": {"settings": {"deletionProtectionEnabled": True}},
            "/instances/f": {"deletionProtectionEnabled": True},
            "/b/locked": {"retentionPolicy": {"isLocked": True, "retentionPeriod": "864000"}},
            "/b/kept": {"retentionPolicy": {"retentionPeriod": "864000"}},
            "/b/open": {},
            f"/{logs}": {"locked": True, "retentionDays": 365},
        }
    )
    bucket = "gcp:storage/bucket:Bucket"
    found = google_destroy.protected(
        told,
        record(),
        [
            resource("gcp:sql/databaseInstance:DatabaseInstance", "db"),
            resource("gcp:filestore/instance:Instance", files),
            resource("gcp:logging/projectBucketConfig:ProjectBucketConfig", logs),
            *(resource(bucket, name) for name in ("locked", "kept", "open", "gone-already")),
        ],
    )
    ways = {one.name: one.unprotect for one in found}
    assert set(ways) == {"db", files, logs, "locked", "kept"}
    assert ways["db"].startswith("gcloud sql instances patch db --no-deletion-protection")
    assert "--location us-central1-a" in ways[files]
    assert ways["kept"].endswith("gs://kept --clear-retention-period")
    assert ways["locked"] == "wait", "nobody can unlock it"
    assert {one.by for one in found} == {"account"}


def test_before_the_engine_only_load_balancers_that_it_does_not_delete_itself_go():
    google = Removing()
    google.plant("firewalls", {"name": f"k8s2-{HASH}-x", "network": NETWORK})
    own = '{"networking.gke.io/service-name":"istio-ingress/gateway"}'
    google.plant("forwardingRules", {"name": f"k8s2-{HASH}-own", "description": own})
    google.plant("forwardingRules", {"name": f"k8s2-{HASH}-other"})
    google_destroy.prepare(google, record(), (), frozenset({"Service istio-ingress/gateway"}), scale=0)
    assert google.deleted == [f"regions/{REGION}/forwardingRules/k8s2-{HASH}-other"]


def test_a_destroy_of_a_stack_on_google_cloud_asks_its_project(tmp_path: Path):
    def of(*, sandbox: bool) -> Destroy:
        return Destroy("gcp", sandbox, {}, record(), tmp_path / "record.json", ask_cluster=True, scale=1)

    assert of(sandbox=False).in_account
    assert of(sandbox=False).around is google_destroy
    assert not of(sandbox=True).in_account, "the sandbox has no project"


def test_a_plan_tells_what_goes_when_and_what_is_left_alone(google: Google):
    google.plant("firewalls", {"name": f"k8s2-{HASH}-x", "network": NETWORK})
    google.plant("forwardingRules", {"name": f"k8s2-{HASH}-x"})
    google.plant("disks", {"name": "pvc", "labels": OF_CLUSTER})
    google.plant("b", {"name": "bucket", "labels": {"stack": PREFIX}})
    google.plant("sinks", {"name": f"{PREFIX}-cluster"})
    known = resource("gcp:storage/bucket:Bucket", "bucket")
    plan = google_destroy.planned(google, record(), [known], frozenset())
    assert [one.kind for one in plan.controllers] == ["forwarding rule"]
    assert [one.kind for one in plan.after] == ["firewall rule"]
    assert {one.kind for one in plan.kept} == {"volume", "log sink"}


def test_between_rounds_what_the_cluster_left_in_the_network_goes_and_what_the_engine_knows_stays():
    google = Removing()
    google.plant("firewalls", {"name": "k8s-left", "network": NETWORK}, {"name": "webhooks", "network": NETWORK})
    known = resource("gcp:compute/firewall:Firewall", "projects/x/global/firewalls/webhooks", name="webhooks")
    google_destroy.clear_network(google, record(), [known], scale=0)
    assert set(google.deleted) == {"global/firewalls/k8s-left"}


def test_what_google_keeps_for_a_while_is_said_beforehand():
    told = {
        one.name: one.what
        for one in delayed(
            {
                "resources": [
                    resource("gcp:kms/cryptoKey:CryptoKey", "key", destroyScheduledDuration="604800s"),
                    resource("gcp:sql/databaseInstance:DatabaseInstance", "db", settings={}),
                    resource("gcp:storage/bucket:Bucket", "bucket", forceDestroy=True),
                ]
            }
        )
    }
    assert told.keys() == {"key", "db"}
    assert "7 days" in told["key"]
