"""What plans need to know of a stack, from its settings. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.capacity.clouds import CATALOGUES, families_of, shape_of
from components.capacity.prices import load
from workloads.managed.machines import HOURLY_USD
from workloads.models.plan import Facts, Group

if TYPE_CHECKING:
    from components.settings.root import Settings  # its rules import this module

_DISK_GIB = 100  # of a node that is only proposed; GPU types have an instance store besides


def facts_of(settings: Settings) -> Facts:
    """What plans need to know of the stack."""
    region, serving, prices = settings.region, settings.platform.serving, load()
    catalogue, families = CATALOGUES[settings.cloud], families_of(settings.cloud, region)
    hourly = {kind: prices.find(f"{catalogue.price_prefix}/{kind}", region) for kind in catalogue.machines}
    return Facts(
        region=region,
        objects="gcs" if settings.cloud == "gcp" else "s3",
        groups=tuple(
            Group(
                name=group.name,
                shapes=settings.shapes(group),
                max_size=group.max_size,
            )
            for group in settings.node_groups
            if group.role == "gpu-inference"
        ),
        offered=tuple(
            shape_of(kind.name, _DISK_GIB) for kind in catalogue.machines.values() if kind.family in families
        ),
        hourly_usd={**{kind: price for kind, price in hourly.items() if price is not None}, **HOURLY_USD},
        cold_start=serving.cold_start,
        answer_seconds=serving.answer_seconds,
        idle_seconds=serving.activation.idle_minutes * 60,
        activation=serving.activation.enabled,
        metrics=bool(settings.platform.prometheus_url),
    )
