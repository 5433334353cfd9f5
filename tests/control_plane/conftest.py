"""A real control plane for a test session, and a provider on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox import paths
from sandbox.kubernetes.api import Client
from sandbox.kubernetes.cluster import Cluster
from sandbox.kubernetes.nodes import NodeGroupSpec, Nodes
from sandbox.kubernetes.provider import KubernetesProvider
from sandbox.kubernetes.session import Session
from sandbox.toolchain import clients
from sandbox.toolchain.control_plane import ControlPlaneBinaries

SYSTEM = NodeGroupSpec(
    name="system",
    instance_types=["m6i.xlarge"],
    min_size=1,
    desired=1,
    max_size=2,
    labels={"role": "system"},
    taints=[],
    allocatable={"cpu": "3920m", "memory": "14Gi", "pods": "58"},
    capacity={"cpu": "4", "memory": "16Gi", "pods": "58"},
    zones=["us-east-1a", "us-east-1b"],
    region="us-east-1",
)
GPU = NodeGroupSpec(
    name="gpu",
    instance_types=["g5.xlarge"],
    min_size=0,
    desired=0,
    max_size=1,
    labels={"role": "gpu"},
    taints=[{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}],
    allocatable={"cpu": "3920m", "memory": "14Gi", "pods": "58", "nvidia.com/gpu": "1"},
    capacity={"cpu": "4", "memory": "16Gi", "pods": "58", "nvidia.com/gpu": "1"},
)
GROUPS = (SYSTEM, GPU)


@dataclass(frozen=True)
class Stack:
    """One stack's Kubernetes."""

    client: Client
    nodes: Nodes
    provider: KubernetesProvider
    reports: list[str]


@pytest.fixture(scope="session")
def stack(binaries: ControlPlaneBinaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    cluster = Cluster(folder, binaries)
    client = cluster.up(print)
    reports: list[str] = []
    try:
        nodes = Nodes(client)
        nodes.reconcile(GROUPS)
        helm = clients.find_or_get("helm", paths.cache_dir(), print)
        with Session(
            folder,
            cluster,
            helm=helm if isinstance(helm, Path) else helm.reason,
            autoscale=lambda: reports.extend(nodes.autoscale(GROUPS)),
            report=reports.append,
        ) as session:
            yield Stack(client, nodes, KubernetesProvider(session), reports)
    finally:
        cluster.down()
