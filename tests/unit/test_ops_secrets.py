"""``python -m ops secrets``: generations, the edit of the stack's file, stores, readers, and what has one value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pulumi
import pytest
from aws_stack import KEY, PREFIX, run
from conftest import Recorder
from moto import mock_aws
from pydantic import ValidationError

from components.aws import cache as aws_cache
from components.aws.secrets import Secrets, SecretsArgs, SecretVault
from components.credentials import CATALOGUE, EVALUATION, RETRIEVAL
from components.kept import Drawn, draw
from components.onprem import cache as onprem_cache
from components.platform.experiments import names as mlflow_names
from components.platform.observability import grafana_values
from components.platform.vectors_values import RELEASE as MILVUS
from components.settings.rotation import RotationSettings
from ops.secrets import activation, edit
from ops.secrets.generations import generation_in
from ops.secrets.how import how
from ops.secrets.readers import Cluster, Synced, Workload, again, named
from ops.secrets.store import EmptyError, SecretManager, SecretsManager
from ops.stack import StackError

pytestmark = pytest.mark.unit

RANDOM = "random:index/randomPassword:RandomPassword"


def rotation(overlapping: tuple[str, ...] = (), **generations: int) -> RotationSettings:
    named = {purpose.replace("_", "-"): number for purpose, number in generations.items()}
    return RotationSettings.model_validate({"generations": named, "overlapping": overlapping})


def keepers(recorded: Recorder) -> dict[str, Any]:
    return {name: one.inputs.get("keepers") for name, one in recorded.of(RANDOM).items()}


def all_secrets(rotated: RotationSettings) -> None:
    vault = SecretVault(prefix=PREFIX, kms_key_arn=KEY, recovery_window_days=0, rotation=rotated)
    Secrets("secrets", SecretsArgs(vault=vault))


def test_without_rotation_no_value_has_a_keeper(recorded: Recorder):
    """A keeper where none was would draw every value of every existing stack anew."""
    run(lambda: all_secrets(rotation()))
    assert set(map(str, keepers(recorded).values())) == {"None"}


def test_a_generation_draws_its_own_value_and_nothing_else(recorded: Recorder):
    run(lambda: all_secrets(rotation(mlflow_database=2)))
    changed = {name: value for name, value in keepers(recorded).items() if value}
    assert changed == {"secrets-mlflow-database-password": {"generation": "2"}}


def test_grafanas_encryption_key_stays_when_its_password_goes(recorded: Recorder):
    run(lambda: all_secrets(rotation(grafana_admin=3)))
    found = keepers(recorded)
    assert found["secrets-grafana-admin-password"] == {"generation": "3"}
    assert found["secrets-grafana-admin-secretKey"] is None


@pytest.mark.parametrize("purpose", ["litellm-salt-key", "huggingface-token", "mlflow-databas"])
def test_what_cannot_be_drawn_again_or_is_not_there_is_refused_at_preview(recorded: Recorder, purpose: str):
    with pytest.raises(pulumi.RunError, match=purpose):
        run(lambda: all_secrets(RotationSettings(generations={purpose: 2})))


def test_what_has_one_value_cannot_overlap(recorded: Recorder):
    with pytest.raises(pulumi.RunError, match="cannot have two values"):
        run(lambda: all_secrets(rotation(("mlflow-database",), mlflow_database=2)))


def cache_token(recorded: Recorder, rotated: RotationSettings) -> Drawn:
    recorded.resources.clear()
    made: list[Drawn] = []

    def program() -> None:
        made.append(draw("cache-auth", aws_cache.CREDENTIAL, rotated, pulumi.ResourceOptions()))

    run(program)
    return made[0]


def test_two_places_take_turns_so_that_the_value_before_stays_as_it_is(recorded: Recorder):
    first, second = "cache-auth-token", "cache-auth-token-b"
    assert not cache_token(recorded, rotation()).previous
    assert keepers(recorded) == {first: None}
    assert cache_token(recorded, rotation(("cache-auth",), cache_auth=2)).previous
    assert keepers(recorded) == {second: {"generation": "2"}, first: None}
    ended = cache_token(recorded, rotation(cache_auth=2))
    assert keepers(recorded) == {second: {"generation": "2"}, first: None}, "the end of the overlap draws nothing"
    assert (ended.ended, ended.previous) == (True, {})
    cache_token(recorded, rotation(("cache-auth",), cache_auth=3))
    assert keepers(recorded) == {first: {"generation": "3"}, second: {"generation": "2"}}


def test_both_caches_overlap_alike():
    assert aws_cache.CREDENTIAL.overlaps
    assert onprem_cache.CREDENTIAL.overlaps


def test_an_overlap_needs_a_generation():
    with pytest.raises(ValidationError, match="generation above 1"):
        rotation(("cache-auth",))


FILE = """# Development
config:
  llmops:owner: ml # who
  llmops:rotation: # by the command
    generations:
      mlflow-database: 2
    overlapping: []
  # what follows
  llmops:teams:
    - name: research # the first
