"""What tiers share: the switch that rewrites snapshots, the engine, the control plane, the shipped stacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pytest

from sandbox import engine as engines
from sandbox import paths
from sandbox.toolchain import control_plane
from sandbox.toolchain.control_plane import ControlPlaneBinaries
from tests.engine.harness import FullStack

STACKS: Final = ("dev", "prod", "gcp", "onprem")
"""The shipped stacks; each has a fixture of its name."""

# Parameters whose value is the name of a stack.
_OVER_STACKS: Final = ("full_stack", "every_stack", "other_stack", "shipped")

_UP: Final = pytest.StashKey[dict[str, FullStack]]()

_LONGEST_FIRST: Final = ("data_plane", "policies", "engine", "rendering", "control_plane", "browser", "unit")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="Rewrite what is generated from the stacks: tests/golden, docs/access-matrix.md.",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_UP] = {}


def pytest_unconfigure(config: pytest.Config) -> None:
    for full in config.stash[_UP].values():  # after an interruption
        full.stop()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Several workers share the tests by module; all that look at one shipped stack stay with one of them.

    xdist reads the groups in `pytest_collection_modifyitems`, before any hook of that name in here.
    """
    stack = _stack_of(item)
    item.add_marker(pytest.mark.xdist_group(f"stack-{stack}" if stack else str(item.path)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long groups first, so that no worker is left with one when the other has nothing to do.

    Needs `--no-loadscope-reorder`: xdist would begin with the groups of most tests, which are the quickest.
    """
    items.sort(key=lambda item: (_order(item), _tier(item)))


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop a stack's control plane after the last test that looks at it: idle, it would take a gigabyte to the end."""
    stack = _stack_of(item)
    if stack and (nextitem is None or _stack_of(nextitem) != stack) and (full := item.config.stash[_UP].get(stack)):
        full.stop()


def _order(item: pytest.Item) -> int:
    """All tests of one stack after another, in front of the rest."""
    stack = _stack_of(item)
    return STACKS.index(stack) if stack else len(STACKS)


def _tier(item: pytest.Item) -> int:
    return next((order for order, tier in enumerate(_LONGEST_FIRST) if item.get_closest_marker(tier)), 0)


def _stack_of(item: pytest.Item) -> str:
    """The shipped stack that a test brings up; empty for most."""
    known: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})  # of parametrized tests only
    names: Sequence[str] = getattr(item, "fixturenames", ())
    asked = next((known[name] for name in _OVER_STACKS if name in known), "")
    # Other fixtures have such names too, and bring up no stack.
    return str(asked or next((name for name in STACKS if name in names and "engine" in names), ""))


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> engines.Engine:
    """The Pulumi engine; a test that asks for it is skipped where there is none."""
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    try:
        return engines.find_or_get(paths.cache_dir(), terminal.write_line if terminal else print)
    except engines.NoEngineError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def binaries() -> ControlPlaneBinaries:
    found = control_plane.find_or_get(paths.cache_dir(), print, allow_build=False)
    if isinstance(found, control_plane.Missing):
        pytest.skip(found.reason)
    return found


@pytest.fixture(scope="session")
def dev(engine: engines.Engine, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> FullStack:
    return _full_stack("dev", pytestconfig, tmp_path_factory)


@pytest.fixture(scope="session")
def prod(engine: engines.Engine, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> FullStack:
    return _full_stack("prod", pytestconfig, tmp_path_factory)


@pytest.fixture(scope="session")
def gcp(engine: engines.Engine, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> FullStack:
    return _full_stack("gcp", pytestconfig, tmp_path_factory)


@pytest.fixture(scope="session")
def onprem(engine: engines.Engine, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> FullStack:
    return _full_stack("onprem", pytestconfig, tmp_path_factory)


def _full_stack(stack: str, config: pytest.Config, factory: pytest.TempPathFactory) -> FullStack:
    full = config.stash[_UP][stack] = FullStack(stack, factory.mktemp(stack))
    return full


@pytest.fixture(params=["dev", "prod"])
def full_stack(request: pytest.FixtureRequest) -> FullStack:
    """Each shipped stack on AWS in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["gcp", "onprem"])
def other_stack(request: pytest.FixtureRequest) -> FullStack:
    """Each shipped stack elsewhere in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=STACKS)
def every_stack(request: pytest.FixtureRequest) -> FullStack:
    """Each shipped stack in turn."""
    return request.getfixturevalue(request.param)
