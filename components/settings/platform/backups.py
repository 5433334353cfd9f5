"""Backups of the cluster."""

from __future__ import annotations

from components.settings.base import Section


class BackupSettings(Section):
    """Backups of the cluster.

    Attributes:
        enabled: Install it.
    """

    enabled: bool = True
