"""The registry's drill as the program emits it: a real MLflow's database, dumped and restored beside itself."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote

import pulumi
import pytest
import requests

from components.platform.databases import Databases, DatabasesArgs
from components.platform.drill_names import DATABASE
from components.platform.drills import Drills, DrillsArgs
from sandbox.paths import PROJECT
from tests.data_plane.drill_models import classic, disagreements, registered
from tests.data_plane.drill_records import Records, measured, of_init, records
from tests.data_plane.environments import environment
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
PODS = PROJECT / "components" / "platform" / "pods"


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
    # A prompt, as MLflow's client registers one: beside the models, and left out of searches for them.
    prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    text = {"key": "mlflow.prompt.text", "value": "Hello {{ name }}"}
    ask("registered-models/create", name="greeting", tags=prompt)
    ask("model-versions/create", name="greeting", source="prompt-template", tags=[*prompt, text])
    ask("registered-models/alias", name="greeting", alias="production", version="1")
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
        chat: Where the model is that is loaded.
    """

    pod: Pod
    rights: Pod
    records: Records
    postgres: Postgres
    uri: str
    chat: str

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
        restored(pod)
        return pod.run("compare")

    @contextmanager
    def changed(self, path: str, how: Callable[[bytes], bytes | None]) -> Iterator[None]:
        """A file of the model that is loaded is another, or none, for a while."""
        store = objects(self.pod.environment)
        place = {"Bucket": "mlflow", "Key": f"{self.chat.removeprefix('s3://mlflow/')}/{path}"}
        whole = store.get_object(**place)["Body"].read()
        content = how(whole)
        if content is None:
            store.delete_object(**place)
        else:
            store.put_object(**place, Body=content)
        try:
            yield
        finally:
            store.put_object(**place, Body=whole)

    def left(self) -> str:
        """Tables in the scratch database."""
        return self.postgres.query("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database=DATABASE)


def restored(pod: Pod) -> None:
    """Run what comes before the comparison."""
    for container in ("claim", "restore"):
        done = of_init(pod).run(container)
        assert done.returncode == 0, done.stderr


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
    store = objects(server.environment)
    # As the platform's buckets: what is deleted is there yet, as a version, and is not taken for the file.
    store.put_bucket_versioning(Bucket="mlflow", VersioningConfiguration={"Status": "Enabled"})
    uri = filled(mlflow, store)
    chat = registered(mlflow, folder / "chat")
    classic(mlflow, folder)
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
        yield Drilled(pod("drill", template), rights, kept, postgres, uri, chat)


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
    assert "18 tensors, 131072 parameters in 2 files" in checks["chat version 1 loads"]
    assert "components/tokenizer/tokenizer.json: 512 tokens" in checks["chat version 1 loads"]
    loaded = record["loaded"]
    assert (loaded["depth"], loaded["flavors"]) == ("read", ["python_function", "transformers"])
    assert loaded["readBytes"] == loaded["bytes"] > 2 * 131072
    assert {"dump", "restore", "open", "compare", "load-model", "clean-up"} == set(record["steps"])
    assert record["amounts"]["rows"] > 20 < record["amounts"]["tables"]
    assert record["amounts"]["bytes"] > record["amounts"]["dumpBytes"] > 0
    measured(record)
    assert drilled.left() == "0"
    assert "registry.claim" not in drilled.records.data
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


SHARD = "model/model-00002-of-00002.safetensors"
BROKEN: dict[str, tuple[str, Callable[[bytes], bytes | None], str]] = {
    "weights cut off": (SHARD, lambda whole: whole[:-2], f"{SHARD}: its tensors have"),
    "weights gone": (SHARD, lambda _: None, f"{SHARD}: model/model.safetensors.index.json puts"),
    "a tensor gone": (
        "model/model.safetensors.index.json",
        lambda whole: whole.replace(b"layers.3.self_attn.v_proj", b"layers.4.self_attn.v_proj"),
        f"{SHARD}: model/model.safetensors.index.json puts tensor model.layers.4.self_attn.v_proj.weight into it",
    ),
    "a configuration": ("model/config.json", lambda whole: whole[:-1], "model/config.json: it does not parse"),
    "a tokenizer": (
        "components/tokenizer/tokenizer.json",
        lambda _: b"\0",
        "components/tokenizer/tokenizer.json: it does not parse",
    ),
    "MLflow's description": ("MLmodel", lambda whole: whole[:40] + b"\n- [", "MLmodel: "),
    "an environment": ("conda.yaml", lambda _: None, "conda.yaml: MLmodel names it for the flavor python_function"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_model_that_does_not_load_fails_the_drill_and_the_file_is_named(what: str, drilled: Drilled, tmp_path: Path):
    path, how, said = BROKEN[what]

    with drilled.changed(path, how):
        done = drilled.run(tmp_path, MODELS="0")

    assert done.returncode == 1
    failed = drilled.records.failed("registry")
    assert set(failed) == {"chat version 1 loads"}
    assert said in failed["chat version 1 loads"]
    assert drilled.left() == "0"


def test_of_a_model_beyond_the_limit_headers_alone_are_read_and_that_is_recorded(drilled: Drilled, tmp_path: Path):
    done = drilled.run(tmp_path, LOAD_BYTES="1000")

    assert done.returncode == 0, drilled.records.failed("registry")
    loaded = drilled.records.last("registry")["loaded"]
    assert (loaded["model"], loaded["depth"]) == ("chat", "headers")
    assert loaded["readBytes"] < loaded["bytes"] / 2


def test_where_no_version_has_the_alias_the_newest_is_loaded_as_far_as_mlflow_describes_it(
    drilled: Drilled, tmp_path: Path
):
    done = drilled.run(tmp_path, LOAD_ALIAS="nobodys")

    assert done.returncode == 0, drilled.records.failed("registry")
    record = drilled.records.last("registry")
    assert (record["loaded"]["model"], record["loaded"]["depth"]) == ("classic", "metadata")
    assert "sklearn" in record["loaded"]["flavors"]
    (detail,) = [one["detail"] for one in record["checks"] if one["name"] == "classic version 1 loads"]
    assert "no model of Transformers" in detail


def test_an_alias_of_a_version_that_is_gone_does_not_pass(drilled: Drilled, postgres: Postgres, tmp_path: Path):
    """The living registry has lost it too: both are the same, and neither can be served from."""
    entry = STORE["test/mlflow-database"]
    login = {"user": entry["username"], "password": entry["password"], "database": "mlflow"}
    where = "name = 'chat' AND alias = 'production'"
    postgres.query(f"UPDATE registered_model_aliases SET version = 9 WHERE {where}", **login)
    try:
        done = drilled.run(tmp_path, MODELS="0")
    finally:
        postgres.query(f"UPDATE registered_model_aliases SET version = 1 WHERE {where}", **login)

    assert done.returncode == 1
    failed = drilled.records.failed("registry")
    assert set(failed) == {"every alias names a version"}
    assert "chat@production names version 9" in failed["every alias names a version"]


def test_a_drill_beside_another_one_touches_nothing(drilled: Drilled, tmp_path: Path):
    pod = replace(drilled.pod, folder=tmp_path)
    restored(pod)
    drilled.records.put({"registry.claim": '{"pod": "registry-drill-29411010-x7kd2", "until": 9e9}'})
    was = dict(drilled.records.data)
    try:
        refused = of_init(replace(drilled.pod, folder=tmp_path)).run("claim")
        assert refused.returncode == 1
        assert "pod registry-drill-29411010-x7kd2 rehearses the registry" in refused.stderr
        assert pod.run("compare").returncode == 1, "another one has taken its place"
        assert drilled.left() != "0"
        assert drilled.records.data == was
    finally:
        drilled.records.put({"registry.claim": None})
        cleaned = replace(pod, environment={**pod.environment, "ONLY_CLEAN": "true"})
        assert of_init(pod).run("claim").returncode == 0
        assert cleaned.run("compare").returncode == 0
    assert drilled.left() == "0"


def test_weights_are_opened_where_the_library_opens_them_and_refused_where_it_refuses(drilled: Drilled, tmp_path: Path):
    store = objects(drilled.pod.environment)
    key = f"{drilled.chat.removeprefix('s3://mlflow/')}/{SHARD}"
    whole = store.get_object(Bucket="mlflow", Key=key)["Body"].read()
    length = int.from_bytes(whole[:8], "little")
    begin = 8 + length
    cases = {
        "whole": whole,
        "cut": whole[:-1],
        "longer": whole + b"0",
        "header-cut": whole[: begin - 5],
        "nothing": b"",
        "eight-bytes": whole[:8],
        "length": (1 << 40).to_bytes(8, "little") + whole[8:],
        "no-json": whole[:8] + b"[" + whole[9:],
        "other-type": whole.replace(b'"F16"', b'"F64"', 1),
        "other-shape": whole.replace(b"[64,64]", b"[64,65]", 1),
        "twice": whole.replace(b"layers.1.self_attn.q", b"layers.2.self_attn.q", 1),
        "bf16": whole[:begin].replace(b'"F16"', b'"I16"') + whole[begin:],
    }
    for name, content in cases.items():
        (tmp_path / f"{name}.safetensors").write_bytes(content)

    assert disagreements(tmp_path, PODS) == []


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
    restored(replace(drilled.pod, folder=tmp_path))
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
    again = replace(server, folder=place, environment=environment)
    process = again.start("mlflow", {"5000": str(port), "basic-auth": "basic-auth"}, log)
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
            other = requests.get(
                f"{url}/api/2.0/mlflow/{path}",
                headers={"Host": INSIDE},
                auth=(account["username"], account["password"]),
                timeout=60,
            )
            assert living.status_code == other.status_code == 200, other.text
            assert other.json() == living.json(), path
    finally:
        stop([process])
        cleaned = replace(drilled.pod, folder=tmp_path, environment={**drilled.pod.environment, "ONLY_CLEAN": "true"})
        assert cleaned.run("compare").returncode == 0
    assert drilled.left() == "0"


READ_FROM_GOOGLE = """
import sys
sys.path.insert(0, sys.argv[1])
import drill_objects

size = int(sys.argv[2])
drill_objects.PIECE_BYTES = 100
found = drill_objects.Folder("gs://mlflow/a", {"b c/d.bin": size}, drill_objects._fetch("gs://mlflow/a"))
sys.stdout.buffer.write(b"".join(found.pieces("b c/d.bin")))
"""


def test_files_in_googles_store_are_read_piece_by_piece_by_its_own_client(tmp_path: Path):
    content, asked = bytes(range(256)), list[str]()

    class Store(BaseHTTPRequestHandler):
        """The one request of its interface that reads a part of an object."""

        def do_GET(self) -> None:
            if unquote(self.path).partition("?")[0] != "/download/storage/v1/b/mlflow/o/a/b c/d.bin":
                self.send_error(404)
                return
            asked.append(self.headers["Range"])
            first, last = map(int, asked[-1].removeprefix("bytes=").split("-"))
            part = content[first : last + 1]
            self.send_response(206)
            self.send_header("Content-Length", str(len(part)))
            self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(content)}")
            self.end_headers()
            self.wfile.write(part)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        done = subprocess.run(
            [environment("vertex") / "bin" / "python", "-W", "ignore", "-c", READ_FROM_GOOGLE, PODS, str(len(content))],
            env={"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{server.server_port}", "HOME": str(tmp_path)},
            capture_output=True,
            timeout=120,
            check=False,
        )
    finally:
        server.shutdown()
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == content
    assert asked == ["bytes=0-99", "bytes=100-199", "bytes=200-255"]
