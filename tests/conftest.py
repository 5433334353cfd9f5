"""What every tier shares: the switch that rewrites snapshots, and the engine that some tiers need."""

from __future__ import annotations

import pytest

from sandbox import engine as engines
from sandbox import paths


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="Rewrite the snapshots in tests/golden.")


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> engines.Engine:
    """The Pulumi engine; a test that asks for it is skipped where there is none."""
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    try:
        return engines.find_or_get(paths.cache_dir(), terminal.write_line if terminal else print)
    except engines.NoEngineError as error:
        pytest.skip(str(error))
