"""GPU software."""

from __future__ import annotations

from components.settings.base import Section


class GpuSettings(Section):
    """GPU software.

    Attributes:
        enabled: Install it.
    """

    enabled: bool = True
