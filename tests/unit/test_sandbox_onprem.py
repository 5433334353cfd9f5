"""The cluster that an on-prem stack finds in the sandbox, as far as it needs no control plane."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from components.onprem import facts
from components.onprem.checks import problems
from components.settings import parse
from ops.preflight.onprem import plan
from ops.preflight.target import ROOT, Target
from sandbox.kubernetes.api import ApiError, Client
from sandbox.onprem import OwnCluster, own_cluster, without_other_clusters
from sandbox.onprem_front import Front

pytestmark = pytest.mark.unit

STACK = ROOT / "Pulumi.onprem.yaml"


def settings() -> Any:
    config = yaml.safe_load(STACK.read_text())["config"]
    return parse({key.removeprefix("llmops:"): value for key, value in config.items()})


@pytest.fixture
def own() -> OwnCluster:
    found = own_cluster(STACK)
    assert found
    return found


class FakeServer:
    """An API server with the nodes and classes that the sandbox puts there, of a version of its own."""

    def __init__(self, own: OwnCluster) -> None:
        self.own = own

    def request(self, verb: str, path: str, *, body: Any = None) -> dict[str, Any]:
        del body
        if verb == "POST":
            return {"status": {"allowed": True}}
        match path.partition("?")[0]:
            case "/version":
                return {"major": "1", "minor": "99", "gitVersion": "v1.99.0"}
            case "/api/v1/nodes":
                return {"items": [_node(group) for group in self.own.servers for _ in range(group.desired)]}
            case "/apis/storage.k8s.io/v1/storageclasses":
                return {"items": [{"metadata": {"name": n}, "provisioner": "p"} for n in self.own.storage_classes]}
            case "/apis/storage.k8s.io/v1/csidrivers":
                return {"items": [{"metadata": {"name": name}} for name in self.own.csi_drivers]}
            case "/apis":
                return {"groups": [{"name": "apps"}]}
            case _:
                raise ApiError(404, {"message": "not found"})


def _node(group: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": group.name, "labels": dict(group.labels)},
        "spec": {"taints": list(group.taints)},
        "status": {"allocatable": dict(group.allocatable), "conditions": [{"type": "Ready", "status": "True"}]},
    }


@pytest.fixture
def seen(own: OwnCluster, tmp_path: Path) -> Iterator[facts.ClusterFacts]:
    """What the program's own client sees of it."""
    assert own.appearance
    front = Front(cast("Client", FakeServer(own)), own.appearance, tmp_path / "kubeconfig.yaml")
    try:
        yield facts.read(front.open().read_text())
    finally:
        front.close()


def test_the_shipped_stack_finds_the_cluster_that_its_settings_describe(seen: facts.ClusterFacts):
    assert problems(seen, settings()) == []


def test_servers_are_as_many_as_declared_labelled_and_tainted(own: OwnCluster):
    groups = {group.name: group for group in own.servers}
    declared = {group.name: group for group in settings().node_groups}
    assert {name: group.desired for name, group in groups.items()} == {n: g.max_size for n, g in declared.items()}
    for name, group in groups.items():
        assert group.min_size == group.max_size
        assert group.labels["llmops/role"] == declared[name].role
        assert bool(group.taints) is ("nvidia.com/gpu" in group.allocatable)


def test_a_stack_on_a_cloud_has_no_cluster_of_its_own():
    assert own_cluster(ROOT / "Pulumi.dev.yaml") is None


def test_settings_that_cannot_work_are_left_for_the_program_to_refuse(tmp_path: Path):
    file = tmp_path / "Pulumi.broken.yaml"
    file.write_text("config:\n  llmops:cloud: onprem\n  llmops:owner: 7\n  llmops:nonsense: true\n")
    assert own_cluster(file) == OwnCluster()


def test_nothing_that_leads_to_a_real_cluster_reaches_the_engine():
    real = {"path": "/home/me/.kube/config", "context": "prod", "environment": "MY_KUBECONFIG"}
    config = {
        "llmops:cloud": "onprem",
        "llmops:onprem": json.dumps({"site": "dc1", "kubeconfig": real}),
        "onprem:kubeconfig": "apiVersion: v1",
    }
    assert without_other_clusters(config) == {
        "llmops:cloud": "onprem",
        "llmops:onprem": {"site": "dc1", "kubeconfig": {"environment": "MY_KUBECONFIG"}},
    }
    assert without_other_clusters({"llmops:cloud": "aws", "llmops:owner": "me"}) == {
        "llmops:cloud": "aws", "llmops:owner": "me",
    }  # fmt: skip


def test_the_door_takes_questions_only(own: OwnCluster, tmp_path: Path):
    import requests

    assert own.appearance
    front = Front(cast("Client", FakeServer(own)), own.appearance, tmp_path / "kubeconfig.yaml")
    try:
        server = yaml.safe_load(front.open().read_text())["clusters"][0]["cluster"]["server"]
        assert requests.post(f"{server}/api/v1/namespaces", json={}, timeout=5).status_code == 405
        assert requests.get(f"{server}/api/v1/none", timeout=5).status_code == 404
    finally:
        front.close()
    assert not (tmp_path / "kubeconfig.yaml").exists()


def test_the_door_is_where_it_was_and_elsewhere_only_where_somebody_has_its_place(own: OwnCluster, tmp_path: Path):
    """The kubeconfig is part of the stack's state: another port would be a change at every update."""
    assert own.appearance
    said: list[str] = []
    doors: list[Front] = []
    for _ in range(3):
        doors.append(Front(cast("Client", FakeServer(own)), own.appearance, tmp_path / "kubeconfig.yaml"))
        said.append(doors[-1].open().read_text())
        if len(doors) == 1:
            doors[0].close()
    for door in doors[1:]:
        door.close()
    assert said[0] == said[1] != said[2]


# Preflight asks the same


def _answers(seen: facts.ClusterFacts) -> dict[str, str]:
    target = Target(project="llmops", stack="onprem", settings=settings())
    return {one.subject: finding.answer for one in plan.checks(target, seen) for finding in one.ask()}


def test_preflight_says_what_the_program_would_and_what_nobody_can_see(seen: facts.ClusterFacts):
    found = _answers(seen)
    assert found.pop("network policies") == "unknown"
    assert set(found.values()) == {"ok"}


def test_preflight_refuses_what_the_cluster_lacks(seen: facts.ClusterFacts):
    from dataclasses import replace

    poor = replace(seen, version="1.20", storage_classes={}, nodes=(), may_create_namespaces=False)
    found = _answers(poor)
    for subject in ("Kubernetes version", "storage classes", "servers", "GPUs", "rights of the kubeconfig's user"):
        assert found[subject] == "refused", subject


def test_preflight_does_not_count_cards_without_a_driver(seen: facts.ClusterFacts):
    from dataclasses import replace

    bare = replace(seen, nodes=tuple(replace(node, gpus=0) for node in seen.nodes))
    assert _answers(bare)["GPUs"] == "unknown"


def test_a_network_plugin_that_is_seen_is_enough(seen: facts.ClusterFacts):
    from dataclasses import replace

    held = replace(seen, api_groups=seen.api_groups | {"cilium.io"})
    assert _answers(held)["network policies"] == "ok"
