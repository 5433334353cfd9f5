"""What the emulated Google Cloud refuses: values, orders of creation, deletions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.gcp.identifiers import service_agent
from sandbox.gcp.provider import GcpProvider
from sandbox.provider import ProviderError
from sandbox.store import Store
from sandbox.values import UNKNOWN, Properties, is_object
from tests.unit.gcp_account import (
    BUCKET,
    CLUSTER,
    CONNECTION,
    FILES,
    KEY,
    KEY_GRANT,
    KEY_RING,
    NETWORK,
    NODE_POOL,
    OBJECT,
    REDIS,
    SQL,
    SUBNETWORK,
    create,
    delete,
    refusals,
)

pytestmark = pytest.mark.unit

DATABASE: Properties = {"databaseVersion": "POSTGRES_17", "deletionProtection": False}
FILE_SYSTEM: Properties = {
    "tier": "ZONAL",
    "location": "us-central1-a",
    "fileShares": {"name": "m", "capacityGb": 1024},
    "networks": [],
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "account.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def gcp(store: Store) -> GcpProvider:
    return GcpProvider(store)


# Values


@pytest.mark.parametrize(
    ("kind", "inputs", "path"),
    [
        (SUBNETWORK, {"name": "s", "network": "n", "ipCidrRange": "10.0.0.0/30"}, "ipCidrRange"),
        (SUBNETWORK, {"name": "s", "network": "n", "ipCidrRange": "10.0.0.1/24"}, "ipCidrRange"),
        (
            CLUSTER,
            {"privateClusterConfig": {"masterIpv4CidrBlock": "10.0.0.0/24"}},
            "privateClusterConfig.masterIpv4CidrBlock",
        ),
        (CLUSTER, {"name": "c" * 41}, "name"),
        (CLUSTER, {"releaseChannel": {"channel": "FAST"}}, "releaseChannel.channel"),
        (SQL, {**DATABASE, "settings": {"tier": "db.t4g.medium"}}, "settings.tier"),
        (REDIS, {"memorySizeGb": 400}, "memorySizeGb"),
        (BUCKET, {"name": "Data", "location": "US"}, "name"),
        (BUCKET, {"location": "US", "labels": {"cost-center": "ML Development"}}, "labels.cost-center"),
        ("gcp:serviceaccount/account:Account", {"accountId": "abc"}, "accountId"),
        (
            NODE_POOL,
            {"cluster": "c", "nodeConfig": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}},
            "nodeConfig.taints[0].effect",
        ),
        (
            NODE_POOL,
            {"cluster": "c", "autoscaling": {"totalMinNodeCount": 3, "totalMaxNodeCount": 2}},
            "autoscaling.totalMinNodeCount",
        ),
        (NODE_POOL, {"cluster": "c", "autoscaling": {"minNodeCount": 0, "totalMaxNodeCount": 2}}, "autoscaling"),
        (
            FILES,
            {
                "tier": "REGIONAL",
                "location": "us-central1-a",
                "fileShares": {"name": "m", "capacityGb": 1024},
                "networks": [],
            },
            "location",
        ),
        (
            FILES,
            {
                "tier": "ZONAL",
                "location": "us-central1-a",
                "fileShares": {"name": "m", "capacityGb": 100},
                "networks": [],
            },
            "fileShares.capacityGb",
        ),
        (FILES, {**FILE_SYSTEM, "fileShares": {"name": "m", "capacityGb": 1100}}, "fileShares.capacityGb"),
        (FILES, {**FILE_SYSTEM, "fileShares": {"name": "m", "capacityGb": 10496}}, "fileShares.capacityGb"),
        (FILES, {**FILE_SYSTEM, "tier": "BASIC_HDD", "kmsKeyName": "k"}, "kmsKeyName"),
        (SQL, {**DATABASE, "settings": {"tier": "db-custom-3-8192"}}, "settings.tier"),
        (SQL, {**DATABASE, "settings": {"tier": "db-custom-2-8192", "edition": "ENTERPRISE_PLUS"}}, "settings.tier"),
        (
            SQL,
            {
                **DATABASE,
                "settings": {
                    "tier": "db-custom-2-8192",
                    "edition": "ENTERPRISE",
                    "backupConfiguration": {"transactionLogRetentionDays": 14},
                },
            },
            "settings.backupConfiguration.transactionLogRetentionDays",
        ),
        (REDIS, {"memorySizeGb": 5, "tier": "STANDARD_HA", "replicaCount": 2}, "replicaCount"),
        (REDIS, {"memorySizeGb": 5, "redisVersion": "VALKEY_8_0"}, "redisVersion"),
        (KEY, {"keyRing": "r", "rotationPeriod": "3600s"}, "rotationPeriod"),
        (
            NODE_POOL,
            {
                "cluster": "c",
                "nodeConfig": {
                    "machineType": "g2-standard-24",
                    "guestAccelerators": [{"type": "nvidia-l4", "count": 1}],
                },
            },
            "nodeConfig.guestAccelerators",
        ),
        (
            CLUSTER,
            {"masterAuthorizedNetworksConfig": {"cidrBlocks": [{"cidrBlock": "192.0.2.0/24"}] * 51}},
            "masterAuthorizedNetworksConfig.cidrBlocks",
        ),
        (
            BUCKET,
            {"location": "US", "softDeletePolicy": {"retentionDurationSeconds": 60}},
            "softDeletePolicy.retentionDurationSeconds",
        ),
        (
            BUCKET,
            {"location": "US", "customPlacementConfig": {"dataLocations": ["US-EAST1"]}},
            "customPlacementConfig.dataLocations",
        ),
        (
            "gcp:compute/routerNat:RouterNat",
            {
                "router": "r",
                "sourceSubnetworkIpRangesToNat": "ALL_SUBNETWORKS_ALL_IP_RANGES",
                "enableDynamicPortAllocation": True,
                "minPortsPerVm": 256,
                "maxPortsPerVm": 5000,
            },
            "maxPortsPerVm",
        ),
        (
            "gcp:monitoring/alertPolicy:AlertPolicy",
            {
                "displayName": "d",
                "combiner": "OR",
                "conditions": [{"displayName": "d", "conditionMatchedLog": {"filter": "severity=ERROR"}}],
            },
            "alertStrategy.notificationRateLimit",
        ),
        (
            "gcp:billing/budget:Budget",
            {"billingAccount": "b", "amount": {}, "budgetFilter": {"labels": {"stack": "a", "team": "b"}}},
            "budgetFilter.labels",
        ),
    ],
)
def test_a_value_that_google_cloud_would_refuse_is_refused_with_its_path(
    gcp: GcpProvider, kind: str, inputs: Properties, path: str
):
    assert set(refusals(gcp, kind, **inputs)) == {path}


@pytest.mark.parametrize("gib", [1024, 9984, 10240, 12800, 102400])
def test_files_grow_by_256_gib_and_from_ten_tebibytes_on_by_ten_times_that(gcp: GcpProvider, gib: int):
    assert not refusals(gcp, FILES, **{**FILE_SYSTEM, "fileShares": {"name": "m", "capacityGb": gib}})


def test_logs_of_the_larger_edition_are_kept_longer(gcp: GcpProvider):
    kept = {"backupConfiguration": {"transactionLogRetentionDays": 35}}
    settings = {"tier": "db-perf-optimized-N-2", "edition": "ENTERPRISE_PLUS", **kept}
    assert not refusals(gcp, SQL, **{**DATABASE, "settings": settings})


def test_what_is_not_known_yet_is_not_judged(gcp: GcpProvider):
    assert not refusals(gcp, SUBNETWORK, name="s", network=UNKNOWN, ipCidrRange=UNKNOWN)


def test_labels_of_a_notification_channel_are_its_settings(gcp: GcpProvider):
    kind = "gcp:monitoring/notificationChannel:NotificationChannel"
    assert not refusals(gcp, kind, type="email", labels={"email_address": "Ops@example.com"})


# Orders of creation


def test_a_private_database_needs_the_connection_of_its_network(gcp: GcpProvider):
    network, outputs = create(gcp, NETWORK, name="main")
    private = {"tier": "db-custom-2-7680", "ipConfiguration": {"ipv4Enabled": False, "privateNetwork": network}}
    with pytest.raises(ProviderError, match="main has no private services connection"):
        create(gcp, SQL, name="db", settings=private, **DATABASE)
    create(gcp, CONNECTION, network=outputs["selfLink"], service="s", reservedPeeringRanges=["range"])
    _, database = create(gcp, SQL, name="db", settings=private, **DATABASE)
    assert database["privateIpAddress"] == database["firstIpAddress"] != ""
    assert database["publicIpAddress"] == ""


@pytest.mark.parametrize(
    ("kind", "service", "inputs"),
    [
        (BUCKET, "storage", {"name": "bbb", "location": "US", "encryption": {"defaultKmsKeyName": "KEY"}}),
        (
            SQL,
            "sqladmin",
            {"name": "db", "encryptionKeyName": "KEY", "settings": {"tier": "db-custom-2-7680"}, **DATABASE},
        ),
        (REDIS, "redis", {"name": "cc", "memorySizeGb": 1, "customerManagedKey": "KEY"}),
        (CLUSTER, "container", {"name": "c", "databaseEncryption": {"state": "ENCRYPTED", "keyName": "KEY"}}),
        (NODE_POOL, "compute", {"name": "p", "cluster": "c", "nodeConfig": {"bootDiskKmsKey": "KEY"}}),
    ],
)
def test_a_key_is_used_only_by_a_service_that_was_allowed_to(
    gcp: GcpProvider, kind: str, service: str, inputs: Properties
):
    ring, _ = create(gcp, KEY_RING, name="ring", location="us-central1")
    key, _ = create(gcp, KEY, name="key", keyRing=ring)
    asked = _with_key(inputs, key)
    with pytest.raises(ProviderError, match="may not use the key"):
        create(gcp, kind, "used", **asked)
    other = f"serviceAccount:{service_agent('storage' if service != 'storage' else 'redis')}"
    role = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
    create(gcp, KEY_GRANT, "other", cryptoKeyId=key, role=role, member=other)
    with pytest.raises(ProviderError, match="may not use the key"):
        create(gcp, kind, "used", **asked)
    create(gcp, KEY_GRANT, "own", cryptoKeyId=key, role=role, member=f"serviceAccount:{service_agent(service)}")
    create(gcp, kind, "used", **asked)


def _with_key(value: Any, key: str) -> Any:
    if is_object(value):
        return {name: _with_key(item, key) for name, item in value.items()}
    return key if value == "KEY" else value


# Deletions


@pytest.mark.parametrize("protection", [None, True])
@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        (CLUSTER, {"name": "c"}),
        (SQL, {"name": "db", "databaseVersion": "POSTGRES_17", "settings": {"tier": "db-custom-2-7680"}}),
    ],
)
def test_clusters_and_databases_are_protected_unless_they_are_told_otherwise(
    gcp: GcpProvider, kind: str, inputs: Properties, protection: bool | None
):
    asked = inputs if protection is None else {**inputs, "deletionProtection": protection}
    made, _ = create(gcp, kind, **asked)
    with pytest.raises(ProviderError, match="deletionProtection is on"):
        delete(gcp, kind, made)


def test_protection_inside_the_settings_counts_too(gcp: GcpProvider):
    settings = {"tier": "db-custom-2-7680", "deletionProtectionEnabled": True}
    made, _ = create(gcp, SQL, name="db", settings=settings, **DATABASE)
    with pytest.raises(ProviderError, match="deletionProtectionEnabled is on"):
        delete(gcp, SQL, made)


def test_a_bucket_with_objects_is_not_deleted_unless_it_may_be(gcp: GcpProvider):
    for name, force in (("kept", False), ("dropped", True)):
        create(gcp, BUCKET, name, name=name, location="US", forceDestroy=force)
        create(gcp, OBJECT, f"{name}-object", bucket=name, name="o", content="x")
    with pytest.raises(ProviderError, match="not empty"):
        delete(gcp, BUCKET, "kept", "kept")
    delete(gcp, BUCKET, "dropped", "dropped")


def test_a_network_in_use_is_not_deleted_however_it_is_named(gcp: GcpProvider, store: Store):
    network, outputs = create(gcp, NETWORK, name="main")
    for index, reference in enumerate((network, outputs["selfLink"], "main")):
        subnet, _ = create(gcp, SUBNETWORK, f"s{index}", name=f"s{index}", network=reference, ipCidrRange="10.0.0.0/24")
        with pytest.raises(ProviderError, match=rf"already being used by {subnet} \(s{index}\)"):
            delete(gcp, NETWORK, network)
        delete(gcp, SUBNETWORK, subnet, f"s{index}")
    delete(gcp, NETWORK, network)
    assert store.records() == []


def test_the_connection_of_a_network_stays_while_a_service_uses_it(gcp: GcpProvider):
    network, _ = create(gcp, NETWORK, name="main")
    connection, _ = create(gcp, CONNECTION, network=network, service="s", reservedPeeringRanges=["range"])
    cache, _ = create(
        gcp, REDIS, name="cc", memorySizeGb=1, connectMode="PRIVATE_SERVICE_ACCESS", authorizedNetwork=network
    )
    with pytest.raises(ProviderError, match="still using this connection"):
        delete(gcp, CONNECTION, connection)
    delete(gcp, REDIS, cache)
    delete(gcp, CONNECTION, connection)


def test_names_that_are_never_free_again_stay_taken(gcp: GcpProvider, store: Store):
    ring, _ = create(gcp, KEY_RING, name="ring", location="us-central1")
    delete(gcp, KEY_RING, ring)
    assert store.records() == []
    with pytest.raises(ProviderError, match="key rings are never deleted"):
        create(gcp, KEY_RING, name="ring", location="us-central1")
    create(gcp, KEY_RING, name="ring", location="us-east1")


def test_deleting_what_is_gone_already_succeeds_and_takes_no_name(gcp: GcpProvider, store: Store):
    delete(gcp, NETWORK, "projects/p/global/networks/none")
    assert store.why_spent(NETWORK, "projects/p/global/networks/none") is None
