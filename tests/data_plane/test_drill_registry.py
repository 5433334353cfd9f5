"""The registry's drill as the program emits it: a real MLflow's database, dumped and restored beside itself."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pulumi
import pytest
import requests

from components.platform.databases import Databases, DatabasesArgs
from components.platform.drill_names import DATABASE
from components.platform.drills import Drills, DrillsArgs
from tests.data_plane.drill_records import Records, of_init, records
from tests.data_plane.pods import Pod, synced
from tests.data_plane.ports import free_port
from tests.data_plane.postgres import Postgres
from tests.data_plane.test_mlflow import INSIDE, STORE, Mlflow, answered, objects, stop
from tests.data_plane.test_mlflow import mlflow as mlflow  # noqa: PLC0414 a fixture, for this module too
from tests.unit.conftest import recording
from tests.unit.platform_site import options, site

pytestmark = pytest.mark.data_plane

ENTRIES = {**STORE, "test/registry-drill-database": {"username": DATABASE, "password": "Drill0123456789"}}
WEIGHTS = b"weights" * 1000


def filled(mlflow: Mlflow, store: Any) -> str:
    """Runs, models with versions, aliases, tags and files; returns where those of the last model are.

    By the API itself: another process with MLflow's client in it takes longer than all of this.
    """

    def ask(path: str, **body: Any) -> dict[str, Any]:
        answer = mlflow.ask(f"/api/2.0/mlflow/{path}", method="POST", login="jobs", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    experiment, uri = ask("experiments/create", name="drilled")["experiment_id"], ""
    for number in range(2):
        info = ask("runs/create", experiment_id=experiment, start_time=1)["run"]["info"]
        uri = f"{info['artifact_uri']}/model"
        ask(
            "runs/log-batch",
            run_id=info["run_id"],
            metrics=[{"key": "loss", "value": 0.1 + number / 3, "timestamp": 5, "step": 0}],
            params=[{"key": "text", "value": "with 'quotes', tabs\tand é"}],
        )
        store.put_object(Bucket="mlflow", Key=f"{uri.removeprefix('s3://mlflow/')}/adapter.bin", Body=WEIGHTS)
        name = f"drilled-{number}"
        ask("registered-models/create", name=name, tags=[{"key": "team", "value": "research"}], description="of a test")
        for _ in range(2):
            ask("model-versions/create", name=name, source=uri, run_id=info["run_id"])
        ask("registered-models/alias", name=name, alias="production", version="1")
        ask("model-versions/set-tag", name=name, version="1", key="verdict", value="passed")
    ask("model-versions/create", name="drilled-0", source="s3://mlflow/gone")
    gone = {"name": "drilled-0", "version": "3"}
    done = mlflow.ask("/api/2.0/mlflow/model-versions/delete", method="DELETE", login="jobs", json=gone)
    assert done.status_code == 200, done.text
    return uri


@dataclass(frozen=True)
class Drilled:
    """Everything that a drill needs.

    Attributes:
        pod: The drill's.
        rights: The job that lets it read.
        records: What it wrote.
        postgres: The server.
        uri: Where files of `drilled-1` are.
    """

    pod: Pod
    rights: Pod
    records: Records
    postgres: Postgres
    uri: str

    def run(self, folder: Path, *, spoiling: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a drill in a pod of its own.

        Args:
            folder: Where its volumes are.
            spoiling: What happens to the restored database before anything is compared.
            environment: What its containers are told otherwise.
        """
        programs = list(self.pod.programs)
        if spoiling:
            programs = [spoiled(folder / "programs", self.postgres.binaries, spoiling), *programs]
        pod = replace(self.pod, folder=folder, programs=programs, environment={**self.pod.environment, **environment})
        before = of_init(pod).run("restore")
        assert before.returncode == 0, before.stderr
        return pod.run("compare")

    def left(self) -> str:
        """Tables in the scratch database."""
        return self.postgres.query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database=DATABASE)


