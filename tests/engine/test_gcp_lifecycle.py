"""The life of a small Google Cloud stack in the sandbox, by the real engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.engine import Engine
from tests.engine.harness import Sandbox

pytestmark = pytest.mark.engine

PROGRAM = """
import pulumi
from pulumi_gcp import Provider, compute, container, kms, organizations, secretmanager, serviceaccount
from pulumi_gcp import servicenetworking, sql, storage

TYPE = "db-custom-2-7680"
SPOT = False
PROTECT = False
RANGE = "10.0.0.0/20"

google = Provider("google", project="probe-12345", region="us-central1", default_labels={"owner": "ml"})
opts = pulumi.ResourceOptions(provider=google)
project = organizations.get_project_output(opts=pulumi.InvokeOptions(provider=google))
network = compute.Network("network", auto_create_subnetworks=False, opts=opts)
subnet = compute.Subnetwork("subnet", network=network.id, ip_cidr_range=RANGE, region="us-central1",
    secondary_ip_ranges=[{"range_name": "pods", "ip_cidr_range": "10.4.0.0/16"}], opts=opts)
ring = kms.KeyRing("ring", location="us-central1", opts=opts)
key = kms.CryptoKey("key", key_ring=ring.id, opts=opts)
grant = kms.CryptoKeyIAMMember("grant", crypto_key_id=key.id, role="roles/cloudkms.cryptoKeyEncrypterDecrypter",
    member=project.number.apply(lambda n: f"serviceAccount:service-{n}@gs-project-accounts.iam.gserviceaccount.com"),
    opts=opts)
bucket = storage.Bucket("data", location="US-CENTRAL1", labels={"role": "data"},
    encryption={"default_kms_key_name": grant.crypto_key_id}, opts=opts)
addresses = compute.GlobalAddress("addresses", network=network.id, purpose="VPC_PEERING", address_type="INTERNAL",
    prefix_length=16, opts=opts)
connection = servicenetworking.Connection("services", network=network.id, service="servicenetworking.googleapis.com",
    reserved_peering_ranges=[addresses.name], opts=opts)
database = sql.DatabaseInstance("database", database_version="POSTGRES_17", region="us-central1",
    deletion_protection=PROTECT, settings={"tier": TYPE, "ip_configuration": {
        "ipv4_enabled": False, "private_network": connection.network}}, opts=opts)
account = serviceaccount.Account("nodes", account_id="nodes-of-probe", opts=opts)
cluster = container.Cluster("cluster", location="us-central1", network=network.id, subnetwork=subnet.id,
    initial_node_count=1, remove_default_node_pool=True, deletion_protection=False, opts=opts)
pool = container.NodePool("pool", cluster=cluster.id, location="us-central1",
    autoscaling={"total_min_node_count": 0, "total_max_node_count": 2},
    node_config={"machine_type": "e2-standard-4", "spot": SPOT, "service_account": account.email}, opts=opts)
