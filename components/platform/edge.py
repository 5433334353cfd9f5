"""The edge: who may pass the gateway, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta import v1 as meta

from components.platform import envoy
from components.platform.gateway import NAMESPACE, Gateway
from components.platform.mesh import SECURITY_API
from components.platform.openings import GATEWAY
from components.platform.rate_limits import RateLimitArgs, RateLimits, counts_globally
from components.platform.site import Site
from components.settings.platform.gateway import AuthenticationSettings, GatewaySettings, JwtSettings

_ENVOY_API: Final = "networking.istio.io/v1alpha3"
_SELECTOR: Final[dict[str, Any]] = {"matchLabels": dict(GATEWAY.labels)}

# The form of LiteLLM's keys. The gateway knows no key: they come and go in the model gateway's database.
_KEY_FORMS: Final = ("Bearer sk-*", "bearer sk-*")


@dataclass(frozen=True, kw_only=True)
class EdgeArgs:
    """What the edge needs.

    Attributes:
        site: Where it is installed.
        gateway: Where it stands.
        secrets_ready: ``SecretSync.ready``; read where clients are counted in the cache.
        own_sign_in: Hosts of the platform's systems with a sign-in of their own; exempt, as the settings' are.
    """

    site: Site
    gateway: Gateway
    secrets_ready: Sequence[pulumi.Resource]
    own_sign_in: Sequence[str] = ()


class Edge(pulumi.ComponentResource):
    """Authentication, then limits, then the backends: a request that is refused reaches none."""

    ready: tuple[pulumi.Resource, ...]

    def __init__(self, name: str, args: EdgeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmops:platform:Edge", name, None, opts)
        site, settings = args.site, args.site.settings.gateway
        after = pulumi.ResourceOptions(parent=self, depends_on=[*args.gateway.ready])
        ready: list[pulumi.Resource] = []

        def declare(suffix: str, api: str, kind: str, object_name: str, spec: dict[str, Any]) -> None:
            made = CustomResource(
                f"{name}-{suffix}",
                api_version=api,
                kind=kind,
                metadata=meta.ObjectMetaArgs(name=object_name, namespace=NAMESPACE),
                spec=spec,
                opts=after,
            )
            ready.append(made)

        jwt = settings.authentication.jwt if settings.authentication.mode == "jwt" else None
        if jwt is not None:
            declare("tokens", SECURITY_API, "RequestAuthentication", "edge", token_rules(jwt))
        if settings.authentication.mode != "none":
            declare(
                "admission",
                SECURITY_API,
                "AuthorizationPolicy",
                "edge",
                admission(settings.authentication, args.own_sign_in),
            )
        if counts_globally(site):
            limits = RateLimits(
                f"{name}-limits",
                RateLimitArgs(site=site, secrets_ready=args.secrets_ready),
                pulumi.ResourceOptions(parent=self),
            )
            ready += limits.ready
        declare(
            "filters",
            _ENVOY_API,
            "EnvoyFilter",
            "edge",
            {"workloadSelector": {"labels": dict(GATEWAY.labels)}, "configPatches": patches(settings, site.replicas)},
        )
        self.ready = (*args.gateway.ready, *ready)
        self.register_outputs({})


def token_rules(jwt: JwtSettings) -> dict[str, Any]:
    """Which tokens are valid. It refuses bad ones; that there is one at all, the policy of admission asks."""
    return {
        "selector": _SELECTOR,
        "jwtRules": [
            {
                "issuer": jwt.issuer,
                "jwksUri": jwt.jwks_uri,
                "audiences": list(jwt.audiences),
                "forwardOriginalToken": jwt.forward_token,
            }
        ],
    }


def admission(settings: AuthenticationSettings, own_sign_in: Sequence[str] = ()) -> dict[str, Any]:
    """Who may pass. It is a list of what is allowed: what nobody thought of is refused.

    Were the filters of this module not applied, by a mistake in them or a change in Istio, it would stand all the same.
    """
    rules: list[dict[str, Any]] = [_credential(settings)]
    if settings.exempt_paths:
        rules.append({"to": [{"operation": {"methods": ["GET", "HEAD"], "paths": list(settings.exempt_paths)}}]})
    if exempt := sorted({*settings.exempt_hosts, *own_sign_in}):
        hosts = [form for host in exempt for form in (host, f"{host}:*")]
        rules.append({"to": [{"operation": {"hosts": hosts}}]})
    return {"selector": _SELECTOR, "action": "ALLOW", "rules": rules}


def _credential(settings: AuthenticationSettings) -> dict[str, Any]:
    if settings.mode == "jwt" and settings.jwt is not None:
        rule: dict[str, Any] = {"from": [{"source": {"requestPrincipals": [f"{settings.jwt.issuer}/*"]}}]}
        if settings.jwt.required_claims:
            rule["when"] = [
                {"key": f"request.auth.claims[{claim}]", "values": list(accepted)}
                for claim, accepted in sorted(settings.jwt.required_claims.items())
            ]
        return rule
    return {"when": [{"key": "request.headers[authorization]", "values": list(_KEY_FORMS)}]}


def patches(settings: GatewaySettings, replicas: int) -> list[dict[str, Any]]:
    """What Istio has no words for: limits, and answers that programs understand.

    The filters stand just before the router, in this order. Istio's own, which check the caller, come before them.
    """
    found = [envoy.merge_into_connection_manager({"local_reply_config": envoy.refusals(settings.authentication.mode)})]
    if settings.rate_limits.enabled:
        client = envoy.client_of(settings.authentication)
        filters = [
            *([envoy.KEY_PREFIX] if settings.authentication.mode == "api-key" else []),
            envoy.RETRY_AFTER,
            envoy.local_limit(settings.rate_limits, replicas, client),
            *([envoy.global_limit(settings.rate_limits, client)] if settings.rate_limits.counting == "global" else []),
        ]
        found += [envoy.insert_before_router(one) for one in filters]
    return found
