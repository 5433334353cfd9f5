"""The model gateway: one OpenAI-style API for every model (LiteLLM)."""

from __future__ import annotations

from components.platform.model_gateway.gateway import (
    ModelGateway,
    ModelGatewayArgs,
    entries,
    openings,
    own_sign_in,
)
from components.platform.model_gateway.models import (
    Api,
    Backend,
    GatewayModel,
    Hosted,
    Mode,
    Served,
    hosted_models,
    hosted_openings,
    longest_answer_seconds,
)

__all__ = [
    "Api",
    "Backend",
    "GatewayModel",
    "Hosted",
    "Mode",
    "ModelGateway",
    "ModelGatewayArgs",
    "Served",
    "entries",
    "hosted_models",
    "hosted_openings",
    "longest_answer_seconds",
    "openings",
    "own_sign_in",
]
