"""Batch scheduling."""

from __future__ import annotations

from components.settings.base import Section


class SchedulingSettings(Section):
    """Batch scheduling.

    Attributes:
        enabled: Install it.
    """

    enabled: bool = True
