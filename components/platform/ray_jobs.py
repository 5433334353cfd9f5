"""What KubeRay is asked for: clusters, and jobs that bring one. Plain manifests; nothing here is created."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from components.capacity import Request
from components.contract import ROLE_LABEL
from components.platform.confinement import CONTAINER_SECURITY
from components.platform.priorities import PriorityName
from components.versions import IMAGES

API: Final = "ray.io/v1"

HEAD_ACCOUNT: Final = "ray-head"
"""Service account of heads in ``mlops-data``: Ray's autoscaler asks for workers with it. It has no cloud identity."""

WORKER_ACCOUNT: Final = "ray-worker"
"""Service account of workers in ``mlops-data``: it reads and writes data, and has no token of the Kubernetes API."""

HEAD: Final = Request(cpu_millicores=1000, memory_mib=4096)
"""A head: the cluster's own bookkeeping; no task runs there."""

AUTOSCALER: Final = Request(cpu_millicores=100, memory_mib=512)
"""The second container of a head that adds and removes workers."""

SUBMITTER: Final = Request(cpu_millicores=50, memory_mib=512)
"""The pod that hands a job to its cluster and follows its log."""

_VERSION, _PYTHON = IMAGES["ray"].rpartition(":")[2].split("-py")
RAY_VERSION: Final = _VERSION
"""Version of Ray in the image; clients must have the same."""
PYTHON_VERSION: Final = f"{_PYTHON[0]}.{_PYTHON[1:]}"
"""Version of Python in the image; code is pickled with it, so clients must have the same."""

_QUEUE_LABEL: Final = "volcano.sh/queue-name"
_PRIORITY_LABEL: Final = "ray.io/priority-class-name"
_NAME: Final = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")  # KubeRay adds up to 20 characters, of 63

# The image's user. Its group may read the token of the cloud identity, which is mounted for `fsGroup`.
_POD_SECURITY: Final[Mapping[str, Any]] = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "runAsGroup": 100,
    "fsGroup": 100,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Workers of one cluster, all of one size.

    Attributes:
        least: How many are kept, and for a job: how many must be there before it starts.
        most: How many there may be; Ray asks for more when tasks wait.
        vcpu: CPU of one; tasks are counted by it.
        memory_gib: Memory of one in GiB.
        disk_gib: Disk of one in GiB, where objects go that do not fit into memory.
        idle_seconds: How long one is kept without work.
    """

    least: int = 0
    most: int
    vcpu: int
    memory_gib: int
    disk_gib: int = 20
    idle_seconds: int = 60

    @property
    def requests(self) -> Request:
        """What all of them request together when all are there."""
        return Request(
            cpu_millicores=self.most * self.vcpu * 1000,
            memory_mib=self.most * self.memory_gib * 1024,
            ephemeral_storage_gib=self.most * self.disk_gib,
        )


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a cluster runs, and as whom.

    Attributes:
        namespace: Its namespace; the operator looks at ``mlops-data`` and at the teams'.
        head_account: Service account of the head. KubeRay gives it the right to change its own cluster.
        worker_account: Service account of the workers: code of jobs acts as it.
        queue: Volcano's queue; none where Volcano is not installed.
        role: Nodes to run on, as in :data:`components.contract.NodeRole`.
        priority: Priority class of its pods.
    """

    namespace: str = "mlops-data"
    head_account: str = HEAD_ACCOUNT
    worker_account: str = WORKER_ACCOUNT
    queue: str | None = "data"
    role: str = "cpu"
    priority: PriorityName = "batch"


