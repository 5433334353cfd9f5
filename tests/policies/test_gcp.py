"""Every policy accepts a well-formed Google Cloud stack, and refuses each way to break it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from gcp_world import google_settings, google_world
from world import GONE, LATER, Given, changed, judge

from policies import gcp, pack

pytestmark = pytest.mark.policies

_CONFIG = ("nodeConfig",)
_MOST = ("autoscaling", "totalMaxNodeCount")
_SQL = ("settings",)
_BACKUPS = (*_SQL, "backupConfiguration")
_ADDRESSING = (*_SQL, "ipConfiguration")
_SHIELD = (*_CONFIG, "shieldedInstanceConfig")

# policy, resource, path to the property, new value, words of the refusal
MUTATIONS: list[tuple[str, str, tuple[str | int, ...], Any, str]] = [
    ("gpu-quota", "training", _MOST, 5, "5 l4 GPUs, the quota is 4: lower maxSize of training"),
    ("gpu-quota", "training", (*_CONFIG, "machineType"), "g2-standard-24", "8 l4 GPUs"),
    ("gpu-quota", "training", (*_CONFIG, "machineType"), "a3-highgpu-8g", "does not know"),
    ("gpu-quota", "training", _MOST, LATER, "must be plain at preview"),
    ("node-quota", "system", _MOST, 5, "9 nodes, the quota is 8"),
    ("node-quota", "system", ("autoscaling",), {"maxNodeCount": 2}, "10 nodes, the quota is 8"),
    ("instance-types", "system", (*_CONFIG, "machineType"), "e2-standard-4", "e2-standard-4 is not among"),
    ("instance-types", "database", (*_SQL, "tier"), "db-perf-optimized-N-8", "db-perf-optimized-N-8 is not among"),
    ("regions", "google", ("region",), "europe-west4", "google is in europe-west4"),
    ("regions", "files", ("location",), "us-east1-b", "files is in us-east1"),
    ("regions", "bucket", ("location",), "EU", "bucket is in eu"),
    ("storage-quota", "system", (*_CONFIG, "diskSizeGb"), 400, "GiB, the quota is 1000"),
    ("storage-quota", "database", (*_SQL, "diskAutoresizeLimit"), 1000, "GiB, the quota is 1000"),
    ("training-on-spot", "training", (*_CONFIG, "spot"), False, "must be SPOT"),
    ("google-own-key", "bucket", ("encryption",), GONE, "encryption.defaultKmsKeyName must name a key"),
    ("google-own-key", "database", ("encryptionKeyName",), GONE, "encryptionKeyName must name a key"),
    ("google-own-key", "cache", ("customerManagedKey",), GONE, "customerManagedKey must name a key"),
    ("google-own-key", "files", ("kmsKeyName",), GONE, "kmsKeyName must name a key"),
    ("google-own-key", "images", ("kmsKeyName",), GONE, "kmsKeyName must name a key"),
    ("google-own-key", "mirror", ("mode",), "STANDARD_REPOSITORY", "kmsKeyName must name a key"),
    ("google-own-key", "audit", ("cmekSettings",), GONE, "cmekSettings.kmsKeyName must name a key"),
    ("google-own-key", "system", (*_CONFIG, "bootDiskKmsKey"), GONE, "nodeConfig.bootDiskKmsKey must name a key"),
    ("google-own-key", "cluster", ("databaseEncryption",), GONE, "databaseEncryption.keyName must name a key"),
    ("google-own-key", "cluster", ("databaseEncryption", "state"), "DECRYPTED", "must be ENCRYPTED"),
    ("google-own-key", "secret", ("replication",), {"auto": {}}, "for every copy"),
    ("google-own-key", "storage-class", ("parameters",), {}, "disk-encryption-kms-key must name a key"),
    ("google-tls", "database", (*_ADDRESSING, "sslMode"), "ALLOW_UNENCRYPTED_AND_ENCRYPTED", "without TLS"),
    ("google-tls", "database", (*_ADDRESSING, "sslMode"), GONE, "without TLS"),
    ("google-tls", "cache", ("transitEncryptionMode",), GONE, "without TLS"),
    ("google-tls", "cache", ("authEnabled",), False, "authEnabled must be true"),
    ("google-buckets-private", "bucket", ("publicAccessPrevention",), "inherited", "must be enforced"),
    ("google-buckets-private", "bucket", ("uniformBucketLevelAccess",), GONE, "uniformBucketLevelAccess"),
    ("google-database-private", "database", (*_ADDRESSING, "ipv4Enabled"), GONE, "has a public address"),
    ("google-database-private", "database", (*_ADDRESSING, "privateNetwork"), GONE, "the stack's network"),
    ("google-api-endpoint", "cluster", ("privateClusterConfig", "enablePrivateEndpoint"), False, "names no network"),
    ("google-nodes-guarded", "system", (*_CONFIG, "workloadMetadataConfig", "mode"), "GCE_METADATA", "of the node"),
    ("google-nodes-guarded", "system", (*_SHIELD, "enableSecureBoot"), False, "enableSecureBoot"),
    ("google-nodes-guarded", "training", (*_SHIELD, "enableIntegrityMonitoring"), False, "enableIntegrityMonitoring"),
    ("google-nodes-guarded", "system", (*_CONFIG, "serviceAccount"), GONE, "an account of its own"),
    ("google-nodes-guarded", "system", ("networkConfig",), {}, "no public address"),
    ("google-firewalls-closed", "firewall", ("sourceRanges",), ["0.0.0.0/0"], "ports 8443 are open to 0.0.0.0/0"),
    ("google-firewalls-closed", "firewall", ("sourceRanges",), GONE, "open to anywhere"),
    ("google-network-guarded", "network", ("autoCreateSubnetworks",), GONE, "autoCreateSubnetworks must be false"),
    ("google-network-guarded", "subnet", ("logConfig",), GONE, "logConfig must be set"),
    ("google-network-guarded", "subnet", ("privateIpGoogleAccess",), False, "privateIpGoogleAccess"),
    ("google-no-public-member", "reader", ("member",), "allUsers", "given to allUsers"),
    ("google-roles", "reader", ("role",), "roles/storage.admin", "grants more than one task needs"),
    ("google-roles", "reader", ("role",), "roles/editor", "grants more than one task needs"),
    (
        "google-workload-identity", "pod", ("member",), "serviceAccount:llmops-test.svc.id.goog[velero/*]",
        "exactly one Kubernetes service account",
    ),
    ("google-keys-kept", "key", ("rotationPeriod",), GONE, "rotationPeriod must be at most 365 days"),
    ("google-keys-kept", "key", ("destroyScheduledDuration",), "604800s", "at least 30 days; got 7"),
    ("google-logs-kept", "cluster", ("loggingConfig", "enableComponents"), ["WORKLOADS"], "lacks SYSTEM_COMPONENTS"),
    ("google-logs-kept", "audit", ("retentionDays",), 30, "at least 90; got 30"),
    ("google-backups-kept", "database", (*_BACKUPS, "enabled"), False, "enabled must be true"),
    ("google-backups-kept", "database", (*_BACKUPS, "pointInTimeRecoveryEnabled"), GONE, "pointInTimeRecovery"),
    ("google-backups-kept", "database", (*_BACKUPS, "backupRetentionSettings"), GONE, "at least 7; got unset"),
    ("google-backups-kept", "cache", ("persistenceConfig", "persistenceMode"), "DISABLED", "must be RDB"),
    ("google-buckets-kept", "bucket", ("versioning", "enabled"), False, "versioning.enabled must be true"),
    ("google-buckets-kept", "bucket", ("lifecycleRules",), [], "must let old versions"),
    ("google-protected", "database", ("deletionProtection",), False, "deletionProtection must be true"),
    ("google-protected", "database", (*_SQL, "deletionProtectionEnabled"), GONE, "deletionProtectionEnabled must be"),
    ("google-protected", "cluster", ("deletionProtection",), GONE, "deletionProtection must be true"),
    ("google-protected", "files", ("deletionProtectionEnabled",), GONE, "deletionProtectionEnabled must be true"),
    ("google-protected", "bucket", ("forceDestroy",), True, "forceDestroy must be false"),
    ("google-survives-a-zone", "database", (*_SQL, "availabilityType"), "ZONAL", "must be REGIONAL"),
    ("google-survives-a-zone", "cache", ("tier",), "BASIC", "must be STANDARD_HA"),
    ("google-images-immutable", "images", ("dockerConfig",), GONE, "immutableTags must be true"),
    ("google-labels", "database", (*_SQL, "userLabels"), {"owner": "x"}, "lacks the labels cost-center"),
    ("google-labels", "cluster", ("resourceLabels",), GONE, "lacks the labels owner, cost-center"),
]  # fmt: skip


@pytest.mark.parametrize("policy", [name for name in pack.names() if name not in ("priced", "monthly-cost")])
def test_a_well_formed_stack_passes(policy: str):
    assert judge(policy, google_world(), stack=google_settings()) == []


@pytest.mark.parametrize(("policy", "name", "path", "value", "words"), MUTATIONS)
def test_one_wrong_property_is_refused(policy: str, name: str, path: tuple[str | int, ...], value: Any, words: str):
    said = judge(policy, changed(google_world(), name, path, value), stack=google_settings())
    assert any(words in message for message in said), said


def test_every_policy_over_google_cloud_is_broken_by_some_mutation():
    own = {rule.name for rule in gcp.RULES} - {"google-no-account-keys"}
    assert own <= {mutation[0] for mutation in MUTATIONS}


def test_a_credential_of_an_account_is_refused_because_it_is_there():
    for kind in ("gcp:serviceaccount/key:Key", "gcp:storage/hmacKey:HmacKey"):
        assert judge("google-no-account-keys", [Given("key", kind, {})], stack=google_settings())


@pytest.mark.parametrize("name", ["bucket", "database", "files", "key"])
def test_what_holds_data_must_be_protected_in_the_engine_too(name: str):
    bare = [replace(one, protect=False) if one.name == name else one for one in google_world()]
    assert any("protect=True" in message for message in judge("google-protected", bare, stack=google_settings()))


@pytest.mark.parametrize("required", [True, False])
def test_the_environment_decides_whether_protection_is_demanded(required: bool):
    said = judge(
        "google-protected", google_world(), stack=google_settings(protect=False), config={"required": required}
    )
    assert bool(said) is required


def test_default_labels_of_the_provider_do_for_what_they_reach():
    unlabelled = [replace(one, provider={}) for one in google_world() if one.name in ("bucket", "database")]
    said = judge("google-labels", unlabelled, stack=google_settings())
    assert said == ["lacks the labels owner, cost-center in labels: costs could not be told apart"]


@pytest.mark.parametrize(
    ("cidrs", "words"),
    [
        (["203.0.113.0/24", "10.48.0.0/18", "10.64.0.0/14"], ""),
        (["198.51.100.0/24"], "open to 198.51.100.0/24"),
        (None, "open to anywhere"),
    ],
)
def test_the_api_server_is_open_to_the_networks_that_settings_name_and_no_other(cidrs: list[str] | None, words: str):
    stack = google_settings(cluster={"publicAccessCidrs": ["203.0.113.0/24"]})
    opened = changed(google_world(), "cluster", ("privateClusterConfig", "enablePrivateEndpoint"), False)
    networks = {"gcpPublicCidrsAccessEnabled": False, "cidrBlocks": [{"cidrBlock": one} for one in cidrs or ()]}
    if cidrs is not None:
        opened = changed(opened, "cluster", ("masterAuthorizedNetworksConfig",), networks)
    said = judge("google-api-endpoint", opened, stack=stack)
    assert (said == []) if not words else any(words in message for message in said), said


@pytest.mark.parametrize(
    ("policy", "copied", "words"),
    [
        ("elastic-ip-quota", "address", "2 public addresses (address, address-2)"),
        ("cluster-quota", "cluster", "2 clusters"),
    ],
)
def test_one_more_than_the_quota_is_refused(policy: str, copied: str, words: str):
    (one,) = (resource for resource in google_world() if resource.name == copied)
    said = judge(policy, [*google_world(), replace(one, name=f"{copied}-2")], stack=google_settings())
    assert any(words in message for message in said), said


def test_a_multi_region_is_where_an_allowed_region_is():
    stored = changed(google_world(), "bucket", ("location",), "US")
    assert judge("regions", stored, stack=google_settings()) == []
