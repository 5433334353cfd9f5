"""What a model needs, and what follows from it: GPUs, requests, waits, price. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from components.capacity import NodeShape, Request, for_workloads, shortfalls, smallest_fitting
from components.platform.cold_start import ColdStartBudget, Timeouts, timeouts
from components.settings.models import ModelSettings
from components.settings.platform.serving import ColdStartSettings
from workloads.cost import HOURS_PER_MONTH, replica_usd_per_hour, serving_cost
from workloads.managed.machines import chosen
from workloads.models.fit import Fit, Unfit, fit
from workloads.models.spec import ModelSpec

Finding = tuple[str, str]
"""Path below the model, such as ``gpu.count`` (empty for the model itself), and what is wrong with what to do."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """A group of nodes that models may run on.

    Attributes:
        name: Its name.
        shapes: What one node of each of its types offers; it may start any of them.
        max_size: Nodes at most.
    """

    name: str
    shapes: tuple[NodeShape, ...]
    max_size: int

    @property
    def gpu_model(self) -> str:
        """Model of its GPUs."""
        return self.shapes[0].gpu_model


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a plan needs to know of the stack; all of it is in the settings.

    Attributes:
        region: Region of the stack.
        objects: What its object store speaks.
        groups: Node groups of role ``gpu-inference``.
        offered: Shapes of everything that the region offers, for remedies.
        hourly_usd: List price of an hour by type of machine, in US dollars; types without a known price are missing.
        cold_start: The stack's own stages.
        answer_seconds: How long the longest answer takes.
        idle_seconds: How long a model keeps its server after its last request.
        activation: Whether a model may have no server.
        metrics: Whether the autoscaler can read the servers' own queues.
    """

    region: str
    objects: Literal["s3", "gcs"]
    groups: tuple[Group, ...]
    offered: tuple[NodeShape, ...]
    hourly_usd: Mapping[str, float]
    cold_start: ColdStartSettings
    answer_seconds: int
    idle_seconds: int
    activation: bool
    metrics: bool


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a model costs at list prices; None where a price is not known.

    Attributes:
        server_hourly_usd: One server for an hour: its share of the node that it is planned for, by GPUs.
        minimum_hourly_usd: All versions at their fewest servers.
        maximum_hourly_usd: All versions at their most servers.
        million_tokens_usd: A million tokens of answers at that rate.
        tokens_per_second: Of answers: the declared rate of all servers, or the estimate for one that is busy.
        declared: Whether the declaration says so; else it is the estimate.
    """

    server_hourly_usd: float | None = None
    minimum_hourly_usd: float | None = None
    maximum_hourly_usd: float | None = None
    million_tokens_usd: float | None = None
    tokens_per_second: float | None = None
    declared: bool = False

    @property
    def monthly_usd(self) -> float | None:
        """All servers at their most for a month."""
        return None if self.maximum_hourly_usd is None else self.maximum_hourly_usd * HOURS_PER_MONTH


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a model needs; the same for each of its versions.

    Attributes:
        fit: How it fits its GPUs; none for a model that the cloud hosts.
        gpu_model: Model of its GPUs.
        gpus: GPUs of one server, over all of which one model is spread.
        request: What a server's pod asks for.
        shared_memory_mib: Its ``/dev/shm``, counted in the memory of the request.
        sequences: Sequences that are computed together at most.
        batched_tokens: Tokens of one step at most.
        utilization: Share of the GPU's memory that the server may take.
        cold_start: Stages of a cold start.
        waits: Every timeout on the way of a request.
        group: The node group that it is planned for; empty where the cloud manages machines.
        instance_type: The machine that it is planned for.
        cost: What it costs.
    """

    fit: Fit | None
    gpu_model: str
    gpus: int
    request: Request
    shared_memory_mib: int
    sequences: int
    batched_tokens: int
    utilization: float
    cold_start: ColdStartBudget
    waits: Timeouts
    group: str
    instance_type: str
    cost: Cost

    @property
    def cpu_millicores(self) -> int:
        """CPU that a server requests."""
        return self.request.cpu_millicores

    @property
    def memory_mib(self) -> int:
        """Memory that a server requests, and its limit."""
        return self.request.memory_mib

    @property
    def disk_gib(self) -> int:
        """Disk that a server requests."""
        return self.request.ephemeral_storage_gib

    def said(self, settings: ModelSettings) -> dict[str, str]:
        """Annotations by which a model tells what it promises, and how long its first answer may take."""
        objective = settings.objective
        return {
            "llmops/objective": f"p99 {objective.p99_seconds:g} s, errors {objective.error_percent:g} %",
            "llmops/cold-start-seconds": str(self.cold_start.with_margin(self.cold_start.total_seconds)),
        }


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why there is no plan.

    Attributes:
        findings: What is wrong.
    """

    findings: tuple[Finding, ...]


def plan(spec: ModelSpec, facts: Facts) -> Plan | Refusal:
    """Plan a model."""
    settings = spec.settings
    if settings.backend == "hosted":
        return hosted_plan(spec, facts)
    if settings.gpu is None:
        return Refusal(findings=(("gpu", "must be set: type and count of the GPUs of one server"),))
    fitted = fit(settings, facts.offered)
    if isinstance(fitted, Unfit):
        return Refusal(findings=fitted.findings)
    request = request_of(settings, fitted)
    if settings.backend in ("sagemaker", "vertex"):
        machine = ("", managed_machine(settings, request, fitted), None)
    else:
        placed = place(settings, request, facts)
        if isinstance(placed, Refusal):
            return placed
        machine = (placed[0].name, placed[1].instance_type, placed[1])
    stages = stages_of(settings, fitted, facts)
    return Plan(
        fit=fitted,
        gpu_model=settings.gpu.type,
        gpus=fitted.gpus,
        request=request,
        shared_memory_mib=fitted.host.shared_memory_mib,
        sequences=fitted.sequences,
        batched_tokens=fitted.batched_tokens,
        utilization=fitted.utilization,
        cold_start=stages,
        waits=timeouts(stages, answer_seconds=facts.answer_seconds, idle_seconds=facts.idle_seconds),
        group=machine[0],
        instance_type=machine[1],
        cost=cost_of(spec, fitted, machine[1], machine[2], facts),
    )


def hosted_plan(spec: ModelSpec, facts: Facts) -> Plan:
    """The plan of a model that the cloud hosts: no server, and no cold start."""
    stages = ColdStartBudget(node=0, image=0, weights=1, compile=0, warm_up=0, margin_percent=10)
    waits = timeouts(stages, answer_seconds=facts.answer_seconds, idle_seconds=facts.idle_seconds)
    return Plan(
        fit=None,
        gpu_model="",
        gpus=0,
        request=Request(),
        shared_memory_mib=0,
        sequences=spec.settings.concurrency,
        batched_tokens=0,
        utilization=0,
        cold_start=stages,
        waits=waits,
        group="",
        instance_type="",
        cost=Cost(),
    )


def request_of(settings: ModelSettings, fitted: Fit) -> Request:
    """What a server's pod asks for."""
    return Request(
        cpu_millicores=fitted.host.cpu_millicores,
        memory_mib=fitted.host.memory_mib,
        ephemeral_storage_gib=fitted.host.disk_gib,
        gpus=fitted.gpus,
        gpu_model=settings.gpu.type if settings.gpu else "",
    )