@dataclass(frozen=True, kw_only=True)
class RuntimeEnv:
    """What code needs besides the image; Ray prepares it on each worker.

    Attributes:
        working_dir: Address of a zip file that becomes the working directory, such as ``s3://bucket/code.zip``.
        packages: Requirements that are installed with pip, pinned: they are fetched for every job anew.
        variables: Environment variables; nothing secret, they are shown in the dashboard.
    """

    working_dir: str | None = None
    packages: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if self.working_dir is not None and not re.fullmatch(r"(s3|gs|https)://\S+\.zip", self.working_dir):
            raise ValueError(f"working_dir must be the address of a zip file; got {self.working_dir}")
        if loose := [one for one in self.packages if "==" not in one and " @ " not in one]:
            raise ValueError(f"packages must be pinned; got {', '.join(loose)}")

    @property
    def document(self) -> dict[str, Any]:
        """As ``ray job submit`` takes it."""
        found: dict[str, Any] = {}
        if self.working_dir is not None:
            found["working_dir"] = self.working_dir
        if self.packages:
            found["pip"] = list(self.packages)
        if self.variables:
            found["env_vars"] = dict(self.variables)
        return found


@dataclass(frozen=True, kw_only=True)
class RayJobArgs:
    """One job with a cluster of its own, which goes when the job ends.

    Attributes:
        name: Name of the job; lower-case, at most 40 characters.
        entrypoint: Command line of the driver; it runs on a worker.
        workers: Workers of its cluster.
        runtime_env: What the code needs.
        place: Where it runs, and as whom.
        image: Image with Ray and Python of :data:`components.versions.IMAGES`; another one must have the same of both.
        retries: How often it is run again, with a new cluster, after it failed.
        deadline_seconds: When it is stopped, retries included.
        keep_seconds: How long its cluster stays after the end, for its dashboard to be read.
        gpus: GPUs of one worker.
    """

    name: str
    entrypoint: str
    workers: Workers
    runtime_env: RuntimeEnv = RuntimeEnv()
    place: Place = Place()
    image: str = IMAGES["ray"]
    retries: int = 1
    deadline_seconds: int = 6 * 3600
    keep_seconds: int = 300
    gpus: int = 0


def ray_job(args: RayJobArgs) -> dict[str, Any]:
    """The RayJob.

    Its own cluster, and not the standing one: Volcano then starts all of its pods or none, its packages meet nobody
    else's, and KubeRay refuses under Volcano a job that names a cluster.

    Raises:
        ValueError: A name or number that KubeRay would refuse later.
    """
    if not _NAME.fullmatch(args.name):
        raise ValueError(f"a RayJob's name must be lower-case and at most 40 characters long; got {args.name}")
    if not args.entrypoint.strip():
        raise ValueError(f"RayJob {args.name}: the entrypoint is empty")
    if not 1 <= args.workers.most >= args.workers.least:
        raise ValueError(f"RayJob {args.name}: at least one worker, and no more at least than at most")
    runtime_env = args.runtime_env.document
    return {
        "apiVersion": API,
        "kind": "RayJob",
        "metadata": {"name": args.name, "namespace": args.place.namespace, "labels": labels(args.place)},
        "spec": {
            "entrypoint": args.entrypoint,
            # The driver is user code: on a worker it has the workers' identity, and cannot starve the head.
            "entrypointNumCpus": 1,
            **({"runtimeEnvYAML": json.dumps(runtime_env)} if runtime_env else {}),
            "backoffLimit": args.retries,
            "activeDeadlineSeconds": args.deadline_seconds,
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": args.keep_seconds,
            "submissionMode": "K8sJobMode",
            "submitterConfig": {"backoffLimit": 2},
            "submitterPodTemplate": _submitter(args),
            "rayClusterSpec": cluster_spec(args.workers, args.place, image=args.image, gpus=args.gpus),
        },
    }


def labels(place: Place) -> dict[str, str]:
    """Labels of a RayCluster or RayJob from which KubeRay makes the PodGroup."""
    return {_QUEUE_LABEL: place.queue, _PRIORITY_LABEL: place.priority} if place.queue else {}


