"""Serving runtimes: how a model server runs, whatever model it serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from components.platform import telemetry
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


TRITON_CACHE: Final = "/var/cache/triton"
"""What the containers of a Triton pod share: releases, the model repository, the code of models, the pod's key."""

TRITON_CONTROL_PORTS: Final = (8003, 8004)
"""Triton's own API by HTTP and gRPC, with which models are loaded and unloaded."""

# The code of the models around the engine comes from the image, so that it fits the engine's backend. Through the
# frontend, models are loaded and unloaded by whoever has the key, which was drawn in this pod.
_TRITON_START: Final = """set -eu
mkdir -p "$CACHE/code" "$CACHE/repository"
cp -r /app/all_models/inflight_batcher_llm/. "$CACHE/code"
exec python3 /opt/tritonserver/python/openai/openai_frontend/main.py "$@" \\
  --model-repository="$CACHE/repository" --openai-restricted-api model-repository x-loader-key "$(cat "$CACHE/key")"
"""


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
        cache: The same for the sum of the servers' shares of their KV cache in use, each 0 to 1; empty where there is
            none.
        traced_args: Arguments besides, where requests are traced.
        traced_environment: Variables besides, where requests are traced.
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
    cache: str = ""
    traced_args: tuple[str, ...] = ()
    traced_environment: Mapping[str, str] = field(default_factory=dict[str, str])

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
        cache="sum(vllm:kv_cache_usage_perc{{{selector}}})",
        # Of each request: when it came, waited, began and ended, and how many tokens; nothing of what it said.
        traced_args=(f"--otlp-traces-endpoint={telemetry.OTLP_GRPC_URL}",),
        traced_environment={"OTEL_SERVICE_NAME": "vllm", "OTEL_EXPORTER_OTLP_TRACES_INSECURE": "true"},
    ),
    "triton": Runtime(
        name="llmops-triton",
        format="triton",
        image=IMAGES["triton"],
        user=1000,  # `triton-server` of the image
        command=("sh", "-c", _TRITON_START, "triton"),
        # Triton inside of its own OpenAI frontend, and empty: models are loaded by the loader, which tries them first.
        # Triton's own API is for what runs in the pod, on ports that nobody else reaches.
        args=(
            "--openai-port=8000",
            "--enable-kserve-frontends",
            f"--kserve-http-port={TRITON_CONTROL_PORTS[0]}",
            f"--kserve-grpc-port={TRITON_CONTROL_PORTS[1]}",
            "--model-control-mode=explicit",
            "--backend=tensorrtllm",
            "--uvicorn-log-level=warning",  # else a line for each request, probes and scrapes included
        ),
        ports={"http": 8000},
        metrics_port=8000,
        # It says ready only while nothing is being loaded. Whether the model answers is said by the loader beside it.
        health="/metrics",
        live="/metrics",
        home="/home/triton-server",
        environment={
            "HOME": "/home/triton-server",
            "CACHE": TRITON_CACHE,
            "HF_HUB_OFFLINE": "1",
            # Compiled files beside a model's code look like a change of the model: it would be loaded once more.
            "PYTHONDONTWRITEBYTECODE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "TRTLLM_ORCHESTRATOR": "1",  # the frontend's process holds no engine; each has processes of its own
        },
        stop="",  # it stops taking connections, and ends when the last answer is given
        # Requests that wait in the engine, and in front of the models around it: the time that they spend there in a
        # second is how many wait on average. A server without requests has no such series.
        queue=(
            'sum(nv_trt_llm_request_metrics{{{selector},request_type="waiting"}} or vector(0)) + '
            "sum(rate(nv_inference_queue_duration_us{{{selector}}}[1m]) or vector(0)) / 1e6"
        ),
    ),
}


def runtime_of(runtime: Runtime, *, traced: bool = False) -> dict[str, Any]:
    """Specification of the ClusterServingRuntime; resources, GPUs and the time to start are the model's."""
    return {
        # Only a model that names the runtime gets it.
        "supportedModelFormats": [{"name": runtime.format, "version": "1", "autoSelect": False}],
        "multiModel": False,
        "annotations": {
            "prometheus.kserve.io/port": str(runtime.metrics_port),
            "prometheus.kserve.io/path": "/metrics",
        },
        "containers": [_container(_traced(runtime) if traced else runtime)],
        "volumes": volumes(),
    }


def _traced(runtime: Runtime) -> Runtime:
    """The same, reporting its part of requests."""
    return replace(
        runtime,
        args=(*runtime.args, *runtime.traced_args),
        environment={**runtime.environment, **runtime.traced_environment},
    )


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
