"""The on-prem foundation on a real API server: it admits what is declared, and answers the questions of the check."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from components.contract import NamespacedIdentity, ObjectGrant, object_keys_secret
from components.onprem.clients import policy_spec
from components.onprem.facts import read
from components.onprem.names import STORES
from ops.restore import onprem_database
from ops.restore.rds import Moment
from tests.control_plane.conftest import Stack
from tests.control_plane.declared import Declared, admit, definitions, furnishing, objects_of
from tests.unit import onprem_stack
from tests.unit.conftest import Recorder
from tests.unit.conftest import recorded as recorded  # noqa: PLC0414 a fixture, for this module too

pytestmark = pytest.mark.control_plane

# They wait until pods are ready, and no kubelet here starts one.
_WAITING = ("apps/v1:StatefulSet", "core/v1:Service")
# Their definitions come with charts that are not at hand here.
_UNKNOWN = ("policies.kyverno.io/", "metallb.io/", "nfd.openshift.io/", "operators.coreos.com/", "nvidia.com/")


@pytest.fixture
def site(recorded: Recorder) -> Recorder:
    recorded.outputs.update(
        {
            "tls:index/selfSignedCert:SelfSignedCert": {"certPem": "AUTHORITY"},
            "tls:index/locallySignedCert:LocallySignedCert": {"certPem": "SERVER"},
            "tls:index/privateKey:PrivateKey": {"privateKeyPem": "KEY"},
            "tls:index/certRequest:CertRequest": {"certRequestPem": "REQUEST"},
        }
    )
    return recorded


@pytest.fixture(scope="module")
def furnished(stack: Stack) -> Iterator[Stack]:
    definitions("cloudnative-pg")
    with furnishing(stack, ["mlops-serving"]):
        yield stack


def declared(recorded: Recorder, **onprem: Any) -> list[tuple[str, dict[str, Any]]]:
    """Everything that the foundation and one identity declare; namespaces before what lies in them."""

    def program() -> None:
        foundation = onprem_stack.build(onprem_stack.settings(**onprem))
        identity = foundation.result.identity
        assert isinstance(identity, NamespacedIdentity)
        within = identity.within({"mlops-serving": ()}, parent=foundation)
        grants = [ObjectGrant(bucket="models", access="read")]
        within.grant("chat", namespace="mlops-serving", service_account="chat", grants=grants, parent=foundation)

    found = [one for one in objects_of(recorded, program) if not one[0].startswith(_UNKNOWN)]
    return sorted((plain(token, inputs) for token, inputs in found), key=lambda one: not one[0].endswith(":Namespace"))


def plain(token: str, inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Without the marks of secrets, and with a certificate's Secret as any other: the mocks sign nothing."""
    found = onprem_stack.opened(inputs)
    return token, {key: value for key, value in found.items() if (key, value) != ("type", "kubernetes.io/tls")}


def test_the_api_server_admits_the_stores_and_what_clients_need(furnished: Stack, site: Recorder):
    objects = declared(site)
    kinds = {token for token, _ in objects}
    assert {"postgresql.cnpg.io/v1:Cluster", "postgresql.cnpg.io/v1:ScheduledBackup"} <= kinds
    admit(furnished, objects, waiting=_WAITING)


def test_a_server_that_begins_with_what_a_lost_one_left_is_admitted(furnished: Stack, site: Recorder):
    archive = {"name": "database-2", "recoverFrom": "database", "recoverTo": "2026-11-22T03:00:00Z"}
    objects = [one for one in declared(site, databaseArchive=archive) if one[0].endswith((":Namespace", ":Cluster"))]
    admit(furnished, objects)


@pytest.mark.parametrize("moment", [Moment(), Moment(at=datetime(2026, 11, 22, 3, tzinfo=UTC)), Moment(snapshot="n")])
def test_the_server_that_a_restore_makes_beside_the_living_one_is_admitted(
    furnished: Stack, site: Recorder, moment: Moment
):
    objects = declared(site)
    ((token, living),) = [one for one in objects if one[0].endswith(":Cluster")]
    state = {"resources": [{"type": onprem_database.TYPE, "urn": "database", "inputs": living}]}
    found = onprem_database.database_of(state)
    assert found
    ended = datetime(2026, 11, 22, 2, 35, tzinfo=UTC)
    second = onprem_database.recovery(found, moment, "database-copy", [onprem_database.Backup("n", "id", ended)])
    rooms = [one for one in objects if one[0].endswith(":Namespace")]
    admit(furnished, [*rooms, (token, {key: second[key] for key in ("metadata", "spec")})])


