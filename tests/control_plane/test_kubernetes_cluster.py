"""The control plane of a stack: started once, alone in its folder, back after a crash."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from sandbox.kubernetes import nodes as nodes_module
from sandbox.kubernetes.cluster import Cluster
from sandbox.kubernetes.nodes import Nodes
from sandbox.toolchain.control_plane import ControlPlaneBinaries
from tests.control_plane.conftest import GPU, GROUPS, SYSTEM

pytestmark = pytest.mark.control_plane

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}, "data": {"key": "1"}}
COLLECTION = "/api/v1/namespaces/default/configmaps"


def test_stacks_do_not_see_each_other_and_a_killed_one_comes_back_with_its_data(
    binaries: ControlPlaneBinaries, tmp_path: Path
):
    one, other = Cluster(tmp_path / "one", binaries), Cluster(tmp_path / "other", binaries)
    try:
        client = one.up(print)
        client.request("POST", COLLECTION, body=CONFIG_MAP)
        assert other.up(print).items(COLLECTION, fieldSelector="metadata.name=kept") == []
        said: list[str] = []
        one.up(said.append)
        assert said == [], "a running control plane is reused"

        for pid in (tmp_path / "one" / "kwok" / "clusters" / one.name / "pids").glob("*.pid"):
            os.kill(int(pid.read_text()), signal.SIGKILL)
        assert not one.healthy()
        third = Cluster(tmp_path / "third", binaries)
        third.up(print)  # takes no port of the one that is down
        assert other.healthy()
        revived = Cluster(tmp_path / "one", binaries).up(said.append)
        assert said == [f"starting the control plane {one.name} again"]
        assert revived.request("GET", f"{COLLECTION}/kept")["data"] == {"key": "1"}
    finally:
        for name in ("one", "other", "third"):
            Cluster(tmp_path / name, binaries).down()
    assert not one.exists
    assert not one.kubeconfig.exists()
    one.down()  # nothing to do, and no error


def test_node_groups_become_nodes_within_their_range_and_idle_ones_go(
    binaries: ControlPlaneBinaries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from dataclasses import replace

    cluster = Cluster(tmp_path / "stack", binaries)

    def names() -> list[str]:
        return sorted(node["metadata"]["name"] for node in client.items("/api/v1/nodes"))

    try:
        client = cluster.up(print)
        nodes = Nodes(client)
        nodes.reconcile([replace(SYSTEM, desired=2), GPU])
        assert names() == ["system-0", "system-1"]
        live = client.request("GET", "/api/v1/nodes/system-1")
        assert live["metadata"]["labels"]["role"] == "system"
        assert live["metadata"]["labels"]["topology.kubernetes.io/zone"] == "us-east-1b"
        assert live["status"]["allocatable"]["memory"] == "14Gi"

        monkeypatch.setattr(nodes_module, "_IDLE_SECONDS", -1.0)
        assert nodes.autoscale(GROUPS) == ["removed idle node system-0"], "the minimum stays"
        nodes.reconcile([replace(SYSTEM, desired=2), GPU])
        assert names() == ["system-1"], "the autoscaler's size outlives an unchanged desired size"
        nodes.reconcile([replace(SYSTEM, desired=1, min_size=2), GPU])
        assert names() == ["system-0", "system-1"]
        nodes.reconcile([GPU])
        assert names() == []
    finally:
        cluster.down()
