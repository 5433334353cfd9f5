"""LiteLLM's configuration, made from the declared models: a pure function, without a credential in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from components.platform.model_gateway.models import Backend, GatewayModel, Hosted, Served, longest_answer_seconds
from components.settings.platform.model_gateway import AnswerCacheSettings, ModelGatewaySettings, RoutingSettings

MASTER_KEY: Final = "LITELLM_MASTER_KEY"
CACHE_HOST: Final = "REDIS_HOST"
CACHE_PORT: Final = "REDIS_PORT"
CACHE_PASSWORD: Final = "REDIS_PASSWORD"

CACHE_KEYS: Final = "cache_keys"
"""Module beside the file that keeps spans out of the keys of cached answers."""

SESSION_SECONDS: Final = 3600
"""How long a session stays with its backend after its last request."""

DATABASE_CONNECTIONS: Final = 10
"""Connections to the database that one replica keeps at most."""

_STRATEGIES: Final = {"weighted": "simple-shuffle", "least-busy": "least-busy"}
_CACHE_MODES: Final = {"every-request": "default_on", "on-request": "default_off"}


def configuration(
    models: Sequence[GatewayModel], settings: ModelGatewaySettings, *, traced: bool = False
) -> dict[str, Any]:
    """The file ``config.yaml``. Credentials are named by variables of the process and stand nowhere else.

    What is not in the file, LiteLLM would read from its database or fetch: neither is wanted. Models are declared here
    and nowhere else, and prices are those of the release (the variables of the container say so).
    """
    return {
        "model_list": [_deployment(model, backend) for model in models for backend in model.backends],
        "router_settings": {**_router(models, settings.routing), **_sessions(models)},
        "litellm_settings": {
            "json_logs": True,
            "callbacks": ["prometheus", *(["otel", f"{CACHE_KEYS}.callback"] if traced else [])],
            # Models report their part of a request below the same trace id.
            **({"forward_traceparent_to_llm_provider": True} if traced else {}),
            "service_callback": ["prometheus_system"],  # calls of the database and of the cache, and which of them fail
            "request_timeout": longest_answer_seconds(models) or 600,  # what no model's own timeout says
            # Clients are written for one provider; what another does not know is left out instead of refused.
            "drop_params": True,
            # Messages and answers are the clients' own: they go into no log, trace or table.
            "turn_off_message_logging": True,
            **_cache(settings.cache),
        },
        "general_settings": {
            "master_key": f"os.environ/{MASTER_KEY}",
            "store_model_in_db": False,
            "store_prompts_in_spend_logs": False,
            "database_connection_pool_limit": DATABASE_CONNECTIONS,
            # A client that went away must not keep a GPU busy.
            "cancel_on_disconnect": True,
            # They would call every model, every few minutes: none would ever scale to zero.
            "background_health_checks": False,
        },
    }


def _deployment(model: GatewayModel, backend: Backend) -> dict[str, Any]:
    """One entry of ``model_list``: entries of the same name are the backends of one model."""
    parameters: dict[str, Any] = {
        **_target(backend),
        "timeout": backend.timeout_seconds,
        "stream_timeout": backend.timeout_seconds,
        "weight": backend.weight,
        "order": backend.order,
        # The router tries again, where it chooses another backend; the client below it would insist on this one.
        "max_retries": 0,
    }
    for name, limit in (("rpm", backend.requests_per_minute), ("tpm", backend.tokens_per_minute)):
        if limit is not None:
            parameters[name] = limit
    for name, price in (
        ("input_cost_per_token", model.input_usd_per_million),
        ("output_cost_per_token", model.output_usd_per_million),
    ):
        if price is not None:
            parameters[name] = price / 1e6
        elif isinstance(backend.target, Served) or not backend.target.offered:
            parameters[name] = 0.0  # said, or LiteLLM looks for a public model with the same name
    return {
        "model_name": model.name,
        "litellm_params": parameters,
        "model_info": {"id": f"{model.name}/{backend.name}", "mode": model.mode},
    }


def _target(backend: Backend) -> dict[str, Any]:
    target = backend.target
    if not isinstance(target, Served):
        return _hosted(target)
    root = target.url.rstrip("/")
    # Backends in the cluster ask for no key: the mesh and the network policies say who may call them. The client
    # library insists on one.
    no_key = {"api_key": "none"}
    match target.api:
        case "vllm":
            return {"model": f"hosted_vllm/{target.model}", "api_base": f"{root}/v1", **no_key}
        case "openai":
            return {"model": f"openai/{target.model}", "api_base": f"{root}/v1", **no_key}
        case "triton":
            return {"model": f"triton/{target.model}", "api_base": f"{root}/v2/models/{target.model}/generate"}


def _hosted(target: Hosted) -> dict[str, Any]:
    match target.provider:
        case "bedrock":
            return {"model": f"bedrock/{target.model}", "aws_region_name": target.region}
        case "sagemaker":
            component = {"model_id": target.component} if target.component else {}
            return {"model": f"sagemaker_chat/{target.model}", "aws_region_name": target.region, **component}
        case "vertex" if target.offered:
            # The project is that of the pod's identity.
            return {"model": f"vertex_ai/{target.model}", "vertex_location": target.region}
        case "vertex":
            # The address names the endpoint. Its name would be searched for those of known models, and one that it
            # holds (`bge`, `gemma`) would change the request.
            sign_in = {"vertex_credentials": json.dumps(dict(target.sign_in))} if target.sign_in else {}
            where = {"vertex_project": target.project, "vertex_location": target.region}
            return {"model": "vertex_ai/openai/endpoint", "api_base": target.url, **where, **sign_in}


def _router(models: Sequence[GatewayModel], routing: RoutingSettings) -> dict[str, Any]:
    return {
        "routing_strategy": _STRATEGIES[routing.strategy],
        "num_retries": routing.retries,
        "retry_policy": {"TimeoutErrorRetries": 0},
        "allowed_fails": routing.allowed_failures,
        "cooldown_time": routing.cooldown_seconds,
        "max_fallbacks": routing.max_fallbacks,
        # What failed on one backend goes to another one of the model before it falls back to another model.
        "enable_weighted_failover": routing.strategy == "weighted",
        "fallbacks": [{model.name: list(model.fallbacks)} for model in models if model.fallbacks],
        # Without it `rpm` and `tpm` of a backend only say where to send, and refuse nothing.
        "optional_pre_call_checks": ["enforce_model_rate_limits"],
    }


def _sessions(models: Sequence[GatewayModel]) -> dict[str, Any]:
    """Sessions that stay with their backend; where they went is kept in the cache, for all replicas."""
    sticky = [model.name for model in models if model.sticky]
    if not sticky:
        return {}
    return {
        "model_group_affinity_config": {name: ["session_affinity"] for name in sticky},
        "deployment_affinity_ttl_seconds": SESSION_SECONDS,
    }


def _cache(cache: AnswerCacheSettings) -> dict[str, Any]:
    if not cache.enabled:
        return {"cache": False}
    return {
        "cache": True,
        # vLLM's own parameters (top_k, guided_choice ...) belong to the request: without this, two that differ only in
        # them would get the same answer.
        "enable_caching_on_provider_specific_optional_params": True,
        "cache_params": {
            "type": "redis",
            "host": f"os.environ/{CACHE_HOST}",
            "port": f"os.environ/{CACHE_PORT}",
            "password": f"os.environ/{CACHE_PASSWORD}",
            "ssl": True,
            "namespace": "litellm",  # others keep their data in the same cache
            "ttl": cache.ttl_seconds,
            "mode": _CACHE_MODES[cache.mode],
        },
    }
