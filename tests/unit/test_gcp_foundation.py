"""The Google Cloud foundation as a whole: what waits for what, what is private, what is under our keys."""

from __future__ import annotations

import functools
import re
from typing import Any

import pulumi
import pulumi.runtime
import pytest
from conftest import Recorder, _Monitor  # pyright: ignore[reportPrivateUsage]  # the mocks are set here only once
from gcp_stack import LEAST, PROJECT, build, settings

from components.gcp.foundation import GcpFoundationArgs, bucket_place, default_labels
from components.settings import SettingsError, parse

pytestmark = pytest.mark.unit


@functools.cache
def whole() -> Recorder:
    """One build, which every question below is asked of."""
    recorder = Recorder()
    pulumi.runtime.set_mocks(recorder, preview=False, monitor=_Monitor(recorder))
    build(recorder, {"alarms": {"emails": ["a@example.com"]}})
    return recorder


def reached(recorder: Recorder, name: str) -> set[str]:
    """Everything that a resource waits for, directly or not."""
    by_name = {f"{one.type}::{one.name}": one for one in recorder.resources}
    plain: dict[str, set[str]] = {}
    for one in recorder.resources:
        plain.setdefault(one.name, set()).update(one.depends_on, {one.provider} if one.provider else set())
    assert any(key.endswith(f"::{name}") for key in by_name), f"there is no {name}"
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for other in plain.get(waiting.pop(), set()) - found:
            found.add(other)
            waiting.append(other)
    return found


@pytest.mark.parametrize("stack", ["Prod", "dev_1", "dev-", "dev--1"])
def test_a_stack_name_that_some_service_would_refuse_is_refused_at_once(stack: str):
    with pytest.raises(pulumi.RunError, match=f"llmops-{stack} begins Google Cloud names"):
        GcpFoundationArgs(settings=settings(), project="llmops", stack=stack)


def test_a_stack_name_too_long_for_a_cluster_is_refused_at_once():
    with pytest.raises(pulumi.RunError, match="GKE allows 40"):
        GcpFoundationArgs(settings=settings(), project="llmops", stack="a" * 34)


def test_every_label_is_one_that_google_takes():
    labels = default_labels(GcpFoundationArgs(settings=settings(), project="llmops", stack="gcp"))
    assert labels["stack"] == "llmops-gcp"
    assert all(re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) for key in labels)
    assert all(re.fullmatch(r"[a-z0-9_-]{1,63}", value) for value in labels.values())


def test_nothing_is_asked_of_an_api_that_is_not_on_yet():
    recorder = whole()
    everything = [one for one in recorder.resources if one.type.startswith("gcp:")]
    others = [one for one in everything if one.type != "gcp:projects/service:Service"]
    assert {one.provider for one in others} == {"foundation-gcp"}
    services = {one.name for one in everything if one.type == "gcp:projects/service:Service"}
    assert services
    assert services <= recorder.one("pulumi:providers:gcp", "foundation-gcp").depends_on


@pytest.mark.parametrize(
    ("resource", "grant"),
    [
        ("foundation-database-server", "foundation-keys-database-sql"),
        ("foundation-cache-instance", "foundation-keys-database-redis"),
        ("foundation-files-instance", "foundation-keys-storage-filestore"),
        ("foundation-objects-data", "foundation-keys-objects-storage"),
        ("foundation-objects-backups", "foundation-keys-backups-storage"),
        ("foundation-cluster", "foundation-keys-cluster-container"),
        ("foundation-cpu-pool", "foundation-keys-storage-compute"),
        ("foundation-registry-images", "foundation-keys-storage-artifact-registry"),
        ("foundation-secrets-grafana-admin", "foundation-keys-secrets-secret-manager"),
    ],
)
def test_what_is_encrypted_waits_until_its_service_may_use_the_key(resource: str, grant: str):
    """Otherwise the first ``up`` fails, or not, by chance."""
    assert grant in reached(whole(), resource)


@pytest.mark.parametrize(
    "resource", ["foundation-database-server", "foundation-cache-instance", "foundation-files-instance"]
)
def test_google_s_services_wait_for_their_addresses_in_the_network(resource: str):
    assert "foundation-network-private-services" in reached(whole(), resource)


