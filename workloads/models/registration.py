"""The models as clients of the model gateway see them; from the settings alone, so that the gateway waits for none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from components.platform.model_gateway import Backend, GatewayModel
from workloads.models.plan import Plan
from workloads.models.registry import BACKENDS
from workloads.models.spec import ModelSpec, Version


def gateway_model(spec: ModelSpec, plan: Plan) -> GatewayModel:
    """One model: each version is a backend, and the weights are the shares of the requests."""
    settings = spec.settings
    return GatewayModel(
        name=spec.name,
        backends=tuple(_backend(spec, version, plan) for version in spec.versions),
        fallbacks=settings.fallbacks,
        output_usd_per_million=plan.cost.million_tokens_usd,
        sticky=bool(settings.ab.variants) and settings.ab.sticky,
    )


def _backend(spec: ModelSpec, version: Version, plan: Plan) -> Backend:
    return Backend(
        name=version.role,
        target=BACKENDS[spec.backend].target(spec, version),
        # The activator holds a request for a cold start; a server that is always there is waited for its answer alone.
        timeout_seconds=plan.waits.model_gateway if not version.fewest else plan.waits.answer,
        weight=version.weight,
    )


def gateway_models(specs: Iterable[ModelSpec], plans: Mapping[str, Plan]) -> tuple[GatewayModel, ...]:
    """All of them."""
    return tuple(gateway_model(spec, plans[spec.name]) for spec in specs)
