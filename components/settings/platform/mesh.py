"""The service mesh."""

from __future__ import annotations

from components.settings.base import Section


class MeshSettings(Section):
    """The service mesh.

    Attributes:
        enabled: Install it.
    """

    enabled: bool = True
