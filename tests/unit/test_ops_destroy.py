"""What a destroy refuses, what goes before the engine and in which order, and which finalizers may be taken away."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from ops.destroy import finalizers, planning
from ops.destroy.cli import app
from ops.destroy.live import Object
from ops.destroy.planning import PHASES, Known, Snapshot
from ops.destroy.protection import delayed, protected
from ops.destroy.work import Patience, Work

pytestmark = pytest.mark.unit

STATE = Path(__file__).resolve().parents[1] / "plan" / "fixtures" / "dev.state.json"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LONG_AGO = "2026-11-22T11:00:00Z"


def thing(
    kind: str, name: str, *, api: str = "v1", namespace: str = "chat", spec: Any = None, **metadata: Any
) -> Object:
    place = {"namespace": namespace} if namespace else {}
    status = metadata.pop("status", {})
    told = {"name": name, "uid": f"{kind}/{name}", **place, **metadata}
    return Object({"apiVersion": api, "kind": kind, "metadata": told, "spec": spec or {}, "status": status})


def owned(owner: Object) -> list[dict[str, Any]]:
    reference = {"apiVersion": owner.manifest["apiVersion"], "kind": owner.kind, "name": owner.name, "uid": owner.uid}
    return [{**reference, "controller": True}]


def seen(*objects: Object, running: tuple[str, ...] = (), **more: Any) -> Snapshot:
    nothing: dict[str, Any] = {
        "objects": frozenset(), "releases": frozenset(), "namespaces": frozenset(), "everything": True, **more,
    }  # fmt: skip
    return Snapshot(objects, Known(**nothing), frozenset(running))


def steps(items: Any) -> dict[str, str]:
    return {item.one.name: item.do for item in items}


def resource(type_: str, id_: str, **rest: Any) -> dict[str, Any]:
    return {"type": type_, "id": id_, "urn": f"urn:pulumi:prod::llmops::{type_}::{id_}", "custom": True, **rest}


def test_each_protection_names_what_is_lost_and_how_it_is_let_go():
    server = resource(
        "aws:rds/instance:Instance", "llmops-prod-postgres", protect=True, outputs={"deletionProtection": True}
    )
    bucket = resource("aws:s3/bucket:Bucket", "llmops-prod-data", outputs={"forceDestroy": False})
    role = resource("aws:iam/role:Role", "llmops-prod-velero", outputs={"forceDetachPolicies": False})
    found = protected({"resources": [server, bucket, role]}, "prod")
    assert [(one.name, one.by) for one in found] == [
        ("llmops-prod-postgres", "pulumi"),
        ("llmops-prod-postgres", "cloud"),
        ("llmops-prod-data", "cloud"),
    ]
    assert found[0].unprotect == f"pulumi state unprotect --stack prod --yes '{server['urn']}'"
    assert "--no-deletion-protection" in found[1].unprotect
    assert found[2].holds == "the objects"
    assert "llmops:protect" in found[2].unprotect


def test_the_development_stack_refuses_nothing():
    deployment = json.loads(STATE.read_text())
    assert protected(deployment.get("deployment", deployment), "dev") == []


def test_what_the_cloud_keeps_for_a_while_is_said_beforehand():
    secret = resource("aws:secretsmanager/secret:Secret", "grafana", outputs={"recoveryWindowInDays": 30})
    at_once = resource("aws:secretsmanager/secret:Secret", "mlflow", outputs={"recoveryWindowInDays": 0})
    key = resource("aws:kms/key:Key", "1234", outputs={"deletionWindowInDays": 7})
    told = {one.name: one.what for one in delayed({"resources": [secret, at_once, key]})}
    assert told.keys() == {"grafana", "1234"}
    assert "30 days" in told["grafana"]


def test_sets_go_before_applications_and_these_take_their_objects_with_them():
    plain = thing("Application", "llama", api="argoproj.io/v1alpha1")
    cascading = thing("Application", "mistral", api="argoproj.io/v1alpha1", finalizers=[planning.CASCADE])
    makes = thing("ApplicationSet", "teams", api="argoproj.io/v1alpha1")
    assert steps(planning.applications(seen(plain, cascading, makes))) == {"teams": "delete"}
    found = {item.one.name: item for item in planning.applications(seen(plain, cascading))}
    assert (found["llama"].do, found["mistral"].do) == ("patch", "delete")
    assert found["llama"].change == {"metadata": {"finalizers": [planning.CASCADE]}}


def test_a_load_balancer_goes_with_its_service_or_with_what_made_the_service():
    door = thing("Service", "door", spec={"type": "LoadBalancer"}, status={
        "loadBalancer": {"ingress": [{"hostname": "a.elb.amazonaws.com"}]}})  # fmt: skip
    inner = thing("Service", "inner", spec={"type": "ClusterIP"})
    gateway = thing("Gateway", "edge", api="gateway.networking.k8s.io/v1")
    behind = thing("Service", "edge-istio", spec={"type": "LoadBalancer"}, ownerReferences=owned(gateway))
    (first, second) = planning.doors(seen(door, inner, gateway, behind))
    assert (first.one.name, first.makes) == ("door", "load balancer a.elb.amazonaws.com")
    assert second.one.name == "edge", "its controller would make the service anew"


def test_what_pulumi_declares_itself_is_left_to_it():
    door = thing("Service", "door", spec={"type": "LoadBalancer"})
    assert list(planning.doors(seen(door, objects=frozenset({door.key})))) == []
    chart = thing("ScaledObject", "busy", api="keda.sh/v1alpha1", annotations={"meta.helm.sh/release-name": "keda"})
    assert list(planning.makers(seen(chart, releases=frozenset({"keda"})))) == []
    assert steps(planning.makers(seen(chart))) == {"busy": "delete"}


def test_children_go_with_what_they_belong_to():
    cluster = thing("RayCluster", "grid", api="ray.io/v1")
    job = thing("RayJob", "embed", api="ray.io/v1")
    child = thing("RayCluster", "embed-raycluster", api="ray.io/v1", ownerReferences=owned(job))
    assert steps(planning.makers(seen(cluster, job, child))) == {"grid": "delete", "embed": "delete"}


def disk(
    name: str, *, policy: str = "Delete", phase: str = "Bound", made: bool = True, namespace: str = "chat"
) -> Object:
    spec = {
        "persistentVolumeReclaimPolicy": policy, "csi": {"volumeHandle": f"vol-{name}"},
        "claimRef": {"namespace": namespace, "name": "index"},
    }  # fmt: skip
    notes = {"pv.kubernetes.io/provisioned-by": "ebs.csi.aws.com"} if made else {}
    return thing("PersistentVolume", name, namespace="", spec=spec, annotations=notes, status={"phase": phase})


def user(owner: Object | None) -> Object:
    volumes = [{"name": "index", "persistentVolumeClaim": {"claimName": "index"}}]
    return thing("Pod", "user-0", spec={"volumes": volumes}, ownerReferences=owned(owner) if owner else [])


CLAIM = thing("PersistentVolumeClaim", "index", spec={"volumeName": "a"})


def test_disks_go_with_their_driver_there_whatever_their_policy_was():
    found = {item.one.name: item for item in planning.volumes(seen(CLAIM, disk("a"), disk("b", policy="Retain")))}
    assert (found["index"].do, found["a"].do, found["b"].do) == ("delete", "wait", "patch")
    assert found["b"].change == {"spec": {"persistentVolumeReclaimPolicy": "Delete"}}
    assert found["b"].makes == "disk vol-b"
    assert steps(planning.volumes(seen(disk("c", phase="Released")))) == {"c": "delete"}


def test_a_disk_that_somebody_made_by_hand_is_named_and_not_touched():
    assert steps(planning.volumes(seen(disk("a", made=False)))) == {"a": "leave"}


def test_who_uses_a_claim_is_stopped_and_what_an_operator_looks_after_is_deleted_at_its_root():
    grown = thing("StatefulSet", "user", api="apps/v1", spec={"replicas": 3})
    found = {item.one.name: item for item in planning.volumes(seen(CLAIM, grown, user(grown)))}
    assert found["user"].change == {"spec": {"replicas": 0}}
    metrics = thing("Prometheus", "main", api="monitoring.coreos.com/v1")
    operated = thing("StatefulSet", "prometheus-main", api="apps/v1", ownerReferences=owned(metrics))
    items = [item for item in planning.volumes(seen(CLAIM, operated, user(operated))) if item.one.kind == "Prometheus"]
    assert [(item.do, item.one.reference, item.one.namespace) for item in items] == [
        ("delete", "Prometheus.v1.monitoring.coreos.com", "chat")
    ]
    stopped = thing("StatefulSet", "user", api="apps/v1", spec={"replicas": 0})
    assert steps(planning.volumes(seen(CLAIM, stopped, user(stopped))))["user"] == "wait"


def test_backups_go_through_velero_and_without_it_when_it_is_gone():
    backup = thing("Backup", "daily-1", api="velero.io/v1", namespace="velero")
    schedule = thing("Schedule", "daily", api="velero.io/v1", namespace="velero")
    there = {item.one.name: item for item in planning.backups(seen(backup, schedule, running=("velero",)))}
    assert there["daily"].change == {"spec": {"paused": True}}
    assert there["daily-1"].change["kind"] == "DeleteBackupRequest"
    asked = thing("DeleteBackupRequest", "r", api="velero.io/v1", namespace="velero", spec={"backupName": "daily-1"})
    assert steps(planning.backups(seen(backup, asked, running=("velero",)))) == {"daily-1": "wait"}
    assert steps(planning.backups(seen(backup))) == {"daily-1": "delete"}


def test_a_snapshot_that_would_outlive_its_object_is_told_not_to():
    kept = thing("VolumeSnapshotContent", "content", namespace="", spec={"deletionPolicy": "Retain"})
    (item,) = planning.snapshots(seen(kept))
    assert (item.do, item.change) == ("patch", {"spec": {"deletionPolicy": "Delete"}})


def test_on_a_cluster_of_others_only_the_stacks_namespaces_are_touched():
    """On premises the cluster is there before the stack, and after it."""
    ours = thing("Service", "door", spec={"type": "LoadBalancer"})
    theirs = thing("Service", "shop", namespace="shop", spec={"type": "LoadBalancer"})
    their_disk, our_disk = disk("shop", namespace="shop", phase="Released"), disk("ours", phase="Released")
    snapshot = seen(ours, theirs, their_disk, our_disk, everything=False, namespaces=frozenset({"chat"}))
    touched = {item.one.name for phase in PHASES for item in phase.items(snapshot)}
    assert touched == {"door", "ours"}


def test_what_pulumi_knows_is_read_off_the_state():
    resources = [
        resource("kubernetes:core/v1:Namespace", "chat"),
        resource("kubernetes:core/v1:Service", "chat/door"),
        resource("kubernetes:helm.sh/v3:Release", "keda/keda"),
    ]
    found = planning.known({"resources": resources}, "onprem")
    assert found.has(thing("Service", "door"))
    assert not found.has(thing("Service", "other"))
    assert (found.releases, found.namespaces, found.everything) == ({"keda"}, {"chat"}, False)


def test_a_finalizer_goes_only_when_it_is_listed_and_its_controller_is_gone():
    held = ["service.k8s.aws/resources", "kubernetes.io/pvc-protection", "example.org/mine"]
    there = finalizers.judge(held, frozenset({"aws-load-balancer-controller"}))
    assert there.gone == ()
    gone = finalizers.judge(held, frozenset({"keda-operator"}))
    assert [rule.leaves for rule in gone.gone] == ["load balancer"]
    assert gone.kept == ("kubernetes.io/pvc-protection", "example.org/mine")
    assert gone.unknown == ("example.org/mine",)


@pytest.mark.parametrize("rule", finalizers.RULES, ids=lambda rule: rule.pattern)
def test_every_rule_has_a_reason_and_is_about_no_finalizer_of_kubernetes(rule: finalizers.Rule):
    assert rule.reason
    assert rule.controller
    assert not rule.pattern.startswith(finalizers.KUBERNETES)
    assert finalizers.rule_of(rule.pattern.replace("*", "")) == rule, "an earlier rule hides it"


class Recording:
    """A cluster that notes what is asked of it."""

    def __init__(self) -> None:
        self.patches: list[tuple[str, Any]] = []
        self.running = frozenset[str]()

    def controllers(self) -> frozenset[str]:
        return self.running

    def objects(self, _kinds: Any) -> list[Object]:
        return []

    def patch(self, one: Object, change: Any) -> None:
        self.patches.append((one.name, change))


def working(grace_seconds: float) -> tuple[Work, Recording]:
    cluster: Any = Recording()
    known = Known(objects=frozenset(), releases=frozenset(), namespaces=frozenset(), everything=True)
    patience = Patience(grace_seconds=grace_seconds)
    return Work(cluster=cluster, pulumi=known, simulated=False, tell=lambda _: None, patience=patience), cluster


def shown(monkeypatch: pytest.MonkeyPatch, snapshot: Snapshot) -> None:
    """Let every look at the cluster show this."""

    def look(_work: Work) -> Snapshot:
        return snapshot

    monkeypatch.setattr(Work, "snapshot", look)


def test_a_controller_that_is_only_being_rescheduled_is_given_time(monkeypatch: pytest.MonkeyPatch):
    """However long the object has waited: its controller must have been away for the grace, without a break."""
    now = [1000.0]
    monkeypatch.setattr("ops.destroy.work.time", SimpleNamespace(monotonic=lambda: now[0]))
    asked = datetime.now(UTC).isoformat()
    fresh = thing("Service", "door", finalizers=["service.k8s.aws/resources"], deletionTimestamp=asked)
    old = thing("Service", "door", finalizers=["service.k8s.aws/resources", "x/y"], deletionTimestamp=LONG_AGO)
    work, cluster = working(grace_seconds=60)

    def released(one: Object, seconds: float, *running: str) -> bool:
        now[0] += seconds
        cluster.running = frozenset(running)
        return work.release(one, work.snapshot().running)

    assert not released(old, 0)
    assert not released(old, 50, "aws-load-balancer-controller"), "it runs"
    assert not released(old, 50), "away again, since now"
    assert not released(old, 59)
    assert not released(fresh, 2), "it was asked to go only just now"
    assert cluster.patches == []
    assert released(old, 0)
    assert cluster.patches == [("door", {"metadata": {"finalizers": ["x/y"]}})]
    assert "look for: load balancer" in work.released[0]


def test_a_volume_drivers_pods_on_the_nodes_are_not_its_controller():
    held = ["external-attacher/ebs-csi-aws-com", "external-provisioner.volume.kubernetes.io/finalizer"]
    on_nodes = frozenset({"aws-ebs-csi-driver", "ebs-csi-node"})
    assert len(finalizers.judge(held, on_nodes).gone) == 2
    assert finalizers.judge(held, on_nodes | {"ebs-csi-controller"}).gone == ()


def test_what_nobody_asked_to_go_keeps_its_finalizers():
    work, cluster = working(grace_seconds=0)
    assert not work.release(thing("Service", "door", finalizers=["service.k8s.aws/resources"]), frozenset())
    assert cluster.patches == []


def test_the_time_of_a_deletion_counts_from_its_request():
    pod = thing("Pod", "p", deletionTimestamp="2026-11-22T12:00:30Z", deletionGracePeriodSeconds=40)
    assert pod.deleting_seconds(NOW) == pytest.approx(10)


def test_a_phase_that_does_not_end_says_of_each_thing_what_holds_it(monkeypatch: pytest.MonkeyPatch):
    stuck = thing("Service", "door", finalizers=["example.org/mine"], deletionTimestamp=LONG_AGO,
                  spec={"type": "LoadBalancer"})  # fmt: skip
    work, _ = working(grace_seconds=0)
    shown(monkeypatch, seen(stuck))
    work.patience = Patience(scale=0)
    phase = next(one for one in PHASES if one.name == "load balancers")
    found = work.run(phase)
    assert found is not None
    assert "example.org/mine" in found.advice[0]
    assert "kubectl patch --namespace chat Service/door" in found.advice[0]


def test_phases_stand_in_the_order_in_which_things_hold_on_to_one_another():
    assert [one.name for one in PHASES] == [
        "applications", "what runs", "load balancers", "backups", "snapshots", "volumes",
    ]  # fmt: skip


def test_an_item_that_is_left_alone_holds_nothing_up(monkeypatch: pytest.MonkeyPatch):
    work, _ = working(grace_seconds=0)
    shown(monkeypatch, seen(disk("a", made=False)))
    assert work.run(PHASES[-1]) is None


def test_without_a_stack_or_an_engine_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("PULUMI_STACK", raising=False)
    none = CliRunner().invoke(app, [])
    assert none.exit_code == 2
    assert "--stack" in none.stderr
    monkeypatch.setenv("PATH", str(tmp_path))
    engineless = CliRunner().invoke(app, ["--stack", "dev", "--record-folder", str(tmp_path)])
    assert engineless.exit_code == 2
    assert "no `pulumi` on PATH" in engineless.stderr
