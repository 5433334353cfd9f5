"""Autoscaling of pods."""

from __future__ import annotations

from components.settings.base import Section


class AutoscalingSettings(Section):
    """Autoscaling of pods.

    Attributes:
        enabled: Install it.
    """

    enabled: bool = True
