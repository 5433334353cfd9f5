"""Credentials in the cluster: what the operator may read, and what an ExternalSecret may ask for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pulumi
import pytest
from aws_stack import run
from conftest import Recorder
from platform_site import Identities, options, site
from pulumi_kubernetes.core import v1 as core

from components.contract import SecretGrant
from components.platform.openings import Pods
from components.platform.secrets import (
    OPENINGS,
    SecretSync,
    SecretSyncArgs,
    external_secret,
    provider_of,
    values,
)
from components.platform.site import Site
from components.settings.teams import TeamSettings

pytestmark = pytest.mark.unit

RELEASE = "kubernetes:helm.sh/v3:Release"
EXTERNAL_SECRET = "kubernetes:external-secrets.io/v1:ExternalSecret"
STORE = "kubernetes:external-secrets.io/v1:ClusterSecretStore"


def install(entries: tuple[str, ...] = ("grafana-admin",), identities: Identities | None = None) -> None:
    def program() -> None:
        here = site(identities=identities)
        SecretSync("secrets", SecretSyncArgs(site=here, entries=entries), options(here))

    run(program)


def ask(**changes: Any) -> None:
    """Declare one ExternalSecret that is right but for ``changes``."""

    def program() -> None:
        here: Site = changes.pop("site", None) or site()
        arguments: dict[str, Any] = {
            "namespace": "monitoring",
            "secret_name": "grafana",
            "data": {"admin-password": ("grafana-admin", "password")},
            "site": here,
            "parent": pulumi.ComponentResource("test:Consumer", "consumer", None, options(here)),
            "after": (),
        }
        external_secret("grafana", **{**arguments, **changes})

    run(program)


def test_the_operator_can_read_the_named_entries_and_no_others(recorded: Recorder):
    identities = Identities()
    install(("grafana-admin", "argocd-admin", "grafana-admin"), identities)

    (granted,) = identities.granted
    assert granted.grants == (SecretGrant(entries=("argocd-admin", "grafana-admin")),)
    account = recorded.one(RELEASE).inputs["values"]["serviceAccount"]
    assert (granted.namespace, granted.service_account) == ("external-secrets", account["name"])
    assert account["annotations"] == {"test/identity": "secrets"}


def test_tokens_can_be_made_of_the_operators_own_service_account_only(recorded: Recorder):
    install()

    assert recorded.one(RELEASE).inputs["values"]["rbac"]["serviceAccountTokenCreate"] is False
    (rule,) = recorded.one("kubernetes:rbac.authorization.k8s.io/v1:Role").inputs["rules"]
    assert rule["resourceNames"] == ["external-secrets"]
    assert rule["verbs"] == ["create"]


def test_the_store_uses_the_account_that_has_the_identity_and_comes_after_the_webhook(recorded: Recorder):
    install()

    store = recorded.one(STORE)
    account = store.inputs["spec"]["provider"]["aws"]["auth"]["jwt"]["serviceAccountRef"]
    assert account == {"name": "external-secrets", "namespace": "external-secrets"}
    assert "secrets-release" in store.depends_on
    assert "secrets-token" in store.depends_on


def test_a_team_cannot_read_the_platforms_credentials_from_its_namespace(recorded: Recorder):
    def program() -> None:
        here = site(teams=[TeamSettings(name="nlp")])
        namespaces: Any = {**here.namespaces, "team-nlp": ()}  # as the platform hands them over
        here = replace(here, namespaces=namespaces)
        SecretSync("secrets", SecretSyncArgs(site=here, entries=("grafana-admin",)), options(here))

    run(program)

    (condition,) = recorded.one(STORE).inputs["spec"]["conditions"]
    assert set(condition) == {"namespaces"}
    assert "monitoring" in condition["namespaces"]
    assert not [name for name in condition["namespaces"] if name.startswith("team-")]
    rbac = recorded.one(RELEASE).inputs["values"]["rbac"]
    assert rbac["aggregateToEdit"] is rbac["aggregateToAdmin"] is False


def test_the_reference_of_a_value_is_the_entrys_key_and_the_value_itself_is_nowhere(recorded: Recorder):
    ask()

    spec = recorded.one(EXTERNAL_SECRET).inputs["spec"]
    assert spec["data"] == [
        {"secretKey": "admin-password", "remoteRef": {"key": "test/grafana-admin", "property": "password"}}
    ]
    assert spec["target"]["creationPolicy"] == "Owner"
    assert spec["target"]["name"] == "grafana"


def test_a_template_computes_keys_and_sets_labels(recorded: Recorder):
    ask(template={"metadata": {"labels": {"a": "b"}}, "data": {"url": "https://{{ .password }}"}})

    template = recorded.one(EXTERNAL_SECRET).inputs["spec"]["target"]["template"]
    assert template["data"] == {"url": "https://{{ .password }}"}
    assert template["metadata"]["labels"] == {"a": "b"}


def test_an_external_secret_waits_for_the_store_and_for_its_namespace(recorded: Recorder):
    def program() -> None:
        here = site()
        namespace = core.Namespace("monitoring", opts=options(here))
        here = replace(here, namespaces={**here.namespaces, "monitoring": (namespace,)})
        sync = SecretSync("secrets", SecretSyncArgs(site=here, entries=("grafana-admin",)), options(here))
        external_secret(
            "grafana",
            namespace="monitoring",
            secret_name="grafana",
            data={"password": ("grafana-admin", "password")},
            site=here,
            parent=sync,
            after=sync.ready,
        )

    run(program)

    assert {"secrets-store", "monitoring"} <= recorded.one(EXTERNAL_SECRET).depends_on


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (("grafana-admin", "pasword"), "secret entry grafana-admin has no property pasword; it has username, password"),
        (("grafana", "password"), "no secret entry grafana; there are argocd-admin"),
    ],
)
def test_a_misspelt_entry_or_property_is_refused_before_anything_is_created(
    recorded: Recorder, wanted: tuple[str, str], message: str
):
    def program() -> None:
        here = site()
        known = {entry: here.foundation.secrets.entries[entry] for entry in ("argocd-admin", "grafana-admin")}
        foundation = replace(here.foundation, secrets=replace(here.foundation.secrets, entries=known))
        here = replace(here, foundation=foundation)
        parent = pulumi.ComponentResource("test:Consumer", "consumer")
        external_secret(
            "grafana",
            namespace="monitoring",
            secret_name="grafana",
            data={"password": wanted},
            site=here,
            parent=parent,
            after=(),
        )

    with pytest.raises(pulumi.RunError, match=message):
        run(program)
    assert EXTERNAL_SECRET not in {resource.type for resource in recorded.resources}


def test_without_the_operator_a_credential_is_refused_with_the_settings_path(recorded: Recorder):
    with pytest.raises(pulumi.RunError, match=r"platform\.secrets\.enabled: must be true, monitoring/grafana"):
        run(lambda: ask_in({"secrets": {"enabled": False}}))


def ask_in(settings: dict[str, Any]) -> None:
    here = site(settings)
    external_secret(
        "grafana",
        namespace="monitoring",
        secret_name="grafana",
        data={"password": ("grafana-admin", "password")},
        site=here,
        parent=pulumi.ComponentResource("test:Consumer", "consumer"),
        after=(),
    )


def test_one_replica_elects_no_leader_and_two_never_share_a_node(recorded: Recorder):
    found: list[dict[str, Any]] = []
    run(lambda: found.extend(values(site({"highlyAvailable": several}), {}) for several in (False, True)))

    small, large = found
    assert small["replicaCount"] == 1
    assert small["leaderElect"] is False
    assert small["podDisruptionBudget"]["enabled"] is False
    assert large["leaderElect"] is True
    hosts = [one for one in large["global"]["topologySpreadConstraints"] if one["topologyKey"].endswith("hostname")]
    assert [one["whenUnsatisfiable"] for one in hosts] == ["DoNotSchedule"]
    for part in (large, large["webhook"], large["certController"]):
        assert part["replicaCount"] > part["podDisruptionBudget"]["minAvailable"], "a node could never be drained"


def test_another_clouds_store_is_addressed_with_the_same_account(recorded: Recorder):
    found: list[dict[str, Any]] = []
    run(lambda: found.append(provider_of(replace(site().foundation.secrets, kind="gcp-secret-manager"))))

    account = found[0]["gcpsm"]["auth"]["workloadIdentity"]["serviceAccountRef"]
    assert account == {"name": "external-secrets", "namespace": "external-secrets"}


def test_only_the_controller_leaves_the_cluster():
    outside = [way.source for way in OPENINGS if way.target in ("cloud-apis", "internet", "anywhere")]

    assert [pods.labels for pods in outside if isinstance(pods, Pods)] == [
        {"app.kubernetes.io/name": "external-secrets"}
    ]
    assert len(outside) == 1
