"""The service mesh."""

from __future__ import annotations

from components.settings.base import Section


class MeshSettings(Section):
    """The service mesh (Istio in ambient mode).

    Attributes:
        enabled: Install it. The gateway needs it.
        waypoints: Install the definitions of the Gateway API, by which a model can have a proxy of its own that
            balances requests over its servers (``triton.balance: requests``).
        access_logs: The gateway logs every request, as JSON on its standard output.
    """

    enabled: bool = True
    waypoints: bool = False
    access_logs: bool = True
