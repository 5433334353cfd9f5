"""``ops restore locations`` on a real PostgreSQL: what named the lost region's buckets names the new stack's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from ops.refusals import RefusedError
from ops.restore import locations
from ops.restore.cli import app
from ops.restore.locations import moves, naming, rewrite
from ops.stack import Stack
from tests.data_plane.environments import environment
from tests.data_plane.postgres import Postgres, running, system_has_one

pytestmark = pytest.mark.data_plane

OLD, NEW = "s3://llmops-prod-mlflow-123456789012-us-east-1", "s3://llmops-prod-west-mlflow-123456789012-us-west-2"
DATA, OTHER = "s3://llmops-prod-data-123456789012-us-east-1", "s3://somebody-elses"
STACKS = {
    "prod": {"mlflow": OLD, "data": DATA, "logs": "s3://llmops-prod-logs-123456789012-us-east-1"},
    "prod-west": {"mlflow": NEW, "data": "s3://llmops-prod-west-data-123456789012-us-west-2"},
}
# As MLflow's own tables, with what is awkward: an odd name, a document, a generated column, a narrow one.
TABLES = f"""
create table experiments (id int, artifact_location varchar(256));
create table runs (id int primary key, artifact_uri varchar(200), note text generated always as (artifact_uri) stored);
create schema "Odd"; create table "Odd"."a ""b" (id int, "the source" text, document jsonb);
create table params (id int, value text);
insert into experiments values (1, '{OLD}/1'), (2, '{OTHER}/2'), (3, null);
insert into runs select n, '{OLD}/1/' || n || '/artifacts' from generate_series(1, 500) n;
insert into "Odd"."a ""b" values (1, '{DATA}/x y''z', '{{"from": ["{OLD}/1/7", "{OTHER}"], "n": 1}}');
insert into params values (1, '0.5');
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    if not system_has_one():
        pytest.skip("no PostgreSQL is installed (Debian: postgresql)")
    with running("system") as started:
        yield started


@pytest.fixture
def url(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in {"PGPASSWORD": server.superuser, **server.environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PSQL", str(server.binaries / "psql"))
    stacks = {name: Stack(name, False, {"buckets": buckets}) for name, buckets in STACKS.items()}
    monkeypatch.setattr(locations.Stack, "read", staticmethod(lambda name, **_more: stacks[name]))
    server.query("drop database if exists mlflow")
    server.query("create database mlflow")
    server.query(TABLES, database="mlflow")
    return f"postgresql://postgres@database.test:{server.port}/mlflow?sslmode=require"


def run(url: str, *more: str) -> Any:
    asked = ["locations", "--stack", "prod-west", "--replica-of", "prod", "--database", url, "--json", *more]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def everything(server: Postgres) -> str:
    tables = ("experiments", "runs", '"Odd"."a ""b"', "params")
    return "\n".join(server.query(f"select * from {table} order by id", database="mlflow") for table in tables)


def test_without_yes_the_columns_are_told_and_nothing_is_written(server: Postgres, url: str):
    before = everything(server)
    told = run(url)
    rows = {(one["table"], one["column"]): one["rows"] for one in told["columns"]}
    assert rows == {
        ("public.experiments", "artifact_location"): 1,
        ("public.runs", "artifact_uri"): 500,
        ('Odd.a "b', "the source"): 1,
        ('Odd.a "b', "document"): 1,
    }
    assert (told["rewritten"], everything(server)) == (False, before)


def test_every_name_of_a_bucket_becomes_that_of_its_role_and_all_else_stays(server: Postgres, url: str):
    before = everything(server)
    assert run(url, "--yes")["rewritten"] is True
    expected = before.replace(OLD, NEW).replace(DATA, STACKS["prod-west"]["data"])
    assert everything(server) == expected != before
    assert run(url, "--yes")["columns"] == []


# A registry as MLflow itself writes it, and what MLflow then says of it: the versions of a program of its own.
REGISTRY = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1], registry_uri=sys.argv[1])
if sys.argv[2:]:
    run = client.create_run(client.create_experiment("e", artifact_location=f"{sys.argv[2]}/1"))
    client.set_tag(run.info.run_id, "note", "kept")
    client.create_registered_model("m")
    client.create_model_version("m", f"{run.info.artifact_uri}/model", run.info.run_id)
    client.set_registered_model_alias("m", "production", 1)
version = client.get_model_version_by_alias("m", "production")
run = client.get_run(version.run_id)
print(json.dumps([client.get_experiment(run.info.experiment_id).artifact_location, run.info.artifact_uri,
                  client.get_model_version_download_uri("m", version.version), version.source, run.data.tags["note"]]))
"""


def test_mlflow_itself_finds_its_models_in_the_new_bucket(server: Postgres, url: str):
    def registry(*old: str) -> list[str]:
        command = [str(environment("mlflow") / "bin" / "python"), "-W", "ignore", "-c", REGISTRY]
        done = subprocess.run(
            [*command, url.replace("/mlflow?", "/registry?"), *old], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    server.query("create database registry")
    before = registry(OLD)
    assert sum(text.startswith(OLD) for text in before) == 4
    assert run(url.replace("/mlflow?", "/registry?"), "--yes")["rewritten"] is True
    assert registry() == [text.replace(OLD, NEW) for text in before]


def test_where_one_row_does_not_fit_none_is_written(server: Postgres, url: str):
    server.query(f"insert into runs values (501, '{OLD}/' || repeat('x', {199 - len(OLD)}))", database="mlflow")
    before = everything(server)
    with pytest.raises(RefusedError, match="too long"):
        rewrite(url, naming(url, {OLD: NEW}))
    assert everything(server) == before


def test_what_is_no_bucket_never_reaches_the_database():
    with pytest.raises(RefusedError, match="cannot become"):
        moves({"data": "s3://a'; drop table runs; --"}, {"data": NEW})
    with pytest.raises(RefusedError, match="cannot become"):
        moves({"data": OLD}, {"data": OLD})
