"""What ``ops restore database --check`` counts, on a real PostgreSQL, before and after a dump is restored beside it."""

from __future__ import annotations

import subprocess

import pytest

from ops.refusals import RefusedError
from ops.restore import contents
from tests.data_plane.postgres import running, system_has_one

pytestmark = pytest.mark.data_plane


@pytest.mark.skipif(not system_has_one(), reason="no PostgreSQL is installed (Debian: postgresql)")
def test_rows_of_every_table_of_every_database_are_counted_and_what_a_restore_lost_is_named(
    monkeypatch: pytest.MonkeyPatch,
):
    with running("system") as server:
        for name, value in {"PGPASSWORD": server.superuser, **server.environment}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PSQL", str(server.binaries / "psql"))
        url = f"postgresql://postgres@database.test:{server.port}/postgres?sslmode=require"
        server.query("create database mlflow")
        server.query(
            'create table runs (id int); create schema "Odd"; create table "Odd"."a b" (id int)', database="mlflow"
        )
        server.query(
            'insert into runs select generate_series(1, 12345); insert into "Odd"."a b" values (1)', database="mlflow"
        )

        before = contents.counts(url)
        assert before["mlflow"] == {"Odd.a b": 1, "public.runs": 12345}
        assert before["postgres"] == {}

        dump = [str(server.binaries / "pg_dump"), "--create", url.replace("/postgres?", "/mlflow?")]
        script = subprocess.run(dump, capture_output=True, text=True, check=True).stdout
        server.query("drop database mlflow")
        assert contents.losses(before, contents.counts(url)) == ["database mlflow is missing"]
        subprocess.run(
            [str(server.binaries / "psql"), "-Xq", url], input=script, text=True, check=True, stdout=subprocess.DEVNULL
        )
        assert contents.losses(before, contents.counts(url)) == []

        server.query("delete from runs where id > 12000", database="mlflow")
        assert contents.losses(before, contents.counts(url)) == ["mlflow: public.runs 12345 → 12000"]


def test_a_server_that_does_not_answer_is_told_in_its_own_words():
    with pytest.raises(RefusedError, match="could not be asked"):
        contents.counts("postgresql://nobody@127.0.0.1:1/postgres")