"""


def test_an_edit_changes_its_section_and_not_a_letter_more():
    wanted = edit.raised(edit.rotation_of(FILE), "cache-auth", overlap=True)
    after = edit.written(FILE, wanted)
    assert edit.rotation_of(after) == rotation(("cache-auth",), mlflow_database=2, cache_auth=2)
    head, tail = FILE.partition("  llmops:rotation")[0], FILE.partition("  # what follows")[2]
    assert after.startswith(head)
    assert after.endswith("  # what follows" + tail)
    assert edit.rotation_of(edit.written(after, edit.ended(wanted, "cache-auth"))).overlapping == ()


def test_a_file_without_the_section_gets_it_at_its_end():
    text = "config:\n  llmops:owner: ml"
    after = edit.written(text, rotation(mlflow_database=2))
    assert after.startswith(text + "\n")
    assert edit.rotation_of(after).generations == {"mlflow-database": 2}


def test_a_file_that_a_program_cannot_edit_safely_is_left_alone():
    with pytest.raises(edit.EditError, match="by hand"):
        edit.written("config: {'llmops:owner': ml}\n", rotation(mlflow_database=2))


def random_in_state(name: str, generation: int | None) -> dict[str, Any]:
    keeper = {"keepers": {"generation": str(generation)}} if generation else {}
    return {"type": RANDOM, "urn": f"urn:pulumi:dev::llmops::{RANDOM}::{name}", "inputs": keeper}


def test_the_state_says_which_generation_there_is():
    drawn = [
        random_in_state("foundation-secrets-mlflow-database-password", 3),
        random_in_state("foundation-cache-cache-auth-token", None),
        random_in_state("foundation-cache-cache-auth-token-b", 2),
        random_in_state("foundation-secrets-mlflow-admin-password", None),
    ]
    export = {"deployment": {"resources": drawn}}
    found = {one: generation_in(export, one) for one in ("mlflow-database", "cache-auth", "mlflow-admin", "none")}
    assert found == {"mlflow-database": 3, "cache-auth": 2, "mlflow-admin": 1, "none": 0}


def test_every_credential_has_a_way_or_a_reason():
    purposes = [one.purpose for one in (*CATALOGUE, *RETRIEVAL, *EVALUATION)]
    for cloud in ("aws", "gcp", "onprem"):
        for purpose in (*purposes, "cache-auth", "database-admin"):
            found = how(purpose, cloud)
            assert (found.kind in ("managed", "manual", "never")) == bool(found.why), purpose
    permanent = {one.purpose for one in CATALOGUE if one.permanent}
    assert permanent == {purpose for purpose in purposes if how(purpose, "aws").kind == "never"}


def external(namespace: str, name: str, key: str, **more: Any) -> dict[str, Any]:
    data = [{"secretKey": "k", "remoteRef": {"key": key, "property": "password"}}]
    return {
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"data": data, "target": {"name": name}, **more},
    }


def pod(*references: dict[str, Any], label: str = "x") -> dict[str, Any]:
    return {"metadata": {"labels": {"app.kubernetes.io/name": label}}, "spec": {"containers": list(references)}}


def thing(kind: str, namespace: str, name: str, template: dict[str, Any], made: str = "") -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": name, "creationTimestamp": made}
    return {"kind": kind, "metadata": metadata, "spec": {"template": template, "selector": {"of": "the server"}}}


BY_VARIABLE = {"env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "db", "key": "k"}}}]}
BY_FILE = {"volumes": [{"name": "v", "secret": {"secretName": "db"}}]}
BY_ALL = {"envFrom": [{"secretRef": {"name": "db"}}]}
PROJECTED = {"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "db"}}]}}]}


@pytest.mark.parametrize("reference", [BY_VARIABLE, BY_FILE, BY_ALL, PROJECTED])
def test_a_pod_that_names_a_secret_in_any_way_is_its_reader(reference: dict[str, Any]):
    assert named(pod(reference)) == {"db"}


def cluster() -> Cluster:
    return Cluster(
        secrets=(external("a", "db", "arn:1"), external("b", "db", "arn:1"), external("a", "other", "arn:2")),
        workloads=(
            thing("Deployment", "a", "reader", pod(BY_VARIABLE)),
            thing("StatefulSet", "c", "same-name-elsewhere", pod(BY_FILE)),
            thing("DaemonSet", "b", "files", pod(BY_FILE)),
            thing("Deployment", "a", "stranger", pod({})),
        ),
        jobs=(
            thing("Job", "b", "db-old", pod(BY_FILE, label="database-job"), "2026-01-01T00:00:00Z"),
            thing("Job", "b", "db-new", pod(BY_FILE, label="database-job"), "2026-02-01T00:00:00Z"),
            thing("Job", "b", "migrations", pod(BY_FILE, label="migrations"), "2026-03-01T00:00:00Z"),
        ),
    )


def test_readers_and_jobs_are_those_of_the_cluster_and_of_their_namespace():
    wanted = activation.planned("mlflow-database", how("mlflow-database", "aws"), "arn:1", cluster())
    assert [one.namespace for one in wanted.secrets] == ["a", "b"]
    assert wanted.readers == (Workload("a", "deployment", "reader"), Workload("b", "daemonset", "files"))
    assert [job["metadata"]["name"] for job in wanted.jobs] == ["db-new"], "the newest, and no other kind"


def test_a_secret_of_an_entry_as_a_whole_is_refreshed_and_its_readers_restart():
    """Teams write such: the entry's JSON under one key, or each property under its own."""
    whole = external("a", "db", "arn:1")
    del whole["spec"]["data"][0]["remoteRef"]["property"]
    extracted = external("b", "db", "arn:2", dataFrom=[{"extract": {"key": "arn:1"}}])
    there = cluster()
    found = Cluster((whole, extracted), there.workloads, there.jobs).synced("arn:1")
    assert [(one.namespace, one.templated) for one in found] == [("a", True), ("b", True)], "no property to compare"


