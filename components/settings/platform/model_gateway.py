"""The model gateway: one OpenAI-style API for every model (LiteLLM)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components.settings.base import Section
from components.settings.platform.gateway import DomainName, Path


class AnswerCacheSettings(Section):
    """Answers that are given again without asking a model.

    An answer is kept for a request with the same model, messages and parameters, whoever sent it: all teams share it.

    Attributes:
        enabled: Keep answers in the platform's cache.
        mode: ``every-request``: unless a request says ``{"cache": {"no-cache": true}}``. ``on-request``: only for
            requests that say ``{"cache": {"use-cache": true}}``.
        ttl_seconds: How long an answer is kept.
    """

    enabled: bool = True
    mode: Literal["every-request", "on-request"] = "every-request"
    ttl_seconds: Annotated[int, Field(ge=1, le=604_800)] = 600


class RoutingSettings(Section):
    """How requests find a backend, and what happens when it fails.

    Attributes:
        strategy: ``weighted``: at random by weight. ``least-busy``: fewest open requests, as each replica of the
            gateway sees them by itself.
        retries: How often a request that failed is sent again to the same model, on another backend where there is one.
            Not after a timeout: who asks has then waited for as long as the model may take.
        allowed_failures: Failures of a backend in a minute; with one more it is set aside.
        cooldown_seconds: How long a backend is set aside.
        max_fallbacks: Fallbacks that one request may go through.
    """

    strategy: Literal["weighted", "least-busy"] = "weighted"
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    allowed_failures: Annotated[int, Field(ge=0, le=1000)] = 3
    cooldown_seconds: Annotated[int, Field(ge=1, le=3600)] = 30
    max_fallbacks: Annotated[int, Field(ge=1, le=10)] = 5


class ModelGatewaySettings(Section):
    """One OpenAI-style API for every model: keys, budgets, limits, routing, fallbacks (LiteLLM).

    Attributes:
        enabled: Install it. It needs secrets; it is published where the gateway is there.
        host: Where the API is published, one label below ``gateway.domain``; ``api.<domain>`` where it is not set.
        paths: Beginnings of paths that are published. Keys, teams and other administration are below none of them:
            those are reached from inside the cluster, or at ``adminHost``.
        admin_host: Where administration is published too, one label below ``gateway.domain``: pages under ``/ui`` and
            the whole API. Browsers send no bearer token, so the edge lets everything to this host pass and LiteLLM
            checks alone; empty publishes nothing.
        max_replicas: Replicas at most, where the platform is highly available; it starts with two.
        cpu_millicores: CPU that one replica requests; a replica is one process, which uses one core at most.
        memory_mib: Memory that one replica requests.
        memory_limit_mib: Memory at which it is stopped. The database client's share grows with the largest write.
        drain_seconds: How long a replica that must go waits for its answers.
        cache: Answers that are given again.
        routing: How requests find a backend.
        log_level: What is logged. ``INFO`` is five lines for each request; no level logs messages or answers.
    """

    enabled: bool = True
    host: DomainName | Literal[""] = ""
    paths: Annotated[tuple[Path, ...], Field(min_length=1)] = ("/v1", "/health/liveliness", "/health/readiness")
    admin_host: DomainName | Literal[""] = ""
    max_replicas: Annotated[int, Field(ge=2, le=20)] = 4
    cpu_millicores: Annotated[int, Field(ge=100, le=4000)] = 500
    memory_mib: Annotated[int, Field(ge=512, le=16384)] = 1024
    memory_limit_mib: Annotated[int, Field(ge=1024, le=32768)] = 3072
    drain_seconds: Annotated[int, Field(ge=1, le=3600)] = 600
    cache: AnswerCacheSettings = AnswerCacheSettings()
    routing: RoutingSettings = RoutingSettings()
    log_level: Literal["ERROR", "WARNING", "INFO"] = "WARNING"
