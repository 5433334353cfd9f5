"""Rotation on real servers: what goes on, what is refused and from when on."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.contract import SecretRef
from components.kept import Kept
from components.onprem.cache import authentication
from ops.secrets import accounts
from ops.secrets.accounts import Account
from ops.stack import StackError
from tests.data_plane import test_databases
from tests.data_plane.ports import free_port
from tests.data_plane.postgres import HOST, Postgres
from tests.data_plane.redis_server import running
from tests.data_plane.test_databases import Run, fresh
from tests.data_plane.test_mlflow import STORE, Mlflow
from tests.data_plane.test_mlflow import mlflow as mlflow  # noqa: PLC0414 a fixture, with its server
from tests.unit.conftest import Recorder

pytestmark = pytest.mark.data_plane

run = test_databases.run  # the emitted job, in a pod of its own


@pytest.fixture
def server(postgres: Postgres) -> Postgres:
    fresh(postgres)
    return postgres


class Session:
    """A client of PostgreSQL that stays connected."""

    def __init__(self, server: Postgres, user: str, password: str) -> None:
        self._psql = subprocess.Popen(
            [str(server.binaries / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1"],
            env={
                "PATH": "/usr/bin:/bin",
                "PGHOST": HOST,
                "PGUSER": user,
                "PGPASSWORD": password,
                "PGDATABASE": user,
                "PGSSLMODE": "verify-full",
                "PGSSLROOTCERT": str(server.authority),
                **server.environment,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, sql: str) -> str:
        assert self._psql.stdin
        assert self._psql.stdout
        self._psql.stdin.write(sql + ";\n")
        self._psql.stdin.flush()
        return self._psql.stdout.readline().strip()

    def close(self) -> int:
        self._psql.communicate(timeout=30)
        return self._psql.returncode


def test_a_client_stays_connected_while_its_password_changes_and_needs_the_new_one_to_come_back(
    server: Postgres, run: Run
):
    """What the runbook promises: open connections go on; new ones with the old password are refused at once."""
    assert run().returncode == 0
    old, new = test_databases.PASSWORDS["mlflow"], "Second0123456789"
    session = Session(server, "mlflow", old)
    assert session.ask("CREATE TABLE kept (n int); INSERT INTO kept VALUES (1); SELECT n FROM kept") == "1"
    process = session.ask("SELECT pg_backend_pid()")

    assert run(password=new).returncode == 0

    assert session.ask("UPDATE kept SET n = 2; SELECT n FROM kept") == "2"
    assert session.ask("SELECT pg_backend_pid()") == process, "the same connection"
    with pytest.raises(subprocess.CalledProcessError) as refused:
        server.query("SELECT 1", user="mlflow", password=old, database="mlflow")
    assert "password authentication failed" in refused.value.stderr
    assert server.query("SELECT n FROM kept", user="mlflow", password=new, database="mlflow") == "2"
    assert session.close() == 0


def test_the_job_can_run_again_with_the_same_value(server: Postgres, run: Run):
    """A rotation that was interrupted is begun again."""
    for _ in range(2):
        assert run(password="Second0123456789").returncode == 0
    assert server.query("SELECT 1", user="mlflow", password="Second0123456789", database="mlflow") == "1"


def line(recorder: Recorder, current: str, before: str = "") -> str:
    """The program's line of the cache's settings."""
    found: list[str] = []

    def program() -> None:
        previous = {"token": pulumi.Output.from_input(before)} if before else {}
        kept = Kept(
            ref=SecretRef(key=pulumi.Output.from_input("cache-auth"), properties=("token",)),
            values={"token": pulumi.Output.from_input(current)},
            previous=previous,
        )
        pulumi.Output.concat(*authentication(kept)).apply(found.append)

    recorder.run(program)
    return found[0].strip()


def test_a_cache_lets_clients_in_with_either_token_until_the_rotation_is_finished(recorded: Recorder, tmp_path: Path):
    """The three states that the settings go through, each as the server's file would have it."""
    with running(tmp_path) as cache:
        first, second, valid = cache.password, "second" * 10, cache.password

        def applied(text: str) -> None:
            client = replace(cache, password=valid)
            verb, *words = text.split()
            # A restarted server begins without any user; `reset` is what that is for a running one.
            done = (
                client.command("CONFIG", "SET", verb, words[0])
                if verb == "requirepass"
                else client.command("ACL", "SETUSER", words[0], "reset", *words[1:])
            )
            assert done.endswith("+OK\r\n"), done

        def let_in(token: str) -> bool:
            return "PONG" in replace(cache, password=token).command("PING")

        applied(line(recorded, first))
        assert (let_in(first), let_in(second)) == (True, False)
        applied(line(recorded, second, first))
        assert (let_in(first), let_in(second), let_in("third")) == (True, True, False)
        assert "+OK" in replace(cache, password=first).command("SET", "k", "v"), "and may do all that it could"
        valid = second
        applied(line(recorded, second))
        assert (let_in(first), let_in(second)) == (False, True)


