"""Envoy's filters at the edge, as data: what ``EnvoyFilter`` objects hold."""

from __future__ import annotations

import math
from typing import Any, Final

from components.settings.platform.gateway import AuthenticationSettings, RateLimitSettings

Config = dict[str, Any]

DOMAIN: Final = "gateway"
"""Domain of the counting service's configuration."""

CLIENT: Final = "client"
"""Descriptor of a request: who sent it."""

COUNTER_HOST: Final = "ratelimit.istio-ingress.svc.cluster.local"
COUNTER_PORT: Final = 8081

_NAMESPACE: Final = "llmops.edge"
_CONNECTION_MANAGER: Final = "envoy.filters.network.http_connection_manager"
_ROUTER: Final = "envoy.filters.http.router"
_ALWAYS: Final[Config] = {"numerator": 100, "denominator": "HUNDRED"}
_CLIENTS_REMEMBERED: Final = 10_000  # token buckets in each replica; the one longest unused goes first
_COUNTER_TIMEOUT: Final = "0.1s"  # a count takes 1-2 ms; what takes longer is treated as a failure


def _type(name: str) -> str:
    return f"type.googleapis.com/envoy.extensions.filters.{name}"


def merge_into_connection_manager(fields: Config) -> Config:
    """Patch of the HTTP connection manager of every listener of the gateway."""
    typed = {"@type": _type("network.http_connection_manager.v3.HttpConnectionManager"), **fields}
    return {
        "applyTo": "NETWORK_FILTER",
        "match": {"context": "GATEWAY", "listener": {"filterChain": {"filter": {"name": _CONNECTION_MANAGER}}}},
        "patch": {"operation": "MERGE", "value": {"name": _CONNECTION_MANAGER, "typed_config": typed}},
    }


def insert_before_router(http_filter: Config) -> Config:
    """Patch that adds an HTTP filter after Istio's own, and after those that were added before it."""
    network = {"name": _CONNECTION_MANAGER, "subFilter": {"name": _ROUTER}}
    return {
        "applyTo": "HTTP_FILTER",
        "match": {"context": "GATEWAY", "listener": {"filterChain": {"filter": network}}},
        "patch": {"operation": "INSERT_BEFORE", "value": http_filter},
    }


def refusals(mode: str) -> Config:
    """The gateway's own refusals in the form that clients of model APIs read.

    Istio's policies say 403 to a request without a credential as well; for that HTTP has 401.
    """
    needs = {"api-key": "an API key of the form sk-…", "jwt": "a valid token"}
    mappers: list[Config] = []
    if mode in needs:
        mappers.append(
            {
                "filter": _status_is(403, "edge.refused"),
                "status_code": 401,
                "headers_to_add": [
                    {
                        "header": {"key": "www-authenticate", "value": "Bearer"},
                        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                    }
                ],
                "body_format_override": _error(
                    "authentication_error", f"This host needs {needs[mode]} as bearer token."
                ),
            }
        )
    mappers.append(
        {
            "filter": _status_is(429, "edge.limited"),
            "body_format_override": _error(
                "rate_limit_error", "Too many requests; Retry-After says when to come back."
            ),
        }
    )
    return {"mappers": mappers}


def _status_is(code: int, runtime_key: str) -> Config:
    value = {"default_value": code, "runtime_key": runtime_key}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _error(kind: str, message: str) -> Config:
    return {"json_format": {"error": {"message": message, "type": kind}}}


KEY_PREFIX: Final[Config] = {
    "name": "edge.key_prefix",
    "typed_config": {
        "@type": _type("http.header_to_metadata.v3.Config"),
        "request_rules": [
            {
                "header": "authorization",
                "on_header_present": {
                    "metadata_namespace": _NAMESPACE,
                    "key": CLIENT,
                    "regex_value_rewrite": {
                        # Whatever comes, no more than 11 characters are kept.
                        "pattern": {"regex": r"^(?:[Bb]earer )?(.{0,11}).*$"},
                        "substitution": r"\1",
                    },
                },
            }
        ],
    },
}
"""The first characters of a key, ``sk-`` and eight more, stand for its client.

The whole key would be written into the counter's store and into its logs. LiteLLM's keys have 22 characters after
``sk-``: the fourteen that are never kept are 84 bits.
"""

