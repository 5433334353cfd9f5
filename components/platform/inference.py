"""One model: its server on KServe, how it is scaled, and how it is called."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.core import v1 as core
from pulumi_kubernetes.meta import v1 as meta
from pulumi_kubernetes.policy import v1 as policy

from components.contract import GPU_MODEL_LABEL, GPU_TAINT, ROLE_LABEL
from components.platform import activation
from components.platform.cold_start import PROBE_SECONDS, Timeouts
from components.platform.priorities import PriorityName
from components.platform.runtimes import MODELS, RUNTIMES, RuntimeName, volumes

API: Final = "serving.kserve.io/v1beta1"

_PRIORITY: Final[PriorityName] = "serving"
_NAME: Final = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_GPU: Final = "nvidia.com/gpu"
_WEIGHTS: Final = "weights"


@dataclass(frozen=True, kw_only=True)
class ModelServer:
    """A model and what its servers need.

    Attributes:
        name: Unique in its namespace; clients call the model by it.
        namespace: ``mlops-serving``, or a team's.
        runtime: Which kind of server.
        waits: Its timeouts (``cold_start.timeouts``).
        service_account: Its pods' own; with a grant for what it loads.
        cpu_millicores: Requested; not limited, because tokenizing comes in bursts.
        memory_mib: Requested and limited.
        gpus: GPUs of one server.
        gpu_model: Lower-case model such as ``a10g``; empty for any.
        arguments: Arguments after those of the runtime.
        environment: Variables besides those of the runtime.
        model: What the server loads itself: a URL, a name, a path; empty where KServe fetches. It comes first.
        claim: Volume claim that is mounted read-only at ``/mnt/models``; empty for none.
        storage_uri: What KServe fetches into ``/mnt/models`` before the server starts; empty where the server fetches.
        fewest: Servers at least; 0 for scale to zero.
        most: Servers at most.
        concurrency: Requests under way for which one server is enough.
        queued: Requests that wait in a server before another is added; 0 to look at requests under way alone.
        cache_percent: Share of its KV cache in use before another is added; 0 not to look at it.
        shared_memory_mib: Size of ``/dev/shm``; counted in ``memory_mib``.
        disk_gib: For caches and temporary files.
        labels: Labels of everything that belongs to the model.
        annotations: What else the InferenceService says of itself.
    """

    name: str
    namespace: str
    runtime: RuntimeName
    waits: Timeouts
    service_account: str
    cpu_millicores: int
    memory_mib: int
    gpus: int
    gpu_model: str = ""
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    model: pulumi.Input[str] = ""
    claim: str = ""
    storage_uri: str = ""
    fewest: int = 0
    most: int = 1
    concurrency: int = 32
    queued: int = 4
    cache_percent: int = 0
    shared_memory_mib: int = 2048
    disk_gib: int = 20
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"model name must match {_NAME.pattern}; got {self.name}")
        if not 0 <= self.fewest <= self.most or not self.most:
            raise ValueError(
                f"model {self.name}: needs 0 <= fewest <= most and most >= 1; got {self.fewest}, {self.most}"
            )
        if self.storage_uri and (self.model or self.claim):
            raise ValueError(f"model {self.name}: either KServe fetches (storage_uri), or the server (model, claim)")
        if self.shared_memory_mib >= self.memory_mib:
            raise ValueError(f"model {self.name}: shared_memory_mib must be below memory_mib, in which it is counted")

    @property
    def target(self) -> str:
        """Name of the Deployment and the service of its servers."""
        return _target(self.name)

    @property
    def elastic(self) -> bool:
        """Whether the number of its servers changes."""
        return self.fewest < self.most


@dataclass(frozen=True, kw_only=True)
class ModelObjects:
    """What is declared for one model.

    Attributes:
        service: The InferenceService's specification.
        annotations: Its annotations.
        route: What the activator does with its requests; none where it always has a server.
        scaling: The ScaledObject's specification; none where its number of servers is fixed.
        budget: The disruption budget's specification; none for one server, which could never be moved.
        url: Where the model gateway calls it.
    """

    service: Mapping[str, Any]
    annotations: Mapping[str, str]
    route: Mapping[str, Any] | None
    scaling: Mapping[str, Any] | None
    budget: Mapping[str, Any] | None
    url: str


def inference_service(server: ModelServer, *, prometheus_url: str, activator: bool) -> ModelObjects:
    """What is declared for a model.

    Args:
        server: The model.
        prometheus_url: Where the autoscaler reads the servers' own queues; empty where nobody collects them.
        activator: Whether requests for a model without a server can be held.

    Raises:
        ValueError: The model asks for what cannot be here.
    """
    if not server.fewest and not activator:
        raise ValueError(f"model {server.name}: 0 servers need platform.serving.activation.enabled; set 1 at least")
    held = not server.fewest
    triggers = _triggers(server, held=held, prometheus_url=prometheus_url)
    if server.elastic and not triggers:
        raise ValueError(
            f"model {server.name}: nothing to scale it by; set platform.serving.prometheusUrl, or as many servers at "
            "least as at most"
        )
    return ModelObjects(
        service={"predictor": _predictor(server)},
        annotations={
            "serving.kserve.io/deploymentMode": "Standard",
            # KServe's own ScaledObject has no cool-down and no activator; ours has. A fixed number KServe sets itself:
            # where somebody else scales, it says nothing of replicas, and there is one.
            "serving.kserve.io/autoscalerClass": "external" if server.elastic else "none",
            **server.annotations,
        },
        route=(
            activation.route_of(
                name=server.name,
                namespace=server.namespace,
                target=server.target,
                concurrency=server.concurrency,
                waits=server.waits,
            )
            if held
            else None
        ),
        scaling=(
            activation.scaled_object_of(
                target=server.target, fewest=server.fewest, most=server.most, triggers=triggers, waits=server.waits
            )
            if server.elastic
            else None
        ),
        budget=({"maxUnavailable": 1, "selector": {"matchLabels": {"app": _app(server)}}} if server.most > 1 else None),
        url=url_of(server.name, server.namespace, held=held),
    )


def url_of(name: str, namespace: str, *, held: bool) -> str:
    """Where a model is called.

    Args:
        name: The model's.
        namespace: Its namespace.
        held: Whether it may have no server: then the activator answers, which knows it by its name.
    """
    if held:
        host, *_ = activation.hosts(name, namespace)
        return f"http://{host}:{activation.PORT}"
    host, *_ = activation.hosts(_target(name), namespace)
    return f"http://{host}"


def _target(name: str) -> str:
    """Name that KServe gives to the Deployment and the service of a model's servers."""
    return f"{name}-predictor"