def test_nothing_of_the_foundation_has_a_public_address_but_the_way_out():
    recorder = whole()
    assert (
        recorder.one("gcp:sql/databaseInstance:DatabaseInstance").inputs["settings"]["ipConfiguration"]["ipv4Enabled"]
        is False
    )
    assert recorder.one("gcp:container/cluster:Cluster").inputs["privateClusterConfig"] == {
        "enablePrivateNodes": True,
        "enablePrivateEndpoint": True,
        "masterIpv4CidrBlock": "10.0.192.0/28",
    }
    assert {one.inputs["addressType"] for one in recorder.of("gcp:compute/address:Address").values()} == {"EXTERNAL"}
    assert all("nat" in name for name in recorder.of("gcp:compute/address:Address"))


def test_everything_that_google_lets_us_encrypt_is_under_our_key():
    recorder = whole()
    keyed = {
        "gcp:sql/databaseInstance:DatabaseInstance": "encryptionKeyName",
        "gcp:redis/instance:Instance": "customerManagedKey",
        "gcp:filestore/instance:Instance": "kmsKeyName",
    }
    for type_, where in keyed.items():
        assert all(one.inputs[where] for one in recorder.of(type_).values()), type_
    assert all(
        one.inputs["encryption"]["defaultKmsKeyName"] for one in recorder.of("gcp:storage/bucket:Bucket").values()
    )
    pools = recorder.of("gcp:container/nodePool:NodePool").values()
    assert all(one.inputs["nodeConfig"]["bootDiskKmsKey"] for one in pools)
    assert recorder.one("gcp:container/cluster:Cluster").inputs["databaseEncryption"]["state"] == "ENCRYPTED"
    replicas = [
        one.inputs["replication"]["userManaged"]["replicas"][0]
        for one in recorder.of("gcp:secretmanager/secret:Secret").values()
    ]
    assert all(replica["customerManagedEncryption"]["kmsKeyName"] for replica in replicas)


def test_who_can_read_backups_is_not_who_can_read_data():
    recorder = whole()
    key = {
        role: recorder.one("gcp:storage/bucket:Bucket", f"foundation-objects-{role}").inputs["encryption"]
        for role in ("data", "backups")
    }
    assert key["data"] != key["backups"]


def test_a_database_that_was_deleted_does_not_stop_the_next_of_its_name():
    """Cloud SQL keeps a name for a week after its instance, and Cloud KMS keeps key rings for ever."""
    recorder = whole()
    assert recorder.one("gcp:sql/databaseInstance:DatabaseInstance").inputs["name"] == "llmops-gcp-postgres-aabbcc"
    assert recorder.one("gcp:kms/keyRing:KeyRing").inputs["name"] == "llmops-gcp-aabbcc"


def test_clients_find_the_database_by_the_name_in_its_certificate():
    recorder = whole()
    record = recorder.one("gcp:dns/recordSet:RecordSet").inputs
    assert record["name"] == "0a1b.2c3d.us-central1.sql.goog."
    assert record["rrdatas"] == ["10.0.128.3"]
    assert recorder.one("gcp:dns/managedZone:ManagedZone").inputs["visibility"] == "private"


def test_the_token_that_google_draws_reaches_the_store_as_a_secret(recorded: Recorder):
    build(recorded)
    version = recorded.one("gcp:secretmanager/secretVersion:SecretVersion", "foundation-cache-cache-auth").inputs
    assert isinstance(version["secretData"], dict), "not marked as a secret"


def test_a_protected_stack_is_protected_at_the_api_too(recorded: Recorder):
    build(recorded, {"protect": True})
    cluster = recorded.one("gcp:container/cluster:Cluster")
    server = recorded.one("gcp:sql/databaseInstance:DatabaseInstance")
    assert cluster.protect
    assert cluster.inputs["deletionProtection"] is True
    assert server.protect
    assert server.inputs["settings"]["deletionProtectionEnabled"] is True
    assert all(key.protect for key in recorded.of("gcp:kms/cryptoKey:CryptoKey").values())
    assert all(bucket.protect for bucket in recorded.of("gcp:storage/bucket:Bucket").values())
    assert not any(bucket.inputs["forceDestroy"] for bucket in recorded.of("gcp:storage/bucket:Bucket").values())


