"""The foundation on an existing cluster: what takes the place of a cloud's services, and who may use it."""

from __future__ import annotations

import json
from typing import Any

import onprem_stack
import pulumi
import pytest
from conftest import Recorder
from pulumi_kubernetes import core

from components import contract
from components.contract import AuditLog, AuditLogGrant, ObjectGrant, SecretGrant
from components.onprem.clients import environment, policy_spec
from components.onprem.foundation import OnPremFoundation
from components.onprem.identity import actions
from components.onprem.names import OBJECTS_PORT, OPERATORS, SECRETS, STORES
from components.platform.network_policies import network_policies
from components.platform.openings import Opening, Pods

pytestmark = pytest.mark.unit

_TLS = {
    "tls:index/selfSignedCert:SelfSignedCert": {"certPem": "AUTHORITY"},
    "tls:index/locallySignedCert:LocallySignedCert": {"certPem": "SERVER"},
    "tls:index/privateKey:PrivateKey": {"privateKeyPem": "KEY"},
    "tls:index/certRequest:CertRequest": {"certRequestPem": "REQUEST"},
}


@pytest.fixture
def site(recorded: Recorder) -> Recorder:
    recorded.outputs.update(_TLS)
    return recorded


def grants(foundation: OnPremFoundation, *asked: tuple[str, str, list[contract.Grant]]) -> None:
    """Identities for service accounts of namespaces, as systems of the platform ask for them."""
    there = {namespace: (core.v1.Namespace(namespace),) for namespace in {namespace for namespace, _, _ in asked}}
    identity = foundation.result.identity
    assert isinstance(identity, contract.NamespacedIdentity)
    within = identity.within(there, parent=foundation)
    for namespace, account, wanted in asked:
        within.grant(account, namespace=namespace, service_account=account, grants=wanted, parent=foundation)


def known_users(site: Recorder) -> dict[str, dict[str, Any]]:
    """Whom the object store knows."""
    secret = onprem_stack.opened(site.one("kubernetes:core/v1:Secret", "foundation-objects-identities").inputs)
    document = json.loads(secret["stringData"]["seaweedfs_s3_config"])
    return {user["name"]: user for user in document["identities"]}


def test_the_store_knows_every_identity_that_was_asked_for_after_it_was_declared_and_nobody_else(site: Recorder):
    def program() -> None:
        grants(
            onprem_stack.build(),
            ("monitoring", "loki", [ObjectGrant(bucket="logs", access="read-write", prefix="loki/")]),
            ("mlops-serving", "chat", [ObjectGrant(bucket="models", access="read")]),
        )

    site.run(program)
    users = known_users(site)
    assert set(users) == {"monitoring-loki", "mlops-serving-chat", "llmops-database"}
    assert users["mlops-serving-chat"]["actions"] == ["Read:llmops-onprem-models", "List:llmops-onprem-models"]
    assert all(action.endswith("llmops-onprem-logs/loki/*") for action in users["monitoring-loki"]["actions"])


def test_a_pod_finds_its_keys_in_the_secret_of_its_service_account_and_they_are_those_of_the_store(site: Recorder):
    site.run(lambda: grants(onprem_stack.build(), ("argo", "steps", [ObjectGrant(bucket="data", access="read")])))
    kept = onprem_stack.opened(site.one("kubernetes:core/v1:Secret", "steps-object-keys").inputs)
    assert kept["metadata"] == {"name": contract.object_keys_secret("steps"), "namespace": "argo"}
    known = known_users(site)["argo-steps"]["credentials"][0]
    assert kept["stringData"]["AWS_ACCESS_KEY_ID"] == known["accessKey"]
    assert kept["stringData"]["AWS_SECRET_ACCESS_KEY"] == known["secretKey"]
    for value in known.values():
        assert f" = {value}\n" in kept["stringData"]["credentials"]


def test_keys_wait_for_the_namespace_that_they_are_put_into(site: Recorder):
    site.run(lambda: grants(onprem_stack.build(), ("argo", "steps", [ObjectGrant(bucket="data", access="read")])))
    assert "argo" in site.one("kubernetes:core/v1:Secret", "steps-object-keys").depends_on
    assert "argo" in site.one("kubernetes:core/v1:ConfigMap", "trust-argo").depends_on


def test_no_key_and_no_password_is_ever_sent_in_plain_text(site: Recorder):
    site.run(lambda: grants(onprem_stack.build(), ("argo", "steps", [ObjectGrant(bucket="data", access="read")])))
    secrets = site.of("kubernetes:core/v1:Secret").values()
    values = [json.dumps(onprem_stack.opened(one.inputs)) for one in secrets]
    assert any("not-a-real-password" in value for value in values)
    shown = [
        one
        for one in site.resources
        if "not-a-real-password" in json.dumps(onprem_stack.shown(one.inputs), default=str)
    ]
    assert [one.name for one in shown if one.type != "random:index/randomPassword:RandomPassword"] == []


