"""Workers share the tests by module: servers and stacks come up once, not once for each worker."""

from __future__ import annotations

import os

import pytest

from tests.data_plane.ports import free_port

pytestmark = pytest.mark.unit


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process runs all tests")
def test_a_worker_reads_the_group_of_a_test(request: pytest.FixtureRequest):
    """xdist shares by what follows the last `@` of a test's identifier."""
    assert request.node.nodeid.rpartition("@")[2] == str(request.path)


def test_a_port_is_given_once():
    given = [free_port() for _ in range(100)]
    assert len(set(given)) == len(given)