def test_a_cache_that_starts_with_two_tokens_takes_both(recorded: Recorder, tmp_path: Path):
    """Its file has the emitted line, as after the `up` of a rotation."""
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if not program:
        pytest.skip("no server of the Redis protocol is installed (Debian: redis-server)")
    port, file = free_port(), tmp_path / "cache.conf"
    settings = (f"port {port}", "bind 127.0.0.1", 'save ""', f"dir {tmp_path}", line(recorded, "second", "first"))
    file.write_text("\n".join(settings) + "\n")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([program, str(file)], stdout=log, stderr=subprocess.STDOUT)
    try:
        found = {token: signed_in(port, token) for token in ("first", "second", "third")}
    finally:
        process.terminate()
        process.wait(timeout=30)
    assert {token: answer.split()[0] for token, answer in found.items()} == {
        "first": "+OK",
        "second": "+OK",
        "third": "-WRONGPASS",
    }


def signed_in(port: int, token: str) -> str:
    """The answer to one sign-in, once the server listens."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(f"AUTH {token}\r\n".encode())
                return connection.recv(1024).decode()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "the cache does not start"
            time.sleep(0.1)


@pytest.fixture
def admin(mlflow: Mlflow) -> Iterator[Account]:
    """MLflow's administrator, whose password is put back."""
    known = STORE["test/mlflow-admin"]
    account = Account(url=mlflow.url, username=known["username"], password=known["password"])
    yield account
    second = replace(account, password="Second-password-0123")
    if accounts.mlflow_lets_in(second):
        accounts.mlflow(second, account.password)


def test_mlflows_administrator_changes_its_own_password(mlflow: Mlflow, admin: Account):
    assert accounts.mlflow_lets_in(admin)
    accounts.mlflow(admin, "Second-password-0123")
    second = replace(admin, password="Second-password-0123")
    assert (accounts.mlflow_lets_in(admin), accounts.mlflow_lets_in(second)) == (False, True)
    pod = mlflow.pods["experiments-accounts"]
    folder = pod.folder / "rotated"
    folder.mkdir()
    of_admin = {**pod.secrets["mlops-system", "mlflow-server"], "password": second.password}
    jobs = {"username": "jobs", "password": "Third-password-0123"}
    secrets = {**pod.secrets, ("mlops-system", "mlflow-server"): of_admin, ("mlops-system", "mlflow-jobs"): jobs}
    done = replace(pod, secrets=secrets, folder=folder).run("accounts")
    assert "account jobs: has a new password" in done.stdout, done.stderr
    assert accounts.mlflow_lets_in(Account(url=admin.url, username="jobs", password="Third-password-0123"))


class Pages(BaseHTTPRequestHandler):
    """Grafana's and Milvus' calls, as their documentation has them."""

    password = "first"

    def do_GET(self) -> None:
        self._answer(200 if self._basic() == f"admin:{Pages.password}" else 401, {})

    def do_PUT(self) -> None:
        body = self._body()
        ok = self.path == "/api/user/password" and self._basic() == f"admin:{body['oldPassword']}"
        if ok and body["oldPassword"] == Pages.password and body["newPassword"] == body["confirmNew"]:
            Pages.password = body["newPassword"]
            return self._answer(200, {"message": "User password changed"})
        return self._answer(401, {})

    def do_POST(self) -> None:
        body, bearer = self._body(), self.headers["authorization"].removeprefix("Bearer ")
        if bearer != f"root:{Pages.password}":
            return self._answer(200, {"code": 1800, "message": "user hasn't authenticated"})
        if self.path.endswith("update_password"):
            Pages.password = body["newPassword"]
        return self._answer(200, {"code": 0, "data": {}})

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _basic(self) -> str:
        return base64.b64decode(self.headers["authorization"].removeprefix("Basic ")).decode()

    def _body(self) -> dict[str, str]:
        return json.loads(self.rfile.read(int(self.headers["content-length"])))

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@pytest.fixture
def pages() -> Iterator[str]:
    Pages.password = "first"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_grafana_and_milvus_are_asked_as_their_documentation_says(pages: str):
    """No server of theirs is here: what is shown is the form of the calls, and that a refusal is one."""
    for user, change, lets_in in (
        ("admin", accounts.grafana, accounts.grafana_lets_in),
        ("root", accounts.milvus, accounts.milvus_lets_in),
    ):
        Pages.password = "first"
        old = Account(url=pages, username=user, password="first")
        assert lets_in(old)
        change(old, "second")
        assert (lets_in(old), lets_in(replace(old, password="second"))) == (False, True)
        with pytest.raises(StackError):
            change(old, "third")