def test_the_reader_of_secrets_may_get_its_entries_by_name_and_list_none(site: Recorder):
    def program() -> None:
        wanted: list[contract.Grant] = [SecretGrant(entries=["grafana-admin", "database-admin"])]
        grants(onprem_stack.build(), ("external-secrets", "external-secrets", wanted))

    site.run(program)
    role = site.one("kubernetes:rbac.authorization.k8s.io/v1:Role", "external-secrets-entries").inputs
    assert role["metadata"]["namespace"] == SECRETS
    (rule,) = role["rules"]
    assert rule["verbs"] == ["get"]
    assert sorted(rule["resourceNames"]) == ["database-admin", "grafana-admin"]


def test_what_only_a_cloud_has_is_refused_with_the_name_of_who_asked(site: Recorder):
    log = AuditLog(kind="cloudwatch", place="group", prefix="", region="x")
    with pytest.raises(pulumi.RunError, match=r"monitoring/events: AuditLogGrant is for what a cloud has"):
        site.run(lambda: grants(onprem_stack.build(), ("monitoring", "events", [AuditLogGrant(log=log)])))


def test_two_systems_never_share_keys_by_sharing_a_service_account(site: Recorder):
    wanted: list[contract.Grant] = [ObjectGrant(bucket="data", access="read")]
    with pytest.raises(pulumi.RunError, match="argo-steps has an identity already"):
        site.run(lambda: grants(onprem_stack.build(), ("argo", "steps", wanted), ("argo", "steps", wanted)))


def test_a_prefix_opens_what_is_below_it_and_the_list_of_the_bucket_only_where_that_is_granted():
    buckets = {"logs": "b-logs"}
    narrow = actions([ObjectGrant(bucket="logs", access="read", prefix="tempo/")], buckets)  # type: ignore[arg-type] # one role is enough
    wide = actions([ObjectGrant(bucket="logs", access="read", prefix="tempo/", lists_bucket=True)], buckets)  # type: ignore[arg-type] # one role is enough
    assert "List:b-logs" not in narrow
    assert set(wide) - set(narrow) == {"List:b-logs"}


def test_pods_reach_a_store_in_the_cluster_by_its_pods_and_the_port_they_listen_on(site: Recorder):
    found: list[contract.Networks] = []
    site.run(lambda: found.append(onprem_stack.build().result.cluster.networks))
    source = Pods(namespace="mlops-data")
    ways = [
        Opening(source=source, target="cloud-apis", ports=(443,), why="objects"),
        Opening(source=source, target="stores", ports=(5432,), why="database"),
        Opening(source=source, target="api-server", ports=(443,), why="watch"),
    ]
    policies = network_policies(ways, found[0], ["mlops-data"], [])["mlops-data"]
    rules = [rule for policy in policies for rule in policy.spec.get("egress", [])]
    stores = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": STORES}}}
    ports = {port["port"] for rule in rules if stores in rule["to"] for port in rule["ports"]}
    assert ports == {5432, OBJECTS_PORT}
    servers = {"ipBlock": {"cidr": "192.168.10.11/32"}}
    assert [rule["ports"] for rule in rules if servers in rule["to"]] == [[{"protocol": "TCP", "port": 6443}]]


def test_every_namespace_of_the_foundation_is_closed_before_anything_runs_there(site: Recorder):
    site.run(onprem_stack.build)
    closed = {
        policy.inputs["metadata"]["namespace"]
        for policy in site.of("kubernetes:networking.k8s.io/v1:NetworkPolicy").values()
        if policy.inputs["metadata"]["name"] == "default-deny"
    }
    assert closed == {STORES, SECRETS, OPERATORS, "metallb-system"}
    for name in ("foundation-database-cluster", "foundation-cache-server", "foundation-objects-release"):
        (made,) = [one for one in site.resources if one.name == name]
        assert f"foundation-rooms-{STORES}-default-deny" in made.depends_on


def test_the_database_is_brought_back_to_any_minute_of_the_days_that_the_settings_say(site: Recorder):
    site.run(onprem_stack.build)
    spec = site.one("kubernetes:postgresql.cnpg.io/v1:Cluster").inputs["spec"]
    assert spec["instances"] == 3
    assert spec["backup"]["retentionPolicy"] == "7d"
    assert spec["backup"]["barmanObjectStore"]["destinationPath"] == "s3://llmops-onprem-backups/postgresql"
    assert spec["backup"]["barmanObjectStore"]["endpointCA"]["key"] == "ca.crt"
    assert site.one("kubernetes:postgresql.cnpg.io/v1:ScheduledBackup").inputs["spec"]["immediate"] is True