def test_openshifts_bindings_are_admitted(furnished: Stack, site: Recorder):
    objects = [one for one in declared(site, openshift=True) if one[0].endswith((":Namespace", ":RoleBinding"))]
    assert [token for token, _ in objects if token.endswith(":RoleBinding")]
    admit(furnished, objects)


def test_the_pod_of_the_cache_is_admitted_where_pods_are_restricted(furnished: Stack, site: Recorder):
    objects = declared(site)
    (server,) = [inputs for token, inputs in objects if token == "apps/v1:StatefulSet"]
    room = next(one for one in objects if one[0].endswith(":Namespace") and one[1]["metadata"]["name"] == STORES)
    template = server["spec"]["template"]
    pod = {"metadata": {"name": "cache-0", "namespace": STORES, **template["metadata"]}, "spec": template["spec"]}
    made = Declared(furnished, *room).create()
    try:
        Declared(furnished, "core/v1:Pod", pod).preview()
    finally:
        made.delete()


def test_the_real_api_answers_what_the_check_asks(furnished: Stack, tmp_path_factory: pytest.TempPathFactory):
    place = next(tmp_path_factory.getbasetemp().glob("stack*/**/kubeconfig.yaml"))
    facts = read(place.read_text())
    assert facts.may_create_namespaces
    assert "apps" in facts.api_groups
    assert facts.version.startswith("1.")
    assert {node.labels.get("role") for node in facts.nodes} >= {"system"}
    assert all(node.cpu_millicores > 0 and node.memory_mib > 0 for node in facts.nodes)


def test_kubernetes_own_mutation_takes_the_policy_of_clients_as_it_is_written(furnished: Stack):
    """Kyverno evaluates the same language with the same rules; the API server is the one that is at hand here."""
    policy = {**policy_spec("objects.test", "dc1"), "reinvocationPolicy": "Never"}
    api, named = "admissionregistration.k8s.io/v1", {"metadata": {"name": "store-clients"}}
    labels = {"app.kubernetes.io/part-of": "llmops"}
    wanted: list[tuple[str, dict[str, Any]]] = [
        ("core/v1:Namespace", {"metadata": {"name": "clients", "labels": labels}}),
        ("core/v1:ServiceAccount", {"metadata": {"name": "loader", "namespace": "clients"}}),
        (f"{api}:MutatingAdmissionPolicy", {**named, "spec": policy}),
        (f"{api}:MutatingAdmissionPolicyBinding", {**named, "spec": {"policyName": "store-clients"}}),
    ]
    containers = [
        {"name": "main", "image": "x", "env": [{"name": "OWN", "value": "1"}]},
        {"name": "side", "image": "x"},
    ]
    pod = {
        "metadata": {"name": "client", "namespace": "clients"},
        "spec": {
            "serviceAccountName": "loader",
            "containers": containers,
            "initContainers": [containers[1] | {"name": "first"}],
        },
    }
    made = [Declared(furnished, *one).create() for one in wanted]
    try:
        spec = mutated(furnished, pod)
        for container in (*spec["containers"], *spec["initContainers"]):
            variables = {one["name"]: one.get("value") for one in container["env"]}
            assert variables["AWS_ENDPOINT_URL_S3"] == "https://objects.test"
            assert {one["mountPath"] for one in container["volumeMounts"]} >= {
                variables["AWS_CA_BUNDLE"].rpartition("/")[0],
                variables["AWS_SHARED_CREDENTIALS_FILE"].rpartition("/")[0],
            }
        assert {one["name"] for one in spec["containers"][0]["env"]} > {"OWN"}
        (keys,) = [one["secret"] for one in spec["volumes"] if "secret" in one]
        assert keys["secretName"] == object_keys_secret("loader")
        assert keys["optional"] is True
    finally:
        for one in reversed(made):
            one.delete()


def mutated(stack: Stack, pod: dict[str, Any]) -> dict[str, Any]:
    """Specification of a pod as it would be stored, once a new policy is in force: the API server reads it in time."""
    until = time.monotonic() + 60
    while True:
        namespace = pod["metadata"]["namespace"]
        stored = stack.client.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/pods",
            query={"dryRun": "All"},
            body={"apiVersion": "v1", "kind": "Pod", **pod},
        )
        spec = stored["spec"]
        if "env" in spec["containers"][1]:
            return spec
        assert time.monotonic() < until, "no policy came into force"
        time.sleep(1)