def test_a_stack_that_may_go_can_be_destroyed(recorded: Recorder):
    """GKE, Cloud SQL and Memorystore refuse deletion unless they are told otherwise."""
    build(recorded, {"protect": False})
    assert recorded.one("gcp:container/cluster:Cluster").inputs["deletionProtection"] is False
    assert recorded.one("gcp:sql/databaseInstance:DatabaseInstance").inputs["deletionProtection"] is False
    assert recorded.one("gcp:redis/instance:Instance").inputs["deletionProtection"] is False
    assert recorded.one("gcp:servicenetworking/connection:Connection").inputs["deletionPolicy"] == "ABANDON"
    assert not any(one.protect for one in recorded.resources)


def test_buckets_in_two_regions_have_their_keys_on_the_continent(recorded: Recorder):
    """Cloud KMS has no key in two regions: a bucket in two is encrypted with a key of the multi-region around them."""
    given = {
        "gcp": {"region": "europe-west4", "drRegion": "europe-west1"},
        "objects": {"replicate": True},
    }
    assert bucket_place(settings(given)) == ("eu", ("europe-west4", "europe-west1"))
    build(recorded, given)
    rings = {one.inputs["location"] for one in recorded.of("gcp:kms/keyRing:KeyRing").values()}
    assert rings == {"europe-west4", "europe"}
    bucket = recorded.one("gcp:storage/bucket:Bucket", "foundation-objects-data").inputs
    assert bucket["location"] == "EU"
    assert bucket["customPlacementConfig"]["dataLocations"] == ["EUROPE-WEST4", "EUROPE-WEST1"]


def test_what_the_control_plane_says_is_kept_as_long_as_the_settings_want(recorded: Recorder):
    """Google's own bucket forgets after 30 days."""
    build(recorded, {"cluster": {"logRetentionDays": 365}})
    bucket = recorded.one("gcp:logging/projectBucketConfig:ProjectBucketConfig")
    assert bucket.inputs["retentionDays"] == 365
    sink = recorded.one("gcp:logging/projectSink:ProjectSink")
    assert bucket.name in sink.depends_on
    assert '"llmops-gcp"' in sink.inputs["filter"]


def test_the_audit_is_written_with_our_key_once_its_writer_may_use_it(recorded: Recorder):
    """Cloud Logging's account has a name that only the project's settings tell."""
    build(recorded)
    grant = recorded.one("gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember", "foundation-logs-key")
    bucket = recorded.one("gcp:logging/projectBucketConfig:ProjectBucketConfig")
    assert bucket.inputs["cmekSettings"]["kmsKeyName"] == grant.inputs["cryptoKeyId"]
    assert grant.name in bucket.depends_on
    assert grant.inputs["member"] == "serviceAccount:cmek@gcp-sa-logging.iam.gserviceaccount.com"


def test_the_budget_counts_this_stack_only(recorded: Recorder):
    build(recorded, {"gcp": {"billingAccount": "012345-6789AB-CDEF01"}, "budget": {"emails": ["b@example.com"]}})
    budget = recorded.one("gcp:billing/budget:Budget").inputs
    assert budget["budgetFilter"]["labels"] == {"stack": "llmops-gcp"}
    assert budget["budgetFilter"]["projects"] == [f"projects/{PROJECT.number}"]
    assert {"thresholdPercent": 1.0, "spendBasis": "FORECASTED_SPEND"} in budget["thresholdRules"]


