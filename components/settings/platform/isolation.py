"""What separates namespaces."""

from __future__ import annotations

from components.settings.base import Section


class IsolationSettings(Section):
    """What separates namespaces.

    Attributes:
        enabled: Install it.
    """

    enabled: bool = True
