"""MLflow: who may reach it, under which names, and what its clients need."""

from __future__ import annotations

from typing import Any

import pytest
from aws_stack import run
from conftest import Recorded, Recorder
from platform_site import Identities, options, site
from pydantic import ValidationError

from components.contract import ObjectGrant
from components.platform.experiments import (
    ARTIFACTS,
    CLIENT_NAMESPACES,
    CLIENT_SECRET,
    ENTRIES,
    TRACKING_URI,
    Experiments,
    ExperimentsArgs,
    own_sign_in,
)
from components.platform.openings import MLFLOW, Opening, Pods, common_openings
from components.platform.platform import openings as ways_of_all
from components.platform.quotas import SHARES
from components.settings.platform import PlatformSettings
from components.settings.platform.experiments import ExperimentSettings

pytestmark = pytest.mark.unit

DEPLOYMENT = "kubernetes:apps/v1:Deployment"
JOB = "kubernetes:batch/v1:Job"
SERVICE = "kubernetes:core/v1:Service"
CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
EXTERNAL_SECRET = "kubernetes:external-secrets.io/v1:ExternalSecret"
BUDGET = "kubernetes:policy/v1:PodDisruptionBudget"
ROUTE = "kubernetes:networking.istio.io/v1:VirtualService"
ACCOUNT = "kubernetes:core/v1:ServiceAccount"


def declare(settings: dict[str, Any] | None = None, *, identities: Identities | None = None, edge: bool = True) -> None:
    def program() -> None:
        place = site(settings, identities=identities)
        Experiments(
            "mlflow",
            ExperimentsArgs(site=place, secrets_ready=(), databases_ready=(), edge_ready=() if edge else None),
            options(place),
        )

    run(program)


def server(recorded: Recorder) -> dict[str, Any]:
    spec = recorded.one(DEPLOYMENT).inputs["spec"]["template"]["spec"]
    (found,) = [one for one in spec["containers"] if one["name"] == "mlflow"]
    return found


def variables(container: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container["env"] if "value" in one}


def test_no_address_and_no_configuration_holds_a_credential(recorded: Recorder):
    declare()
    given = variables(server(recorded))
    assert given["MLFLOW_BACKEND_STORE_URI"] == "postgresql://database.test:5432/mlflow"
    document = recorded.one(CONFIG_MAP).inputs["data"]["auth.ini"]
    assert "database_uri = postgresql://database.test:5432/mlflow\n" in document
    assert not any("password" in name.lower() for name in given), "passwords are read from Secrets"
    read = {one["name"] for one in server(recorded)["env"] if "valueFrom" in one}
    assert {"PGUSER", "PGPASSWORD", "MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"} <= read


def test_every_secret_that_a_pod_reads_is_made(recorded: Recorder):
    declare()
    made = {one.inputs["spec"]["target"]["name"] for one in recorded.of(EXTERNAL_SECRET).values()}
    specs = [
        one.inputs["spec"]["template"]["spec"]
        for one in recorded.resources
        if one.type in (DEPLOYMENT, JOB) and one.name != "mlflow-database"
    ]
    read = {volume["secret"]["secretName"] for spec in specs for volume in spec["volumes"] if "secret" in volume} | {
        variable["valueFrom"]["secretKeyRef"]["name"]
        for spec in specs
        for container in spec["containers"]
        for variable in container["env"]
        if "valueFrom" in variable
    }
    assert read
    assert read <= made


def test_the_operator_is_told_of_every_entry_that_is_read(recorded: Recorder):
    declare()
    read = {
        item["remoteRef"]["key"].removeprefix("test/")
        for one in recorded.of(EXTERNAL_SECRET).values()
        if one.inputs["spec"]["secretStoreRef"]["name"] == "platform"
        for item in one.inputs["spec"]["data"]
    }
    assert read == set(ENTRIES)


