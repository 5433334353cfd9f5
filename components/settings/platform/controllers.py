"""Controllers beside the cluster: nodes on demand, load balancers."""

from __future__ import annotations

from components.settings.base import Section


class ControllerSettings(Section):
    """Controllers beside the cluster: nodes on demand, load balancers.

    Attributes:
        enabled: Install it.
    """

    enabled: bool = True
