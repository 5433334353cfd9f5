"""A model that the cloud hosts, with the declaration of one's own: canary, fallbacks and objective included."""

from __future__ import annotations

from typing import cast

from components.platform.model_gateway import Hosted
from components.settings.hosted_models import CloudProvider
from workloads.models.backends import Deployed, VersionArgs
from workloads.models.spec import ModelSpec, Version, location


class HostedModel:
    """Implements :class:`workloads.models.backends.ModelBackend`; there is nothing to declare."""

    def target(self, spec: ModelSpec, version: Version) -> Hosted:
        """The provider's model."""
        found = location(version.source)
        return Hosted(provider=cast("CloudProvider", found.place), model=found.path, region=spec.region)

    def declare(self, args: VersionArgs) -> Deployed:
        """Nothing: the cloud has it already."""
        return Deployed(url="", ready=tuple(args.after))
