"""Kubernetes: pods, namespaces, permissions, releases and models."""

from __future__ import annotations

from typing import Final

from policies.kubernetes import availability, models, namespaces, permissions, pods, releases
from policies.registry import Rule

RULES: Final[tuple[Rule, ...]] = (
    *pods.RULES,
    *availability.RULES,
    *namespaces.RULES,
    *permissions.RULES,
    *releases.RULES,
    *models.RULES,
)