def test_a_refresh_within_the_second_of_the_one_before_is_seen(monkeypatch: pytest.MonkeyPatch):
    """The time of a refresh is in seconds: two in one second differ in what they are of."""
    status = {"refreshTime": "2026-11-23T00:00:00Z", "syncedResourceVersion": "1-before"}

    def answered(_kubeconfig: Path, arguments: list[str], **_: Any) -> str:
        if "annotate" in arguments:
            status["syncedResourceVersion"] = "1-after"
        return json.dumps({"status": status})

    monkeypatch.setattr(activation, "kubectl", answered)
    monkeypatch.setattr(activation, "_SYNC_SECONDS", 5)
    one = Synced("a", "db", "db", (("password", "k"),), templated=True)
    wanted = activation.Activation(purpose="x", how=how("x", "aws"), secrets=(one,), jobs=(), readers=())
    said: list[str] = []
    activation.activate(wanted, {"password": "p"}, Path("kubeconfig"), said.append)
    assert said == ["Secret a/db is refreshed"]


def test_servers_hear_of_a_value_before_its_readers_start_with_it():
    steps = list(activation.planned("mlflow-database", how("mlflow-database", "aws"), "arn:1", cluster()).steps())
    verbs = [step.split()[0] for step in steps]
    assert verbs == sorted(verbs, key=["refresh", "run", "restart"].index)


