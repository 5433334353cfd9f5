"""The way in: load balancer, TLS, authentication, rate limits."""

from __future__ import annotations

from components.settings.base import Section


class GatewaySettings(Section):
    """The way in: load balancer, TLS, authentication, rate limits.

    Attributes:
        enabled: Install it.
    """

    enabled: bool = True
