"""What is in a PostgreSQL server: every database, every table, how many rows. Asked with ``psql``."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from typing import Final, cast
from urllib.parse import urlsplit, urlunsplit

from ops.refusals import RefusedError

Counts = Mapping[str, Mapping[str, int]]
"""Rows by database and table."""

_PATIENCE_SECONDS: Final = 600
_DATABASES: Final = (
    "select coalesce(json_agg(datname order by datname), '[]') from pg_database "
    "where not datistemplate and datallowconn and datname <> 'rdsadmin'"  # RDS' own, closed to everybody
)
# Exact counts, of all tables by one statement: query_to_xml runs a query that format() has written.
_TABLES: Final = """
select coalesce(json_object_agg(name, rows order by name), '{}') from (
  select table_schema || '.' || table_name as name,
    (xpath('/row/rows/text()',
      query_to_xml(format('select count(*) as rows from %I.%I', table_schema, table_name), false, true, '')
    ))[1]::text::bigint as rows
  from information_schema.tables
  where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')
) counted
"""


def counts(url: str) -> Counts:
    """Rows of every table of every database of a server.

    Args:
        url: ``postgresql://user@host:port/postgres?sslmode=require`` of one who may read; the password comes from
            ``PGPASSWORD`` or ``~/.pgpass``, so that it stands in no list of processes.

    Raises:
        RefusedError: There is no psql, or the server could not be asked.
    """
    databases = cast("list[str]", json.loads(asked(url, _DATABASES)))
    return {name: cast("dict[str, int]", json.loads(asked(_of(url, name), _TABLES))) for name in databases}


def losses(before: Counts, after: Counts) -> list[str]:
    """Tables that are missing, or have fewer rows than before; rows that came since a backup are among them."""
    told: list[str] = []
    for database, tables in sorted(before.items()):
        if database not in after:
            told.append(f"database {database} is missing")
            continue
        found = after[database]
        told += [
            f"{database}: {table} is missing" if table not in found else f"{database}: {table} {rows} → {found[table]}"
            for table, rows in sorted(tables.items())
            if found.get(table, -1) < rows
        ]
    return told


def _of(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def asked(url: str, statement: str) -> str:
    """What psql prints of a statement, or of several as one transaction.

    Raises:
        RefusedError: There is no psql, or the server refused.
    """
    if urlsplit(url).password:
        raise RefusedError("leave the password out of the URL, and set PGPASSWORD: a URL is seen in lists of processes")
    command = [os.environ.get("PSQL", "psql"), "--no-psqlrc", "--no-password", "--quiet", "--tuples-only", "--no-align"]
    try:
        done = subprocess.run(
            [*command, "--set=ON_ERROR_STOP=1", "--command", statement, url],
            env={"PGCONNECT_TIMEOUT": "15", **os.environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_SECONDS,
        )
    except FileNotFoundError:
        raise RefusedError("there is no `psql` on PATH; install it, or name one in PSQL") from None
    except subprocess.TimeoutExpired:
        raise RefusedError(f"the server did not answer within {_PATIENCE_SECONDS} s") from None
    if done.returncode != 0:
        raise RefusedError(f"the server could not be asked: {done.stderr.strip()}")
    return done.stdout
