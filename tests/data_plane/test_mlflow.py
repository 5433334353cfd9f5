"""The real MLflow on the pods that the program emits, with a real PostgreSQL and an S3 endpoint."""

from __future__ import annotations

import json
import subprocess
import textwrap
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pulumi
import pytest
import requests
from moto.server import ThreadedMotoServer

from components.platform.databases import Databases, DatabasesArgs
from components.platform.experiments import CLIENT_SECRET, Experiments, ExperimentsArgs
from tests.data_plane.environments import environment
from tests.data_plane.pods import Pod, synced
from tests.data_plane.ports import free_port
from tests.data_plane.postgres import Postgres
from tests.unit.conftest import Recorder, recording
from tests.unit.platform_site import options, site

pytestmark = pytest.mark.data_plane

STORE = {
    "test/database-admin": {"username": "", "password": ""},  # the server's own, below
    "test/mlflow-database": {"username": "mlflow", "password": "Mlflow0123456789"},
    "test/mlflow-admin": {"username": "admin", "password": "Admin0123456789012345"},
    "test/mlflow-flask": {"secretKey": "Flask0123456789"},
    "test/mlflow-jobs": {"username": "jobs", "password": "Jobs01234567890123456"},
}
INSIDE = "mlflow.mlops-system.svc.cluster.local:5000"
DEFAULT_EXPERIMENT = "/api/2.0/mlflow/experiments/get?experiment_id=0"
_PATIENCE_SECONDS = 300


