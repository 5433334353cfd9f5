"""How long a cold start may take, and every timeout on the way of a request that follows from it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Final

from components.settings.platform.serving import ColdStartSettings

PROBE_SECONDS: Final = 10
"""How often a starting server is asked whether it is ready."""

LEAVE_SECONDS: Final = 15
"""How long a pod that must go still takes requests: until proxies and the mesh have noticed."""

KSERVE_PROGRESS_DEADLINE_SECONDS: Final = 600
"""What KServe 0.20 gives every Deployment and takes from nobody (`setDefaultDeploymentSpec`). A roll-out of a running
model that takes longer is reported as not ready until it is done; nothing is stopped."""

# Each hop waits a little longer than the one behind it: so the one that knows most says what went wrong.
_HOP_SECONDS: Final = 10

# Limits of autoscaling/v2: stabilization windows of an hour, periods of policies of half an hour.
_WINDOW_LIMIT_SECONDS: Final = 3600
_PERIOD_LIMIT_SECONDS: Final = 1800


@dataclass(frozen=True, kw_only=True)
class ColdStartBudget:
    """Stages of a cold start in seconds, one after the other.

    Attributes:
        node: From a pod that fits nowhere to a new node that is ready.
        image: Pulling the server's image.
        weights: Fetching the weights.
        compile: Compiling the model's graph.
        warm_up: Memory profiling, CUDA graphs, first token.
        margin_percent: What is added to the sum.
    """

    node: int
    image: int
    weights: int
    compile: int
    warm_up: int
    margin_percent: int

    def __post_init__(self) -> None:
        for stage in fields(self):
            if getattr(self, stage.name) < 0:
                raise ValueError(f"cold start: {stage.name} must be 0 or more; got {getattr(self, stage.name)}")
        if not self.container_seconds:
            raise ValueError("cold start: weights, compile and warm_up cannot all be 0; no server starts at once")

    @classmethod
    def of(cls, settings: ColdStartSettings) -> ColdStartBudget:
        """The stack's own; a model that knows better replaces single stages by ``dataclasses.replace``."""
        return cls(
            node=settings.node_seconds,
            image=settings.image_seconds,
            weights=settings.weights_seconds,
            compile=settings.compile_seconds,
            warm_up=settings.warm_up_seconds,
            margin_percent=settings.margin_percent,
        )

    @property
    def container_seconds(self) -> int:
        """From the container's start to a server that answers."""
        return self.weights + self.compile + self.warm_up

    @property
    def total_seconds(self) -> int:
        """From a request that finds no server, and no node, to a server that answers."""
        return self.node + self.image + self.container_seconds

    def with_margin(self, seconds: int) -> int:
        """The same and the margin; whole seconds."""
        return math.ceil(seconds * (100 + self.margin_percent) / 100)


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Every wait on the way of a request, in seconds; from the server outwards.

    Attributes:
        startup_failures: Failed probes, :data:`PROBE_SECONDS` apart, after which a starting server is restarted.
        activation: How long the activator holds a request until a server is ready.
        answer: How long an answer takes at a running server; also until its first byte, because an answer that is not
            streamed has its headers at its end.
        request: The activator's limit for both.
        model_gateway: The model gateway's limit for one attempt at a model.
        route: The public gateway's limit for a request.
        idle: How long connections on the way must live without a byte: load balancers, proxies, clients.
        drain: How long a server, or a proxy, that must go waits for its last answers.
        activator_drain: The same for the activator, which also holds requests.
        cooldown: How long a model keeps its last server after its last request. Longer than a cold start: whoever gave
            up and comes back finds the server, not the beginning of another start.
        scale_down_window: For how long fewer replicas must have been enough before one is removed.
        scale_up_period: In which the number of replicas doubles at most: more would come of the same evidence while the
            first are still starting.
        progress_deadline: When a roll-out of a Deployment of ours counts as failed. KServe has its own:
            :data:`KSERVE_PROGRESS_DEADLINE_SECONDS`.
    """

    startup_failures: int
    activation: int
    answer: int
    request: int
    model_gateway: int
    route: int
    idle: int
    drain: int
    activator_drain: int
    cooldown: int
    scale_down_window: int
    scale_up_period: int
    progress_deadline: int

    @property
    def startup(self) -> int:
        """How long a container may start."""
        return self.startup_failures * PROBE_SECONDS

    @property
    def grace(self) -> int:
        """A model server's termination grace period."""
        return LEAVE_SECONDS + self.drain + _HOP_SECONDS

    @property
    def activator_grace(self) -> int:
        """The activator's termination grace period."""
        return LEAVE_SECONDS + self.activator_drain + _HOP_SECONDS


def timeouts(budget: ColdStartBudget, *, answer_seconds: int, idle_seconds: int) -> Timeouts:
    """Every timeout, from the length of a cold start and that of the longest answer.

    Args:
        budget: The cold start.
        answer_seconds: How long the longest answer takes at a running server.
        idle_seconds: How long a model keeps its server after its last request, if a cold start is not longer.
    """
    activation = budget.with_margin(budget.total_seconds)
    request = activation + answer_seconds + _HOP_SECONDS
    model_gateway = request + _HOP_SECONDS
    route = model_gateway + _HOP_SECONDS
    return Timeouts(
        startup_failures=math.ceil(budget.with_margin(budget.container_seconds) / PROBE_SECONDS),
        activation=activation,
        answer=answer_seconds,
        request=request,
        model_gateway=model_gateway,
        route=route,
        idle=route + _HOP_SECONDS,
        drain=answer_seconds,
        activator_drain=request,
        cooldown=max(idle_seconds, activation),
        scale_down_window=min(activation, _WINDOW_LIMIT_SECONDS),
        scale_up_period=min(activation, _PERIOD_LIMIT_SECONDS),
        progress_deadline=activation,
    )


def longest(several: Iterable[Timeouts]) -> Timeouts:
    """What suits all of them, for what they share: the route of the models' one host, the load balancer.

    Raises:
        ValueError: There are none.
    """
    every = list(several)
    if not every:
        raise ValueError("no timeouts to take the longest of")
    return Timeouts(**{field.name: max(getattr(one, field.name) for one in every) for field in fields(Timeouts)})
