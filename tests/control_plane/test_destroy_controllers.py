"""Finalizers in a destroy, with controllers that run, come back, and are gone: on a real API server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from ops.destroy import planning
from ops.destroy.live import Cluster
from ops.destroy.planning import PHASES, Known
from ops.destroy.work import Patience, Stuck, Work
from sandbox.toolchain.control_plane import ControlPlaneBinaries
from tests.control_plane.own_cluster import OwnCluster, namespace, own_cluster, until, workload

pytestmark = pytest.mark.control_plane

CHAT, SYSTEM = "chat", "kube-system"
BALANCERS = {"app.kubernetes.io/name": "aws-load-balancer-controller"}
DRIVER = {"app.kubernetes.io/name": "aws-ebs-csi-driver"}
HELD = "service.k8s.aws/resources"
PROVISIONER = "external-provisioner.volume.kubernetes.io/finalizer"
GRACE_SECONDS = 3.0


@pytest.fixture(scope="module")
def cluster(binaries: ControlPlaneBinaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnCluster]:
    with own_cluster(binaries, tmp_path_factory.mktemp("destroy-controllers")) as made:
        made.apply(namespace(CHAT))
        made.apply(workload("DaemonSet", "ebs-csi-node", SYSTEM, {**DRIVER, "app": "ebs-csi-node"}))
        made.ready("daemonset/ebs-csi-node", SYSTEM)
        yield made


@pytest.fixture
def controller(cluster: OwnCluster) -> OwnCluster:
    """With the load balancer controller, as its chart labels it."""
    cluster.apply(workload("Deployment", "aws-load-balancer-controller", SYSTEM, BALANCERS))
    cluster.ready("deployment/aws-load-balancer-controller", SYSTEM)
    return cluster


def work(cluster: OwnCluster, *, seconds: float) -> Work:
    known = Known(objects=frozenset(), releases=frozenset(), namespaces=frozenset({CHAT}), everything=False)
    patience = Patience(poll_seconds=0.2, grace_seconds=GRACE_SECONDS, scale=seconds / 900)
    return Work(cluster=Cluster(cluster.kubeconfig), pulumi=known, simulated=False, tell=print, patience=patience)


def run(phase: str, on: Work) -> Stuck | None:
    return on.run(next(one for one in PHASES if one.name == phase))


def door(name: str, *finalizers: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": CHAT, "finalizers": list(finalizers)},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 443}]},
    }  # fmt: skip


def finalizers(cluster: OwnCluster, *what: str) -> list[str]:
    return cluster.get(*what).get("metadata", {}).get("finalizers", [])


def test_a_controller_that_runs_keeps_its_finalizer_and_one_that_is_gone_loses_it(controller: OwnCluster):
    controller.apply(door("door", HELD))
    waiting = work(controller, seconds=8)
    stuck = run("load balancers", waiting)
    assert stuck is not None
    assert "look at the log of its controller" in stuck.advice[0]
    assert finalizers(controller, "service", "door", "-n", CHAT) == [HELD]
    assert waiting.released == []

    controller.run("-n", SYSTEM, "delete", "deployment", "aws-load-balancer-controller", "--wait")
    until(lambda: "aws-load-balancer-controller" not in waiting.cluster.controllers(), "its pods are gone")
    gone = work(controller, seconds=60)
    assert run("load balancers", gone) is None
    assert controller.get("service", "door", "-n", CHAT) == {}
    assert len(gone.released) == 1
    assert "look for: load balancer" in gone.released[0]


def test_a_controller_that_is_away_for_a_moment_keeps_its_finalizer_however_long_it_has_been_waited_for(
    controller: OwnCluster,
):
    controller.apply(door("door", HELD))
    controller.run("-n", CHAT, "delete", "service", "door", "--wait=false")
    time.sleep(GRACE_SECONDS)  # so long it has been going
    waiting = work(controller, seconds=60)

    def scaled(replicas: int) -> None:
        controller.run("-n", SYSTEM, "scale", "deployment/aws-load-balancer-controller", f"--replicas={replicas}")
        known = "aws-load-balancer-controller"
        until(lambda: (known in waiting.cluster.controllers()) is bool(replicas), f"{replicas} replicas")

    def looked() -> bool:
        snapshot = waiting.snapshot()
        (held,) = [one for one in snapshot.of("Service") if one.name == "door"]
        return waiting.release(held, snapshot.running)

    for _ in range(2):
        scaled(0)
        assert not looked()
        scaled(1)
        assert not looked()
        time.sleep(GRACE_SECONDS)
    assert finalizers(controller, "service", "door", "-n", CHAT) == [HELD]

    scaled(0)
    assert not looked(), "times of absence do not add up"
    time.sleep(GRACE_SECONDS)
    assert looked()
    until(lambda: not controller.get("service", "door", "-n", CHAT), "it is gone")


def test_a_finalizer_of_which_nothing_is_known_stays_and_the_command_that_is_shown_removes_it(cluster: OwnCluster):
    cluster.apply(door("strange", "example.org/mine"))
    waiting = work(cluster, seconds=6)
    stuck = run("load balancers", waiting)
    assert stuck is not None
    assert finalizers(cluster, "service", "strange", "-n", CHAT) == ["example.org/mine"]
    command = stuck.advice[0].partition("kubectl ")[2].replace("'", "").split()
    cluster.run(*command)
    assert run("load balancers", work(cluster, seconds=6)) is None


def volume(claim: str) -> tuple[dict[str, Any], dict[str, Any]]:
    csi = {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-0planted"}
    disk = {
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {
            "name": "pvc-planted", "finalizers": [PROVISIONER],
            "annotations": {"pv.kubernetes.io/provisioned-by": "ebs.csi.aws.com"},
        },
        "spec": {
            "capacity": {"storage": "8Gi"}, "accessModes": ["ReadWriteOnce"], "csi": csi,
            "persistentVolumeReclaimPolicy": "Retain", "claimRef": {"namespace": CHAT, "name": claim},
        },
    }  # fmt: skip
    wanted = {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claim, "namespace": CHAT},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "8Gi"}}, "storageClassName": "",
            "volumeName": "pvc-planted",
        },
    }  # fmt: skip
    return disk, wanted


def test_a_volume_goes_though_the_drivers_pods_on_the_nodes_still_run(cluster: OwnCluster):
    """Only the driver's controller deletes disks; its pods on the nodes have the driver's name, too."""
    cluster.apply(*volume("index"))
    mounts = {"volumes": [{"name": "index", "persistentVolumeClaim": {"claimName": "index"}}]}
    cluster.apply(workload("Deployment", "vectors", CHAT, {"app": "vectors"}, mounts))
    cluster.ready("deployment/vectors", CHAT)
    known = planning.handle(Cluster(cluster.kubeconfig).objects(["persistentvolumes"])[0])
    assert known == "vol-0planted"

    # A pod uses the claim: Kubernetes' own finalizer holds it until the pod is stopped, and nobody takes that away.
    assert "kubernetes.io/pvc-protection" in finalizers(cluster, "persistentvolumeclaim", "index", "-n", CHAT)
    ended = work(cluster, seconds=60)
    assert run("volumes", ended) is None
    assert cluster.get("persistentvolume", "pvc-planted") == {}
    assert cluster.get("persistentvolumeclaim", "index", "-n", CHAT) == {}
    assert cluster.get("deployment", "vectors", "-n", CHAT)["spec"]["replicas"] == 0
    assert [line for line in ended.released if "look for: volume" in line], ended.released
    assert not [line for line in ended.released if "kubernetes.io/pvc-protection" in line]
    assert "aws-ebs-csi-driver" in Cluster(cluster.kubeconfig).controllers()


def test_with_the_drivers_controller_there_a_disk_is_the_drivers_to_delete(cluster: OwnCluster):
    cluster.apply(workload("Deployment", "ebs-csi-controller", SYSTEM, {**DRIVER, "app": "ebs-csi-controller"}))
    cluster.ready("deployment/ebs-csi-controller", SYSTEM)
    cluster.apply(*volume("archive"))
    until(
        lambda: cluster.get("persistentvolume", "pvc-planted").get("status", {}).get("phase") == "Bound", "it is bound"
    )
    waiting = work(cluster, seconds=8)
    assert run("volumes", waiting) is not None
    assert PROVISIONER in finalizers(cluster, "persistentvolume", "pvc-planted")
    assert waiting.released == []
    cluster.run("-n", SYSTEM, "delete", "deployment", "ebs-csi-controller", "--wait")
