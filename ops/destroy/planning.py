"""What in the cluster has to go before the engine begins, and in which order; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from ops.destroy.live import Object

CASCADE: Final = "resources-finalizer.argocd.argoproj.io"
_PROVISIONED: Final = "pv.kubernetes.io/provisioned-by"
_RELEASE: Final = "meta.helm.sh/release-name"

APPLICATIONS: Final = ("applicationsets.argoproj.io", "applications.argoproj.io")
MAKERS: Final = (
    "cronworkflows.argoproj.io",
    "scheduledworkflows.kubeflow.org",
    "workflows.argoproj.io",
    "scaledobjects.keda.sh",
    "scaledjobs.keda.sh",
    "inferencegraphs.serving.kserve.io",
    "inferenceservices.serving.kserve.io",
    "llminferenceservices.serving.kserve.io",
    "services.serving.knative.dev",
    "rayservices.ray.io",
    "rayjobs.ray.io",
    "rayclusters.ray.io",
    "trainjobs.trainer.kubeflow.org",
    "pytorchjobs.kubeflow.org",
    "mpijobs.kubeflow.org",
    "jobs.batch.volcano.sh",
    "nodepools.karpenter.sh",
    "nodeclaims.karpenter.sh",
)
"""Kinds whose objects make pods, volumes, services or nodes, and are asked for by people and pipelines."""
DOORS: Final = ("services", "ingresses.networking.k8s.io", "gateways.gateway.networking.k8s.io")
BACKUPS: Final = ("schedules.velero.io", "backups.velero.io", "deletebackuprequests.velero.io")
SNAPSHOTS: Final = ("volumesnapshots.snapshot.storage.k8s.io", "volumesnapshotcontents.snapshot.storage.k8s.io")
CLAIMS: Final = ("persistentvolumeclaims", "persistentvolumes", "pods")
WORKLOADS: Final = ("statefulsets.apps", "deployments.apps", "replicasets.apps", "daemonsets.apps", "jobs.batch")

KINDS: Final = (*APPLICATIONS, *MAKERS, *DOORS, *BACKUPS, *SNAPSHOTS, *CLAIMS, *WORKLOADS)
"""Everything that is looked at."""

Do = Literal["delete", "patch", "create", "wait", "leave"]


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing that has to go, and the next step towards it.

    Attributes:
        one: The object.
        do: ``delete``, ``patch`` or ``create`` and then ``wait``; ``leave`` is named and not touched.
        makes: What it has in the account; empty for nothing.
        change: The patch, or the object to create.
        why: What is done, in words.
    """

    one: Object
    do: Do
    makes: str = ""
    change: Mapping[str, Any] = field(default_factory=dict[str, Any])
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What Pulumi knows of the cluster.

    Attributes:
        objects: Kind, namespace and name of each object.
        releases: Names of Helm releases.
        namespaces: Namespaces that it made.
        everything: Whether the cluster itself is the stack's, so that all in it goes.
    """

    objects: frozenset[tuple[str, str, str]]
    releases: frozenset[str]
    namespaces: frozenset[str]
    everything: bool

    def has(self, one: Object) -> bool:
        """Whether Pulumi deletes it, itself or with a release."""
        return one.key in self.objects or one.annotations.get(_RELEASE) in self.releases

    def concerns(self, one: Object) -> bool:
        """Whether it goes with the stack at all."""
        place = one.namespace
        if one.kind == "PersistentVolume":
            place = str(one.part("spec", "claimRef").get("namespace") or "")
        if one.kind == "VolumeSnapshotContent":
            place = str(one.part("spec", "volumeSnapshotRef").get("namespace") or "")
        return self.everything or place in self.namespaces or one.key in self.objects


def known(deployment: Mapping[str, Any], cloud: str) -> Known:
    """Read off the state what Pulumi knows."""
    objects: set[tuple[str, str, str]] = set()
    releases: set[str] = set()
    for one in cast("list[dict[str, Any]]", deployment.get("resources") or []):
        if not one["type"].startswith("kubernetes:") or not one.get("custom") or not one.get("id"):
            continue
        kind = one["type"].rpartition(":")[2]
        namespace, _, name = str(one["id"]).rpartition("/")
        if one["type"].startswith("kubernetes:helm.sh/"):
            releases.add(name)
        else:
            objects.add((kind, namespace, name))
    namespaces = frozenset(name for kind, _, name in objects if kind == "Namespace")
    return Known(
        objects=frozenset(objects), releases=frozenset(releases), namespaces=namespaces, everything=cloud != "onprem"
    )


class Snapshot:
    """The cluster at one moment, and what Pulumi knows of it."""

    def __init__(self, objects: Sequence[Object], pulumi: Known, running: frozenset[str]) -> None:
        self.pulumi, self.running = pulumi, running
        self.objects = [one for one in objects if pulumi.concerns(one)]
        self._by_uid = {one.uid: one for one in objects}

    def of(self, *kinds: str) -> list[Object]:
        """Objects of these kinds."""
        return [one for one in self.objects if one.kind in kinds]

    def root(self, one: Object) -> Object:
        """What made it, followed up to what nobody made; of a kind that is not looked at, no more than its name."""
        while (owner := one.owner) and owner["kind"] != "Node":
            above = self._by_uid.get(str(owner.get("uid")))
            if above is None:
                place = {"namespace": one.namespace} if one.namespace else {}
                metadata = {"name": owner["name"], "uid": owner.get("uid"), **place}
                return Object({"apiVersion": owner["apiVersion"], "kind": owner["kind"], "metadata": metadata})
            one = above
        return one


def _delete(one: Object, *, makes: str = "", why: str = "") -> Item:
    return Item(one=one, do="wait" if one.deleting else "delete", makes=makes, why=why)


def applications(snapshot: Snapshot) -> Iterator[Item]:
    """Argo CD's: the sets first, which would make applications anew; each takes its objects with it."""
    sets = snapshot.of("ApplicationSet")
    yield from (_delete(one, why="it makes applications") for one in sets)
    if sets:
        return
    for one in snapshot.of("Application"):
        if one.deleting or any(name.startswith(CASCADE) for name in one.finalizers):
            yield _delete(one, why="its objects go with it")
        else:
            cascade = {"metadata": {"finalizers": [*one.finalizers, CASCADE]}}
            yield Item(one=one, do="patch", change=cascade, why="so that its objects go with it")