@dataclass(frozen=True)
class Mlflow:
    """A running server.

    Attributes:
        url: Where it is here.
        metrics: Where its metrics are here.
        pods: Pods of the objects that were emitted, by the name of the Pulumi resource.
        client: Environment of a client, as its Secret has it, and where things are here.
        python: Interpreter that has MLflow.
    """

    url: str
    metrics: str
    pods: Mapping[str, Pod]
    client: Mapping[str, str]
    python: Path

    def ask(
        self, path: str, *, host: str = INSIDE, login: str = "", method: str = "GET", **more: Any
    ) -> requests.Response:
        """One request under a name, as ``login`` of :data:`STORE`."""
        entry = STORE.get(f"test/mlflow-{login}")
        return requests.request(
            method,
            f"{self.url}{path}",
            headers={"Host": host, **more.pop("headers", {})},
            auth=(entry["username"], entry["password"]) if entry else None,
            timeout=60,
            **more,
        )

    def program(self, source: str, folder: Path, **more: str) -> dict[str, Any]:
        """Run a client's program; it prints JSON."""
        done = subprocess.run(
            [str(self.python), "-W", "ignore", "-c", textwrap.dedent(source)],
            env={**self.client, **more},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def mlflow(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    """Database, tables, server and accounts, in the order in which the program has them."""
    programs = environment("mlflow") / "bin"
    folder = tmp_path_factory.mktemp("mlflow")
    with ExitStack() as stack:
        bucket = stack.enter_context(object_store())
        resources = emitted(stack.enter_context(recording()), postgres.port)
        http, metrics = free_port(), free_port()
        pods = pods_of(resources, postgres, folder, programs, {INSIDE: f"127.0.0.1:{http}"}, bucket)
        for name, container in (("experiments-database", "database"), ("experiments-migrations", "migrations")):
            done = pods[name].run(container)
            assert done.returncode == 0, done.stderr
        server = pods["experiments-server"]
        processes = [
            server.start("mlflow", {"5000": str(http)}, folder / "server.log"),
            server.start("metrics", {"9090": str(metrics)}, folder / "metrics.log"),
        ]
        stack.callback(stop, processes)
        url = f"http://127.0.0.1:{http}"
        answered(url, processes[0], folder / "server.log")
        done = pods["experiments-accounts"].run("accounts")
        assert done.returncode == 0, done.stderr
        assert "account jobs: made" in done.stdout
        client = {
            **server.secrets["mlops-training", CLIENT_SECRET],
            **server.environment,
            "PATH": str(programs),
            "PYTHONPATH": str(server.folder),
            "RESOLVE": f"{INSIDE}=127.0.0.1:{http}",
        }
        yield Mlflow(url, f"http://127.0.0.1:{metrics}", pods, client, programs / "python")


def emitted(recorder: Recorder, port: int) -> Recorder:
    """What the program declares where the database's server listens on ``port``."""

    def program() -> None:
        place = site()
        database = replace(place.foundation.database, port=pulumi.Output.from_input(port))
        place = replace(place, foundation=replace(place.foundation, database=database))
        opts = options(place)
        shared = Databases("databases", DatabasesArgs(site=place, secrets_ready=()), opts)
        Experiments(
            "experiments",
            ExperimentsArgs(site=place, secrets_ready=(), databases_ready=shared.ready, edge_ready=()),
            opts,
        )

    recorder.run(program)
    return recorder


def pods_of(
    recorder: Recorder,
    postgres: Postgres,
    folder: Path,
    programs: Path,
    resolve: Mapping[str, str],
    bucket: Mapping[str, str],
) -> dict[str, Pod]:
    admin = dict(zip(("username", "password"), postgres.admin, strict=True))
    secrets = synced(recorder.resources, {**STORE, "test/database-admin": admin}, postgres.authority.read_text())
    configuration = {
        one.inputs["metadata"]["name"]: one.inputs["data"]
        for one in recorder.of("kubernetes:core/v1:ConfigMap").values()
    }
    found: dict[str, Pod] = {}
    for one in recorder.resources:
        if one.type in ("kubernetes:batch/v1:Job", "kubernetes:apps/v1:Deployment"):
            place = folder / one.name
            place.mkdir()
            found[one.name] = Pod(
                spec=one.inputs["spec"]["template"]["spec"],
                namespace=one.inputs["metadata"]["namespace"],
                secrets=secrets,
                configuration=configuration,
                folder=place,
                programs=[programs, postgres.binaries],
                resolve=resolve,
                environment={**postgres.environment, **bucket},
            )
    return found


@contextmanager
def object_store() -> Iterator[dict[str, str]]:
    """An S3 endpoint with the bucket of the emitted address; what leads clients to it."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    found = {
        "MLFLOW_S3_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        objects(found).create_bucket(Bucket="mlflow")
        yield found
    finally:
        server.stop()


def objects(environment: Mapping[str, str]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=environment["MLFLOW_S3_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def answered(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"MLflow does not start: {log.read_text()}"
        try:
            if requests.get(f"{url}/health", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.5)
    raise AssertionError(f"MLflow does not answer: {log.read_text()}")


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(timeout=60)


RUN = """
    import json, pathlib, mlflow
    from mlflow import MlflowClient
    mlflow.set_experiment("fine-tuning")
    with mlflow.start_run() as run:
        mlflow.log_metric("loss", 0.25)
        pathlib.Path("adapter.bin").write_bytes(b"weights")
        mlflow.log_artifact("adapter.bin", "model")
    client = MlflowClient()
    client.create_registered_model("llama")
    moved = []
    for _ in range(2):
        version = client.create_model_version("llama", f"{run.info.artifact_uri}/model", run.info.run_id).version
        client.set_registered_model_alias("llama", "champion", version)
        moved.append(client.get_model_version_by_alias("llama", "champion").version)
    back = pathlib.Path(mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/model/adapter.bin")).read_text()
    print(json.dumps({"run": run.info.run_id, "uri": run.info.artifact_uri, "moved": moved, "back": back}))
"""


def test_a_job_logs_a_run_with_artifacts_registers_versions_and_moves_an_alias(mlflow: Mlflow, tmp_path: Path):
    said = mlflow.program(RUN, tmp_path)
    assert said["moved"] == ["1", "2"] or said["moved"] == [1, 2]
    assert said["back"] == "weights"
    assert said["uri"].startswith("s3://mlflow/artifacts/"), "below the prefix that clients are granted"
    key = f"{said['uri'].removeprefix('s3://mlflow/')}/model/adapter.bin"
    assert objects(mlflow.client).get_object(Bucket="mlflow", Key=key)["Body"].read() == b"weights"
    run = mlflow.ask(f"/api/2.0/mlflow/runs/get?run_id={said['run']}", login="admin").json()["run"]
    assert run["data"]["metrics"][0]["value"] == 0.25


@pytest.mark.parametrize(
    "host",
    [
        INSIDE,
        "mlflow.mlops-system.svc:5000",
        "mlflow.mlops-system:5000",
        "mlflow.llm.internal",
        "mlflow.llm.internal:443",
        "localhost:5000",
    ],
)
def test_it_answers_under_every_name_that_it_is_reached_by(host: str, mlflow: Mlflow):
    assert mlflow.ask(DEFAULT_EXPERIMENT, host=host, login="jobs").status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "mlflow.llm.internal.evil.example", "mlflow.mlops-system.svc.cluster.local", "10.0.0.7:5000", ""],
)
def test_it_refuses_every_other_name(host: str, mlflow: Mlflow):
    for path in ("/", DEFAULT_EXPERIMENT):
        assert mlflow.ask(path, host=host, login="jobs").status_code in (400, 403)


def test_probes_are_answered_by_the_address_of_the_pod(mlflow: Mlflow):
    assert mlflow.ask("/health", host="10.0.0.7:5000").status_code == 200


def test_nobody_gets_in_without_an_account(mlflow: Mlflow):
    for path in ("/", "/version", "/metrics", DEFAULT_EXPERIMENT):
        assert mlflow.ask(path).status_code == 401, path
    wrong = requests.get(f"{mlflow.url}/version", headers={"Host": INSIDE}, auth=("admin", "password1234"), timeout=60)
    assert wrong.status_code == 401


def test_its_own_pages_may_change_things_and_those_of_others_may_not(mlflow: Mlflow):
    def created(origin: str) -> int:
        return mlflow.ask(
            "/ajax-api/2.0/mlflow/experiments/create",
            host="mlflow.llm.internal",
            method="POST",
            login="jobs",
            headers={"Origin": origin},
            json={"name": f"from {origin}"},
        ).status_code

    assert created("https://mlflow.llm.internal") == 200
    assert created("https://evil.example") == 403


def test_an_account_reads_what_others_made_and_does_not_change_it(mlflow: Mlflow):
    made = mlflow.ask(
        "/api/2.0/mlflow/experiments/create", method="POST", login="admin", json={"name": "of the administrator"}
    ).json()["experiment_id"]
    assert mlflow.ask(f"/api/2.0/mlflow/experiments/get?experiment_id={made}", login="jobs").status_code == 200
    gone = mlflow.ask("/api/2.0/mlflow/experiments/delete", method="POST", login="jobs", json={"experiment_id": made})
    assert gone.status_code == 403


def test_metrics_need_no_account_and_count_requests(mlflow: Mlflow):
    mlflow.ask("/version", login="jobs")
    metrics = requests.get(f"{mlflow.metrics}/metrics", timeout=30).text
    assert "mlflow_http_request_total" in metrics
    assert 'status="200"' in metrics


def test_jobs_can_be_run_again_and_a_new_password_takes_effect(mlflow: Mlflow):
    again = mlflow.pods["experiments-migrations"].run("migrations")
    assert again.returncode == 0, again.stderr
    pod = mlflow.pods["experiments-accounts"]
    assert "account jobs: is there" in pod.run("accounts").stdout

    new = {"username": "jobs", "password": "Another-password-0123"}
    folder = pod.folder / "new"
    folder.mkdir()
    changed = replace(pod, secrets={**pod.secrets, ("mlops-system", "mlflow-jobs"): new}, folder=folder)
    assert "account jobs: has a new password" in changed.run("accounts").stdout
    assert mlflow.ask("/version", login="jobs").status_code == 401
    folder = pod.folder / "back"
    folder.mkdir()
    assert "has a new password" in replace(pod, folder=folder).run("accounts").stdout
    assert mlflow.ask("/version", login="jobs").status_code == 200


def test_a_wrong_administrator_is_told_in_words(mlflow: Mlflow):
    pod = mlflow.pods["experiments-accounts"]
    folder = pod.folder / "wrong"
    folder.mkdir()
    secrets = {
        **pod.secrets,
        ("mlops-system", "mlflow-server"): {"username": "admin", "password": "not-the-password", "secretKey": ""},
        ("mlops-system", "mlflow-jobs"): {"username": "other", "password": "Other-password-0123"},
    }
    done = replace(pod, secrets=secrets, folder=folder).run("accounts")
    assert done.returncode != 0
    assert "the administrator's password in the secret store is not MLflow's" in done.stderr


def test_connections_to_the_database_stay_below_what_its_user_may_have(mlflow: Mlflow, postgres: Postgres):
    limit = int(postgres.query("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'mlflow'"))
    used = int(postgres.query("SELECT count(*) FROM pg_stat_activity WHERE usename = 'mlflow'"))
    assert 0 < used <= limit
