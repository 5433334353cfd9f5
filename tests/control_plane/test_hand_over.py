"""A stack that came up without a control plane, and gets one later."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.kubernetes.cluster import Cluster
from sandbox.kubernetes.objects import manager_of
from sandbox.kubernetes.provider import KubernetesProvider
from sandbox.kubernetes.session import Session
from sandbox.provider import Resource
from sandbox.toolchain.control_plane import ControlPlaneBinaries

pytestmark = pytest.mark.control_plane

URN = "urn:pulumi:dev::program::kubernetes:core/v1:ConfigMap::settings"
OBJECT = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings", "namespace": "team"},
    "data": {"colour": "green"},
}
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}


def session(folder: Path, cluster: Cluster | None, reports: list[str]) -> Session:
    return Session(folder, cluster, helm="not needed here", autoscale=lambda: None, report=reports.append)


def test_what_was_only_recorded_is_applied_once_there_is_a_control_plane(
    binaries: ControlPlaneBinaries, tmp_path: Path
):
    reports: list[str] = []
    with session(tmp_path, None, reports) as recorded:
        provider = KubernetesProvider(recorded)
        provider.create(Resource(URN), OBJECT, 0, preview=False)
        namespace = Resource(URN.replace("ConfigMap::settings", "Namespace::team"))
        provider.create(namespace, NAMESPACE, 0, preview=False)

    cluster = Cluster(tmp_path, binaries)
    try:
        client = cluster.up(print)
        with session(tmp_path, cluster, reports) as live:
            kind = client.kind("v1", "ConfigMap")
            assert kind is not None
            found = client.get(kind, "team", "settings")
            assert found is not None
            assert found["data"] == {"colour": "green"}
            assert found["metadata"]["managedFields"][0]["manager"] == manager_of(URN)
            assert live.store.records() == []
    finally:
        cluster.down()
    assert reports == []
