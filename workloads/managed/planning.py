"""What a declared model means on a managed endpoint, and what cannot work. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from components.settings.managed_models import ManagedSettings, VertexSettings
from components.settings.models import ModelSettings
from workloads.managed.machines import MACHINES, Machine, Service, disk_gib, fitting, gpus_of, machine
from workloads.managed.names import endpoint_name
from workloads.models.plan import Finding, Plan, Refusal
from workloads.models.spec import ModelSpec, Version, location

# SageMaker gives a request 60 s, one that is answered in pieces 8 minutes (SageMaker guide, "Real-time inference").
SAGEMAKER_ANSWER_SECONDS: Final = 60
SAGEMAKER_STREAM_SECONDS: Final = 480

_SERVICES: Final[Mapping[str, Service]] = {"sagemaker": "sagemaker", "vertex": "vertex"}
_SCHEMES: Final[Mapping[Service, str]] = {"sagemaker": "s3", "vertex": "gs"}


def service_of(spec: ModelSpec) -> Service:
    """Which service serves it; only for the backends that are managed."""
    return _SERVICES[spec.backend]


def managed_of(settings: ModelSettings) -> ManagedSettings:
    """The declaration's part for managed endpoints; all defaults where it has none."""
    return settings.managed or ManagedSettings()


def machine_of(spec: ModelSpec, plan: Plan) -> Machine | None:
    """The machine that the model is planned for."""
    return machine(service_of(spec), plan.instance_type)


def _stored_gib(plan: Plan) -> float:
    return plan.fit.stored_gib if plan.fit else 0


def name_of(spec: ModelSpec, version: Version) -> str:
    """Name of the endpoint of one version."""
    to_zero = spec.backend == "sagemaker" and version.fewest == 0
    return endpoint_name(spec.prefix, version.name, to_zero=to_zero)


def problems(spec: ModelSpec, plan: Plan | Refusal) -> Iterator[Finding]:
    """What cannot work on a managed endpoint; every line says what to do."""
    service, managed = service_of(spec), managed_of(spec.settings)
    yield from _sources(spec, service)
    yield from _machines(spec, plan, service, managed)
    if managed.vertex is not None and service != "vertex":
        yield "managed.vertex", "is only for backend vertex; leave it out"
    if service == "vertex":
        yield from _vertex(spec, managed)
    else:
        yield from _sagemaker(spec, managed)


def _sources(spec: ModelSpec, service: Service) -> Iterator[Finding]:
    for version in spec.versions:
        found = location(version.source)
        wanted = _SCHEMES[service]
        if found.scheme not in (wanted, "models"):
            path = {"stable": "source", "canary": "canary.source"}.get(version.role, "ab.variants")
            reads = f"backend {service} reads Triton's model repository from {wanted}://"
            yield path, f"{reads}; copy it there; got {version.source}"


def _machines(spec: ModelSpec, plan: Plan | Refusal, service: Service, managed: ManagedSettings) -> Iterator[Finding]:
    gpu = spec.settings.gpu
    if gpu is not None and gpu.type not in gpus_of(service):
        have = " or ".join(gpus_of(service))
        yield "gpu.type", f"must be {have}, which backend {service} has; got {gpu.type}"
        return
    if isinstance(plan, Refusal):
        return
    if not managed.instance_type:
        if machine_of(spec, plan) is None:
            most = max(one.gpus for one in MACHINES if one.service == service and one.gpu == plan.gpu_model)
            remedy = f"lower gpu.count to {most}, or quantize" if plan.gpus > most else "quantize, or lower context"
            room = f"{plan.memory_mib / 1024:.0f} GiB memory, {disk_gib(_stored_gib(plan))} GiB disk"
            yield "gpu", f"no machine of {service} has {plan.gpus} {plan.gpu_model}, {room}; {remedy}"
        return
    declared = machine(service, managed.instance_type)
    need = {"memory_gib": plan.memory_mib / 1024, "disk_gib": disk_gib(_stored_gib(plan))}
    able = list(fitting(service, plan.gpu_model, plan.gpus, **need))
    if declared is None or declared not in able:
        offer = f"; {' or '.join(str(one) for one in able[:2])} would do" if able else ""
        why = "is no machine in the table" if declared is None else "does not hold the model"
        yield "managed.instanceType", f"{managed.instance_type} {why}{offer}"


def _sagemaker(spec: ModelSpec, managed: ManagedSettings) -> Iterator[Finding]:
    settings = spec.settings
    if managed.update != "blue-green" and any(version.fewest < 2 for version in spec.versions):
        yield (
            "managed.update",
            f"{managed.update} replaces part of the machines, so replicas.min must be 2 or more; or set blue-green",
        )
    if settings.objective.p99_seconds > SAGEMAKER_ANSWER_SECONDS:
        yield (
            "objective.p99Seconds",
            f"SageMaker gives an answer {SAGEMAKER_ANSWER_SECONDS} s; got {settings.objective.p99_seconds:g}",
        )
    if managed.image and ".dkr.ecr." not in managed.image:
        yield "managed.image", f"SageMaker pulls images from ECR in {spec.region}; got {managed.image}"


def _vertex(spec: ModelSpec, managed: ManagedSettings) -> Iterator[Finding]:
    settings = spec.settings
    if managed.vertex is None:
        yield "managed.vertex", "must be set for backend vertex: project, projectNumber, location, serviceAccount"
    if not managed.image:
        yield "managed.image", "must be set for backend vertex: the container in Artifact Registry"
    if settings.replicas.min < 1:
        yield "replicas.min", "Vertex AI keeps one machine at least; set 1, or backend sagemaker or vllm"
    if managed.capture_percent:
        yield "managed.capturePercent", "is only for backend sagemaker; leave it out"
    if managed.update != "blue-green":
        yield "managed.update", "is only for backend sagemaker; leave it out"


def machines_at_most(specs: Sequence[ModelSpec], plans: Mapping[str, Plan]) -> dict[str, int]:
    """Machines by type that the account's quota ("<type> for endpoint usage") must hold, updates included.

    An update by blue/green has the new machines beside the old ones; a rolling one half of them; Vertex AI all of them.
    """
    needed: Counter[str] = Counter()
    for spec in specs:
        if spec.backend not in _SERVICES or (kind := plans[spec.name].instance_type) == "":
            continue
        rolling = managed_of(spec.settings).update == "rolling"
        for version in spec.versions:
            needed[kind] += version.most + math.ceil(version.most / 2 if rolling else version.most)
    return dict(needed)


def federated(vertex: VertexSettings, region: str) -> dict[str, Any]:
    """How the gateway's cloud identity becomes one of Google's; a document without a credential in it.

    LiteLLM signs a question to AWS with the pod's own role, and Google's token service takes the answer as proof.
    """
    if vertex.federation is None:
        return {}
    document: dict[str, Any] = {
        "type": "external_account",
        "audience": f"//iam.googleapis.com/{vertex.federation.provider}",
        "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
        "token_url": "https://sts.googleapis.com/v1/token",
        # The pod's own role, as AWS's client finds it, and not the node's: the region says so to LiteLLM.
        "credential_source": {"environment_id": "aws1"},
        "aws_region_name": region,
    }
    if vertex.federation.service_account:
        account = vertex.federation.service_account
        document["service_account_impersonation_url"] = (
            f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
        )
    return document
