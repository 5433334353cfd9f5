"""Training jobs as manifests: the same job as a ``TrainJob`` or as a ``PyTorchJob``, in its queue and on its nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from components.contract import GPU_MODEL_LABEL, ROLE_LABEL, NodePool, NodeRole
from components.platform.confinement import CONTAINER_SECURITY
from components.platform.experiments import CLIENT_SECRET
from components.platform.openings import Namespace
from components.platform.priorities import PriorityName
from components.platform.scheduling import QUEUE_ANNOTATION

NAMESPACE: Final[Namespace] = "mlops-training"

ACCOUNT: Final = "training"
"""Service account of training pods; it may read data, and read and write models and artifacts of experiments."""

SCHEDULER: Final = "volcano"

Framework = Literal["torch", "deepspeed"]
TrainingPriority = Literal["training", "training-preemptible"]

TRAINER_API: Final = "trainer.kubeflow.org/v1alpha1"
PYTORCH_API: Final = "kubeflow.org/v1"

_ROLE: Final[NodeRole] = "gpu-training"
_GPU: Final = "nvidia.com/gpu"
_MANAGER: Final = "llmops.platform/jobs"
_USER: Final = 1000
# A spot node leaves with 120 seconds' notice; the rest is for the pod to be told and to be gone.
GRACE_SECONDS: Final = 100
_HOME: Final = "/home/training"
_RENDEZVOUS_PORT: Final = 29400


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """One training run.

    Attributes:
        name: Name of the job: lower-case letters, digits and hyphens, starting with a letter, at most 50 characters.
        image: Image of the training code; it runs as user 1000.
        command: What every node runs: ``torchrun`` finds nodes and processes in its environment (``PET_*``).
        nodes: Nodes that start together, or not at all.
        gpus: GPUs of each node, and processes on it.
        cpu_millicores: CPU of each node.
        memory_mib: Memory of each node in MiB, with shared memory in it.
        disk_gib: Ephemeral disk of each node in GiB.
        shared_memory_gib: Shared memory of each node in GiB.
        framework: Which runtime a ``TrainJob`` takes.
        priority: ``training-preemptible`` for a job that resumes from a checkpoint: it leaves when others need room.
        gpu_model: Lower-case model such as ``a10g``; empty for any.
        queue: Queue of the scheduler; empty for the one of the namespace.
        namespace: Where it runs: ``mlops-training`` or a team's.
        service_account: Its identity.
        environment: Variables.
        secrets: Variables from Secrets: name to the Secret and its key.
        deadline_hours: When it is stopped at the latest; none for never.
        restarts: How often the whole job may start again, from its last checkpoint.
        keep_hours: How long its objects stay when it is done.
        labels: Labels of the job and of its pods, such as the team's.
    """

    name: str
    image: str
    command: Sequence[str]
    nodes: int = 1
    gpus: int = 1
    cpu_millicores: int
    memory_mib: int
    disk_gib: int = 20
    shared_memory_gib: int = 4
    framework: Framework = "torch"
    priority: TrainingPriority = "training"
    gpu_model: str = ""
    queue: str = ""
    namespace: str = NAMESPACE
    service_account: str = ACCOUNT
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    secrets: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    deadline_hours: int | None = None
    restarts: int = 3
    keep_hours: int = 24
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def resources(self) -> dict[str, Any]:
        """Requests and limits of the training container; memory is not shared out twice."""
        gpus = {_GPU: str(self.gpus)} if self.gpus else {}
        memory = f"{self.memory_mib}Mi"
        disk = {"ephemeral-storage": f"{self.disk_gib}Gi"}
        return {
            "requests": {"cpu": _cores(self.cpu_millicores), "memory": memory, **disk, **gpus},
            "limits": {"memory": memory, **disk, **gpus},
        }


def runtime_name(framework: Framework, priority: TrainingPriority) -> str:
    """Name of a runtime. A ``TrainJob`` cannot choose its priority, so there is one runtime for each."""
    return framework if priority == "training" else f"{framework}-preemptible"


def tolerations(pools: Sequence[NodePool]) -> list[dict[str, str]]:
    """What a pod must tolerate to run on every training node."""
    taints = {(taint.key, taint.effect) for pool in pools if pool.role == _ROLE for taint in pool.taints}
    return [{"key": key, "operator": "Exists", "effect": effect} for key, effect in sorted(taints)]


def training_runtime(
    framework: Framework, priority: TrainingPriority, *, image: str, pools: Sequence[NodePool], shared_memory_gib: int
) -> dict[str, Any]:
    """A ``ClusterTrainingRuntime``: what all ``TrainJobs`` of a framework and a priority have in common.

    DeepSpeed is started by ``torchrun`` too: its own way, by SSH from a launcher that waits for the other pods, never
    begins under gang scheduling, because the launcher is a member of the gang.
    """
    node = _pod(
        image=image,
        container="node",
        priority=priority,
        service_account=ACCOUNT,
        node_selector={ROLE_LABEL: _ROLE},
        pools=pools,
        shared_memory_gib=shared_memory_gib,
    )
    return {
        "apiVersion": TRAINER_API,
        "kind": "ClusterTrainingRuntime",
        "metadata": {
            "name": runtime_name(framework, priority),
            "labels": {"trainer.kubeflow.org/framework": framework},
        },
        "spec": {
            "mlPolicy": {"numNodes": 1, "torch": {}},
            "podGroupPolicy": {"volcano": {}},
            "template": {
                "spec": {
                    # All nodes start again together, from the last checkpoint.
                    "failurePolicy": {"maxRestarts": 3},
                    "replicatedJobs": [
                        {
                            "name": "node",
                            "template": {
                                "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
                                "spec": {"backoffLimit": 0, "template": {"spec": node}},
                            },
                        }
                    ],
                }
            },
        },
    }


def train_job(job: TrainingJob) -> dict[str, Any]:
    """The job as a ``TrainJob``; the runtime brings scheduler, priority, nodes, identity and volumes."""
    deadline = {} if job.deadline_hours is None else {"activeDeadlineSeconds": job.deadline_hours * 3600}
    return {
        "apiVersion": TRAINER_API,
        "kind": "TrainJob",
        "metadata": {"name": job.name, "namespace": job.namespace, "labels": dict(job.labels)},
        "spec": {
            "runtimeRef": {
                "apiGroup": "trainer.kubeflow.org",
                "kind": "ClusterTrainingRuntime",
                "name": runtime_name(job.framework, job.priority),
            },
            "trainer": {
                "image": job.image,
                "command": list(job.command),
                "numNodes": job.nodes,
                "numProcPerNode": max(1, job.gpus),
                "resourcesPerNode": job.resources,
                "env": _environment(job),
            },
            "runtimePatches": [{"manager": _MANAGER, "trainingRuntimeSpec": {"template": _patch(job)}}],
            **deadline,
        },
    }


def _patch(job: TrainingJob) -> dict[str, Any]:
    """What a job changes in its runtime."""
    selector = {GPU_MODEL_LABEL: job.gpu_model} if job.gpu_model else {}
    pod: dict[str, Any] = {
        "serviceAccountName": job.service_account,
        **({"nodeSelector": {ROLE_LABEL: _ROLE, **selector}} if selector else {}),
    }
    node = {"template": {"metadata": {"labels": dict(job.labels)}, "spec": pod}}
    queue = {"metadata": {"annotations": {QUEUE_ANNOTATION: job.queue}}} if job.queue else {}
    return {**queue, "spec": {"replicatedJobs": [{"name": "node", "template": {"spec": node}}]}}


def pytorch_job(job: TrainingJob, *, pools: Sequence[NodePool]) -> dict[str, Any]:
    """The job as a ``PyTorchJob`` of equal workers, which find each other at the first of them.

    Without a master: the operator would add a container to every worker that waits for it.

    Args:
        job: The run.
        pools: Node groups, whose taints its pods must tolerate.
    """
    selector = {GPU_MODEL_LABEL: job.gpu_model} if job.gpu_model else {}
    pod = _pod(
        image=job.image,
        container="pytorch",
        priority=job.priority,
        service_account=job.service_account,
        node_selector={ROLE_LABEL: _ROLE, **selector},
        pools=pools,
        shared_memory_gib=job.shared_memory_gib,
    )
    (container,) = pod["containers"]
    container |= {
        "command": list(job.command),
        "resources": job.resources,
        "env": [*container["env"], *_environment(job)],
    }
    deadline = {} if job.deadline_hours is None else {"activeDeadlineSeconds": job.deadline_hours * 3600}
    return {
        "apiVersion": PYTORCH_API,
        "kind": "PyTorchJob",
        "metadata": {"name": job.name, "namespace": job.namespace, "labels": dict(job.labels)},
        "spec": {
            "nprocPerNode": str(max(1, job.gpus)),
            "runPolicy": {
                "cleanPodPolicy": "Running",
                "backoffLimit": job.restarts,
                "ttlSecondsAfterFinished": job.keep_hours * 3600,
                "schedulingPolicy": {
                    "minAvailable": job.nodes,
                    "priorityClass": job.priority,
                    **({"queue": job.queue} if job.queue else {}),
                },
                **deadline,
            },
            "elasticPolicy": {
                "rdzvBackend": "c10d",
                "rdzvPort": _RENDEZVOUS_PORT,
                "minReplicas": job.nodes,  # as many as there are: a part of them would learn with another batch size
                "maxReplicas": job.nodes,
                "maxRestarts": job.restarts,
            },
            "pytorchReplicaSpecs": {
                "Worker": {
                    "replicas": job.nodes,
                    "restartPolicy": "OnFailure",
                    "template": {"metadata": {"labels": dict(job.labels)}, "spec": pod},
                }
            },
        },
    }


def _pod(
    *,
    image: str,
    container: str,
    priority: PriorityName,
    service_account: str,
    node_selector: Mapping[str, str],
    pools: Sequence[NodePool],
    shared_memory_gib: int,
) -> dict[str, Any]:
    return {
        "schedulerName": SCHEDULER,
        "priorityClassName": priority,
        "serviceAccountName": service_account,
        "automountServiceAccountToken": False,  # training asks Kubernetes nothing; its identity has a token of its own
        "enableServiceLinks": False,
        "nodeSelector": dict(node_selector),
        "tolerations": tolerations(pools),
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": container,
                "image": image,
                # Most images know no user 1000: without a home, caches of models and kernels would go to `/`.
                "env": [{"name": "HOME", "value": _HOME}, {"name": "USER", "value": ACCOUNT}],
                # Where experiments are logged; a team's namespace has a Secret of its own, or none.
                "envFrom": [{"secretRef": {"name": CLIENT_SECRET, "optional": True}}],
                "securityContext": dict(CONTAINER_SECURITY),
                "volumeMounts": [
                    {"name": "shared-memory", "mountPath": "/dev/shm"},
                    {"name": "home", "mountPath": _HOME},
                ],
            }
        ],
        "volumes": [
            # The runtime's own is 64 MiB, with which data loaders and NCCL fail.
            {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": f"{shared_memory_gib}Gi"}},
            {"name": "home", "emptyDir": {}},
        ],
    }


def _environment(job: TrainingJob) -> list[dict[str, Any]]:
    return [
        *({"name": name, "value": value} for name, value in sorted(job.environment.items())),
        *(
            {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
            for name, (secret, key) in sorted(job.secrets.items())
        ),
    ]


def _cores(millicores: int) -> str:
    return f"{millicores}m" if millicores % 1000 else str(millicores // 1000)
