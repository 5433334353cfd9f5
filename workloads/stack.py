"""Everything that a stack runs on the platform: models, and the flows that make and feed them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.platform.experiments.names import published_at
from components.platform.model_gateway import GatewayModel, hosted_openings
from components.platform.openings import Namespace, Opening
from components.platform.platform import Platform
from components.platform.quotas import Allowance
from components.settings import Settings
from workloads.flows.component import Flows, FlowsArgs
from workloads.flows.stack import StackFlows, stack_flows
from workloads.models.component import Models, ModelsArgs
from workloads.models.stack import StackModels, stack_models
from workloads.retrieval.component import Retrievals, RetrievalsArgs
from workloads.retrieval.stack import StackRetrievals, stack_retrievals


@dataclass(frozen=True, kw_only=True)
class StackWorkloads:
    """What the settings declare, as far as the platform must know of it before any of it exists.

    Attributes:
        models: Models of one's own.
        flows: Datasets, fine-tunes and releases.
        retrievals: Models that answer from documents.
        outside: Ways to models that somebody else serves.
    """

    models: StackModels
    flows: StackFlows
    retrievals: StackRetrievals
    outside: Sequence[Opening] = ()

    @property
    def gateway(self) -> Sequence[GatewayModel]:
        """What the model gateway offers of them."""
        return (*self.models.gateway, *self.retrievals.gateway)

    @property
    def openings(self) -> Sequence[Opening]:
        """Ways that their pods need."""
        return (*self.models.openings, *self.flows.openings, *self.retrievals.openings, *self.outside)

    @property
    def entries(self) -> Sequence[str]:
        """Entries of the secret store that are read for them."""
        return (*self.flows.entries, *self.retrievals.entries)

    @property
    def allowances(self) -> Mapping[Namespace, Allowance]:
        """What they may ask for besides their namespaces' shares."""
        return self.retrievals.allowances


def stack_workloads(settings: Settings, *, prefix: str) -> StackWorkloads:
    """Plan what the settings declare; pure.

    Args:
        settings: The stack's settings.
        prefix: ``<project>-<stack>``; it begins names at the cloud.
    """
    return StackWorkloads(
        models=stack_models(settings, prefix=prefix),
        flows=stack_flows(settings, datasets=settings.datasets, fine_tunes=settings.fine_tunes),
        retrievals=stack_retrievals(settings.retrievals, settings.platform),
        outside=hosted_openings(settings.hosted_models),
    )


def run(declared: StackWorkloads, settings: Settings, platform: Platform) -> Mapping[str, Any]:
    """Declare all of it on the platform, and return what people want to know of it."""
    there = platform.installed
    models = Models(
        "models",
        ModelsArgs(
            site=platform.site,
            specs=declared.models.specs,
            plans=declared.models.plans,
            after=there.serving,
            gateway=there.model_gateway,
            rules=there.rules,
            team_namespaces=platform.team_namespaces,
        ),
    )
    found: dict[str, Any] = {"models": models.outputs, "modelRegistry": _registry(settings)}
    if settings.datasets or settings.fine_tunes:
        flows = Flows(
            "flows",
            FlowsArgs(
                site=platform.site,
                declared=declared.flows,
                models=settings.models,
                ray=there.ray,
                workflows=there.workflows,
                training=there.training,
                secrets=there.secrets,
                gateway=there.model_gateway,
                rules=there.rules,
                team_namespaces=platform.team_namespaces,
            ),
        )
        found |= flows.outputs
    if settings.retrievals:
        retrievals = Retrievals(
            "retrievals",
            RetrievalsArgs(
                site=platform.site,
                retrievals=settings.retrievals,
                secrets=there.secrets,
                mesh=there.mesh,
                gateway=there.model_gateway,
                vectors=there.vectors,
                ray=there.ray,
                workflows=there.workflows,
                rules=there.rules,
            ),
        )
        found["retrievals"] = retrievals.outputs
    return found


def _registry(settings: Settings) -> Mapping[str, str]:
    """Where people and their programs reach the model registry; the address is empty where it is not published."""
    host = published_at(settings.platform)
    return {"url": settings.platform.serving.registry_url or (f"https://{host}" if host else "")}