_MAKER_KINDS: Final = frozenset(
    {
        "CronWorkflow",
        "ScheduledWorkflow",
        "Workflow",
        "ScaledObject",
        "ScaledJob",
        "InferenceGraph",
        "InferenceService",
        "LLMInferenceService",
        "RayService",
        "RayJob",
        "RayCluster",
        "TrainJob",
        "PyTorchJob",
        "MPIJob",
        "NodePool",
        "NodeClaim",
    }
)


def makers(snapshot: Snapshot) -> Iterator[Item]:
    """What people and pipelines asked for, and Pulumi does not know; what was made for it goes with it."""
    for one in snapshot.objects:
        group = str(one.manifest["apiVersion"]).partition("/")[0]
        ours = one.kind in _MAKER_KINDS or (one.kind, group) in {
            ("Job", "batch.volcano.sh"),
            ("Service", "serving.knative.dev"),
        }
        if ours and one.owner is None and not snapshot.pulumi.has(one):
            yield _delete(one, why="what it made goes with it")


def doors(snapshot: Snapshot) -> Iterator[Item]:
    """What has a load balancer at the cloud; its controller must still be there to remove it."""
    seen: set[str] = set()
    for one in snapshot.of("Service", "Ingress", "Gateway"):
        if one.kind == "Service" and (
            one.spec.get("type") != "LoadBalancer" or str(one.manifest["apiVersion"]) != "v1"
        ):
            continue
        if one.key in snapshot.pulumi.objects:
            continue  # the engine waits until it is gone, and deletes its controller after it
        root = snapshot.root(one)
        target = root if root.kind in _ROOTS else one
        if target.uid not in seen:
            seen.add(target.uid)
            yield _delete(target, makes=_balancer(one), why="while its controller is there")
        if target is not one and one.deleting:
            yield Item(one=one, do="wait", makes=_balancer(one))


_ROOTS: Final = ("Service", "Ingress", "Gateway")


def backups(snapshot: Snapshot) -> Iterator[Item]:
    """Velero's schedules stop, and its backups go, through Velero where it is there: it deletes their snapshots."""
    for one in snapshot.of("Schedule"):
        if not one.spec.get("paused"):
            yield Item(one=one, do="patch", change={"spec": {"paused": True}}, why="no new backup begins")
    asked = {one.spec.get("backupName") for one in snapshot.of("DeleteBackupRequest")}
    for one in snapshot.of("Backup"):
        if not str(one.manifest["apiVersion"]).startswith("velero.io/"):
            continue
        if "velero" not in snapshot.running:
            yield _delete(one, makes="snapshots", why="Velero is not there; its snapshots are looked for afterwards")
        elif one.name in asked or one.deleting:
            yield Item(one=one, do="wait", makes="snapshots")
        else:
            request = {
                "apiVersion": "velero.io/v1",
                "kind": "DeleteBackupRequest",
                "metadata": {"name": f"destroy-{one.name}", "namespace": one.namespace},
                "spec": {"backupName": one.name},
            }
            yield Item(one=one, do="create", change=request, makes="snapshots", why="Velero deletes its snapshots too")


