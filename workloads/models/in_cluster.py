"""What versions have in common whose servers run in the cluster, whichever engine they run."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from components.contract import Grant
from components.platform.inference import ModelObjects, ModelServer, inference_service
from workloads.models.account import service_account
from workloads.models.backends import VersionArgs
from workloads.models.volumes import shared_volume


def surroundings(args: VersionArgs, grants: Sequence[Grant]) -> tuple[pulumi.Resource, ...]:
    """What its servers wait for: the platform, their account, and a volume where the weights are on shared files."""
    account = service_account(
        args.name,
        args.version.name,
        args.spec.namespace,
        grants=grants,
        labels=args.labels,
        site=args.site,
        parent=args.parent,
        after=args.after,
    )
    if args.weights.volume is None:
        return (*args.after, *account)
    claim = shared_volume(
        args.name,
        claim=args.version.name,
        namespace=args.spec.namespace,
        handle=args.weights.volume,
        attributes=args.site.foundation.files.attributes.get(args.weights.location.place, {}),
        site=args.site,
        parent=args.parent,
        after=args.after,
    )
    return (*args.after, *account, *claim)


def objects_of(args: VersionArgs, wanted: ModelServer) -> ModelObjects:
    """Its objects, with what the platform settles for all: where metrics are asked, and who wakes it."""
    settings = args.site.settings
    return inference_service(
        wanted, prometheus_url=settings.prometheus_url, activator=settings.serving.activation.enabled
    )
