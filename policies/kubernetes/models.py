"""Models: each is somebody's, has an objective, and says how long its first answer may take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pulumi_policy import Severity
from pydantic import Field

from policies.objects import label, quantity
from policies.registry import Context, PolicyConfig, Rule
from policies.view import UNKNOWN, Resource

# Kinds that serve a model. A model served by a plain Deployment says so by the label.
_KINDS: Final = ("InferenceService", "LLMInferenceService", "RayService")
SERVES: Final = "llmops/model"


class ModelConfig(PolicyConfig):
    """Models.

    Attributes:
        annotations: What each must say of itself, in an annotation.
        cold_start_seconds: The largest budget for a start from nothing.
    """

    annotations: tuple[str, ...] = Field(default=("llmops/objective", "llmops/cold-start-seconds"))
    cold_start_seconds: int = 1800


_COLD_START: Final = "llmops/cold-start-seconds"


def _declared(resource: Resource, context: Context) -> Iterator[str]:
    if resource.type.rpartition(":")[2] not in _KINDS and label(resource, SERVES) is None:
        return
    if not label(resource, "llmops/owner"):
        yield "label llmops/owner must name the team that answers for the model"
    for key in context.config.annotations:
        if resource.get("metadata", "annotations", key) is None:
            yield f"annotation {key} must be set"
    budget = resource.get("metadata", "annotations", _COLD_START)
    seconds = quantity(budget) if budget not in (None, UNKNOWN) else None
    if budget not in (None, UNKNOWN) and (seconds is None or not 0 < seconds <= context.config.cold_start_seconds):
        yield f"annotation {_COLD_START} must be 1 to {context.config.cold_start_seconds}; got {budget}"


RULES: Final = (
    Rule(
        name="models-declared", group="kubernetes", severity=Severity.MEDIUM, resource=_declared, config=ModelConfig,
        types=(
            "kubernetes:serving.kserve.io/", "kubernetes:ray.io/", "kubernetes:apps/v1:Deployment",
            "kubernetes:apps/v1:StatefulSet",
        ),
        description="Every model has an owner, an objective and a budget for its cold start.",
    ),
)  # fmt: skip
