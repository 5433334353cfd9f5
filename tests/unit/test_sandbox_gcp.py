"""The emulated Google Cloud: names, identifiers, outputs, changes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from sandbox.gcp.data_sources import DATA_SOURCES
from sandbox.gcp.identifiers import IDENTIFIERS, PROJECT_ID
from sandbox.gcp.outputs import COMPUTED
from sandbox.gcp.provider import GcpProvider
from sandbox.gcp.replacements import REPLACING
from sandbox.gcp.rules import RULES
from sandbox.provider import ProviderError
from sandbox.schema import resource_schema
from sandbox.store import Fault, Store
from sandbox.values import UNKNOWN, Properties
from tests.unit.gcp_account import (
    BUCKET,
    CLUSTER,
    KEY_RING,
    NETWORK,
    NODE_POOL,
    REDIS,
    SEED,
    SQL,
    SUBNETWORK,
    create,
    preview,
    refusals,
    replaced,
    resource,
)

pytestmark = pytest.mark.unit


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "account.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def gcp(store: Store) -> GcpProvider:
    return GcpProvider(store)


# Names


@pytest.mark.parametrize(
    ("kind", "key", "form"),
    [
        (NETWORK, "name", r"a{55}-[0-9a-f]{7}"),
        ("gcp:serviceaccount/account:Account", "accountId", r"a{22}-[0-9a-f]{7}"),
        ("gcp:projects/iAMCustomRole:IAMCustomRole", "roleId", r"A{56}_[0-9a-f]{7}"),
    ],
)
def test_a_made_up_name_is_of_the_form_that_the_service_takes_and_stays(
    gcp: GcpProvider, kind: str, key: str, form: str
):
    long = resource(kind, "A" * 80)
    first, _ = gcp.check(long, {}, {}, SEED)
    assert re.fullmatch(form, first[key])
    again, _ = gcp.check(long, first, {}, bytes(32))
    assert again[key] == first[key]


def test_a_name_of_the_program_is_judged_and_not_changed(gcp: GcpProvider):
    assert gcp.check(resource(NETWORK), {}, {"name": "Mine"}, SEED)[0] == {"name": "Mine"}
    assert set(refusals(gcp, NETWORK, name="Mine")) == {"name"}


# Types


def test_unknown_missing_and_wrong_inputs_are_refused_by_their_paths(gcp: GcpProvider):
    settings = {"tier": "db-custom-2-7680", "ipConfiguration": {"privteNetwork": "x"}}
    found = refusals(gcp, SQL, settings=settings, deletionProtection="no")
    assert set(found) == {"databaseVersion", "settings.ipConfiguration.privteNetwork", "deletionProtection"}


@pytest.mark.parametrize("kind", sorted({*REPLACING, *COMPUTED, *IDENTIFIERS, *(f"gcp:{rule.type}" for rule in RULES)}))
def test_every_type_with_rules_of_its_own_is_one_of_the_sdk(kind: str):
    assert resource_schema(kind).outputs


@pytest.mark.parametrize(("kind", "path"), [(f"gcp:{rule.type}", rule.path) for rule in RULES])
def test_every_rule_is_of_an_input_that_exists(kind: str, path: str):
    assert _field(kind, path)


def _field(kind: str, path: str) -> bool:
    fields = resource_schema(kind).inputs
    for part in path.split("."):
        if part not in fields:
            return False
        inner = fields[part].type
        fields = (inner.element or inner).fields if inner.kind == "list" else inner.fields
    return True


# Identifiers and outputs


@pytest.mark.parametrize(
    ("kind", "inputs", "expected"),
    [
        (NETWORK, {"name": "main"}, "projects/p-12345/global/networks/main"),
        (
            SUBNETWORK,
            {"name": "s", "network": "n", "ipCidrRange": "10.0.0.0/24"},
            "projects/p-12345/regions/europe-west4/subnetworks/s",
        ),
        (CLUSTER, {"name": "c", "location": "europe-west4"}, "projects/p-12345/locations/europe-west4/clusters/c"),
        (
            NODE_POOL,
            {"name": "pool", "cluster": "projects/p-12345/locations/europe-west4/clusters/c"},
            "projects/p-12345/locations/europe-west4/clusters/c/nodePools/pool",
        ),
        (KEY_RING, {"name": "r", "location": "europe-west4"}, "projects/p-12345/locations/europe-west4/keyRings/r"),
        (
            "gcp:serviceaccount/account:Account",
            {"accountId": "loader"},
            "projects/p-12345/serviceAccounts/loader@p-12345.iam.gserviceaccount.com",
        ),
        ("gcp:projects/service:Service", {"service": "sqladmin.googleapis.com"}, "p-12345/sqladmin.googleapis.com"),
        (
            "gcp:storage/bucketIAMMember:BucketIAMMember",
            {"bucket": "b", "role": "roles/storage.objectViewer", "member": "user:a@example.com"},
            "b/b/roles/storage.objectViewer/user:a@example.com",
        ),
        (
            "gcp:projects/iAMMember:IAMMember",
            {"project": "p-12345", "role": "r", "member": "m", "condition": {"title": "only", "expression": "true"}},
            "p-12345/r/m/only",
        ),
    ],
)
def test_identifiers_are_those_of_the_real_provider(store: Store, kind: str, inputs: Properties, expected: str):
    gcp = GcpProvider(store)
    gcp.configure({"project": "p-12345", "region": "europe-west4"})
    assert create(gcp, kind, **inputs)[0] == expected


def test_links_and_addresses_lead_to_the_resource(gcp: GcpProvider):
    network, outputs = create(gcp, NETWORK, name="main")
    assert outputs["selfLink"] == f"https://www.googleapis.com/compute/v1/{network}"
    _, bucket = create(gcp, BUCKET, name="data", location="US")
    assert bucket["url"] == "gs://data"
    _, account = create(gcp, "gcp:serviceaccount/account:Account", accountId="loader")
    assert account["member"] == f"serviceAccount:loader@{PROJECT_ID}.iam.gserviceaccount.com"


def test_a_database_has_the_addresses_that_it_asked_for_and_a_real_certificate(gcp: GcpProvider):
    _, public = create(gcp, SQL, name="public", databaseVersion="POSTGRES_17", settings={"tier": "db-custom-2-7680"})
    assert public["publicIpAddress"] == public["firstIpAddress"]
    assert public["privateIpAddress"] == ""
    assert public["connectionName"] == f"{PROJECT_ID}:us-central1:public"
    (authority,) = public["serverCaCerts"]
    assert x509.load_pem_x509_certificate(authority["cert"].encode()).subject.rfc4514_string()


def test_a_cache_speaks_on_the_port_of_its_encryption(gcp: GcpProvider):
    plain = create(gcp, REDIS, "plain", name="plain", memorySizeGb=1)[1]
    encrypted = create(
        gcp, REDIS, "tls", name="tls", memorySizeGb=1, transitEncryptionMode="SERVER_AUTHENTICATION", authEnabled=True
    )[1]
    assert (plain["port"], plain["authString"], plain["serverCaCerts"]) == (6379, "", [])
    assert encrypted["port"] == 6378
    assert encrypted["authString"]
    assert encrypted["serverCaCerts"][0]["cert"].startswith("-----BEGIN CERTIFICATE")


@pytest.mark.parametrize("kind", [SQL, REDIS, CLUSTER, BUCKET, NETWORK])
def test_every_declared_output_has_a_value(gcp: GcpProvider, kind: str):
    inputs: dict[str, Properties] = {
        SQL: {"name": "db", "databaseVersion": "POSTGRES_17", "settings": {"tier": "db-custom-2-7680"}},
        REDIS: {"name": "cc", "memorySizeGb": 1},
        CLUSTER: {"name": "c"},
        BUCKET: {"name": "bbb", "location": "US"},
    }
    _, outputs = create(gcp, kind, **inputs.get(kind, {}))
    missing = {name for name, spec in resource_schema(kind).outputs.items() if spec.required} - outputs.keys()
    assert missing == set()


def test_a_preview_knows_what_was_given_and_nothing_that_is_computed(gcp: GcpProvider, store: Store):
    outputs = preview(
        gcp,
        "gcp:filestore/instance:Instance",
        name="files",
        tier="ZONAL",
        location="us-central1-a",
        fileShares={"name": "models", "capacityGb": 1024},
        networks=[{"network": UNKNOWN, "modes": ["MODE_IPV4"]}],
    )
    assert outputs["fileShares"]["capacityGb"] == 1024
    assert outputs["networks"][0]["network"] is UNKNOWN
    assert outputs["networks"][0]["ipAddresses"] is UNKNOWN
    assert outputs["createTime"] is UNKNOWN
    assert store.records() == []


def test_labels_are_those_of_the_provider_and_of_the_resource_which_wins(store: Store):
    gcp = GcpProvider(store)
    gcp.configure({"defaultLabels": '{"owner": "all", "stack": "dev"}'})
    _, bucket = create(gcp, BUCKET, name="bbb", location="US", labels={"owner": "me"})
    assert bucket["labels"] == {"owner": "me"}
    assert bucket["pulumiLabels"] == {"owner": "me", "stack": "dev"}
    assert bucket["effectiveLabels"] == {"owner": "me", "stack": "dev", "goog-pulumi-provisioned": "true"}


@pytest.mark.parametrize(("key", "value"), [("project", "Bad_Project"), ("region", "mars")])
def test_a_place_that_is_none_is_refused(gcp: GcpProvider, key: str, value: str):
    assert [failure.property for failure in gcp.check_config({key: value})] == [key]
    assert gcp.check_config({key: UNKNOWN}) == []


def test_versions_of_a_secret_are_counted(gcp: GcpProvider):
    kind = "gcp:secretmanager/secretVersion:SecretVersion"
    secret = "projects/p/secrets/token"
    ids = [create(gcp, kind, f"v{n}", secret=secret, secretData="x")[0] for n in range(3)]
    assert ids == [f"{secret}/versions/{n}" for n in (1, 2, 3)]


# Changes


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in REPLACING.items() for name in names if not name.endswith("=")]
)
def test_every_replacing_property_exists_and_replaces(gcp: GcpProvider, kind: str, name: str):
    assert _field(kind, name), f"{kind} has no input {name}"
    old, new = _nested(name, "before"), _nested(name, "after")
    assert replaced(gcp, kind, {"fixed": 1, **old}, {"fixed": 1, **new}) == {name}


def _nested(path: str, value: Any) -> Properties:
    first, _, rest = path.partition(".")
    return {first: _nested(rest, value) if rest else value}


def test_a_block_replaces_when_it_comes_and_not_for_what_changes_in_it(gcp: GcpProvider):
    config = {"machineType": "g2-standard-8", "labels": {"a": "1"}}
    relabelled = {**config, "labels": {"a": "2"}}
    assert replaced(gcp, NODE_POOL, {}, {"nodeConfig": config}) == {"nodeConfig"}
    assert replaced(gcp, NODE_POOL, {"nodeConfig": config}, {"nodeConfig": relabelled}) == set()
    assert replaced(gcp, NODE_POOL, {"nodeConfig": config}, {"nodeConfig": {**config, "spot": True}}) == {
        "nodeConfig.spot"
    }


@pytest.mark.parametrize(
    ("kind", "path", "before", "after", "replaces"),
    [
        (SUBNETWORK, "ipCidrRange", "10.0.0.0/24", "10.0.0.0/20", False),
        (SUBNETWORK, "ipCidrRange", "10.0.0.0/20", "10.0.0.0/24", True),
        (SQL, "settings.diskSize", 20, 50, False),
        (SQL, "settings.diskSize", 50, 20, False),  # it grew by itself: the provider forgets the smaller size
        (SQL, "settings.ipConfiguration.privateNetwork", "n", "", True),
        (SQL, "settings.ipConfiguration.privateNetwork", "", "n", False),
        (SQL, "masterInstanceName", "primary", "other", True),
        (BUCKET, "retentionPolicy.isLocked", True, False, True),
        (BUCKET, "retentionPolicy.isLocked", False, True, False),
        (SQL, "settings.tier", "db-custom-2-7680", "db-custom-4-15360", False),
        (REDIS, "redisVersion", "REDIS_6_X", "REDIS_7_2", False),
        (REDIS, "redisVersion", "REDIS_7_2", "REDIS_7_0", True),
        (REDIS, "redisVersion", "REDIS_7_2", "REDIS_6_X", False),  # Google refuses that, the provider does not read it
    ],
)
def test_some_properties_replace_in_one_direction_only(
    gcp: GcpProvider, kind: str, path: str, before: Any, after: Any, replaces: bool
):
    found = replaced(gcp, kind, _nested(path, before), _nested(path, after))
    assert found == ({path} if replaces else set())


def test_a_disk_that_may_not_grow_is_replaced_by_a_smaller_one(gcp: GcpProvider):
    old, new = ({"settings": {"diskSize": size, "diskAutoresize": False}} for size in (50, 20))
    assert replaced(gcp, SQL, old, new) == {"settings.diskSize"}


def test_a_grant_is_replaced_for_everything_but_its_members(gcp: GcpProvider):
    kind = "gcp:storage/bucketIAMBinding:BucketIAMBinding"
    old = {"bucket": "b", "role": "r", "members": ["a"]}
    assert replaced(gcp, kind, old, {**old, "members": ["b"]}) == set()
    assert replaced(gcp, kind, old, {**old, "role": "s"}) == {"role"}


def test_an_update_keeps_what_the_cloud_had_computed_inside_lists(gcp: GcpProvider):
    kind = "gcp:filestore/instance:Instance"
    inputs: Properties = {
        "name": "files",
        "tier": "ZONAL",
        "location": "us-central1-a",
        "fileShares": {"name": "models", "capacityGb": 1024},
        "networks": [{"network": "n", "modes": ["MODE_IPV4"]}],
    }
    files, outputs = create(gcp, kind, **inputs)
    larger = {**inputs, "fileShares": {"name": "models", "capacityGb": 2048}}
    updated = gcp.update(resource(kind), files, inputs, larger, outputs, 0, preview=False)
    assert updated["fileShares"]["capacityGb"] == 2048
    assert updated["networks"] == outputs["networks"]
    assert updated["networks"][0]["ipAddresses"]


# The account


def test_faults_and_quotas_strike_here_as_in_the_other_cloud(gcp: GcpProvider, store: Store):
    store.add_fault(Fault(type=NETWORK, error="QUOTA_EXCEEDED: ask for more"))
    with pytest.raises(ProviderError, match="QUOTA_EXCEEDED"):
        create(gcp, NETWORK, name="main")
    store.set_quota(NETWORK, 1)
    create(gcp, NETWORK, name="main")
    with pytest.raises(ProviderError, match="limit of 1"):
        create(gcp, NETWORK, "second", name="second")


def test_what_a_killed_update_left_is_taken_over(gcp: GcpProvider, store: Store):
    first, _ = create(gcp, NETWORK, name="main")
    store.mark_orphans([])
    again, _ = create(gcp, NETWORK, name="main", mtu=1460)
    assert again == first
    assert len(store.records()) == 1


def test_a_resource_that_is_gone_reads_as_gone(gcp: GcpProvider, store: Store):
    network, _ = create(gcp, NETWORK, name="main")
    store.delete(NETWORK, network)
    assert gcp.read(resource(NETWORK), network, {}, {}) is None


# Data sources


def test_data_sources_answer_for_the_place_that_asks(store: Store):
    gcp = GcpProvider(store)
    gcp.configure({"project": "p-12345", "region": "europe-west4"})
    config, _ = gcp.invoke("gcp:organizations/getClientConfig:getClientConfig", {})
    zones, _ = gcp.invoke("gcp:compute/getZones:getZones", {})
    assert (config["project"], config["region"]) == ("p-12345", "europe-west4")
    assert zones["names"] == ["europe-west4-a", "europe-west4-b", "europe-west4-c"]
    versions, _ = gcp.invoke("gcp:container/getEngineVersions:getEngineVersions", {"versionPrefix": "1.34."})
    assert versions["latestMasterVersion"].startswith("1.34.")


def test_a_data_source_of_something_unknown_is_unknown_and_another_is_refused(gcp: GcpProvider):
    project, _ = gcp.invoke("gcp:organizations/getProject:getProject", {"projectId": UNKNOWN})
    assert project["number"] is UNKNOWN
    with pytest.raises(ProviderError, match="does not answer the data source gcp:compute/getImage:getImage") as refused:
        gcp.invoke("gcp:compute/getImage:getImage", {})
    assert all(token.rsplit(":", 1)[1] in str(refused.value) for token in DATA_SOURCES)
