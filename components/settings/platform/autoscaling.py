"""Autoscaling of pods."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.settings.base import Section

ScaledKind = Annotated[str, Field(pattern=r"^[a-z]+(\.[a-z0-9-]+)+$")]
"""A custom resource with replicas, as ``<plural>.<group>``."""


class AutoscalingSettings(Section):
    """Autoscaling of pods by metrics, down to none (KEDA).

    Attributes:
        enabled: Install it.
        scaled_kinds: Kinds that it may scale besides Deployments and StatefulSets, such as
            ``leaderworkersets.leaderworkerset.x-k8s.io``.
    """

    enabled: bool = True
    scaled_kinds: tuple[ScaledKind, ...] = ()