def place(settings: ModelSettings, request: Request, facts: Facts) -> tuple[Group, NodeShape] | Refusal:
    """The group that a server is planned for, and its machine.

    A group counts only when each of its types takes the server: the autoscaler cannot choose between them. Among those
    the cheapest counts; the scheduler may take another one.
    """
    assert settings.gpu is not None
    kind = settings.gpu.type
    having = [group for group in facts.groups if group.gpu_model == kind]
    if not having:
        models = sorted({group.gpu_model for group in facts.groups})
        known = (
            f"must be {' or '.join(models)}, the GPUs of the groups of role gpu-inference"
            if models
            else ("needs a node group of role gpu-inference, and there is none")
        )
        types = sorted({shape.instance_type for shape in facts.offered if shape.gpu_model == kind})
        remedy = f"; or add a group with instanceTypes [{types[0]}]" if types else ""
        return Refusal(findings=(("gpu.type", f"{known}; got {kind}{remedy}"),))
    tried: list[str] = []
    able: list[tuple[float, Group, NodeShape]] = []
    for group in having:
        lacking = [
            f"{shape} lacks: {', '.join(short)}"
            for shape in group.shapes
            if (short := shortfalls(request, for_workloads(shape)))
        ]
        if lacking:
            tried.append(f"{group.name} has {'; '.join(lacking)}")
        else:
            shape = group.shapes[0]
            able.append((facts.hourly_usd.get(shape.instance_type, math.inf), group, shape))
    if able:
        _, group, shape = min(able, key=lambda one: one[0])
        return group, shape
    best = smallest_fitting(request, facts.offered)
    remedy = (
        f"add a node group with role gpu-inference and instanceTypes [{best.instance_type}]"
        if best
        else f"no type in {facts.region} takes it; set another gpu.count, or quantization"
    )
    return Refusal(
        findings=(("gpu", f"a server asks for {request}, which no node group takes: {' | '.join(tried)}; {remedy}"),)
    )