def _triggers(server: ModelServer, *, held: bool, prometheus_url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if held:
        found.append(activation.requests_trigger(server.name))
    if prometheus_url and server.most > 1:
        runtime = RUNTIMES[server.runtime]
        selector = f'namespace="{server.namespace}",pod=~"{server.target}-.+"'
        for query, threshold in (
            (runtime.queue, server.queued),
            # Of a share the sum over the servers too: KEDA divides it by the threshold, and that many are needed.
            (runtime.cache, server.cache_percent / 100),
        ):
            if query and threshold:
                found.append(activation.metric_trigger(prometheus_url, query.format(selector=selector), threshold))
    return found


def _app(server: ModelServer) -> str:
    """Label ``app`` of its pods, as KServe writes it."""
    return f"isvc.{server.target}"


def _predictor(server: ModelServer) -> dict[str, Any]:
    runtime = RUNTIMES[server.runtime]
    return {
        "minReplicas": server.fewest,
        "maxReplicas": server.most,
        # A new version starts before the old one leaves: a model is not away while it is changed.
        "deploymentStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "labels": dict(server.labels),
        "serviceAccountName": server.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # a service named vllm would set VLLM_PORT, which the server reads
        "priorityClassName": _PRIORITY,
        "terminationGracePeriodSeconds": server.waits.grace,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": runtime.user,
            "runAsGroup": runtime.user,
            "fsGroup": runtime.user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "nodeSelector": {
            ROLE_LABEL: "gpu-inference",
            **({GPU_MODEL_LABEL: server.gpu_model} if server.gpu_model else {}),
        },
        "tolerations": [{"key": GPU_TAINT.key, "operator": "Exists", "effect": GPU_TAINT.effect}],
        "topologySpreadConstraints": _spread(server),
        "volumes": [
            *volumes(shared_memory_mib=server.shared_memory_mib, disk_gib=server.disk_gib),
            *([{"name": _WEIGHTS, "persistentVolumeClaim": _claim(server)}] if server.claim else []),
        ],
        "model": _model(server),
    }


def _claim(server: ModelServer) -> dict[str, Any]:
    return {"claimName": server.claim, "readOnly": True}


def _model(server: ModelServer) -> dict[str, Any]:
    runtime, waits = RUNTIMES[server.runtime], server.waits
    gpus = {_GPU: str(server.gpus)} if server.gpus else {}
    fetched = MODELS if server.runtime == "vllm" else f"--model-repository={MODELS}"
    stop = [runtime.stop.format(seconds=waits.drain)] if runtime.stop else []
    loaded = [fetched] if server.storage_uri else [server.model] if server.model else []
    mounts = [{"name": _WEIGHTS, "mountPath": MODELS, "readOnly": True}] if server.claim else []
    environment = [{"name": name, "value": value} for name, value in sorted(server.environment.items())]
    return {
        "modelFormat": {"name": runtime.format, "version": "1"},
        "runtime": runtime.name,
        **({"storageUri": server.storage_uri} if server.storage_uri else {}),
        "args": [*loaded, *stop, *server.arguments],
        **({"env": environment} if environment else {}),
        **({"volumeMounts": mounts} if mounts else {}),
        "resources": {
            "requests": {
                "cpu": f"{server.cpu_millicores}m",
                "memory": f"{server.memory_mib}Mi",
                "ephemeral-storage": f"{server.disk_gib}Gi",
                **gpus,
            },
            "limits": {"memory": f"{server.memory_mib}Mi", **gpus},
        },
        "startupProbe": {
            "httpGet": {"path": runtime.health, "port": runtime.port},
            "timeoutSeconds": 5,
            "periodSeconds": PROBE_SECONDS,
            "failureThreshold": waits.startup_failures,
        },
    }


def _spread(server: ModelServer) -> list[dict[str, Any]]:
    """Servers stand apart where they can; one that cannot starts anyway, because somebody waits for it."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app": _app(server)}},
        }
        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    ]


def declare(
    server: ModelServer, objects: ModelObjects, *, parent: pulumi.Resource, after: Sequence[pulumi.Resource]
) -> tuple[pulumi.Resource, ...]:
    """Declare a model's objects.

    Args:
        server: The model.
        objects: What :func:`inference_service` made of it.
        parent: The model's component; its name is the prefix of the resources.
        after: ``Serving.ready``, ``Activation.ready``, the namespace, the identity of its service account.
    """
    options = pulumi.ResourceOptions(parent=parent, depends_on=list(after))
    title = f"{server.namespace}-{server.name}"
    labels = {"app.kubernetes.io/part-of": "llmops", **server.labels}

    def place(name: str, annotations: Mapping[str, str] | None = None) -> meta.ObjectMetaArgs:
        return meta.ObjectMetaArgs(name=name, namespace=server.namespace, labels=labels, annotations=annotations)

    def custom(
        suffix: str, api: str, kind: str, spec: Mapping[str, Any], opts: pulumi.ResourceOptions
    ) -> CustomResource:
        return CustomResource(
            f"{title}-{suffix}",
            api_version=api,
            kind=kind,
            metadata=place(server.name, objects.annotations if suffix == "server" else None),
            spec=dict(spec),
            opts=opts,
        )

    made: list[pulumi.Resource] = [custom("server", API, "InferenceService", objects.service, options)]
    if objects.route is not None:
        route = custom("route", activation.API, "InterceptorRoute", objects.route, options)
        name = core.Service(
            f"{title}-name",
            metadata=place(server.name),
            spec=core.ServiceSpecArgs(type="ExternalName", external_name=activation.alias_target()),
            opts=options,
        )
        made += [route, name]
    if objects.scaling is not None:
        # KEDA looks for the Deployment and for the route as soon as it is there.
        last = pulumi.ResourceOptions(parent=parent, depends_on=[*after, *made])
        made.append(custom("scaling", activation.SCALING_API, "ScaledObject", objects.scaling, last))
    if objects.budget is not None:
        made.append(
            policy.PodDisruptionBudget(
                f"{title}-budget",
                metadata=place(server.target),
                spec=cast("policy.PodDisruptionBudgetSpecArgsDict", objects.budget),
                opts=options,
            )
        )
    return tuple(made)
