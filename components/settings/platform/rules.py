"""What systems of the platform need of one another, and of the account."""

from __future__ import annotations

from collections.abc import Iterator

from components.settings.platform import PlatformSettings

# Special-use names (RFC 6761, RFC 6762, ICANN's reservation of .internal): nobody can prove to own one.
_RESERVED = ("internal", "local", "localhost", "test", "example", "invalid", "home.arpa")


def acme(platform: PlatformSettings, hosted_zone_id: str) -> Iterator[tuple[str, str]]:
    """Paths and messages: what a public certificate authority lacks."""
    certificates, domain = platform.certificates, platform.gateway.domain
    if not certificates.enabled or certificates.issuer != "acme":
        return
    path = "platform.certificates.issuer"
    if certificates.acme.email is None:
        yield path, "acme needs platform.certificates.acme.email, where warnings go before a certificate expires"
    if not hosted_zone_id:
        yield path, "acme needs aws.hostedZoneId, the public zone in which the domain is proven"
    if any(domain == name or domain.endswith(f".{name}") for name in _RESERVED):
        yield path, f"acme cannot sign platform.gateway.domain {domain}: it is no public name; set one, or private"


def gateway(platform: PlatformSettings) -> Iterator[tuple[str, str]]:
    """Paths and messages: what the gateway lacks."""
    if not platform.gateway.enabled:
        return
    for name, enabled in (("mesh", platform.mesh.enabled), ("certificates", platform.certificates.enabled)):
        if not enabled:
            yield "platform.gateway.enabled", f"needs platform.{name}.enabled"
    limits = platform.gateway.rate_limits
    if limits.enabled and limits.counting == "global" and not platform.secrets.enabled:
        yield "platform.gateway.rateLimits.counting", "global needs platform.secrets.enabled, for the cache's password"


def delivery(platform: PlatformSettings) -> Iterator[tuple[str, str]]:
    """Paths and messages: what delivery from Git lacks."""
    if not platform.delivery.enabled:
        return
    if not platform.secrets.enabled:
        yield "platform.delivery.enabled", "needs platform.secrets.enabled, for Argo CD's credentials"
    host, domain = platform.delivery.host, platform.gateway.domain
    if host and platform.gateway.enabled and host.partition(".")[2] != domain:
        yield "platform.delivery.host", f"must be one label below platform.gateway.domain {domain}; got {host}"
