"""Everything about a stack's models that follows from its settings: what the platform must know before they exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from components.platform.model_gateway import GatewayModel
from components.platform.observability.rules import ModelObjective
from components.platform.openings import Opening, Pods
from components.settings.root import Settings
from workloads.models import smoke
from workloads.models.alerts import objective
from workloads.models.facts import facts_of
from workloads.models.plan import Plan, Refusal, plan
from workloads.models.registration import gateway_model
from workloads.models.spec import ModelSpec, location, specs_of
from workloads.models.vllm import HUB, HUB_LABEL


@dataclass(frozen=True, kw_only=True)
class StackModels:
    """The models of a stack.

    Attributes:
        specs: The models.
        plans: By name of the model.
        gateway: What the model gateway offers of them.
        openings: Ways that their servers and smoke tests need, beside those of their namespaces.
        objectives: What is promised of them.
    """

    specs: Sequence[ModelSpec]
    plans: Mapping[str, Plan]
    gateway: Sequence[GatewayModel]
    openings: Sequence[Opening]
    objectives: Sequence[ModelObjective]


def stack_models(settings: Settings, *, prefix: str) -> StackModels:
    """The models of settings that were accepted.

    Args:
        settings: All settings of the stack.
        prefix: ``<project>-<stack>``: names at the cloud start with it.
    """
    facts = facts_of(settings)
    specs = specs_of(settings.models, prefix=prefix, region=settings.region, owner=settings.owner)
    plans: dict[str, Plan] = {}
    for spec in specs:
        found = plan(spec, facts)
        # Settings with such a model are refused when they are read.
        assert not isinstance(found, Refusal), found
        plans[spec.name] = found
    return StackModels(
        specs=specs,
        plans=plans,
        gateway=[gateway_model(spec, plans[spec.name]) for spec in specs],
        openings=tuple(openings(specs, [team.name for team in settings.teams])),
        objectives=[objective(spec, plans[spec.name]) for spec in specs],
    )


def openings(specs: Sequence[ModelSpec], teams: Sequence[str]) -> Iterator[Opening]:
    """Ways that the models need: to the public hub for those that come from there, and for the smoke tests."""
    if specs:
        yield from smoke.openings(teams)
    from_hub = {spec.namespace for spec in specs for one in spec.versions if location(one.source).scheme == "hf"}
    for namespace in sorted(from_hub):
        yield Opening(
            source=Pods(namespace=namespace, labels={HUB_LABEL: HUB}),
            target="internet",
            ports=(443,),
            why="Weights of models that are declared to come from the public hub.",
        )
