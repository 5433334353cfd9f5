"""A control plane of a module's own, worked with as an operator's commands work with one: by kubectl."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from ops.stack import StackError, kubectl
from sandbox.kubernetes.cluster import Cluster
from sandbox.kubernetes.nodes import NodeGroupSpec, Nodes
from sandbox.toolchain.control_plane import ControlPlaneBinaries
from tests.control_plane.conftest import SYSTEM

Found = TypeVar("Found")
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class OwnCluster:
    """A cluster with one node, on which pods are ready a second after they are made, and those of Jobs end.

    Attributes:
        kubeconfig: The way to it.
    """

    kubeconfig: Path

    def apply(self, *manifests: dict[str, Any]) -> None:
        whole = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        kubectl(self.kubeconfig, ["apply", "--server-side", "--force-conflicts", "-f", "-"], given=json.dumps(whole))

    def get(self, *arguments: str) -> dict[str, Any]:
        """One object, or a list of them; empty where it is not there."""
        try:
            return cast("dict[str, Any]", json.loads(kubectl(self.kubeconfig, ["get", *arguments, "-o", "json"])))
        except StackError as error:
            if "NotFound" not in str(error):
                raise
            return {}

    def run(self, *arguments: str) -> str:
        return kubectl(self.kubeconfig, arguments)

    def ready(self, workload: str, namespace: str) -> None:
        self.run("-n", namespace, "rollout", "status", workload, f"--timeout={_PATIENCE_SECONDS:.0f}s")


@contextmanager
def own_cluster(binaries: ControlPlaneBinaries, folder: Path, node: NodeGroupSpec = SYSTEM) -> Generator[OwnCluster]:
    if shutil.which(os.environ.get("KUBECTL", "kubectl")) is None:
        pytest.skip("kubectl is not there")
    made = Cluster(folder, binaries)
    client = made.up(print)
    try:
        Nodes(client).reconcile([node])
        yield OwnCluster(made.kubeconfig)
    finally:
        made.down()


def until(ask: Callable[[], Found | None], what: str) -> Found:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if answer := ask():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {_PATIENCE_SECONDS:g} s")


def namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def workload(
    kind: str, name: str, place: str, labels: dict[str, str], spec: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A Deployment, StatefulSet or DaemonSet of one pod, which stands on whatever node there is."""
    pod = {
        "containers": [{"name": "main", "image": "x"}],
        "tolerations": [{"operator": "Exists"}],
        "terminationGracePeriodSeconds": 0,
        **(spec or {}),
    }
    more = {} if kind == "DaemonSet" else {"replicas": 1}
    return {
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": place},
        "spec": {
            **more, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }  # fmt: skip