secret = secretmanager.Secret("secret", secret_id="token", replication={"auto": {}}, opts=opts)
version = secretmanager.SecretVersion("version", secret=secret.id, secret_data="hush", opts=opts)
pulumi.export("network", network.self_link)
pulumi.export("address", database.private_ip_address)
pulumi.export("version", version.version)
"""


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Iterator[Sandbox]:
    """A stack that is up; the tests of this module change it one after another."""
    folder = tmp_path_factory.mktemp("gcp")
    project = folder / "program"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: probe\nruntime: python\n")
    (project / "Pulumi.dev.yaml").write_text("config: {}\n")
    made = Sandbox(project, folder / "home", {"SANDBOX_CONTROL_PLANE": "off"})
    made.write(PROGRAM)
    made.up()
    yield made
    made.end()


def with_(**values: Any) -> str:
    """The program with other constants."""
    lines = PROGRAM.splitlines()
    for name, value in values.items():
        lines = [f"{name} = {value!r}" if line.startswith(f"{name} = ") else line for line in lines]
    return "\n".join(lines)


def test_a_stack_comes_up_and_stays_as_it_is(lived: Sandbox):
    state = lived.state()
    of_gcp = {resource["id"] for resource in state.values() if resource["type"].startswith("gcp:")}
    assert {record.id for record in lived.account()} == of_gcp
    assert state["network"]["id"].startswith("projects/probe-12345/global/networks/network-")
    assert lived.outputs()["version"] == "1"
    (bucket,) = (record for record in lived.account() if record.type == "gcp:storage/bucket:Bucket")
    assert bucket.outputs["effectiveLabels"] == {"owner": "ml", "role": "data", "goog-pulumi-provisioned": "true"}
    lived.up("--expect-no-changes")
    lived.succeed("refresh", "--yes", "--skip-preview", "--expect-no-changes")


def test_a_change_behind_the_engines_back_is_found_and_undone(lived: Sandbox):
    answer = lived.run("account", "set", "cluster", 'description="drifted"')
    assert answer.code == 0, answer.text
    refreshed = lived.succeed("refresh", "--yes", "--skip-preview")
    assert "cluster" in refreshed
    assert lived.state()["cluster"]["inputs"]["description"] == "drifted"
    lived.run("account", "set", "cluster", "description=null")
    lived.succeed("refresh", "--yes", "--skip-preview")
    lived.up("--expect-no-changes")


def test_what_google_replaces_is_replaced_and_the_rest_changes_in_place(lived: Sandbox):
    before = lived.state()
    lived.write(with_(SPOT=True, TYPE="db-custom-4-15360", RANGE="10.0.0.0/19"))
    lived.up()
    after = lived.state()
    assert after["pool"]["id"] != before["pool"]["id"]
    for kept in ("database", "subnet", "cluster"):
        assert after[kept]["id"] == before[kept]["id"]
    assert after["database"]["outputs"]["settings"]["tier"] == "db-custom-4-15360"
    assert after["database"]["outputs"]["privateIpAddress"] == before["database"]["outputs"]["privateIpAddress"]


def test_a_fault_of_the_account_stops_the_update_and_the_next_one_ends_it(lived: Sandbox):
    lived.run("fault", "add", "--type", "gcp:sql/databaseInstance:DatabaseInstance", "--operation", "update",
              "--error", "RESOURCE_EXHAUSTED: no capacity in us-central1")  # fmt: skip
    lived.write(with_(SPOT=True, TYPE="db-custom-8-30720", RANGE="10.0.0.0/19"))
    failed = lived.pulumi("up", "--yes", "--skip-preview")
    assert failed.code != 0
    assert "RESOURCE_EXHAUSTED: no capacity in us-central1" in failed.text
    lived.up()
    assert lived.state()["database"]["outputs"]["settings"]["tier"] == "db-custom-8-30720"


def test_a_protected_database_stays_until_the_protection_is_taken_off_and_then_nothing_is_left(lived: Sandbox):
    lived.write(with_(SPOT=True, PROTECT=True, RANGE="10.0.0.0/19"))
    lived.up()
    refused = lived.pulumi("destroy", "--yes", "--skip-preview")
    assert refused.code != 0
    assert "deletionProtection is on" in refused.text
    assert any(record.type.startswith("gcp:sql/") for record in lived.account())
    lived.write(with_(SPOT=True, PROTECT=False, RANGE="10.0.0.0/19"))
    lived.up()
    lived.destroy()
    assert (lived.state(), lived.account()) == ({}, [])


def test_a_wrong_input_is_refused_with_its_path_before_anything_is_made(lived: Sandbox, tmp_path: Path):
    program = tmp_path / "program"
    program.mkdir()
    (program / "Pulumi.yaml").write_text("name: probe\nruntime: python\n")
    (program / "Pulumi.dev.yaml").write_text("config: {}\n")
    other = Sandbox(program, tmp_path / "home", lived.variables)
    other.write(with_(TYPE="db.t4g.medium"))
    answer = other.pulumi("preview")
    other.end()
    assert answer.code != 0
    assert "settings.tier" in answer.text
    assert other.account() == []