def managed_machine(settings: ModelSettings, request: Request, fitted: Fit) -> str:
    """The cloud's machine that a server is planned for; empty where none holds it, and the backend's rules say so."""
    found = chosen(
        "vertex" if settings.backend == "vertex" else "sagemaker",
        settings.managed.instance_type if settings.managed else "",
        gpu=request.gpu_model,
        gpus=request.gpus,
        memory_gib=request.memory_mib / 1024,
        stored_gib=fitted.stored_gib,
    )
    return found.name if found else ""


def stages_of(settings: ModelSettings, fitted: Fit, facts: Facts) -> ColdStartBudget:
    """Stages of a cold start: what the model says, else the longer of its estimate and the stack's own.

    Too long a time costs nothing but patience when something is wrong; too short a time restarts a server that loads.
    """
    own, estimate = ColdStartBudget.of(facts.cold_start), fitted.loading
    longer = replace(
        own,
        weights=max(own.weights, estimate.weights),
        compile=max(own.compile, estimate.compile),
        warm_up=max(own.warm_up, estimate.warm_up),
    )
    said = {
        name.removesuffix("_seconds"): value
        for name, value in settings.cold_start.model_dump().items()
        if value is not None
    }
    return replace(longer, **said)


def cost_of(spec: ModelSpec, fitted: Fit, instance_type: str, shape: NodeShape | None, facts: Facts) -> Cost:
    """What a model costs."""
    declared = spec.settings.throughput.tokens_per_second
    estimated = fitted.throughput.tokens_per_second
    tokens = declared or estimated
    machine = facts.hourly_usd.get(instance_type)
    if machine is None:
        return Cost(tokens_per_second=tokens, declared=declared is not None)
    server = replica_usd_per_hour(machine, replica_gpus=fitted.gpus, node_gpus=shape.gpus) if shape else machine
    found = serving_cost(
        replica_usd=server,
        fewest=sum(version.fewest for version in spec.versions),
        most=sum(version.most for version in spec.versions),
        estimated_tokens_per_second=estimated,
        declared_tokens_per_second=declared or 0,
    )
    return Cost(
        server_hourly_usd=server,
        minimum_hourly_usd=found.minimum_per_hour,
        maximum_hourly_usd=found.maximum_per_hour,
        million_tokens_usd=found.per_million_tokens or found.per_million_tokens_estimated,
        tokens_per_second=tokens,
        declared=declared is not None,
    )


def plans(specs: Sequence[ModelSpec], facts: Facts) -> dict[str, Plan | Refusal]:
    """Plans by name of the model."""
    return {spec.name: plan(spec, facts) for spec in specs}
