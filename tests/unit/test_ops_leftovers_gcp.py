"""Leftovers in a project of Google Cloud that answers as its APIs do: found, told apart from others', in order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ops.leftovers import record as records
from ops.leftovers.cli import app
from ops.leftovers.gcp import removal
from ops.leftovers.gcp.search import made_by_controllers, search
from ops.leftovers.model import Leftover, Proof
from ops.leftovers.record import Known
from ops.preflight.gcp import account
from tests.unit.gcp_project import (
    BALANCER,
    HASH,
    KEY,
    NETWORK,
    OF_CLUSTER,
    OTHERS,
    PREFIX,
    PROJECT,
    REGION,
    RING,
    Google,
    Removing,
    record,
)

pytestmark = pytest.mark.unit


@pytest.fixture
def google() -> Google:
    return Google()


def found(google: Google, **more: Any) -> dict[str, Leftover]:
    told = search(google, record(**more))
    assert not told.unseen
    return {f"{one.kind} {one.name}": one for one in told.found}


def compute(collection: str, name: str, place: str = f"regions/{REGION}") -> str:
    return f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/{place}/{collection}/{name}"


def test_an_empty_project_is_proven_clean(google: Google):
    assert search(google, record()) == Proof(found=())


def test_what_gke_labels_is_found_on_every_page_and_nobody_elses(google: Google):
    google.plant(
        "disks",
        {"name": "pvc-1"},
        {"name": "pvc-2", "labels": OF_CLUSTER},
        {"name": "pvc-3", "labels": {**OF_CLUSTER, "stack": "llmops-gcp-eu"}},
        {"name": "pvc-4", "diskEncryptionKey": {"kmsKeyName": f"{KEY}/cryptoKeyVersions/1"}},
        {"name": "pvc-5", "diskEncryptionKey": {"kmsKeyName": KEY.replace(PREFIX, f"{PREFIX}-eu")}},
        place="zones/us-central1-a",
    )
    google.plant("snapshots", {"name": "s", "sourceDisk": compute("disks", "pvc-1", "zones/us-central1-a")})
    told = found(google, volumes=(f"projects/{PROJECT}/zones/us-central1-a/disks/pvc-1",))
    assert set(told) == {"volume pvc-1", "volume pvc-2", "volume pvc-4", "snapshot s"}
    assert {one.fate for one in told.values()} == {"data"}
    command = f"gcloud compute disks delete pvc-1 --zone us-central1-a --project {PROJECT}"
    assert told["volume pvc-1"].command == command


def test_parts_of_a_load_balancer_have_no_label_and_are_found_by_the_network(google: Google):
    group = compute("networkEndpointGroups", f"k8s2-{HASH}-istio-ingress-x", "zones/us-central1-a")
    google.plant(
        "networkEndpointGroups",
        {"name": f"k8s2-{HASH}-istio-ingress-x", "network": NETWORK, "selfLink": group},
        {"name": "k8s2-99999999-shop-y", "network": OTHERS},
        place="zones/us-central1-a",
    )
    google.plant("firewalls", {"name": f"gke-{PREFIX}-1f-all", "network": NETWORK}, {"name": "x", "network": OTHERS})
    google.plant("forwardingRules", {"name": f"k8s2-{HASH}-istio-ingress-x"}, {"name": "k8s2-99999999-shop-y"})
    google.plant("backendServices", {"name": "renamed", "backends": [{"group": group}]}, {"name": "shop"})
    google.plant("healthChecks", {"name": f"k8s2-{HASH}-l4-shared-hc"}, {"name": "k8s2-99999999-l4-shared-hc"})
    told = found(google)
    assert list(told) == [
        f"forwarding rule k8s2-{HASH}-istio-ingress-x",
        "backend service renamed",
        f"health check k8s2-{HASH}-l4-shared-hc",
        f"endpoint group k8s2-{HASH}-istio-ingress-x",
        f"firewall rule gke-{PREFIX}-1f-all",
    ]
    assert {one.fate for one in told.values()} == {"safe"}


def test_a_load_balancer_of_an_older_controller_is_known_by_its_firewall_rule(google: Google):
    google.plant("firewalls", {"name": f"k8s-fw-{BALANCER}", "network": NETWORK})
    google.plant("forwardingRules", {"name": BALANCER}, {"name": BALANCER.replace("0", "9")})
    google.plant("targetPools", {"name": BALANCER}, {"name": "pool", "instances": ["a/instances/gke-llmops-gcp-cpu-1"]})
    google.plant("addresses", {"name": BALANCER}, {"name": "mine"})
    assert list(found(google)) == [
        f"forwarding rule {BALANCER}",
        f"target pool {BALANCER}",
        "target pool pool",
        f"address {BALANCER}",
        f"firewall rule k8s-fw-{BALANCER}",
    ]


def test_a_label_of_another_stack_decides_against_every_name(google: Google):
    google.plant("firewalls", {"name": f"k8s-fw-{BALANCER}", "network": NETWORK})
    google.plant("forwardingRules", {"name": BALANCER, "labels": {"stack": "llmops-gcp-eu"}})
    google.plant("b", {"name": "llmops-gcp-data-example", "labels": {"stack": "llmops-gcp-eu"}})
    assert list(found(google)) == [f"firewall rule k8s-fw-{BALANCER}"]


def test_without_what_ties_balancers_to_the_network_none_of_their_parts_is_proven_gone(google: Google):
    google.refuse("firewalls", "IAM_PERMISSION_DENIED")
    google.plant("forwardingRules", {"name": "a-rule"})
    google.plant("healthChecks", {"name": "a-check"})
    told = search(google, record())
    assert {"firewall rules", "forwarding rules", "health checks"} <= {one.what for one in told.unseen}
    assert told.exit_code == 2


def test_an_api_that_is_off_has_nothing(google: Google):
    google.refuse("secrets", "SERVICE_DISABLED")
    assert search(google, record()).exit_code == 0


def test_stores_are_found_by_label_or_key_and_wait_or_hold_data(google: Google):
    own = {"stack": PREFIX}
    place = f"projects/{PROJECT}/locations/{REGION}"
    google.plant("b", {"name": "llmops-gcp-data-example", "labels": own, "location": "US-CENTRAL1"})
    google.plant("b", {"name": "theirs"})
    google.plant("secrets", {"name": f"projects/1/secrets/{PREFIX}-grafana", "labels": own})
    google.plant(
        "projects/example/instances",
        {"name": f"{PREFIX}-postgres-0a1b2c", "settings": {"userLabels": own, "deletionProtectionEnabled": True}},
    )
    google.plant(
        "projects/example/backups",
        {"name": "projects/example/backups/1", "instance": f"{PREFIX}-postgres-0a1b2c", "type": "AUTOMATED",
         "expiryTime": "2026-12-01T00:00:00Z", "state": "SUCCESSFUL"},
        {"name": "projects/example/backups/2", "instance": f"{PREFIX}-postgres-0a1b2c", "type": "FINAL"},
        {"name": "projects/example/backups/3", "instance": f"{PREFIX}-eu-postgres-0a1b2c", "type": "FINAL"},
    )  # fmt: skip
    google.plant("file.googleapis.com/v1/projects/example/locations/-/backups".partition("/v1/")[2],
                 {"name": f"{place}/backups/files-1", "kmsKey": KEY})  # fmt: skip
    google.plant(f"locations/{REGION}/repositories", {"name": f"{place}/repositories/{PREFIX}-images", "labels": own})
    google.plant("locations/-/buckets", {"name": f"{place}/buckets/{PREFIX}-cluster-0a1b2c"})
    google.plant(
        "locations/-/buckets",
        {"name": f"{place}/buckets/{PREFIX}-cluster-ffffff", "lifecycleState": "DELETE_REQUESTED"},
    )
    google.plant("sinks", {"name": f"{PREFIX}-cluster"}, {"name": "_Default"})
    told = found(google)
    assert {name: one.fate for name, one in told.items()} == {
        "bucket llmops-gcp-data-example": "data",
        "secret llmops-gcp-grafana": "data",
        "database llmops-gcp-postgres-0a1b2c": "data",
        "automated backup 1": "waits",
        "database snapshot 2": "data",
        "file backup files-1": "data",
        "repository llmops-gcp-images": "data",
        "log group llmops-gcp-cluster-0a1b2c": "data",
        "log group llmops-gcp-cluster-ffffff": "waits",
        "log sink llmops-gcp-cluster": "safe",
    }
    assert "--no-deletion-protection" in told["database llmops-gcp-postgres-0a1b2c"].note


@pytest.mark.parametrize(
    ("states", "fate"),
    [(("ENABLED", "DESTROYED"), "data"), (("DESTROY_SCHEDULED",), "waits"), (("DESTROYED", "DESTROYED"), "")],
)
def test_a_key_remains_while_a_version_decrypts_and_not_because_its_name_does(
    google: Google, states: tuple[str, ...], fate: str
):
    google.plant(f"locations/{REGION}/keyRings", {"name": RING}, {"name": RING.replace(PREFIX, f"{PREFIX}-eu")})
    google.plant("cryptoKeys", {"name": KEY})
    google.plant(
        "cryptoKeyVersions",
        *({"name": f"{KEY}/cryptoKeyVersions/{n}", "state": state} for n, state in enumerate(states, 1)),
    )
    assert [one.fate for one in found(google).values()] == ([fate] if fate else [])


def test_an_account_of_unknown_origin_is_shown_and_left_alone(google: Google):
    known, unknown = (f"llmops-gcp-{name}-0123abcd@{PROJECT}.iam.gserviceaccount.com" for name in ("nodes", "velero"))
    google.plant("serviceAccounts", {"email": known, "name": f"projects/{PROJECT}/serviceAccounts/{known}"})
    google.plant("serviceAccounts", {"email": unknown, "name": f"projects/{PROJECT}/serviceAccounts/{unknown}"})
    google.plant("serviceAccounts", {"email": f"shop@{PROJECT}.iam.gserviceaccount.com"})
    made = Known(type="gcp:serviceaccount/account:Account", id=f"projects/{PROJECT}/serviceAccounts/{known}")
    told = found(google, resources=(made,))
    assert {name: one.fate for name, one in told.items()} == {f"role {known}": "safe", f"role {unknown}": "by hand"}


def test_the_network_names_its_peerings_and_says_who_keeps_them(google: Google):
    peering = {"name": "servicenetworking-googleapis-com"}
    google.plant("networks", {"name": PREFIX, "selfLink": NETWORK, "peerings": [peering]})
    google.plant("networks", {"name": "default", "selfLink": NETWORK.replace(PREFIX, "default")})
    google.plant("subnetworks", {"name": f"{PREFIX}-nodes", "network": NETWORK})
    google.plant("addresses", {"name": "psa", "network": NETWORK, "purpose": "VPC_PEERING"}, place="global")
    told = found(google)
    assert list(told) == [
        "address psa",
        f"subnet {PREFIX}-nodes",
        "network peering servicenetworking-googleapis-com",
        f"network {PREFIX}",
    ], "each before what it is in"
    assert told["address psa"].command.endswith(f"delete psa --global --project {PROJECT}")
    assert "for days" in told["network peering servicenetworking-googleapis-com"].note


def test_zones_of_the_network_and_records_of_proofs_are_found(google: Google):
    private = {"networks": [{"networkUrl": NETWORK}]}
    google.plant("managedZones", {"name": "db", "visibility": "private", "privateVisibilityConfig": private})
    google.plant("managedZones", {"name": "example", "visibility": "public"})
    google.plant("rrsets", {"name": "_acme-challenge.llm.example.", "type": "TXT"}, {"name": "llm.example."})
    told = found(google)
    assert {one.kind: one.fate for one in told.values()} == {"zone": "safe", "DNS record": "by hand"}


def test_alarms_and_roles_are_known_by_the_stacks_name_at_their_beginning(google: Google):
    google.plant("alertPolicies", {"name": "projects/1/alertPolicies/1", "displayName": f"{PREFIX} cache: cpu"})
    google.plant("alertPolicies", {"name": "projects/1/alertPolicies/2", "displayName": f"{PREFIX}-eu cache: cpu"})
    google.plant("notificationChannels", {"name": "projects/1/x/3", "displayName": f"{PREFIX}: a@b.c"})
    google.plant("roles", {"name": f"projects/{PROJECT}/roles/llmops_gcp_predictor", "deleted": True})
    google.plant("roles", {"name": f"projects/{PROJECT}/roles/llmops_gcp_eu_predictor"})
    told = found(google)
    assert {one.kind: one.fate for one in told.values()} == {
        "alarm": "safe", "notification channel": "safe", "custom role": "waits",
    }  # fmt: skip


def test_what_controllers_must_have_removed_is_asked_for_alone(google: Google):
    google.plant("firewalls", {"name": f"k8s-fw-{BALANCER}", "network": NETWORK})
    google.plant("forwardingRules", {"name": BALANCER})
    google.plant("disks", {"name": "pvc", "labels": OF_CLUSTER})
    assert [one.kind for one in made_by_controllers(google, record()).found] == ["forwarding rule"]


# The command


def test_the_command_removes_what_holds_no_data_and_proves_the_rest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    google = Removing()
    google.plant("firewalls", {"name": "k8s-left", "network": NETWORK})
    google.plant("disks", {"name": "pvc", "labels": OF_CLUSTER}, place="zones/us-central1-a")
    records.write(record(), records.place("gcp", tmp_path))

    def credentials() -> Removing:
        return google

    monkeypatch.setattr(account, "GoogleAccount", credentials)
    monkeypatch.setattr(removal, "GoogleRemover", credentials)
    run = CliRunner().invoke(app, ["--stack", "gcp", "--record-folder", str(tmp_path), "--remove", "--yes", "--json"])
    assert google.deleted == ["global/firewalls/k8s-left"]
    assert run.exit_code == 1, "the disk remains"
    found = json.loads(run.stdout[run.stdout.index("{") :])["leftovers"]
    assert {one["kind"] for one in found} == {"firewall rule", "volume"}, "asked to go is not gone: the account says so"


def test_without_credentials_the_command_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    records.write(record(), records.place("gcp", tmp_path))

    def none() -> Google:
        raise account.CredentialsError("there are no usable Google credentials")

    monkeypatch.setattr(account, "GoogleAccount", none)
    run = CliRunner().invoke(app, ["--stack", "gcp", "--record-folder", str(tmp_path)])
    assert run.exit_code == 2
    assert "gcloud auth application-default login" in run.output
