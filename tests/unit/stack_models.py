"""What the tests of models share: a stack's settings, and the models in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.settings import Settings, parse
from workloads.models.facts import facts_of
from workloads.models.plan import Plan, Refusal, plan
from workloads.models.spec import ModelSpec, specs_of

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
CHAT: dict[str, Any] = {
    "name": "chat",
    "source": "s3://models/llama",
    "architecture": LLAMA,
    "gpu": {"type": "a10g", "count": 1},
    "context": 8192,
    "concurrency": 2,
    "replicas": {"min": 0, "max": 2},
}
CANARY: dict[str, Any] = {"source": "s3://models/llama-2", "percent": 10, "baseline": {}}
TEAM: dict[str, Any] = {"name": "research", "gpus": 2}


def chat(**changes: Any) -> dict[str, Any]:
    """The model with some settings changed; None takes one out."""
    return {key: value for key, value in {**CHAT, **changes}.items() if value is not None}


@dataclass(frozen=True)
class Planned:
    """A stack's models, planned."""

    settings: Settings
    specs: Sequence[ModelSpec]
    plans: Mapping[str, Plan]


def planned(*models: Mapping[str, Any], **stack: Any) -> Planned:
    """Plan the models of a stack that is accepted."""
    settings = parse({"owner": "ml", "costCenter": "1", "teams": [TEAM], **stack, "models": list(models)})
    facts = facts_of(settings)
    specs = specs_of(settings.models, prefix="llmops-test", region=settings.aws.region, owner=settings.owner)
    plans: dict[str, Plan] = {}
    for spec in specs:
        found = plan(spec, facts)
        assert not isinstance(found, Refusal), found
        plans[spec.name] = found
    return Planned(settings, specs, plans)
