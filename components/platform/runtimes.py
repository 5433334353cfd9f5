"""Serving runtimes: how a model server runs, whatever model it serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from components.platform.cold_start import LEAVE_SECONDS, PROBE_SECONDS
from components.versions import IMAGES

RuntimeName = Literal["vllm", "triton"]

API: Final = "serving.kserve.io/v1alpha1"

CONTAINER: Final = "kserve-container"
"""Name of the container into which KServe writes what a model adds."""

MODELS: Final = "/mnt/models"
"""Where KServe puts what it has fetched."""

SHARED_MEMORY: Final = "shared-memory"
"""Volume at ``/dev/shm``: processes of one server exchange tensors there; a container's own has 64 MiB."""

CACHE: Final = "cache"
"""Volume of everything that a server writes."""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """One kind of model server.

    Attributes:
        name: Name of its ClusterServingRuntime.
        format: What a model that it serves calls its format.
        image: Its image, pinned.
        user: Its user and group; the image knows this one by name.
        command: What is run; a model's arguments come after ``args``.
        args: Arguments for every model.
        ports: Container ports by name; the first is the one that the service gives port 80.
        metrics_port: Where Prometheus reads.
        health: Path of the readiness probe, and while it starts.
        live: Path of the liveness probe.
        home: Directory of everything that it writes.
        environment: Variables for every model.
        stop: Argument by which it finishes its answers before it stops; ``{seconds}`` is how long it may take.
        queue: Query for the number of requests that wait in the servers of a model; ``{selector}`` selects its pods.
    """

    name: str
    format: str
    image: str
    user: int
    command: tuple[str, ...]
    args: tuple[str, ...]
    ports: Mapping[str, int]
    metrics_port: int
    health: str
    live: str
    home: str
    environment: Mapping[str, str]
    stop: str
    queue: str

    @property
    def port(self) -> int:
        """Where it takes requests by HTTP."""
        return next(iter(self.ports.values()))


RUNTIMES: Final[Mapping[RuntimeName, Runtime]] = {
    "vllm": Runtime(
        name="llmops-vllm",
        format="vllm",
        image=IMAGES["vllm"],
        user=2000,  # `vllm` of the image: torch looks its user up by number, and fails for one without a name
        command=("vllm", "serve"),
        args=("--port=8000", "--served-model-name={{.Name}}"),  # KServe puts the model's name there
        ports={"http": 8000},
        metrics_port=8000,
        health="/health",
        live="/health",
        home="/home/vllm",
        environment={"HOME": "/home/vllm", "VLLM_NO_USAGE_STATS": "1", "VLLM_DO_NOT_TRACK": "1"},
        stop="--shutdown-timeout={seconds}",
        queue="sum(vllm:num_requests_waiting{{{selector}}})",
    ),
    "triton": Runtime(
        name="llmops-triton",
        format="triton",
        image=IMAGES["triton"],
        user=1000,  # `triton-server` of the image
        command=("tritonserver",),
        args=("--http-port=8000", "--grpc-port=8001", "--metrics-port=8002", "--strict-readiness=true"),
        ports={"http": 8000, "h2c-grpc": 8001, "metrics": 8002},
        metrics_port=8002,
        health="/v2/health/ready",
        live="/v2/health/live",
        home="/home/triton-server",
        environment={"HOME": "/home/triton-server"},
        stop="--exit-timeout-secs={seconds}",
        queue="sum(nv_inference_pending_request_count{{{selector}}})",
    ),
}


def runtime_of(runtime: Runtime) -> dict[str, Any]:
    """Specification of the ClusterServingRuntime; resources, GPUs and the time to start are the model's."""
    return {
        # Only a model that names the runtime gets it.
        "supportedModelFormats": [{"name": runtime.format, "version": "1", "autoSelect": False}],
        "multiModel": False,
        "annotations": {
            "prometheus.kserve.io/port": str(runtime.metrics_port),
            "prometheus.kserve.io/path": "/metrics",
        },
        "containers": [_container(runtime)],
        "volumes": volumes(),
    }


def _container(runtime: Runtime) -> dict[str, Any]:
    def asked(path: str) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": runtime.port}, "timeoutSeconds": 5, "periodSeconds": PROBE_SECONDS}

    return {
        "name": CONTAINER,
        "image": runtime.image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(runtime.command),
        "args": list(runtime.args),
        "env": [{"name": name, "value": value} for name, value in sorted(runtime.environment.items())],
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in runtime.ports.items()],
        "readinessProbe": {**asked(runtime.health), "failureThreshold": 3},
        "livenessProbe": {**asked(runtime.live), "failureThreshold": 6},
        # New requests still come until everybody has noticed; the image has a shell's tools.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(LEAVE_SECONDS)]}}},
        "securityContext": SECURITY,
        "volumeMounts": [
            {"name": SHARED_MEMORY, "mountPath": "/dev/shm"},
            {"name": CACHE, "mountPath": runtime.home, "subPath": "home"},
            {"name": CACHE, "mountPath": "/tmp", "subPath": "tmp"},
        ],
    }


SECURITY: Final[Mapping[str, Any]] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    # The root file system stays writable: which server writes where with which GPU is not known for all of them.
}


def volumes(*, shared_memory_mib: int = 0, disk_gib: int = 0) -> list[dict[str, Any]]:
    """The volumes of a server; 0 leaves their size to the limit of the container's memory, and to the node."""
    memory: dict[str, Any] = {"medium": "Memory"}
    disk: dict[str, Any] = {}
    if shared_memory_mib:
        memory["sizeLimit"] = f"{shared_memory_mib}Mi"
    if disk_gib:
        disk["sizeLimit"] = f"{disk_gib}Gi"
    return [{"name": SHARED_MEMORY, "emptyDir": memory}, {"name": CACHE, "emptyDir": disk}]
