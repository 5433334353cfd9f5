"""For each shipped stack: its charts, rendered, and a control plane to hold them against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ops.access_matrix import resources
from sandbox import paths
from sandbox.kubernetes.cluster import Cluster
from sandbox.kubernetes.crds import Definitions
from sandbox.kubernetes.helm import Releases
from sandbox.kubernetes.objects import LiveObjects
from sandbox.store import Store
from sandbox.toolchain import clients
from sandbox.toolchain.control_plane import ControlPlaneBinaries, Missing
from tests.engine.harness import FullStack
from tests.rendering.ground import Ground


@pytest.fixture(scope="session", params=["dev", "prod"])
def shipped(request: pytest.FixtureRequest) -> FullStack:
    """Each shipped stack in turn; all tests of one before the first of the other."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def ground(
    shipped: FullStack, binaries: ControlPlaneBinaries, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    """The charts of a stack; skipped where helm or every one of them is out of reach."""
    helm = clients.find_or_get("helm", paths.cache_dir(), print)
    if isinstance(helm, Missing):
        pytest.skip(helm.reason)
    folder = tmp_path_factory.mktemp(f"rendering-{shipped.stack}")
    state = resources(shipped.exported_in_clear)
    cluster = Cluster(folder / "cluster", binaries)
    try:
        client = cluster.up(print)
        releases = Releases(helm, "", cluster.kubeconfig, Store(folder / "recorded.sqlite"))
        ground = Ground(state, client, LiveObjects(client, Definitions(client, print)), releases, folder)
        if not ground.rendered:
            why = "; ".join(sorted(set(ground.missing.values()))) or "the stack has no release"
            pytest.skip(f"no chart to render (SANDBOX_CHARTS names a directory with charts): {why}")
        yield ground
    finally:
        cluster.down()
