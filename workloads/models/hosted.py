"""A model that the cloud hosts, with the declaration of one's own: canary, fallbacks and objective included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pulumi

from components.platform.model_gateway import Hosted
from components.platform.site import Site
from components.settings.hosted_models import HostedProvider
from workloads.models.backends import Deployed, Weights
from workloads.models.plan import Plan
from workloads.models.spec import ModelSpec, Version, location


class HostedModel:
    """Implements :class:`workloads.models.backends.ModelBackend`; there is nothing to declare."""

    def target(self, spec: ModelSpec, version: Version) -> Hosted:
        """The provider's model."""
        found = location(version.source)
        return Hosted(provider=cast("HostedProvider", found.place), model=found.path, region=spec.region)

    def declare(
        self,
        name: str,
        *,
        spec: ModelSpec,
        version: Version,
        plan: Plan,
        weights: Weights,
        site: Site,
        parent: pulumi.Resource,
        after: Sequence[pulumi.Resource],
    ) -> Deployed:
        """Nothing: the cloud has it already."""
        del name, spec, version, plan, weights, site, parent
        return Deployed(url="", ready=tuple(after))
