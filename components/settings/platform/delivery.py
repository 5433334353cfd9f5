"""Delivery from Git."""

from __future__ import annotations

from components.settings.base import Section


class DeliverySettings(Section):
    """Delivery from Git.

    Attributes:
        enabled: Install it.
    """

    enabled: bool = True