def test_alarms_reach_people_and_say_what_to_do():
    recorder = whole()
    policies = recorder.of("gcp:monitoring/alertPolicy:AlertPolicy").values()
    assert policies
    assert all(one.inputs["notificationChannels"] for one in policies)
    assert all(":" in one.inputs["documentation"]["content"] for one in policies)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"gcp": {"project": ""}}, "gcp.project: must be set"),
        ({"owner": "ML Platform"}, "owner: must be lower-case"),
        ({"gcp": {"podCidr": "10.0.0.0/14"}}, "gcp.podCidr: must not overlap network.cidr"),
        ({"gcp": {"podCidr": "10.64.0.0/20"}}, "gcp.podCidr: too small"),
        ({"cluster": {"serviceCidr": "10.64.0.0/16"}}, "cluster.serviceCidr: must not overlap gcp.podCidr"),
        ({"database": {"instanceClass": "db.t4g.medium"}}, "database.instanceClass: must be a tier of Cloud SQL"),
        ({"database": {"instanceClass": "db-custom-3-8192"}}, "1 or an even number of vCPUs"),
        ({"database": {"instanceClass": "db-custom-4-30000"}}, "6.5 GiB for each"),
        (
            {"database": {"instanceClass": "db-g1-small", "highlyAvailable": True}},
            "must not be shared-core with highlyAvailable",
        ),
        ({"objects": {"replicate": True}}, "objects.replicate: needs gcp.drRegion"),
        ({"database": {"replicateBackups": True}}, "database.replicateBackups: is for RDS, on aws; got true on gcp"),
        (
            {"objects": {"replicate": True}, "gcp": {"drRegion": "europe-west1"}},
            "gcp.drRegion: must be on the continent of us-central1",
        ),
        ({"gcp": {"groups": {"viewer": "all@example.com"}}}, "gcp.securityGroup: must be set"),
        ({"gcp": {"teamGroups": {"ghosts": "g@example.com"}}}, "gcp.teamGroups.ghosts: must be one of"),
        ({"files": {"accessPoints": ["models", "more"]}}, "files.accessPoints: must name one"),
        ({"platform": {"pipelines": {"enabled": True}}}, "platform.pipelines.enabled: must be false"),
        ({"network": {"zones": ["us-central1-f", "us-central1-x"]}}, "network.zones[1]: must be one of us-central1-a"),
        (
            {"gcp": {"region": "us-west4"}, "network": {"zones": ["us-west4-b", "us-west4-a"]}},
            None,
        ),
        (
            {"registry": {"upstreams": {"docker.io": "arn:aws:secretsmanager:us-east-1:123456789012:secret:x"}}},
            "registry.upstreams: take credentials on AWS only",
        ),
        (
            {
                "cluster": {
                    "access": [{"principalArn": "arn:aws:iam::123456789012:role/a", "policy": "viewer"}],
                }
            },
            "cluster.access: is for principals of AWS",
        ),
    ],
)
def test_what_google_cloud_would_refuse_is_refused_at_preview(change: dict[str, Any], expected: str | None):
    raw: dict[str, Any] = {**LEAST, **change, "gcp": {**LEAST["gcp"], **change.get("gcp", {})}}
    if expected is None:
        parse(raw)
        return
    with pytest.raises(SettingsError) as error:
        parse(raw)
    assert expected in str(error.value)


def test_gpu_nodes_stand_where_there_are_gpus(recorded: Recorder):
    build(recorded, {"gcp": {"region": "us-west4"}, "network": {"zones": ["us-west4-b", "us-west4-a"]}})
    pools = recorded.of("gcp:container/nodePool:NodePool")
    assert pools["foundation-gpu-inference-pool"].inputs["nodeLocations"] == ["us-west4-a"]
    assert pools["foundation-system-pool"].inputs["nodeLocations"] == ["us-west4-b", "us-west4-a"]


def test_a_type_of_another_cloud_is_refused_with_the_types_of_this_one():
    group = {"name": "system", "role": "system", "instanceTypes": ["m6i.large"], "minSize": 2, "maxSize": 2}
    with pytest.raises(SettingsError, match=r"must be sizes of e2-standard.*components/capacity/gce.py.*got m6i.large"):
        parse({**LEAST, "nodeGroups": [group]})


def test_a_pool_of_two_types_is_refused():
    group = {"name": "a", "role": "cpu", "instanceTypes": ["n2-standard-4", "n2-standard-8"], "maxSize": 2}
    with pytest.raises(SettingsError, match="must name one type: a node pool of GKE has one"):
        parse({**LEAST, "nodeGroups": [group]})