def test_clients_write_below_the_prefix_that_they_are_granted(recorded: Recorder):
    asked = Identities()
    declare(identities=asked)
    assert variables(server(recorded))["MLFLOW_DEFAULT_ARTIFACT_ROOT"] == f"s3://mlflow/{ARTIFACTS.prefix.rstrip('/')}"
    assert "--no-serve-artifacts" in server(recorded)["args"]
    (granted,) = asked.granted
    assert granted.grants == (ObjectGrant(bucket="mlflow", access="read-write", prefix="artifacts/"),)
    account = recorded.one(ACCOUNT)
    assert granted.service_account == account.inputs["metadata"]["name"]
    assert account.inputs["metadata"]["annotations"] == {"test/identity": "mlflow"}
    assert recorded.one(DEPLOYMENT).inputs["spec"]["template"]["spec"]["serviceAccountName"] == granted.service_account


def test_the_names_that_it_answers_to_are_whole_and_without_wildcards(recorded: Recorder):
    declare({"gateway": {"domain": "llm.test"}})
    hosts = variables(server(recorded))["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert TRACKING_URI.removeprefix("http://") in hosts
    assert "mlflow.llm.test" in hosts
    assert not [host for host in hosts if "*" in host]
    assert variables(server(recorded))["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] == "https://mlflow.llm.test"
    (port,) = [one for one in recorded.one(SERVICE).inputs["spec"]["ports"] if one["name"] == "http"]
    assert TRACKING_URI.endswith(f":{int(port['port'])}"), "the port is part of the name"


def test_it_is_published_where_the_gateway_and_the_settings_say(recorded: Recorder):
    declare({"experiments": {"host": "runs.llm.internal"}})
    assert recorded.one(ROUTE).inputs["spec"]["hosts"] == ["runs.llm.internal"]


@pytest.mark.parametrize(
    ("settings", "edge"),
    [({"experiments": {"host": ""}}, True), ({"gateway": {"enabled": False}}, True), ({}, False)],
)
def test_without_a_host_or_a_gateway_nothing_is_published(settings: dict[str, Any], edge: bool, recorded: Recorder):
    declare(settings, edge=edge)
    assert not recorded.of(ROUTE)


def test_a_host_that_is_not_published_is_neither_exempt_nor_opened():
    published = PlatformSettings()
    hidden = PlatformSettings.model_validate({"experiments": {"host": ""}})
    assert own_sign_in(published) == ("mlflow.llm.internal",)
    assert own_sign_in(hidden) == ()


def ways(settings: dict[str, Any] | None = None) -> list[Opening]:
    found: list[Opening] = []
    run(lambda: found.extend([*common_openings((), internet=True), *ways_of_all(site(settings))]))
    return found


def callers(found: list[Opening]) -> set[str]:
    return {
        way.source.namespace
        for way in found
        if isinstance(way.source, Pods) and way.target == MLFLOW and 5000 in way.ports
    }


def test_the_gateway_has_a_way_in_only_where_it_is_published(recorded: Recorder):
    assert "istio-ingress" in callers(ways())
    assert "istio-ingress" not in callers(ways({"experiments": {"host": ""}}))


def test_whoever_gets_the_clients_secret_has_a_way_to_the_server(recorded: Recorder):
    declare()
    secrets = {
        one.inputs["metadata"]["namespace"]
        for one in recorded.of(EXTERNAL_SECRET).values()
        if one.inputs["spec"]["target"]["name"] == CLIENT_SECRET
    }
    assert secrets == set(CLIENT_NAMESPACES)
    assert secrets <= callers(ways())


def test_a_client_needs_nothing_but_its_secret(recorded: Recorder):
    declare()
    spec = next(
        one.inputs["spec"]
        for one in recorded.of(EXTERNAL_SECRET).values()
        if one.inputs["spec"]["target"]["name"] == CLIENT_SECRET
    )
    given = spec["target"]["template"]["data"]
    assert given["MLFLOW_TRACKING_URI"] == TRACKING_URI
    assert given["MLFLOW_S3_ENDPOINT_URL"] == "https://s3.us-east-1.amazonaws.com"
    assert {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"} <= set(given)
    assert {item["remoteRef"]["key"] for item in spec["data"]} == {"test/mlflow-jobs"}, "not the administrator's"


def test_replicas_start_on_tables_that_are_ready_and_accounts_come_after_them(recorded: Recorder):
    declare()
    jobs = recorded.of(JOB)
    assert "mlflow-database" in jobs["mlflow-migrations"].depends_on
    assert "mlflow-migrations" in recorded.one(DEPLOYMENT).depends_on
    assert "mlflow-server" in jobs["mlflow-accounts"].depends_on


def test_tables_are_changed_by_the_version_that_serves_them(recorded: Recorder):
    declare()
    (migration,) = recorded.of(JOB)["mlflow-migrations"].inputs["spec"]["template"]["spec"]["containers"]
    assert migration["image"] == server(recorded)["image"]


@pytest.mark.parametrize(("available", "replicas"), [(True, 2), (False, 1)])
def test_replicas_are_on_different_nodes_and_one_may_leave(available: bool, replicas: int, recorded: Recorder):
    declare({"highlyAvailable": available})
    spec = recorded.one(DEPLOYMENT).inputs["spec"]
    assert spec["replicas"] == replicas
    constraints = spec["template"]["spec"].get("topologySpreadConstraints") or []
    assert bool(constraints) is available
    assert all(one["labelSelector"]["matchLabels"] == MLFLOW.labels for one in constraints)
    budgets = recorded.of(BUDGET)
    assert len(budgets) == int(available)
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}, "there is no room for one more"


def test_a_new_rule_for_accounts_starts_new_pods(recorded: Recorder):
    declare()
    before = recorded.one(DEPLOYMENT).inputs["spec"]["template"]["metadata"]["annotations"]
    recorded.resources.clear()
    declare({"experiments": {"defaultPermission": "NO_PERMISSIONS"}})
    assert "default_permission = NO_PERMISSIONS" in recorded.one(CONFIG_MAP).inputs["data"]["auth.ini"]
    assert recorded.one(DEPLOYMENT).inputs["spec"]["template"]["metadata"]["annotations"] != before


def test_the_pools_of_all_replicas_fit_into_the_connections_of_the_user(recorded: Recorder):
    declare()
    job = recorded.of(JOB)["mlflow-database"].inputs["spec"]["template"]["spec"]["containers"][0]
    allowed = int(variables(job)["CONNECTIONS"])
    given = variables(server(recorded))
    pool = int(given["MLFLOW_SQLALCHEMYSTORE_POOL_SIZE"]) + int(given["MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW"])
    stores, replicas = 3, recorded.one(DEPLOYMENT).inputs["spec"]["replicas"]
    assert replicas * stores * pool < allowed


def test_probes_ask_for_what_needs_neither_account_nor_name(recorded: Recorder):
    declare()
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server(recorded)[kind]["httpGet"]["path"] == "/health"


def test_pods_meet_the_restricted_level_and_have_limits(recorded: Recorder):
    declare()
    for one in recorded.resources:
        if one.type not in (DEPLOYMENT, JOB):
            continue
        spec = one.inputs["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        for container in spec["containers"]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


def test_everything_of_it_fits_into_its_part_of_the_namespace(recorded: Recorder):
    """While the tables are changed the replicas run; the other jobs come one after the other."""
    declare()
    replicas = recorded.one(DEPLOYMENT).inputs["spec"]["replicas"]
    serving = requested(recorded.one(DEPLOYMENT))
    jobs = [requested(one) for one in recorded.of(JOB).values()]
    share = SHARES["mlops-system"]
    assert replicas * serving[0] + max(cpu for cpu, _ in jobs) <= share.cpu_millicores
    assert replicas * serving[1] + max(memory for _, memory in jobs) <= share.memory_mib


def requested(one: Recorded) -> tuple[int, int]:
    """Millicores and MiB of a pod."""
    requests = [
        container["resources"]["requests"] for container in one.inputs["spec"]["template"]["spec"]["containers"]
    ]
    return (
        sum(int(one["cpu"].removesuffix("m")) for one in requests),
        sum(int(one["memory"].removesuffix("Mi")) for one in requests),
    )


@pytest.mark.parametrize("host", ["mlflow", "https://mlflow.llm.internal"])
def test_a_host_is_a_name(host: str):
    with pytest.raises(ValidationError):
        ExperimentSettings.model_validate({"host": host})