def spoiled(folder: Path, binaries: Path, sql: str) -> Path:
    """A folder with a ``pg_restore`` that loses something."""
    folder.mkdir(parents=True)
    program = folder / "pg_restore"
    program.write_text(f'#!/bin/sh\n"{binaries}/pg_restore" "$@" || exit 1\n"{binaries}/psql" -Xqc "{sql}"\n')
    program.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def drilled(mlflow: Mlflow, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drilled]:
    folder = tmp_path_factory.mktemp("drill")
    server = mlflow.pods["experiments-server"]
    uri = filled(mlflow, objects(server.environment))
    with ExitStack() as stack:
        recorder = stack.enter_context(recording())

        def program() -> None:
            place = site()
            database = replace(place.foundation.database, port=pulumi.Output.from_input(postgres.port))
            place = replace(place, foundation=replace(place.foundation, database=database))
            shared = Databases("databases", DatabasesArgs(site=place, secrets_ready=()), options(place))
            args = DrillsArgs(site=place, databases_ready=shared.ready, experiments_ready=(), vectors_ready=())
            Drills("drills", args, options(place))

        recorder.run(program)
        kept = stack.enter_context(records(folder / "records"))
        admin = dict(zip(("username", "password"), postgres.admin, strict=True))
        entries = {**ENTRIES, "test/database-admin": admin}
        secrets = {**server.secrets, **synced(recorder.resources, entries, postgres.authority.read_text())}
        configuration = {
            one.inputs["metadata"]["name"]: one.inputs["data"]
            for one in recorder.of("kubernetes:core/v1:ConfigMap").values()
            if "drills-registry" in one.name
        }

        def pod(name: str, spec: dict[str, Any]) -> Pod:
            (folder / name).mkdir()
            return replace(
                server,
                spec=spec,
                folder=folder / name,
                secrets=secrets,
                configuration=configuration,
                environment={**server.environment, **kept.environment},
            )

        jobs = recorder.of("kubernetes:batch/v1:Job")
        for name, container in (("drills-database", "database"), ("drills-rights", "rights")):
            done = pod(name, jobs[name].inputs["spec"]["template"]["spec"]).run(container)
            assert done.returncode == 0, done.stderr
        spec = recorder.of("kubernetes:batch/v1:CronJob")["drills-registry"].inputs
        template = spec["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        rights = pod("rights", jobs["drills-rights"].inputs["spec"]["template"]["spec"])
        yield Drilled(pod("drill", template), rights, kept, postgres, uri)


def test_a_drill_passes_leaves_nothing_and_is_told_to_mlflow(drilled: Drilled, mlflow: Mlflow, tmp_path: Path):
    done = drilled.run(tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "MLflow was not told" not in done.stderr
    record = drilled.records.last("registry")
    assert record["passed"], record["checks"]
    assert record["recoveryTimeSeconds"] > 0
    checks = {one["name"]: one["detail"] for one in record["checks"]}
    assert int(checks["registered models are identical"]) >= 2
    assert "files of drilled-0 version 1" in checks
    assert drilled.left() == "0"
    found = mlflow.ask("/api/2.0/mlflow/experiments/get-by-name?experiment_name=recovery-drills", login="admin").json()
    body = {"experiment_ids": [found["experiment"]["experiment_id"]]}
    (run,) = mlflow.ask("/api/2.0/mlflow/runs/search", method="POST", login="admin", json=body).json()["runs"]
    assert run["info"]["status"] == "FINISHED"
    assert {one["key"]: one["value"] for one in run["data"]["metrics"]}["passed"] == 1


LOSSES = {
    "an alias": ("DELETE FROM registered_model_aliases WHERE name = 'drilled-1'", "registered aliases are identical"),
    "a version's files": (
        "UPDATE model_versions SET source = 's3://mlflow/elsewhere', storage_location = 's3://mlflow/elsewhere'",
        "registered versions are identical",
    ),
    "a value of one metric": (
        "UPDATE metrics SET value = value + 1e-9 WHERE key = 'loss' AND value < 0.2",
        "rows and their hashes are identical",
    ),
    "a table": ("DROP TABLE tags CASCADE", "rows and their hashes are identical"),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_restore_that_lost_something_does_not_pass(loss: str, drilled: Drilled, tmp_path: Path):
    sql, check = LOSSES[loss]

    done = drilled.run(tmp_path, spoiling=sql)

    assert done.returncode == 1
    assert check in drilled.records.failed("registry"), done.stdout + done.stderr
    assert drilled.left() == "0", "it cleans up all the same"


def test_files_of_a_model_that_changed_since_the_last_drill_do_not_pass(drilled: Drilled, tmp_path: Path):
    """The files of a version never change: who changed them changed what is served under a known name."""
    for step in ("first", "second"):
        (tmp_path / step).mkdir()
    assert drilled.run(tmp_path / "first").returncode == 0
    key = f"{drilled.uri.removeprefix('s3://mlflow/')}/adapter.bin"
    store = objects(drilled.pod.environment)
    store.put_object(Bucket="mlflow", Key=key, Body=WEIGHTS.replace(b"w", b"W"))
    try:
        done = drilled.run(tmp_path / "second")
    finally:
        store.put_object(Bucket="mlflow", Key=key, Body=WEIGHTS)

    assert done.returncode == 1
    assert set(drilled.records.failed("registry")) == {"files of drilled-1 version 1"}


def test_a_dump_that_fails_is_told_in_words(drilled: Drilled, tmp_path: Path):
    done = drilled.run(tmp_path, SOURCE="nothing")

    assert done.returncode == 1
    (detail,) = drilled.records.failed("registry").values()
    assert "nothing" in detail


def test_the_drills_user_reads_the_registry_and_changes_nothing_of_it(drilled: Drilled, postgres: Postgres):
    login = {"user": DATABASE, "password": ENTRIES["test/registry-drill-database"]["password"], "database": "mlflow"}
    assert int(postgres.query("SELECT count(*) FROM registered_models", **login)) >= 2
    for change in ("DELETE FROM registered_models", "CREATE TABLE public.mine (id int)", "DROP TABLE runs"):
        with pytest.raises(subprocess.CalledProcessError) as refused:
            postgres.query(change, **login)
        assert "permission denied" in refused.value.stderr or "must be owner" in refused.value.stderr
    assert drilled.rights.run("rights").returncode == 0, "it can be run again"


def test_a_server_on_the_restored_registry_answers_as_the_living_one(drilled: Drilled, mlflow: Mlflow, tmp_path: Path):
    """Two real servers asked the same: what clients see of the registry, and not only what its tables hold."""
    before = of_init(replace(drilled.pod, folder=tmp_path)).run("restore")
    assert before.returncode == 0, before.stderr
    port, log = free_port(), tmp_path / "server.log"
    server = mlflow.pods["experiments-server"]
    login = ENTRIES["test/registry-drill-database"]
    environment = {
        **server.environment,
        "PGUSER": login["username"],
        "PGPASSWORD": login["password"],
        "PGSSLROOTCERT": str(drilled.postgres.authority),
        "MLFLOW_BACKEND_STORE_URI": f"postgresql://database.test:{drilled.postgres.port}/{DATABASE}",
    }
    place = tmp_path / "restored"
    place.mkdir()
    restored = replace(server, folder=place, environment=environment)
    process = restored.start("mlflow", {"5000": str(port), "basic-auth": "basic-auth"}, log)
    try:
        url = f"http://127.0.0.1:{port}"
        answered(url, process, log)
        account = STORE["test/mlflow-admin"]
        for path in (
            "registered-models/search?max_results=100",
            "model-versions/search?max_results=100",
            "registered-models/alias?name=drilled-0&alias=production",
            "registered-models/get?name=drilled-1",
        ):
            living = mlflow.ask(f"/api/2.0/mlflow/{path}", login="admin")
            again = requests.get(
                f"{url}/api/2.0/mlflow/{path}",
                headers={"Host": INSIDE},
                auth=(account["username"], account["password"]),
                timeout=60,
            )
            assert living.status_code == again.status_code == 200, again.text
            assert again.json() == living.json(), path
    finally:
        stop([process])
        cleaned = replace(drilled.pod, folder=tmp_path, environment={**drilled.pod.environment, "ONLY_CLEAN": "true"})
        assert cleaned.run("compare").returncode == 0
    assert drilled.left() == "0"