def cluster_spec(workers: Workers, place: Place, *, image: str = IMAGES["ray"], gpus: int = 0) -> dict[str, Any]:
    """Specification of a RayCluster that grows and shrinks with its work.

    Memory requests equal limits: Ray sizes its object store by the limit, and shared memory counts as the pod's own.
    """
    return {
        "rayVersion": RAY_VERSION,
        # A token that the operator makes and hands to the cluster's pods: whoever reaches a port of Ray without it can
        # run nothing. The mesh encrypts what goes between the pods.
        "authOptions": {"mode": "token"},
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {
            "idleTimeoutSeconds": workers.idle_seconds,
            "imagePullPolicy": "IfNotPresent",
            "resources": _resources(AUTOSCALER),
            "securityContext": dict(CONTAINER_SECURITY),
        },
        "headGroupSpec": {
            "serviceType": "ClusterIP",
            "rayStartParams": {"num-cpus": "0", "num-gpus": "0"},
            "template": _pod("ray-head", HEAD, place, account=place.head_account, image=image, head=True),
        },
        "workerGroupSpecs": [
            {
                "groupName": "workers",
                # Not how many there are now: that is the autoscaler's, which writes it here.
                "minReplicas": workers.least,
                "maxReplicas": workers.most,
                # Said, because without a limit of CPU Ray would count the node's.
                "rayStartParams": {"num-cpus": str(workers.vcpu), "num-gpus": str(gpus)},
                "template": _pod(
                    "ray-worker",
                    Request(
                        cpu_millicores=workers.vcpu * 1000,
                        memory_mib=workers.memory_gib * 1024,
                        ephemeral_storage_gib=workers.disk_gib,
                        gpus=gpus,
                    ),
                    place,
                    account=place.worker_account,
                    image=image,
                    head=False,
                ),
            }
        ],
    }


def _pod(name: str, size: Request, place: Place, *, account: str, image: str, head: bool) -> dict[str, Any]:
    ports = {"gcs-server": 6379, "dashboard": 8265, "client": 10001} if head else {}
    disk_gib = max(size.ephemeral_storage_gib, 5)
    return {
        "spec": {
            "serviceAccountName": account,
            "automountServiceAccountToken": head,  # for the autoscaler
            "enableServiceLinks": False,
            "priorityClassName": place.priority,
            "nodeSelector": {ROLE_LABEL: place.role},
            **({"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]} if size.gpus else {}),
            "securityContext": dict(_POD_SECURITY),
            "containers": [
                {
                    "name": name,
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "env": [
                        {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"},
                        {"name": "RAY_LOGGING_CONFIG_ENCODING", "value": "JSON"},
                    ],
                    "ports": [
                        {"name": port, "containerPort": number} for port, number in {**ports, "metrics": 8080}.items()
                    ],
                    "resources": _resources(size),
                    "securityContext": dict(CONTAINER_SECURITY),
                    "volumeMounts": [{"name": "session", "mountPath": "/tmp/ray"}],
                }
            ],
            # Logs, prepared environments and objects that did not fit into memory.
            "volumes": [{"name": "session", "emptyDir": {"sizeLimit": f"{disk_gib}Gi"}}],
        }
    }


def _submitter(args: RayJobArgs) -> dict[str, Any]:
    """KubeRay adds the command and the token."""
    return {
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "priorityClassName": args.place.priority,
            "nodeSelector": {ROLE_LABEL: args.place.role},
            "securityContext": dict(_POD_SECURITY),
            "containers": [
                {
                    "name": "ray-job-submitter",
                    "image": args.image,
                    "resources": _resources(SUBMITTER),
                    "securityContext": dict(CONTAINER_SECURITY),
                }
            ],
        }
    }


def _resources(size: Request) -> dict[str, Any]:
    """No limit of CPU: what others leave is used."""
    memory = f"{size.memory_mib}Mi"
    requests = {"cpu": f"{size.cpu_millicores}m", "memory": memory}
    limits = {"memory": memory}
    if size.ephemeral_storage_gib:
        requests["ephemeral-storage"] = limits["ephemeral-storage"] = f"{size.ephemeral_storage_gib}Gi"
    if size.gpus:
        requests["nvidia.com/gpu"] = limits["nvidia.com/gpu"] = str(size.gpus)
    return {"requests": requests, "limits": limits}
