"""Secrets from the cloud's store in the cluster."""

from __future__ import annotations

from components.settings.base import Section


class SecretSyncSettings(Section):
    """Secrets from the cloud's store in the cluster.

    Attributes:
        enabled: Install it.
    """

    enabled: bool = True
