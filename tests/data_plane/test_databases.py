"""The job that makes databases, as the program emits it, on real servers."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pulumi
import pytest

from components.platform.databases import NAMESPACE, Databases, DatabasesArgs, database
from tests.data_plane.pods import Pod, synced
from tests.data_plane.postgres import Postgres, certificates
from tests.unit.conftest import Recorder
from tests.unit.platform_site import options, site

pytestmark = pytest.mark.data_plane

JOB = "kubernetes:batch/v1:Job"
PASSWORDS = {"mlflow": "Mlflow0123456789", "litellm": "Litellm0123456789"}

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(recorded: Recorder, server: Postgres, tmp_path: Path) -> Run:
    """Emit the job of a system and run it, in a pod of its own."""

    def emit_and_run(
        system: str = "mlflow", name: str = "", password: str = "", authority: str = ""
    ) -> subprocess.CompletedProcess[str]:
        emit(recorded, system, name or system)
        admin = dict(zip(("username", "password"), server.admin, strict=True))
        store = {
            "test/database-admin": admin,
            f"test/{system}-database": {"username": system, "password": password or PASSWORDS[system]},
        }
        return Pod(
            spec=recorded.one(JOB).inputs["spec"]["template"]["spec"],
            namespace=NAMESPACE,
            secrets=synced(recorded.resources, store, authority or server.authority.read_text()),
            folder=Path(tempfile.mkdtemp(dir=tmp_path)),
            programs=[server.binaries],
            environment=server.environment,
        ).run("database")

    return emit_and_run


def emit(recorded: Recorder, system: str, name: str) -> None:
    def program() -> None:
        place = site()
        own = pulumi.ComponentResource("test:System", system, None, options(place))
        shared = Databases("databases", DatabasesArgs(site=place, secrets_ready=()), options(place))
        database(
            f"{system}-database",
            purpose=f"{system}-database",
            database=name,
            namespace=NAMESPACE,
            site=place,
            parent=own,
            after=shared.ready,
            connections=3,
        )

    recorded.resources.clear()
    recorded.run(program)


def fresh(server: Postgres) -> None:
    for name in ("mlflow", "litellm"):
        server.query(f"DROP DATABASE IF EXISTS {name}")
        server.query(f"DROP ROLE IF EXISTS {name}")


@pytest.fixture
def server(every_postgres: Postgres) -> Postgres:
    fresh(every_postgres)
    return every_postgres


def test_the_user_owns_its_database_and_a_second_run_changes_nothing(server: Postgres, run: Run):
    for _ in range(2):
        done = run()
        assert done.returncode == 0, done.stderr
    own = {"user": "mlflow", "password": PASSWORDS["mlflow"], "database": "mlflow"}
    server.query("CREATE TABLE runs (id int)", **own)
    assert run().returncode == 0
    assert server.query("SELECT count(*) FROM runs", **own) == "0", "what is there stays"


def test_nobody_reads_anothers_database(server: Postgres, run: Run):
    for system in PASSWORDS:
        assert run(system).returncode == 0
    with pytest.raises(subprocess.CalledProcessError) as refused:
        server.query("SELECT 1", user="litellm", password=PASSWORDS["litellm"], database="mlflow")
    assert "permission denied for database" in refused.value.stderr
    for right in ("rolsuper", "rolcreatedb", "rolcreaterole"):
        assert server.query(f"SELECT {right} FROM pg_roles WHERE rolname = 'mlflow'") == "f"


def test_a_new_password_in_the_store_replaces_the_old_one(server: Postgres, run: Run):
    assert run().returncode == 0
    assert run(password="Other0123456789").returncode == 0
    with pytest.raises(subprocess.CalledProcessError):
        server.query("SELECT 1", user="mlflow", password=PASSWORDS["mlflow"], database="mlflow")
    assert server.query("SELECT 1", user="mlflow", password="Other0123456789", database="mlflow") == "1"


def test_no_log_of_the_server_or_the_job_shows_a_password(server: Postgres, run: Run):
    secret = "Unmistakable'\"0123456789"
    done = run(password=secret)
    assert done.returncode == 0, done.stderr
    log = server.log.read_text()
    assert "SCRAM-SHA-256$" in log, "the server logs every statement here"
    for text in (log, done.stdout, done.stderr):
        assert "Unmistakable" not in text
    assert server.query("SELECT 1", user="mlflow", password=secret, database="mlflow") == "1"


def test_a_database_of_somebody_else_is_not_taken(server: Postgres, run: Run):
    assert run("litellm").returncode == 0
    done = run("mlflow", name="litellm")
    assert done.returncode != 0
    assert "database litellm belongs to litellm, not to mlflow" in done.stderr


def test_one_systems_pools_cannot_take_every_connection(server: Postgres, run: Run):
    assert run().returncode == 0
    assert server.query("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'mlflow'") == "3"


def test_a_server_that_another_authority_vouches_for_gets_no_password(
    server: Postgres, run: Run, tmp_path_factory: pytest.TempPathFactory
):
    if not server.tls:
        pytest.skip("this PostgreSQL was built without TLS")
    other = tmp_path_factory.mktemp("other")
    certificates(other)
    done = run(authority=(other / "ca.pem").read_text())
    assert done.returncode != 0
    assert "SSL error" in done.stderr
