"""Certificates."""

from __future__ import annotations

from typing import Literal

from components.settings.base import Email, Section


class AcmeSettings(Section):
    """A public certificate authority that speaks ACME (Let's Encrypt); domains are proven by DNS records.

    Attributes:
        email: Whom the authority writes to when a certificate is about to expire.
        server: ``staging`` has generous rate limits, and certificates that no browser trusts.
    """

    email: Email | None = None
    server: Literal["production", "staging"] = "production"


class CertificateSettings(Section):
    """Certificates (cert-manager).

    Attributes:
        enabled: Install it. The gateway needs it.
        issuer: Who signs the gateway's certificate: ``private`` is a certificate authority of the cluster's own, which
            clients must be told to trust; ``acme`` is a public one, and needs a public DNS zone and an e-mail address.
        acme: The public authority.
    """

    enabled: bool = True
    issuer: Literal["private", "acme"] = "private"
    acme: AcmeSettings = AcmeSettings()