def test_no_reader_gets_a_value_that_no_job_can_bring_to_the_server():
    there = cluster()
    without = Cluster(there.secrets, there.workloads, ())
    with pytest.raises(StackError, match="no job database-job"):
        activation.planned("mlflow-database", how("mlflow-database", "aws"), "arn:1", without)


def test_a_job_runs_again_without_what_the_api_server_wrote():
    template = pod(BY_FILE, label="database-job")
    template["metadata"]["labels"]["controller-uid"] = "1"
    made = again(thing("Job", "b", "db", template))
    assert "selector" not in made["spec"]
    assert made["spec"]["template"]["metadata"]["labels"] == {"app.kubernetes.io/name": "database-job"}
    assert "name" not in made["metadata"]


def test_servers_are_found_where_the_program_puts_them():
    servers = activation._SERVERS  # pyright: ignore[reportPrivateUsage]  # it is told nowhere else
    where = {name: (one.namespace, one.service, one.port) for name, one in servers.items()}
    assert where == {
        "mlflow": (mlflow_names.NAMESPACE, mlflow_names.NAME, mlflow_names.PORT),
        "grafana": (grafana_values.NAMESPACE, grafana_values.NAME, grafana_values.SERVICE_PORT),
        "milvus": ("mlops-data", MILVUS, 19530),
    }


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, dict[str, str]]]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        sdk: Any = boto3
        client = sdk.client("secretsmanager", region_name="us-east-1")
        arns = {name: client.create_secret(Name=f"llmops-dev/{name}")["ARN"] for name in ("token", "empty")}
        client.put_secret_value(SecretId=arns["token"], SecretString=json.dumps({"token": "one"}))
        yield client, arns


def test_secrets_manager_is_read_written_and_asked_for_the_age(amazon: tuple[Any, dict[str, str]]):
    store = SecretsManager(*amazon)
    assert store.read("token") == {"token": "one"}
    store.write("token", {"token": "two"})
    assert store.read("token") == {"token": "two"}
    assert store.changed("token") is not None
    with pytest.raises(EmptyError):
        store.read("empty")
    with pytest.raises(StackError, match="it has empty, token"):
        store.read("nothing")


class Google:
    """Secret Manager of one entry, by its REST API."""

    def __init__(self) -> None:
        self.versions: list[str] = []

    def request(self, method: str, url: str, json: Any = None, timeout: float = 0) -> Any:
        path = url.removeprefix("https://secretmanager.googleapis.com/v1/projects/p/secrets/s")
        if method == "POST":
            assert path == ":addVersion"
            self.versions.append(json["payload"]["data"])
            return Answer(200, {})
        if not self.versions:
            return Answer(404, {})
        assert path in ("/versions/latest", "/versions/latest:access")
        return Answer(200, {"createTime": "2026-11-01T00:00:00.5Z", "payload": {"data": self.versions[-1]}})


class Answer:
    def __init__(self, status: int, body: Any) -> None:
        self.status_code, self._body = status, body

    def json(self) -> Any:
        return self._body


def test_googles_store_is_read_and_written_the_same_way():
    store = SecretManager(Google(), {"token": "projects/p/secrets/s"})
    assert store.changed("token") is None
    with pytest.raises(EmptyError):
        store.read("token")
    store.write("token", {"token": "one"})
    assert store.read("token") == {"token": "one"}
    assert str(store.changed("token")) == "2026-11-01 00:00:00.500000+00:00"