def snapshots(snapshot: Snapshot) -> Iterator[Item]:
    """Snapshots of volumes: those that would outlive their object are told not to."""
    for one in snapshot.of("VolumeSnapshotContent"):
        makes = f"snapshot {one.status.get('snapshotHandle') or ''}".strip()
        if one.spec.get("deletionPolicy") != "Delete":
            yield Item(one=one, do="patch", change={"spec": {"deletionPolicy": "Delete"}}, makes=makes)
        else:
            yield _delete(one, makes=makes)
    for one in snapshot.of("VolumeSnapshot"):
        if not snapshot.pulumi.has(one):
            yield _delete(one, makes="snapshot")


def volumes(snapshot: Snapshot) -> Iterator[Item]:
    """Claims that workloads made, who uses them, and their disks."""
    claims = {
        (one.namespace, one.name): one
        for one in snapshot.of("PersistentVolumeClaim")
        if one.key not in snapshot.pulumi.objects
    }
    disks = [one for one in snapshot.of("PersistentVolume") if one.key not in snapshot.pulumi.objects]
    for one in disks:
        makes = f"disk {handle(one)}"
        if one.annotations.get(_PROVISIONED) is None:
            yield Item(one=one, do="leave", makes=makes, why="somebody made it by hand: nobody deletes its disk")
        elif one.spec.get("persistentVolumeReclaimPolicy") != "Delete" and not one.deleting:
            keep = {"spec": {"persistentVolumeReclaimPolicy": "Delete"}}
            yield Item(one=one, do="patch", change=keep, makes=makes, why="the driver deletes its disk")
        elif one.status.get("phase") == "Bound" and not one.deleting:
            yield Item(one=one, do="wait", makes=makes)  # its claim is deleted below
        else:
            yield _delete(one, makes=makes)
    stopped: set[str] = set()
    for pod in snapshot.of("Pod"):
        used = cast("Sequence[Mapping[str, Any]]", pod.spec.get("volumes") or ())
        names = {(pod.namespace, str(volume["persistentVolumeClaim"]["claimName"])) for volume in used
                 if "persistentVolumeClaim" in volume}  # fmt: skip
        if names & claims.keys():
            root = snapshot.root(pod)
            if root.uid not in stopped:
                stopped.add(root.uid)
                yield _stopped(root)
    for one in claims.values():
        yield _delete(one, makes=f"disk of {one.spec.get('volumeName') or 'no volume yet'}")


def _stopped(root: Object) -> Item:
    """The workload to a stop; one that an operator looks after would come back, so its own object goes."""
    if root.kind in ("StatefulSet", "Deployment", "ReplicaSet"):
        if root.spec.get("replicas") == 0:
            return Item(one=root, do="wait")
        return Item(one=root, do="patch", change={"spec": {"replicas": 0}}, why="nobody uses its claims then")
    return _delete(root, why="nobody uses its claims then")


def handle(volume: Object) -> str:
    """What the cloud calls the disk of a persistent volume."""
    source = cast("Mapping[str, Any]", volume.spec.get("csi") or {})
    if source:
        return str(source.get("volumeHandle") or "")
    for kind, name in (("awsElasticBlockStore", "volumeID"), ("gcePersistentDisk", "pdName")):
        if kind in volume.spec:
            return str(volume.spec[kind][name]).rpartition("/")[2]
    return volume.name


def _balancer(one: Object) -> str:
    ingress = cast("Sequence[Mapping[str, Any]]", one.part("status", "loadBalancer").get("ingress") or ())
    names = [str(address.get("hostname") or address.get("ip")) for address in ingress]
    return f"load balancer {', '.join(names)}" if names else "load balancer"


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One step of the order.

    Attributes:
        name: For progress.
        why_now: Why it stands where it stands.
        items: What is left to do in it.
        seconds: How long it may take.
    """

    name: str
    why_now: str
    items: Callable[[Snapshot], Iterator[Item]]
    seconds: float


PHASES: Final = (
    Phase(
        name="applications",
        why_now="Argo CD would make anew what is deleted under its hands",
        items=applications,
        seconds=900,
    ),
    Phase(
        name="what runs",
        why_now="it makes pods, volumes and nodes as long as it is there",
        items=makers,
        seconds=900,
    ),
    Phase(
        name="load balancers",
        why_now="only their controller removes them, and the network cannot go with one in it",
        items=doors,
        seconds=900,
    ),
    Phase(name="backups", why_now="only Velero knows their snapshots", items=backups, seconds=1800),
    Phase(name="snapshots", why_now="only the snapshot controller deletes them", items=snapshots, seconds=900),
    Phase(name="volumes", why_now="only the volume driver deletes their disks", items=volumes, seconds=1200),
)
"""In the order in which they go; the controllers that each needs go after all of them, with the engine."""