_LUA: Final = """\
function envoy_on_response(handle)
  local headers = handle:headers()
  if headers:get(":status") == "429" and headers:get("retry-after") == nil then
    local reset = headers:get("x-ratelimit-reset")
    headers:add("retry-after", string.format("%d", math.max(1, tonumber(reset or 1) or 1)))
  end
end
"""

RETRY_AFTER: Final[Config] = {
    "name": "edge.retry_after",
    "typed_config": {"@type": _type("http.lua.v3.Lua"), "default_source_code": {"inline_string": _LUA}},
}
"""Clients wait as ``Retry-After`` says; Envoy itself says it in ``x-ratelimit-reset`` only."""


def client_of(settings: AuthenticationSettings) -> Config:
    """Who sends a request, as a rate-limit action; a request that has no such thing is not limited by client.

    A token's claim is read from what Envoy verified, and not from a header that a client could set.
    """
    match settings.mode:
        case "api-key":
            return _from_metadata(_NAMESPACE, CLIENT)
        case "jwt":
            claim = settings.jwt.client_claim if settings.jwt else "sub"
            return _from_metadata("envoy.filters.http.jwt_authn", "payload", claim)
        case "none":
            return {"remote_address": {}}


def _from_metadata(namespace: str, *path: str) -> Config:
    return {
        "metadata": {
            "descriptor_key": CLIENT,
            "metadata_key": {"key": namespace, "path": [{"key": part} for part in path]},
            "source": "DYNAMIC",
        }
    }


def descriptor_of(client: Config) -> str:
    """Key of the descriptor that an action makes."""
    return "remote_address" if "remote_address" in client else CLIENT


def local_limit(settings: RateLimitSettings, replicas: int, client: Config) -> Config:
    """Token buckets in each replica: one for all requests, and one for each client that is not counted globally."""
    config: Config = {
        "@type": _type("http.local_ratelimit.v3.LocalRateLimit"),
        "stat_prefix": "http_local_rate_limiter",
        "token_bucket": {
            "max_tokens": math.ceil(settings.burst / replicas),
            "tokens_per_fill": math.ceil(settings.requests_per_second / replicas),
            "fill_interval": "1s",
        },
        "filter_enabled": {"runtime_key": "edge.local_limit.enabled", "default_value": _ALWAYS},
        "filter_enforced": {"runtime_key": "edge.local_limit.enforced", "default_value": _ALWAYS},
    }
    if settings.counting == "local":
        share = math.ceil(settings.client_requests_per_minute / replicas)
        config |= {
            "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
            "rate_limits": [{"actions": [client]}],
            # A descriptor without a value: every client gets a bucket of its own.
            "descriptors": [
                {
                    "entries": [{"key": descriptor_of(client)}],
                    "token_bucket": {"max_tokens": share, "tokens_per_fill": share, "fill_interval": "60s"},
                }
            ],
            "max_dynamic_descriptors": _CLIENTS_REMEMBERED,
        }
    return {"name": "envoy.filters.http.local_ratelimit", "typed_config": config}


def global_limit(settings: RateLimitSettings, client: Config) -> Config:
    """Ask the counting service, which all replicas share."""
    return {
        "name": "envoy.filters.http.ratelimit",
        "typed_config": {
            "@type": _type("http.ratelimit.v3.RateLimit"),
            "domain": DOMAIN,
            "timeout": _COUNTER_TIMEOUT,
            "failure_mode_deny": settings.on_failure == "refuse",
            "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
            "rate_limits": [{"actions": [client]}],
            "rate_limit_service": {
                "transport_api_version": "V3",
                "grpc_service": {
                    "envoy_grpc": {
                        "cluster_name": f"outbound|{COUNTER_PORT}||{COUNTER_HOST}",
                        "authority": COUNTER_HOST,
                    },
                    "timeout": _COUNTER_TIMEOUT,
                },
            },
        },
    }
