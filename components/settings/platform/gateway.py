"""The way in: load balancer, TLS, authentication, rate limits."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from components.settings.base import Cidr, Section

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
DomainName = Annotated[str, Field(max_length=253, pattern=rf"^{_LABEL}(\.{_LABEL})+$")]
"""A DNS name of two labels or more, in lower case."""

Path = Annotated[str, Field(pattern=r"^/[A-Za-z0-9._~/-]*$")]
"""A URL's path without wildcards."""

HttpsUrl = Annotated[str, Field(pattern=r"^https://\S+$")]
"""A URL that begins with ``https://``."""


class JwtSettings(Section):
    """Who issues the tokens that the gateway accepts.

    Attributes:
        issuer: What stands in the claim ``iss``.
        jwks_uri: Where the issuer publishes its keys.
        audiences: One of these must stand in the claim ``aud``: a token made for another service is refused.
        required_claims: Claims that a token must hold, each with its accepted values.
        client_claim: Claim that names the client, for rate limits.
        forward_token: Pass the token on to the service behind the gateway; else it is removed.
    """

    issuer: HttpsUrl
    jwks_uri: HttpsUrl
    audiences: Annotated[tuple[str, ...], Field(min_length=1)]
    required_claims: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:/-]+$")], tuple[str, ...]] = Field(
        default_factory=dict[str, tuple[str, ...]]
    )
    client_claim: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] = "sub"
    forward_token: bool = False


class AuthenticationSettings(Section):
    """What a request must carry to pass the gateway.

    Attributes:
        mode: ``api-key``: a bearer token that has the form of a key of the model gateway (``sk-…``); whether the key is
            valid, the model gateway decides, so whatever else is published must check its own users. ``jwt``: a valid
            token of the issuer. ``none``: nothing; only where the gateway is internal.
        jwt: The issuer, for mode ``jwt``.
        exempt_paths: Paths that need neither; GET and HEAD only, on every host.
        exempt_hosts: Hosts whose service has a sign-in of its own, such as ``argocd.llm.internal``.
    """

    mode: Literal["api-key", "jwt", "none"] = "api-key"
    jwt: JwtSettings | None = None
    exempt_paths: tuple[Path, ...] = ("/health/liveliness", "/health/readiness")
    exempt_hosts: tuple[DomainName, ...] = ()

    @model_validator(mode="after")
    def _tokens_have_an_issuer(self) -> Self:
        if self.mode == "jwt" and self.jwt is None:
            raise ValueError("mode jwt needs the section jwt with issuer, jwksUri and audiences")
        return self


class RateLimitSettings(Section):
    """How many requests pass; what is above gets 429 with a hint when to come back.

    Attributes:
        enabled: Limit at all.
        requests_per_second: Requests of all clients together that the gateway lets through. Each replica takes its
            share of the usual number of replicas, so the sum rises when the gateway scales out.
        burst: Requests above that rate that may come at once.
        client_requests_per_minute: Requests of one client: of one key, one token's subject, or one address, as
            ``authentication.mode`` has it.
        counting: Where requests of a client are counted: ``local`` in each replica, each with its share; ``global`` in
            the cache, exactly, for a round trip of a millisecond or two.
        on_failure: What happens to requests while the global count cannot be reached.
    """

    enabled: bool = True
    requests_per_second: Annotated[int, Field(ge=1)] = 100
    burst: Annotated[int, Field(ge=1)] = 200
    client_requests_per_minute: Annotated[int, Field(ge=1)] = 600
    counting: Literal["local", "global"] = "local"
    on_failure: Literal["allow", "refuse"] = "allow"

    @model_validator(mode="after")
    def _a_burst_holds_a_second(self) -> Self:
        if self.burst < self.requests_per_second:
            raise ValueError(f"burst must be requestsPerSecond ({self.requests_per_second}) or more; got {self.burst}")
        return self


class GatewaySettings(Section):
    """The way in: load balancer, TLS, authentication, rate limits.

    Attributes:
        enabled: Install it. It needs the mesh and certificates.
        domain: Every host is one label below it, such as ``api.llm.internal``; point ``*.<domain>`` to the load
            balancer.
        exposure: From where the load balancer can be reached.
        source_ranges: Networks that may connect; empty for all that reach it. An internet-facing gateway must say
            whom it admits: ``0.0.0.0/0`` for everybody.
        max_replicas: Replicas at most, where the platform is highly available; it starts with two.
        hsts_days: How long browsers insist on HTTPS after a visit; 0 sends no such header.
        authentication: What a request must carry.
        rate_limits: How many requests pass.
    """

    enabled: bool = True
    domain: DomainName = "llm.internal"
    exposure: Literal["internal", "internet-facing"] = "internal"
    source_ranges: tuple[Cidr, ...] = ()
    max_replicas: Annotated[int, Field(ge=2, le=50)] = 5
    hsts_days: Annotated[int, Field(ge=0, le=730)] = 365
    authentication: AuthenticationSettings = AuthenticationSettings()
    rate_limits: RateLimitSettings = RateLimitSettings()

    @model_validator(mode="after")
    def _the_internet_is_admitted_on_purpose(self) -> Self:
        if self.exposure == "internet-facing" and not self.source_ranges:
            raise ValueError("an internet-facing gateway needs sourceRanges; [0.0.0.0/0] admits everybody")
        if self.exposure == "internet-facing" and self.authentication.mode == "none":
            raise ValueError("an internet-facing gateway needs an authentication.mode other than none")
        return self

    @model_validator(mode="after")
    def _hosts_are_below_the_domain(self) -> Self:
        for host in self.authentication.exempt_hosts:
            label, _, parent = host.partition(".")
            if not label or parent != self.domain:
                raise ValueError(f"authentication.exemptHosts must be one label below {self.domain}; got {host}")
        return self
