"""Databases of the systems: who may read what, and where the administrator's credentials are."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
from aws_stack import run
from conftest import Recorder
from platform_site import options, site

from components.platform.databases import (
    CA_KEY,
    OPENINGS,
    Databases,
    DatabasesArgs,
    certificate_store,
    client_environment,
    database,
)
from components.platform.openings import Pods

pytestmark = pytest.mark.unit

JOB = "kubernetes:batch/v1:Job"
EXTERNAL_SECRET = "kubernetes:external-secrets.io/v1:ExternalSecret"
STORE = "kubernetes:external-secrets.io/v1:ClusterSecretStore"


def declare(namespace: Any = "mlops-serving", **changes: Any) -> None:
    def program() -> None:
        place = site()
        own = pulumi.ComponentResource("test:System", "system", None, options(place))
        shared = Databases("databases", DatabasesArgs(site=place, secrets_ready=()), options(place))
        arguments: dict[str, Any] = {
            "purpose": "litellm-database",
            "database": "litellm",
            "namespace": namespace,
            "site": place,
            "parent": own,
            "after": shared.ready,
        }
        database("tables", **{**arguments, **changes})

    run(program)


def secrets(recorded: Recorder) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (one.inputs["metadata"]["namespace"], one.inputs["spec"]["target"]["name"]): one.inputs["spec"]
        for one in recorded.of(EXTERNAL_SECRET).values()
    }


def pod(recorded: Recorder) -> dict[str, Any]:
    return recorded.one(JOB).inputs["spec"]["template"]["spec"]


def test_the_administrators_credentials_are_in_one_namespace_where_only_the_platform_runs_pods(recorded: Recorder):
    declare()
    admins = {
        place
        for (place, _), spec in secrets(recorded).items()
        if any(item["remoteRef"]["key"] == "test/database-admin" for item in spec["data"])
    }
    assert admins == {"mlops-system"}
    assert recorded.one(JOB).inputs["metadata"]["namespace"] == "mlops-system"


def test_the_system_gets_its_login_and_the_certificates_where_it_runs(recorded: Recorder):
    declare()
    found = secrets(recorded)
    login = found["mlops-serving", "litellm-database"]["data"]
    assert {item["secretKey"]: item["remoteRef"]["property"] for item in login} == {
        "username": "username",
        "password": "password",
    }
    certificates = found["mlops-serving", "litellm-database-ca"]
    assert certificates["secretStoreRef"] == {"kind": "ClusterSecretStore", "name": "database-ca"}
    assert certificates["target"]["deletionPolicy"] == "Retain", "a store that does not answer takes nothing away"
    assert [item["secretKey"] for item in certificates["data"]] == [CA_KEY]


def test_a_system_beside_the_job_shares_its_secrets(recorded: Recorder):
    declare(namespace="mlops-system")
    assert set(secrets(recorded)) == {
        ("mlops-system", "database-admin"),
        ("mlops-system", "litellm-database"),
        ("mlops-system", "litellm-database-ca"),
    }


def test_the_job_mounts_every_secret_and_names_no_credential(recorded: Recorder):
    declare()
    spec = pod(recorded)
    mounted = {volume["secret"]["secretName"] for volume in spec["volumes"]}
    assert mounted == {"database-admin", "litellm-database", "litellm-database-ca"}
    assert mounted <= {name for place, name in secrets(recorded) if place == "mlops-system"}
    (container,) = spec["containers"]
    variables = {one["name"] for one in container["env"]}
    assert not variables & {"PGUSER", "PGPASSWORD", "PGPASSFILE"}
    assert all("valueFrom" not in one for one in container["env"])


def test_the_job_verifies_the_server_with_the_certificates_that_it_mounts(recorded: Recorder):
    declare()
    (container,) = pod(recorded)["containers"]
    given = {one["name"]: one["value"] for one in container["env"]}
    (ca,) = [mount for mount in container["volumeMounts"] if mount["name"] == "ca"]
    assert given["PGSSLMODE"] == "verify-full"
    assert given["PGSSLROOTCERT"] == f"{ca['mountPath']}/{CA_KEY}"


def test_a_change_makes_a_new_job_and_a_failed_one_is_made_anew(recorded: Recorder):
    declare()
    metadata = recorded.one(JOB).inputs["metadata"]
    assert "name" not in metadata, "the provider then gives each version a name of its own"
    assert metadata["annotations"]["pulumi.com/replaceUnready"] == "true"


def test_the_engine_waits_longer_than_the_job_may_take(recorded: Recorder):
    declare()
    job = recorded.one(JOB)
    assert int(job.custom_timeouts["create"].removesuffix("s")) > job.inputs["spec"]["activeDeadlineSeconds"]


def test_the_job_waits_for_secrets_and_store(recorded: Recorder):
    declare()
    assert {"databases-admin", "databases-certificates", "tables-job", "tables-job-ca"} <= recorded.one(JOB).depends_on


def test_the_certificates_come_from_where_the_foundation_says(recorded: Recorder):
    declare()
    assert recorded.one(STORE).inputs["spec"] == certificate_store("https://test/ca.pem")
    assert "jsonPath" not in certificate_store("https://test")["provider"]["webhook"]["result"], "the document as it is"


def test_a_client_on_libpq_needs_only_an_address(recorded: Recorder):
    found: list[Any] = []

    def program() -> None:
        place = site()
        own = pulumi.ComponentResource("test:System", "system", None, options(place))
        access = database(
            "tables",
            purpose="mlflow-database",
            database="mlflow",
            namespace="mlops-system",
            site=place,
            parent=own,
            after=(),
        )
        found.extend(client_environment(access, ca_path="/etc/ca.pem"))

    run(program)
    from_secret = {one.name: one.value_from.secret_key_ref for one in found if one.value_from is not None}
    assert {(name, ref.name, ref.key) for name, ref in from_secret.items()} == {
        ("PGUSER", "mlflow-database", "username"),
        ("PGPASSWORD", "mlflow-database", "password"),
    }
    assert {one.name: one.value for one in found}["PGSSLMODE"] == "verify-full"


def test_an_entry_that_is_no_login_is_refused_at_preview(recorded: Recorder):
    with pytest.raises(pulumi.RunError, match="mlflow-flask has no property"):
        declare(purpose="mlflow-flask")


def test_only_the_jobs_are_let_through():
    (way,) = OPENINGS
    assert isinstance(way.source, Pods)
    assert way.source.labels
    assert (way.target, way.ports) == ("stores", (5432,))


def test_the_label_of_the_opening_is_that_of_the_pods(recorded: Recorder):
    declare()
    (way,) = OPENINGS
    assert isinstance(way.source, Pods)
    assert recorded.one(JOB).inputs["spec"]["template"]["metadata"]["labels"] == way.source.labels
