"""Certificates."""

from __future__ import annotations

from components.settings.base import Section


class CertificateSettings(Section):
    """Certificates.

    Attributes:
        enabled: Install it.
    """

    enabled: bool = True
