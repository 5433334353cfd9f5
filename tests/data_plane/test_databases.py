"""The job that makes databases, as the program emits it, on real servers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.platform.databases import NAMESPACE, Databases, DatabasesArgs, database
from tests.data_plane.postgres import HOST, Postgres
from tests.unit.conftest import Recorder
from tests.unit.platform_site import options, site

pytestmark = pytest.mark.data_plane

JOB = "kubernetes:batch/v1:Job"
PASSWORDS = {"mlflow": "Mlflow0123456789", "litellm": "Litellm0123456789"}


def emitted(recorded: Recorder, system: str = "mlflow", name: str = "mlflow") -> dict[str, Any]:
    """The only container of the job."""

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
    (container,) = recorded.one(JOB).inputs["spec"]["template"]["spec"]["containers"]
    return container


def run(
    container: Mapping[str, Any],
    server: Postgres,
    folder: Path,
    user: str = "mlflow",
    password: str = "",
    authority: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the container's command with its environment and with what its Secrets would hold."""
    secrets = {
        "admin": dict(zip(("username", "password"), server.admin, strict=True)),
        "owner": {"username": user, "password": password or PASSWORDS[user]},
        "ca": {"ca.pem": (authority or server.authority).read_text()},
    }
    root = str(Path(container["volumeMounts"][0]["mountPath"]).parent)
    for mount in container["volumeMounts"]:
        place = Path(mount["mountPath"].replace(root, str(folder)))
        place.mkdir(parents=True, exist_ok=True)
        for key, value in secrets[mount["name"]].items():
            (place / key).write_text(value)
    given = {one["name"]: str(one["value"]).replace(root, str(folder)) for one in container["env"]}
    assert given["PGHOST"] == HOST
    return subprocess.run(
        container["command"],
        env={"PATH": f"{server.binaries}:{os.environ['PATH']}", **given, **server.environment},
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,  # without a terminal, as in a pod
        check=False,
    )


def fresh(server: Postgres) -> None:
    for name in ("mlflow", "litellm"):
        server.query(f"DROP DATABASE IF EXISTS {name}")
        server.query(f"DROP ROLE IF EXISTS {name}")


@pytest.fixture
def server(every_postgres: Postgres) -> Postgres:
    fresh(every_postgres)
    return every_postgres


def test_the_user_owns_its_database_and_a_second_run_changes_nothing(server: Postgres, recorded, tmp_path: Path):
    job = emitted(recorded)
    for _ in range(2):
        done = run(job, server, tmp_path)
        assert done.returncode == 0, done.stderr
    own = {"user": "mlflow", "password": PASSWORDS["mlflow"], "database": "mlflow"}
    server.query("CREATE TABLE IF NOT EXISTS runs (id int)", **own)
    assert server.query("SELECT count(*) FROM runs", **own) == "0"
    assert run(job, server, tmp_path).returncode == 0
    assert server.query("SELECT count(*) FROM runs", **own) == "0", "what is there stays"


def test_nobody_reads_anothers_database(server: Postgres, recorded, tmp_path: Path):
    for system in PASSWORDS:
        assert run(emitted(recorded, system, system), server, tmp_path / system, user=system).returncode == 0
    with pytest.raises(subprocess.CalledProcessError) as refused:
        server.query("SELECT 1", user="litellm", password=PASSWORDS["litellm"], database="mlflow")
    assert "permission denied for database" in refused.value.stderr
    for right in ("rolsuper", "rolcreatedb", "rolcreaterole"):
        assert server.query(f"SELECT {right} FROM pg_roles WHERE rolname = 'mlflow'") == "f"


def test_a_new_password_in_the_store_replaces_the_old_one(server: Postgres, recorded, tmp_path: Path):
    job = emitted(recorded)
    assert run(job, server, tmp_path).returncode == 0
    assert run(job, server, tmp_path, password="Other0123456789").returncode == 0
    with pytest.raises(subprocess.CalledProcessError):
        server.query("SELECT 1", user="mlflow", password=PASSWORDS["mlflow"], database="mlflow")
    assert server.query("SELECT 1", user="mlflow", password="Other0123456789", database="mlflow") == "1"


def test_no_log_of_the_server_or_the_job_shows_a_password(server: Postgres, recorded, tmp_path: Path):
    secret = "Unmistakable'\"0123456789"
    done = run(emitted(recorded), server, tmp_path, password=secret)
    assert done.returncode == 0, done.stderr
    log = server.log.read_text()
    assert "SCRAM-SHA-256$" in log, "the server logs every statement here"
    for text in (log, done.stdout, done.stderr):
        assert "Unmistakable" not in text
    assert server.query("SELECT 1", user="mlflow", password=secret, database="mlflow") == "1"


def test_a_database_of_somebody_else_is_not_taken(server: Postgres, recorded, tmp_path: Path):
    assert run(emitted(recorded, "litellm", "litellm"), server, tmp_path / "a", user="litellm").returncode == 0
    done = run(emitted(recorded, "mlflow", "litellm"), server, tmp_path / "b")
    assert done.returncode != 0
    assert "database litellm belongs to litellm, not to mlflow" in done.stderr


def test_one_systems_pools_cannot_take_every_connection(server: Postgres, recorded, tmp_path: Path):
    assert run(emitted(recorded), server, tmp_path).returncode == 0
    assert server.query("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'mlflow'") == "3"


def test_a_server_that_another_authority_vouches_for_gets_no_password(server: Postgres, recorded, tmp_path: Path):
    if not server.tls:
        pytest.skip("this PostgreSQL was built without TLS")
    other = tmp_path / "other.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
         "-subj", "/CN=Other", "-keyout", "/dev/null", "-out", str(other)],
        check=True, capture_output=True,
    )  # fmt: skip
    done = run(emitted(recorded), server, tmp_path / "run", authority=other)
    assert done.returncode != 0
    assert "certificate verify failed" in done.stderr
