"""Stores in the cluster, as the foundation that has them hands them to the platform."""

from __future__ import annotations

from typing import Final

from components.contract import StorePods
from components.onprem import watched

STORES: Final[tuple[StorePods, ...]] = (
    *watched.of_database("database", servers=3),
    *watched.of_cache("cache"),
    *watched.of_objects("objects", servers=3),
)
"""Of a stack that has several of everything that can be several."""