def test_backups_leave_the_cluster_where_a_second_store_is_named(site: Recorder):
    pulumi.runtime.set_config("onprem:backupKeys", '{"accessKey": "other", "secretKey": "hidden"}')
    objects = {**onprem_stack.raw()["onprem"]["objects"], "backup": {"endpoint": "s3.dc2.internal", "bucket": "llmops"}}
    site.run(lambda: onprem_stack.build(onprem_stack.settings(objects=objects)))
    backup = site.one("kubernetes:postgresql.cnpg.io/v1:Cluster").inputs["spec"]["backup"]["barmanObjectStore"]
    assert (backup["endpointURL"], backup["destinationPath"]) == ("https://s3.dc2.internal", "s3://llmops/postgresql")
    assert "llmops-database" not in known_users(site)


def test_an_existing_store_is_used_with_the_keys_of_the_stack_and_nothing_is_installed_for_it(site: Recorder):
    pulumi.runtime.set_config("onprem:objectKeys", '{"accessKey": "ours", "secretKey": "hidden"}')

    def program() -> None:
        chosen = onprem_stack.settings(objects={"kind": "existing", "endpoint": "s3.dc1.internal"})
        grants(onprem_stack.build(chosen), ("argo", "steps", [ObjectGrant(bucket="data", access="read")]))

    site.run(program)
    assert not [one for one in site.resources if one.name.startswith("foundation-objects")]
    kept = onprem_stack.opened(site.one("kubernetes:core/v1:Secret", "steps-object-keys").inputs)["stringData"]
    assert (kept["AWS_ACCESS_KEY_ID"], kept["AWS_SECRET_ACCESS_KEY"]) == ("ours", "hidden")


def test_without_those_keys_it_is_said_how_to_set_them_all_before_anything_is_declared(site: Recorder):
    backup = {"endpoint": "s3.dc2.internal", "bucket": "llmops-backups"}
    chosen = onprem_stack.settings(objects={"kind": "existing", "endpoint": "s3.dc1.internal", "backup": backup})
    pulumi.runtime.set_config("onprem:backupKeys", '{"accessKey": "ours"}')
    with pytest.raises(pulumi.RunError) as refused:
        site.run(lambda: onprem_stack.build(chosen))
    lines = str(refused.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["onprem:objectKeys", "onprem:backupKeys"]
    assert all(
        f"pulumi config set --secret {name}" in line
        for name, line in zip(("onprem:objectKeys", "onprem:backupKeys"), lines, strict=True)
    )
    assert site.resources == []


def test_one_server_of_objects_is_one_pod_with_one_disk(site: Recorder):
    objects = {"servers": 1, "diskGib": 100}
    site.run(lambda: onprem_stack.build(onprem_stack.settings(objects=objects)))
    values = site.one("kubernetes:helm.sh/v3:Release", "foundation-objects-release").inputs["values"]
    assert values["allInOne"]["enabled"] is True
    assert values["allInOne"]["data"]["size"] == "100Gi"
    assert not any(values[part]["enabled"] for part in ("master", "volume", "filer"))


def test_every_variable_of_a_client_is_in_the_policy_for_containers_and_for_what_runs_before_them():
    spec = policy_spec("objects.test", "dc1")
    text = spec["mutations"][0]["applyConfiguration"]["expression"]
    for kind in ("Object.spec.containers", "Object.spec.initContainers"):
        for key, value in environment("objects.test", "dc1").items():
            assert f'{kind}.env{{name: "{key}", value: "{value}"}}' in text
    assert text.count("{") == text.count("}")


def test_the_policy_looks_at_pods_of_the_platform_alone_and_never_at_those_of_the_stores(site: Recorder):
    site.run(onprem_stack.build)
    spec = site.one("kubernetes:policies.kyverno.io/v1:MutatingPolicy").inputs["spec"]
    labels = spec["matchConstraints"]["namespaceSelector"]["matchLabels"]
    for room in site.of("kubernetes:core/v1:Namespace").values():
        assert labels.items() - room.inputs["metadata"]["labels"].items(), room.name


def test_the_kubeconfig_for_people_holds_nobodys_token(site: Recorder):
    shown: list[str] = []
    site.run(lambda: onprem_stack.build().result.cluster.kubeconfig.apply(shown.append))
    assert "192.168.10.10" in shown[0]
    assert "not-a-real-token" not in shown[0]


def test_a_directory_of_the_file_server_is_a_volume_with_what_its_driver_must_be_told(site: Recorder):
    found: list[dict[str, str]] = []

    def program() -> None:
        files = onprem_stack.build().result.files
        pulumi.Output.all(handle=files.volumes["models"], **files.attributes["models"]).apply(found.append)

    site.run(program)
    assert found == [
        {
            "handle": "nas.dc1.internal#export/llmops#models#models#",
            "server": "nas.dc1.internal",
            "share": "/export/llmops/models",
        }
    ]
