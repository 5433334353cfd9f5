"""Real servers for the data plane."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.data_plane.postgres import SOURCES, Postgres, running, system_has_one
from tests.unit.conftest import recorded as recorded  # noqa: PLC0414 a fixture, for this tier too


@pytest.fixture(scope="session", params=SOURCES)
def every_postgres(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """Each PostgreSQL that can be had: rights of roles changed with version 16."""
    with running(request.param) as server:
        yield server


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """The module's own PostgreSQL, where nobody left anything: the system's, which speaks TLS, where there is one."""
    with running("system" if system_has_one() else "package") as server:
        yield server
